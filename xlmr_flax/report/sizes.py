"""The size curves of a study: which arms lie on one, their scores, the fit through them, and what it takes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.report.bootstrap import Estimate, Sample, difference, estimate
from xlmr_flax.report.cells import Cell, Table, interval, number, percent, points, slug, table, words
from xlmr_flax.report.compare import ALL, OTHERS, chosen_langs
from xlmr_flax.report.curves import (
    FEWEST_SIZES,
    POWER,
    SATURATING,
    SHARE,
    Fit,
    Needed,
    band,
    fit,
    needed,
)
from xlmr_flax.report.evidence import Column, Evidence, column_name
from xlmr_flax.report.figures import curves
from xlmr_flax.report.notes import name_under, selection_note
from xlmr_flax.report.page import Picture
from xlmr_flax.report.provenance import Phase

SIZE = ".max_examples"
WHOLE = "all"
_SHAPE = {POWER: "", SATURATING: " curve"}
STRAIGHT = 0.85  # of the sizes' span: a straight line takes 0.9 of it for 90 % of its gain


class Point(NamedTuple):
    """One size: the arm, its examples (0: the baseline), its score."""

    arm: str
    examples: int
    score: Estimate


class Curve(NamedTuple):
    """The points of one target, from small to large, and what runs through them."""

    axis: str
    name: str  # what else sets these arms apart, in words
    column: Column
    over: str
    points: list[Point]
    gain: Estimate  # from the smallest to the largest
    fit: Fit | None
    needed: Needed | None
    note: str

    @property
    def x(self) -> np.ndarray:
        """The sizes."""
        return np.array([point.examples for point in self.points], float)

    @property
    def still_grows(self) -> bool:
        """Whether most of the gain takes nearly all examples, so that it ends where the sizes do."""
        wide = self.x[-1] - self.x[0]
        return self.needed is not None and self.needed.examples - self.x[0] > STRAIGHT * wide

    @property
    def draws(self) -> np.ndarray | None:
        """The draws of all points together, None where some have none, or have others than the rest."""
        drawn = [point.score.draws_B for point in self.points]
        kinds = {point.score.drawn for point in self.points}
        return None if len(kinds) > 1 or any(one is None for one in drawn) else np.stack(drawn, axis=1)

    @property
    def is_flat(self) -> bool:
        """Whether the gain's 95 % interval has zero in it."""
        return self.gain.low is not None and self.gain.low <= 0 <= self.gain.high

    @property
    def unfitted(self) -> str:
        """Why no curve runs through the points."""
        return "too few sizes" if len(self.points) < FEWEST_SIZES else "zero is in the interval of its gain"


def size_curves(evidence: Evidence, phases: Sequence[Phase], chosen: str | None = None) -> list[Curve]:
    """Every curve of two sizes or more."""
    found = []
    for axis, name, arms, note in _series(evidence, phases):
        for column in evidence.columns:
            over = OTHERS if any(line.others for line in evidence.lines if line.column == column) else ALL
            lines = [(arm, examples, evidence.line(arm, column, chosen)) for arm, examples in arms]
            there = [
                (arm, examples, evidence.sample(line, langs))
                for arm, examples, line in lines
                if line and (langs := chosen_langs(line, over))
            ]
            if len({examples for _, examples, _ in there}) > 1:
                found.append(_curve(axis, name, column, over, sorted(there, key=lambda one: one[1]), note))
    return found


def _curve(
    axis: str, name: str, column: Column, over: str, there: Sequence[tuple[str, int, Sample]], note: str
) -> Curve:
    points = [Point(arm, examples, estimate(sample)) for arm, examples, sample in there]
    gain = difference(there[-1][2], there[0][2])
    bare = Curve(axis, name, column, over, points, gain, None, None, note)
    through = None if bare.is_flat else fit(bare.x, np.array([point.score.value for point in points]))
    return bare._replace(fit=through, needed=through and needed(through, bare.x, bare.draws))


def size_table(evidence: Evidence, found: Sequence[Curve], chosen: str | None = None) -> Table | None:
    """The points."""
    rows = []
    for one in found:
        first = one.points[0]
        for point in one.points:
            gain = point.score.value - first.score.value if first.examples == 0 and point is not first else None
            rows.append([
                words(_name(evidence, one)), number(point.examples), words(point.arm), percent(point.score.value),
                Cell(_percents(point.score)), points(gain), number(point.score.seeds),
            ])  # fmt: skip
    heads = ("target", "examples", "arm", "score", "95 % interval", "gain over none", "seeds")
    notes = [*dict.fromkeys(f"In %, mean over {one.over} and seeds." for one in found),
             *dict.fromkeys(one.note for one in found), selection_note(evidence, chosen)]  # fmt: skip
    return table(
        name_under("sizes", chosen), "Scores by the number of intermediate examples", heads, rows, notes, head=3
    )


