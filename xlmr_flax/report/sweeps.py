"""Retrieval by layer and pooling, and scores of texts that were perturbed."""

import re

from xlmr_flax.report.cells import Cell, Table, interval, number, percent, points, signed, slug, table, words
from xlmr_flax.report.chance import is_sick
from xlmr_flax.report.compare import ALL, OTHERS, Compared, chosen_langs, compare, target_name
from xlmr_flax.report.evidence import Column, Evidence, Line, Perturbed, column_name
from xlmr_flax.report.figures import curves
from xlmr_flax.report.notes import SICK_MARK, UNSURE, name_under, seeds_note, selection_note, test_note
from xlmr_flax.report.page import Picture

UNCHANGED = "="  # after a score that a perturbation leaves as it is, for want of anything to change
_LAYER = re.compile(r"^layer (?P<layer>\d+), (?P<pooling>.+)$")


def layer_table(evidence: Evidence, chosen: str | None = None) -> Table | None:
    """Every setting of every sweep: the mean over languages other than English, and the worst."""
    rows = []
    swept = _swept(evidence, chosen)
    for line in swept:
        layer, pooling = _place(line.column.setting)
        langs = line.others or line.langs
        mean = {lang: line.average([lang]) for lang in langs}
        worst = min(langs, key=mean.__getitem__)
        sick = any(is_sick(line.rows[seed][lang]["flags"]) for seed in line.seeds for lang in langs)
        rows.append([
            words(column_name(line.column._replace(setting=""), [])), words(line.arm), number(layer, "d"),
            words(pooling), percent(line.average(langs), SICK_MARK if sick else ""), percent(mean[worst]), words(worst),
        ])  # fmt: skip
    heads = ("task", "arm", "layer", "pooling", "mean", "worst", "worst language")
    notes = ["In %, means over languages and seeds; layer 0 is the embeddings. The first setting stands for all in the "
             "other tables: a layer that is picked here is picked on what is scored.",
             selection_note(evidence, chosen, swept)]  # fmt: skip
    return table(name_under("layers", chosen), "Retrieval by layer and pooling", heads, rows, notes, head=2)


def layer_pictures(evidence: Evidence, chosen: str | None = None) -> list[Picture]:
    """A picture for each task and metric whose layers were swept."""
    found: dict[tuple[str, str, str], dict[str, list[tuple[int, float]]]] = {}
    swept = _swept(evidence, chosen)
    for line in swept:
        layer, pooling = _place(line.column.setting)
        column = line.column
        mine = found.setdefault((column.task, column.asked_phase, column.metric), {})
        several = len({_place(one.column.setting)[1] for one in swept if one.column.task == column.task}) > 1
        name = f"{line.arm}, {pooling}" if several else line.arm
        mine.setdefault(name, []).append((layer, 100 * line.average(line.others or line.langs)))
    pictures = []
    for (task, phase, metric), series in found.items():
        if max(len(one) for one in series.values()) < 2:
            continue
        name = column_name(Column(task, phase, "", metric), [])
        best = {who: max(one, key=lambda point: point[1]) for who, one in series.items()}
        pictures.append(curves(
            slug(f"layers_{task}_{phase}_{metric}"),
            f"{name} by layer, mean over languages; layer 0 is the embeddings.",
            [{"name": who, "x": [x for x, _ in sorted(one)], "y": [y for _, y in sorted(one)]}
             for who, one in series.items()],
            x="layer", y=f"{name}, %",
            alternative="; ".join(f"{who}: best at layer {x} with {y:.1f} %" for who, (x, y) in best.items()) + ".",
        ))  # fmt: skip
    return pictures


def perturbations(evidence: Evidence) -> list[Perturbed]:
    """What was done to texts, kind by kind from weak to strong."""
    return sorted({line.perturbed for line in evidence.lines if line.perturbed is not None})


