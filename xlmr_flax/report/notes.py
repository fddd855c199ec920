"""What must be said beside tables: how weights were selected, what few seeds cannot do, which runs learnt nothing."""

from collections.abc import Iterable, Sequence

from xlmr_flax.report.bootstrap import ENOUGH_SEEDS, EXAMPLES, NOTHING, SEEDS
from xlmr_flax.report.cells import slug
from xlmr_flax.report.compare import Compared
from xlmr_flax.report.evidence import Evidence, Line, column_name

UNSURE = "°"  # after a difference that is not told from none
SICK_MARK = "*"
Found = Sequence[Compared]


def selection_note(evidence: Evidence, chosen: str | None, lines: Iterable[Line] | None = None) -> str:
    """How the weights behind a table were selected."""
    if lines is None:
        every = (evidence.line(arm, column, chosen) for arm in evidence.loaded.arms for column in evidence.columns)
        lines = [line for line in every if line]
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        found.setdefault(line.protocol, {})[line.column.asked_phase] = None
    told = "; ".join(f"{how} ({', '.join(phases)})" if len(found) > 1 else how for how, phases in found.items())
    return f"Selection: {told}." if told else ""


def name_under(name: str, chosen: str | None) -> str:
    """What a table's files are called: with its protocol of selection where there are several."""
    return f"{name}_{slug(chosen)}" if chosen else name


def seeds_note(compared: Found) -> str:
    """That few seeds carry no test."""
    few = {one.found.seeds for one in compared if one.found.seeds < ENOUGH_SEEDS}
    if not few:
        return ""
    many = f"{min(few)}" if len(few) == 1 else f"{min(few)} to {max(few)}"
    plural = "" if few == {1} else "s"
    return (
        f"With {many} seed{plural} here (fewer than {ENOUGH_SEEDS}), seeds cannot carry a test: intervals are shown "
        "for what they are, and no difference is called real or not."
    )


def drawn_note(compared: Found) -> str:
    """What intervals could not be over."""
    kinds = {one.found.drawn for one in compared}
    told = []
    if SEEDS in kinds:
        told.append("Where the interval is over seeds only, the runs kept no scores of single examples (older runs "
                    "have none; score them again to have them).")  # fmt: skip
    if EXAMPLES in kinds:
        told.append("Where it is over examples only there is one seed, and how much training varies is not in it.")
    if NOTHING in kinds:
        told.append("Where there is none, there is one seed and no scores of single examples: nothing can be drawn.")
    return " ".join(told)


def test_note(compared: Found, over: str) -> str:
    """What the mark of an unsure difference means, or why there is none."""
    if not compared:
        return ""
    mine = [one for one in compared if one.over == over or over == "each language"]
    several = max((one.comparisons for one in mine), default=0)
    if not several:
        return seeds_note(compared)
    marked = any(one.excludes_zero is False for one in mine)
    return f"{UNSURE} zero is not excluded, after Holm's correction over {several} comparisons." if marked else ""


def sick_note(evidence: Evidence, chosen: str | None) -> str:
    """Which runs the stars are for."""
    told = [
        f"{line.arm} on {column_name(column, evidence.columns)}, seed {', '.join(map(str, line.degenerate))}"
        for column in evidence.columns
        for arm in evidence.loaded.arms
        if (line := evidence.line(arm, column, chosen)) and line.degenerate
    ]
    return f"{SICK_MARK} takes in runs that learnt nothing: {'; '.join(told)}." if told else ""
