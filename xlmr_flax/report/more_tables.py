"""Averages as XTREME and XTREME-R have them, and groups of languages."""

from collections.abc import Sequence
from statistics import fmean

from xlmr_flax.report.cells import Cell, Table, percent, points, table, words
from xlmr_flax.report.evidence import TASK_NAMES, Column, Evidence, Line, column_name
from xlmr_flax.report.languages import CORPUS_SOURCE, FAMILY_SOURCE, SCRIPT_SOURCE, groups
from xlmr_flax.report.notes import SICK_MARK, name_under, selection_note
from xlmr_flax.report.xtreme import GROUPS, Official, xtreme

VERSIONS = {"xtreme": "XTREME", "xtreme-r": "XTREME-R"}
HEADINGS = {
    "family": ("family", FAMILY_SOURCE),
    "script": ("script", SCRIPT_SOURCE),
    "pretrained": ("XLM-R's pretraining", CORPUS_SOURCE),
    "size": ("size of XLM-R's pretraining text", CORPUS_SOURCE),
}


def benchmark(evidence: Evidence, version: str, chosen: str | None) -> Table | None:
    """A version's task scores, groups and average, of every arm; a task whose languages are not all there has none."""
    known, rows, missing = xtreme(version), [], {}
    for arm in evidence.loaded.arms:
        scored = {name: _official(evidence, arm, name, one, chosen, missing) for name, one in known.items()}
        if all(value is None for value in scored.values()):
            continue
        grouped = {name: _mean([scored[task] for task in tasks]) for name, tasks in GROUPS[version].items()}
        cells = [*scored.values(), *grouped.values(), _mean(list(scored.values()))]
        rows.append([words(arm), *map(percent, cells)])
    if not rows:
        return None
    heads = ("arm", *(TASK_NAMES.get(name, name) for name in known), *GROUPS[version], "all")
    lacking = "; ".join(f"{TASK_NAMES.get(name, name)} {' '.join(langs)}" for name, langs in missing.items())
    notes = [
        "In %, means over seeds, of each task over the benchmark's own languages; of questions the mean of F1 and "
        "exact match. A group or an average that lacks a task is left out.",
        f"Not scored, so that a task has no score: {lacking}." if lacking else "",
        selection_note(evidence, chosen),
    ]
    name = name_under(version.replace("-", "_"), chosen)
    return table(name, f"{VERSIONS[version]}'s averages", heads, rows, notes, wide=True)


def by_group(evidence: Evidence, grouping: str, chosen: str | None) -> Table | None:
    """The baseline's means over groups of languages other than English, and the arms' differences."""
    langs = list(dict.fromkeys(lang for line in evidence.lines for lang in line.others))
    found = groups(langs, grouping)
    if len(found) < 2:
        return None
    rows = []
    for column in evidence.columns:
        for arm in evidence.loaded.arms:
            line = evidence.line(arm, column, chosen)
            base = evidence.line(evidence.loaded.baselines.get(arm), column, chosen)
            if line is None:
                continue
            cells: list[Cell] = []
            for members in found.values():
                mine = [lang for lang in members if lang in line.others]
                shared = [lang for lang in mine if base and lang in base.others]
                if base is None or not shared:
                    cells.append(percent(_over(line, mine)))
                else:
                    cells.append(points(_over(line, shared) - _over(base, shared)))
            mark = SICK_MARK if line.degenerate else ""
            rows.append([words(column_name(column, evidence.columns)), words(f"{arm}{mark}"), *cells])
    heading, source = HEADINGS[grouping]
    members = "; ".join(f"{name}: {' '.join(mine)}" for name, mine in found.items())
    against = evidence.loaded.against if evidence.loaded.baselines else ""
    notes = [
        "Means over the languages of a group but English, and over seeds, in %"
        + (f"; with a sign differences from {against} in points." if against else "."),
        f"{members}.",
        f"Source: {source}.",
        selection_note(evidence, chosen),
    ]
    name = name_under(f"groups_{grouping}", chosen)
    return table(name, f"By {heading}", ("target", "arm", *found), rows, notes, head=2, wide=True)


def _official(
    evidence: Evidence, arm: str, name: str, official: Official, chosen: str | None, missing: dict[str, list[str]]
) -> float | None:
    """The mean over seeds of a task's score; what it lacks goes to `missing`, unless nothing of it is there."""
    metrics = []
    for metric in official.metrics:
        column = next((one for one in reversed(evidence.columns) if (one.task, one.metric) == (name, metric)), None)
        line = evidence.line(arm, column, chosen) if column else None
        if line is None:
            return None
        lacking = [lang for lang in official.langs if lang not in line.langs]
        if lacking:
            missing[name] = lacking
            return None
        metrics.append(_weighted(line, column, official.langs))
    return fmean(metrics)


def _weighted(line: Line, column: Column, langs: Sequence[str]) -> float:
    """LAReQA's languages share their candidates, so that its score is over all questions."""
    if column.task != "lareqa":
        return _over(line, langs)
    counts = [line.rows[line.seeds[0]][lang]["n_scored"] for lang in langs]
    return sum(count * float(line.scores(lang).mean()) for count, lang in zip(counts, langs, strict=True)) / sum(counts)


def _over(line: Line, langs: Sequence[str]) -> float | None:
    return line.average(langs) if langs else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None