def fit_table(evidence: Evidence, found: Sequence[Curve], chosen: str | None = None) -> Table | None:
    """The fits, and what most of the gain takes."""
    rows = []
    for one in found:
        if one.fit is None:
            rows.append([words(_name(evidence, one)), words(f"none: {one.unfitted}"), *[Cell("")] * 5])
            continue
        errors = [percent(one.fit.errors[form]) for form in (POWER, SATURATING)]
        need = one.needed
        between = f"{need.low:,.0f} to {need.high:,.0f}" if need and need.low is not None else "–"
        rows.append([
            words(_name(evidence, one)), words(one.fit.form), words(_formula(one.fit)), *errors,
            number(round(need.examples)) if need else words("no gain"), words(between),
        ])  # fmt: skip
    heads = ("target", "form", "score", "error of the power law", "error of the saturating curve",
             f"examples for {100 * SHARE:.0f} %", "95 % band")  # fmt: skip
    notes = [
        "The form is that with the smaller error (in points) at each size when the curve goes through the others; it "
        f"takes {FEWEST_SIZES} sizes, the baseline as size 0 among them, and a difference between the largest and the "
        f"smallest whose 95 % interval has no zero in it. Examples for {100 * SHARE:.0f} % are for that "
        "share of the gain at the largest size, by the curve; the band is that of the draws of seeds and examples.",
        _growing([_name(evidence, one) for one in found if one.still_grows]),
        selection_note(evidence, chosen),
    ]
    return table(name_under("fits", chosen), "Curves through the sizes", heads, rows, notes)


def size_pictures(evidence: Evidence, found: Sequence[Curve]) -> list[Picture]:
    """A picture for each target, with all of its curves."""
    pictures = []
    for column in dict.fromkeys(one.column for one in found):
        mine = [one for one in found if one.column == column]
        name = column_name(column, evidence.columns)
        pictures.append(curves(
            slug(f"size_{column.task}_{column.asked_phase}_{column.metric}"),
            f"{name} by the number of intermediate examples, mean over {mine[0].over}; bars are 95 % intervals"
            + ("; the curve is the fit with its band." if any(one.fit for one in mine) else "."),
            [_series_of(one) for one in mine],
            x="intermediate examples",
            y=f"{name}, %",
            alternative="; ".join(f"{one.name or name}: {_told(one)}" for one in mine) + ".",
            log=True,
        ))  # fmt: skip
    return pictures


def size_headline(evidence: Evidence, found: Sequence[Curve]) -> list[str]:
    """What the curve with the largest gain says."""
    gains = [
        (one.points[-1].score.value - one.points[0].score.value, one) for one in found if one.points[0].examples == 0
    ]
    if not gains:
        return []
    _, one = max(gains, key=lambda gain: abs(gain[0]))
    name = column_name(one.column, evidence.columns)
    if one.needed is None:
        why = f"no curve is fitted: {one.unfitted}" if one.fit is None else "no gain to fit"
        return [f"{name}: {why}."]
    between = f" (95 % band {one.needed.low:,.0f} to {one.needed.high:,.0f})" if one.needed.low is not None else ""
    grows = f"; {_growing([name])}" if one.still_grows else "."
    return [
        f"{100 * SHARE:.0f} % of the gain on {name} at {one.points[-1].examples:,} examples takes about "
        f"{one.needed.examples:,.0f}{between}, by the {one.fit.form}{_SHAPE[one.fit.form]} that fits best{grows}"
    ]


def as_json(found: Sequence[Curve], chosen: str | None = None) -> list[dict[str, Any]]:
    """The same for results.json."""
    return [
        {
            **one.column._asdict(),
            "arm": one.name,
            "axis": one.axis,
            "selection": chosen,
            "points": [
                {"examples": p.examples, "score": p.score.value, "low": p.score.low, "high": p.score.high,
                 "seeds": p.score.seeds} for p in one.points
            ],
            "fit": one.fit and {
                "form": one.fit.form, "a": one.fit.a, "b": one.fit.b, "c": one.fit.c, "errors": dict(one.fit.errors)
            },
            "examples_for_90_percent": one.needed and one.needed.examples,
            "examples_low": one.needed and one.needed.low,
            "examples_high": one.needed and one.needed.high,
            "note": one.note,
        }
        for one in found
    ]  # fmt: skip