def robustness_table(evidence: Evidence, chosen: str | None = None) -> Table | None:
    """Each arm on clean and perturbed texts, what it loses, and how far it is ahead of the baseline there."""
    rows, every = [], []
    for perturbed in perturbations(evidence):
        kind, strength = perturbed
        compared = _compared(evidence, perturbed, chosen)
        every += compared
        ahead = {(one.arm, one.column): one for one in compared}
        for column in evidence.columns:
            for arm in evidence.loaded.arms:
                line, clean = evidence.line(arm, column, chosen, perturbed), evidence.line(arm, column, chosen)
                if line is not None:
                    rows.append([
                        words(column_name(column, evidence.columns)), words(arm), words(kind), number(strength, "g"),
                        *_lost(line, clean), *_ahead(ahead.get((arm, column))),
                    ])  # fmt: skip
    heads = ("target", "arm", "perturbation", "strength", "clean", "perturbed", "lost", "worst", "worst language",
             "ahead of the baseline", "95 % interval")  # fmt: skip
    notes = [
        "In % and points, means over languages other than English (all where there are no others) and over seeds.",
        test_note(every, OTHERS) if any(one.excludes_zero is False for one in every) else seeds_note(every),
        selection_note(evidence, chosen),
    ]
    return table(name_under("robustness", chosen), "Perturbed texts", heads, rows, notes, head=3)


def robustness_languages(evidence: Evidence, chosen: str | None = None) -> list[Table]:
    """Language by language, a table for each target: clean scores, and what each kind and strength takes from them."""
    tables = []
    for column in evidence.columns:
        by_arm = {arm: _by_strength(evidence, arm, column, chosen) for arm in evidence.loaded.arms}
        by_arm = {arm: lines for arm, lines in by_arm.items() if len(lines) > 1}
        every = [line for lines in by_arm.values() for _, line in lines]
        langs = sorted(dict.fromkeys(lang for line in every for lang in line.langs), key=lambda lang: lang != "en")
        rows = []
        for arm, lines in by_arm.items():
            clean = lines[0][1]
            for perturbed, line in lines:
                told = (
                    [words("none"), number(0, "g")]
                    if perturbed is None
                    else [words(perturbed[0]), number(perturbed[1], "g")]
                )
                rows.append([words(arm), *told, *(_taken(line, clean, lang) for lang in langs)])
        name = column_name(column, evidence.columns)
        notes = [
            "In %, means over seeds; with a sign what the perturbation makes of the same arm's clean score, in points.",
            f"{UNCHANGED} it finds nothing to change in these texts." if any(map(_untouched, every)) else "",
            selection_note(evidence, chosen, every),
        ]
        files = name_under(slug(f"robustness_{column.task}_{column.asked_phase}_{column.metric}"), chosen)
        heads = ("arm", "perturbation", "strength", *langs)
        tables.append(table(files, f"{name} under perturbation, by language", heads, rows, notes, head=3, wide=True))
    return [one for one in tables if one is not None]


def _by_strength(
    evidence: Evidence, arm: str, column: Column, chosen: str | None
) -> list[tuple[Perturbed | None, Line]]:
    """An arm's clean line, and then those of every kind and strength."""
    found = [(one, evidence.line(arm, column, chosen, one)) for one in (None, *perturbations(evidence))]
    return [(one, line) for one, line in found if line is not None]


def _taken(line: Line, clean: Line, lang: str) -> Cell:
    """A clean score, or the difference from it."""
    if lang not in line.langs or lang not in clean.langs:
        return Cell("")
    if line is clean:
        return percent(line.average([lang]))
    return points(line.average([lang]) - clean.average([lang]), UNCHANGED if _untouched(line, lang) else "")


def _untouched(line: Line, lang: str | None = None) -> bool:
    """Whether a perturbation had nothing to change in a language, or in some."""
    flags = (line.rows[seed][one]["flags"] for seed in line.seeds for one in ([lang] if lang else line.langs))
    return any(flag.startswith("unchanged by") for found in flags for flag in found)


