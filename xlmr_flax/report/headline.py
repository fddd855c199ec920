"""What a report says first: the effect, its interval and the number of seeds, in a sentence."""

from collections.abc import Sequence

from xlmr_flax.report.bootstrap import ENOUGH_SEEDS, EXAMPLES, SEEDS, SEEDS_AND_EXAMPLES
from xlmr_flax.report.cells import signed
from xlmr_flax.report.compare import Compared, target_name
from xlmr_flax.report.evidence import Evidence

_OVER = {
    SEEDS_AND_EXAMPLES: "hierarchical bootstrap over seeds and examples",
    SEEDS: "over seeds only: no scores of single examples were kept",
    EXAMPLES: "over examples only",
}


def headline(evidence: Evidence, compared: Sequence[Compared], chosen: str | None = None) -> list[str]:
    """The sentence on the arm that is furthest ahead of the baseline, and what must be said with it.

    `compared` are over one set of languages, under the protocol of selection `chosen` where there are several.
    """
    if not compared:
        seeds = {len(line.seeds) for line in evidence.lines}
        told = f"{min(seeds)}" if len(seeds) == 1 else f"{min(seeds)} to {max(seeds)}"
        return [
            f"{evidence.loaded.name}: one arm, so there is nothing to compare; its scores are over {told} "
            f"seed{'' if seeds == {1} else 's'}."
        ]
    averages = [one for one in compared if one.column is None] or list(compared)
    best = max(averages, key=lambda one: one.found.value if len(averages) > 1 else abs(one.found.value))
    under = f"Selection by {chosen}: " if chosen else ""
    return [*filter(None, (under + _effect(evidence, best), _among(averages, best), _caution(best)))]


def _effect(evidence: Evidence, one: Compared) -> str:
    what = target_name(one, evidence)
    value, moved = 100 * one.found.value, _moved(one)
    by = f" by {abs(value):.1f} points" if moved != "leaves" else " where it was (0.0 points)"
    seeds = f"{one.found.seeds} seed{'' if one.found.seeds == 1 else 's'}"
    scored = f"{len(one.langs)} {one.over}" if one.over.startswith(("all", "lang")) else one.over
    if one.found.low is None:
        return (
            f"{one.arm} {moved} {what} in {scored}{by} against {evidence.loaded.baselines[one.arm]}; there is no "
            f"interval: {seeds}, and no scores of single examples were kept."
        )
    bounds = f"{signed(one.found.low)} to {signed(one.found.high)}"
    return (
        f"{one.arm} {moved} {what} in {scored}{by} against {evidence.loaded.baselines[one.arm]} "
        f"(95 % interval of the difference {bounds}, {_OVER[one.found.drawn]}; {seeds})."
    )


def _moved(one: Compared) -> str:
    points = round(100 * one.found.value, 1)
    return "raises" if points > 0 else "lowers" if points < 0 else "leaves"


def _among(averages: Sequence[Compared], best: Compared) -> str:
    """That it was picked, and so looks better than it is."""
    several = len(averages)
    if several < 2:
        return ""
    lost = _moved(best) == "lowers"
    told = f"It is the smallest of {several} losses" if lost else f"It is the highest of {several} differences"
    if not any(one.found.tested for one in averages):
        return f"{told}, so it is more likely too {'small than too large' if lost else 'high than too low'}."
    real = [one for one in averages if one.excludes_zero]
    return (
        f"{told}; {len(real) or 'none'} of them "
        f"{'is' if len(real) == 1 else 'are'} told from zero after Holm's correction."
    )


def _caution(one: Compared) -> str:
    told = ""
    if one.found.seeds < ENOUGH_SEEDS:
        told = (
            f"{one.found.seeds} seed{'' if one.found.seeds == 1 else 's'} cannot carry a test "
            f"(it takes {ENOUGH_SEEDS}): whether the difference is real stays open."
        )
    elif not one.excludes_zero:
        told = "After correction for the number of comparisons the difference does not exclude zero."
    if one.degenerate:
        told += " Some of the runs behind it learnt nothing (*); the tables have the means without them."
    return told.strip()