def _series(evidence: Evidence, phases: Sequence[Phase]) -> list[tuple[str, str, list[tuple[str, int]], str]]:
    """The arms that differ in one size only: the axis, what they share, each with its examples, and what to say."""
    loaded, found = evidence.loaded, {}
    for arm in loaded.arms:
        axes = loaded.axes_of(arm)
        for axis in (name for name, value in axes.items() if name.endswith(SIZE) and value is not None):
            phase = axis.split(".")[1]
            examples = _examples(axes[axis], phase, phases)
            rest = {k: v for k, v in axes.items() if k not in (axis, f"phases.{phase}", "seed")}
            place = axis, str(sorted(rest.items(), key=str))
            there = found.setdefault(place, ([], rest, []))
            if arm not in loaded.baselines:
                continue
            if examples is None:
                there[2].append(f"{arm} is left out: how many examples its phase {phase} has is not known.")
            else:
                there[0].append((arm, examples))
    series = []
    for (axis, _), (arms, rest, lost) in found.items():
        if not arms:
            continue
        base = loaded.baselines.get(arms[0][0])
        arms = [*([(base, 0)] if base else []), *arms]
        name = ", ".join(f"{key.split('.')[-1]} {value}" for key, value in rest.items() if not isinstance(value, list))
        series.append((axis, name, arms, " ".join([_fixed(axis.split(".")[1], phases), *lost]).strip()))
    return series


def _examples(value: Any, phase: str, phases: Sequence[Phase]) -> int | None:
    """A size, of all examples as many as the phase had."""
    if value != WHOLE:
        return value if isinstance(value, int) else None
    there = [
        one.config.get("counts", {}).get("rows")
        for one in phases
        if one.config.get("phase", {}).get("name") == phase and one.config["phase"].get("max_examples") is None
    ]
    return max((count for count in there if count is not None), default=None)


def _fixed(phase: str, phases: Sequence[Phase]) -> str:
    """Whether more examples mean more updates."""
    mine = [one.config["phase"] for one in phases if one.config.get("phase", {}).get("name") == phase]
    if not mine:
        return ""
    if all(one.get("steps") for one in mine):
        return f"Updates of {phase} are held fixed: fewer examples are seen more often."
    if not any(one.get("steps") for one in mine):
        return f"Epochs of {phase} are held fixed: more examples are more updates."
    return f"Neither epochs nor updates of {phase} are the same for all sizes."


def _series_of(one: Curve) -> dict[str, Any]:
    scores = [point.score for point in one.points]
    drawn = {
        "name": one.name or column_name(one.column, [one.column]),
        "x": list(one.x),
        "y": [100 * score.value for score in scores],
        "low": [None if score.low is None else 100 * score.low for score in scores],
        "high": [None if score.high is None else 100 * score.high for score in scores],
    }
    if one.fit is not None:
        positive = one.x[one.x > 0]
        at_N = np.concatenate([[0.0] if one.x[0] == 0 else [], np.geomspace(positive.min() / 2, positive.max(), 60)])
        at_N = at_N[(at_N >= one.x.min())]
        low, high = band(one.fit, one.x, one.draws, at_N) if one.draws is not None else (one.fit(at_N),) * 2
        drawn["fit"] = {"x": at_N, "y": 100 * one.fit(at_N), "low": 100 * low, "high": 100 * high}
    return drawn


def _growing(names: Sequence[str]) -> str:
    """That a gain ends with the sizes, and not by itself."""
    if not names:
        return ""
    grow = "grows" if len(names) == 1 else "grow"
    return f"{', '.join(names)} still {grow} at the largest size: more examples may give more."


def _name(evidence: Evidence, one: Curve) -> str:
    name = column_name(one.column, evidence.columns)
    return f"{name} ({one.name})" if one.name else name


def _formula(one: Fit) -> str:
    rise = abs(100 * one.b)
    bent = f"{rise:.3g}·x^{one.c:.2f}" if one.form == POWER else f"{rise:.1f}·(1 − exp(−x / {one.c:,.0f}))"
    return f"{100 * one.a:.1f} {'−' if one.b < 0 else '+'} {bent}"


def _percents(score: Estimate) -> str:
    return "–" if score.low is None else interval(score.low, score.high).replace("+", "")


def _told(one: Curve) -> str:
    first, last = one.points[0], one.points[-1]
    scores = [f"{100 * point.score.value:.1f} % with {point.examples:,}" for point in (first, last)]
    return ", ".join(scores)
