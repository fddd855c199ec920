"""How an effect goes with the model: arms over baselines of their own, side by side, and how far the last is off."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xlmr_flax.report.bootstrap import Estimate, Sample, difference, estimate, mean_of
from xlmr_flax.report.cells import Cell, Table, interval, number, points, signed, table, words
from xlmr_flax.report.compare import OTHERS, Compared, chosen_langs, common, corrected, only, target_name
from xlmr_flax.report.evidence import Column, Evidence, Line
from xlmr_flax.report.notes import UNSURE, seeds_note, selection_note

Pair = tuple[Line, Line]  # an arm's line and its baseline's


class Scale(NamedTuple):
    """One target: how far each arm is ahead of its own baseline, and how much more the last is than the first."""

    effects: dict[str, Estimate]
    change: Compared


def scales(evidence: Evidence) -> list[Scale]:
    """Every target's and their average, where a study asks how an effect goes with the model."""
    if evidence.loaded.question != "scale":
        return []
    found = [one for arms in _series(evidence) for one in _of(evidence, arms)]
    changes = corrected([one.change for one in found])
    return [one._replace(change=change) for one, change in zip(found, changes, strict=True)]


def scale_headline(found: Sequence[Scale], evidence: Evidence) -> list[str]:
    """The effects from the first to the last model, and their difference with its interval."""
    averages = [one for one in found if one.change.column is None]
    return [_said(one, evidence) for one in averages or found]


def _said(one: Scale, evidence: Evidence) -> str:
    first, *_, last = one.effects
    change = one.change.found
    told = ", ".join(f"{signed(effect.value)} with {arm}" for arm, effect in one.effects.items())
    apart = round(100 * change.value, 1)
    more = f"{abs(apart):.1f} points {'more' if apart > 0 else 'less'}" if apart else "as much"
    seeds = f"{change.seeds} seed{'s' * (change.seeds != 1)}"
    bounds = (
        f"95 % interval of the change {signed(change.low)} to {signed(change.high)}; " if change.low is not None else ""
    )
    return (
        f"The effect on {target_name(one.change, evidence)} is {told}: {more} with {last} "
        f"{'than with' if apart else 'as with'} {first} ({bounds}{seeds})."
    )


def scale_tables(found: Sequence[Scale], evidence: Evidence) -> list[Table | None]:
    """The effects by model, and the change from the first to the last: a table for arms that differ in that alone."""
    series = list(dict.fromkeys(tuple(one.effects) for one in found))
    tables = []
    for place, arms in enumerate(series, 1):
        mine = [one for one in found if tuple(one.effects) == arms]
        name = f"scales_{place}" if len(series) > 1 else "scales"
        tables.append(
            table(
                name,
                "The effect by model",
                ("target", *arms, "change", "95 % interval", "seeds"),
                _rows(mine, evidence),
                _notes(mine, evidence),
            )
        )
    return tables


def _rows(found: Sequence[Scale], evidence: Evidence) -> list[list[Cell]]:
    rows = []
    for one in found:
        change, told = one.change, one.change.found
        effects = (points(each.value, told=f"95 % {interval(each.low, each.high)}") for each in one.effects.values())
        mark = UNSURE if change.excludes_zero is False else ""
        rows.append([
            words(target_name(change, evidence)), *effects, points(told.value, mark),
            words(interval(told.low, told.high)), number(told.seeds),
        ])  # fmt: skip
    return rows


def _notes(found: Sequence[Scale], evidence: Evidence) -> list[str]:
    changes = [one.change for one in found]
    unsure = any(one.excludes_zero is False for one in changes)
    return [
        "In points: how far each arm is ahead of the baseline of its own model, over "
        f"{' and '.join(dict.fromkeys(one.over for one in changes))}; the change is the last less the first.",
        f"{UNSURE} zero is not excluded, after Holm's correction over {changes[0].comparisons} comparisons."
        if unsure
        else seeds_note(changes),
        selection_note(evidence, evidence.protocols[0]),
    ]


def _series(evidence: Evidence) -> Iterable[tuple[str, ...]]:
    """Arms that differ in their model: those that stand at the same place below their baselines."""
    below: dict[str, list[str]] = {}
    for arm in evidence.loaded.arms:
        if arm in evidence.loaded.baselines:
            below.setdefault(evidence.loaded.baselines[arm], []).append(arm)
    if len(below) < 2 or len({len(arms) for arms in below.values()}) > 1:
        return ()
    return zip(*below.values(), strict=True)


def _of(evidence: Evidence, arms: Sequence[str]) -> Iterable[Scale]:
    by_task: dict[str, list[list[Sample]]] = {}
    chosen = evidence.protocols[0]
    for column in evidence.columns:
        pairs = [_pair(evidence, arm, column, chosen) for arm in arms]
        if None in pairs:
            continue
        lines = [line for pair in pairs if pair for line in pair]
        seeds, wanted = common(lines), chosen_langs(lines[0], OTHERS) or lines[0].langs
        langs = [lang for lang in wanted if all(lang in each.langs for each in lines)]
        if not seeds or not langs:
            continue
        effects = [
            only(evidence.sample(mine, langs), seeds).less(only(evidence.sample(base, langs), seeds))
            for mine, base in filter(None, pairs)
        ]
        by_task.setdefault(column.task, []).append(effects)
        yield _scale(arms, column, langs, effects)
    tasks = list(by_task.values())
    seeds = [set(effects[0].seeds) for columns in tasks for effects in columns]
    if len(tasks) > 1 and all(one == seeds[0] for one in seeds):
        averaged = [
            mean_of([mean_of([effects[place] for effects in columns]) for columns in tasks])
            for place in range(len(arms))
        ]
        yield _scale(arms, None, (), averaged, note=f"{len(tasks)} tasks")


def _pair(evidence: Evidence, arm: str, column: Column, chosen: str | None) -> Pair | None:
    mine, base = (evidence.line(name, column, chosen) for name in (arm, evidence.loaded.baselines[arm]))
    return None if mine is None or base is None else (mine, base)


def _scale(
    arms: Sequence[str], column: Column | None, langs: Sequence[str], effects: Sequence[Sample], note: str = ""
) -> Scale:
    found = difference(effects[-1], effects[0])
    first = float(effects[0].scores_S.mean())
    change = Compared(arms[-1], column, tuple(langs), OTHERS, found, first, None, 0, False, note)
    return Scale(dict(zip(arms, map(estimate, effects), strict=True)), change)