def robustness_headline(evidence: Evidence, chosen: str | None = None) -> list[str]:
    """How far the best arm is ahead of its baseline under the strongest perturbation of each kind."""
    said, strongest = [], dict(perturbations(evidence))
    for kind, strength in strongest.items():
        compared = _compared(evidence, (kind, strength), chosen)
        averages = [one for one in compared if one.column is None] or compared
        if not averages:
            continue
        best = max(averages, key=lambda one: one.found.value)
        what = target_name(best, evidence)
        low, high = (best.found.low, best.found.high)
        bounds = "" if low is None or high is None else f" (95 % interval {signed(low)} to {signed(high)})"
        base, seeds = evidence.loaded.baselines[best.arm], f"{best.found.seeds} seed{'s' * (best.found.seeds > 1)}"
        apart = round(100 * best.found.value, 1)
        where = f"{abs(apart):.1f} points {'above' if apart > 0 else 'below'}" if apart else "level with"
        said.append(f"Under {kind} of strength {strength:g}, {best.arm} is {where} {base} in {what}{bounds}; {seeds}.")
    return said


def robustness_pictures(evidence: Evidence, chosen: str | None = None) -> list[Picture]:
    """Scores by strength, a picture for each target and kind."""
    pictures, every = [], perturbations(evidence)
    for kind in dict.fromkeys(kind for kind, _ in every):
        strengths = [strength for one, strength in every if one == kind]
        for column in evidence.columns:
            series = []
            for arm in evidence.loaded.arms:
                lines = [(0.0, evidence.line(arm, column, chosen))]
                lines += [(strength, evidence.line(arm, column, chosen, (kind, strength))) for strength in strengths]
                shown = [(x, 100 * line.average(line.others or line.langs)) for x, line in lines if line is not None]
                if len(shown) > 1:
                    series.append({"name": arm, "x": [x for x, _ in shown], "y": [y for _, y in shown]})
            if series:
                name = column_name(column, evidence.columns)
                lost = "; ".join(f"{one['name']} from {one['y'][0]:.1f} to {one['y'][-1]:.1f} %" for one in series)
                pictures.append(curves(
                    slug(f"robustness_{kind}_{column.task}_{column.metric}"),
                    f"{name} under {kind}, by strength; 0 is the clean text.", series,
                    x=f"strength of {kind}", y=f"{name}, %", alternative=f"{lost}, from clean to the strongest.",
                ))  # fmt: skip
    return pictures


def _compared(evidence: Evidence, perturbed: Perturbed, chosen: str | None) -> list[Compared]:
    """Over languages other than English; over all where there are no others."""
    return compare(evidence, (OTHERS,), chosen=chosen, perturbed=perturbed) or compare(
        evidence, (ALL,), chosen=chosen, perturbed=perturbed
    )


def _lost(line: Line, clean: Line | None) -> list[Cell]:
    """Clean, perturbed, the difference, and the worst language."""
    langs = chosen_langs(line, OTHERS) or line.langs
    mean = {lang: line.average([lang]) for lang in langs}
    worst = min(langs, key=mean.__getitem__)
    there = [lang for lang in langs if clean and lang in clean.langs]
    before = clean.average(there) if clean and len(there) == len(langs) else None
    after = line.average(langs)
    mark = SICK_MARK if line.degenerate else ""
    lost = None if before is None else after - before
    return [percent(before), percent(after, mark), points(lost), percent(mean[worst]), words(worst)]


def _ahead(one: Compared | None) -> list[Cell]:
    if one is None:
        return [Cell(""), Cell("")]
    mark = UNSURE if one.excludes_zero is False else ""
    return [points(one.found.value, mark), Cell(interval(one.found.low, one.found.high))]


def _swept(evidence: Evidence, chosen: str | None) -> list[Line]:
    """The lines of tasks that were scored in several settings of layer and pooling."""
    mine = [
        line
        for line in evidence.lines
        if line.perturbed is None
        and _LAYER.match(line.column.setting)
        and line is evidence.line(line.arm, line.column, chosen)
    ]
    several = {
        task
        for task in {line.column.task for line in mine}
        if len({line.column.setting for line in mine if line.column.task == task}) > 1
    }
    return [line for line in mine if line.column.task in several]


def _place(setting: str) -> tuple[int, str]:
    found = _LAYER.match(setting)
    return int(found["layer"]), found["pooling"]
