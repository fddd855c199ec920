"""The table that a run prints: languages across, one line for each arm and metric."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from xlmr_flax.report.chance import SICK, is_sick
from xlmr_flax.report.results import ONE_LINE

Row = dict[str, Any]
# In results.json, not in the table.
HIDDEN = (
    "precision", "recall", "has_answer_f1", "has_answer_exact_match", "no_answer_f1", "no_answer_exact_match",
)  # fmt: skip
# And of these tasks, whose headline is accuracy.
HIDDEN_OF = (("pawsx", "f1"), ("pawsx", "macro_f1"), ("pawsx_translate", "f1"), ("pawsx_translate", "macro_f1"))
RELEASES = ("scored on ", "trained on ")  # begin the flags that name a release
NAMES = {
    "accuracy_and_f1": "mean of accuracy and F1",
    "accuracy_centred": "accuracy, centred",
    "best_exact_match": "exact match, best threshold",
    "best_f1": "F1, best threshold",
    "exact_match": "exact match",
    "exact_match_sane": "exact match, sane",
    "f1": "F1",
    "f1_sane": "F1, sane",
    "macro_f1": "macro F1",
    "map@20": "mAP@20",
    "mrr@20": "MRR@20",
    "token_accuracy": "token accuracy",
}


def print_results(results: dict[str, Any], console: Console) -> None:
    """A table for each task, what the arms differ by, and what must be known beside the figures."""
    rows = [row for row in results["rows"] if not _hidden(row)]
    summary = [entry for entry in results["summary"] if not _hidden(entry)]
    for name in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == name]
        console.print(_table(name, mine, [entry for entry in summary if entry["task"] == name]))
    differences = list(_differences(summary, _baselines(results.get("study", {}))))
    if differences:
        console.print("Differences between arms, in points (English · mean of the other languages)")
        for line in differences:
            console.print(f"  {line}", highlight=False)
    for line in _notes(rows):
        console.print(line, highlight=False)


def _hidden(row: Row) -> bool:
    return row["metric"] in HIDDEN or (row["task"], row["metric"]) in HIDDEN_OF


def print_unscored(unscored: Sequence[Row], console: Console) -> None:
    """A line for each task whose labels are hidden in some languages: what was predicted there, and not scored."""
    for name in dict.fromkeys(row["task"] for row in unscored):
        told = ", ".join(f"{row['lang']} ({row['predicted']:,})" for row in unscored if row["task"] == name)
        console.print(f"{name}: labels hidden, predicted and not scored: {told}", highlight=False)


def _table(name: str, rows: Sequence[Row], summary: Sequence[Row]) -> Table:
    langs = sorted(dict.fromkeys(row["lang"] for row in rows), key=lambda lang: (lang != "en",))
    settings = dict.fromkeys(entry["setting"] for entry in summary)
    common = f" ({settings.popitem()[0]})" if len(settings) == 1 and any(settings) else ""
    table = Table(title=f"{name}, in %{common}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("arm", "phase", "metric"):
        table.add_column(column, no_wrap=True)
    for column in (*langs, "others", "gap"):
        table.add_column(column, justify="right", no_wrap=True)
    for entry in summary:
        by_lang = {row["lang"]: row for row in rows if _same(row, entry)}
        cells = [_score(by_lang[lang]) if lang in by_lang else "" for lang in langs]
        metric = _metric(entry) if not common else NAMES.get(entry["metric"], entry["metric"])
        table.add_row(entry["arm"], entry["phase"], metric, *cells, _others(entry), _percent(entry["gap"]))
    counts = {row["lang"]: f"{row['n_scored']:,}" for row in rows}
    table.add_section()
    table.add_row("examples", "", "", *(counts[lang] for lang in langs), "", "", style="dim")
    return table


def _baselines(study: Row) -> set[str]:
    """What a study compares with: one arm, or several that differ in their model."""
    return {name for name in (study.get("baseline"), *(arm["baseline"] for arm in study.get("arms", ()))) if name}


def _differences(summary: Iterable[Row], baselines: set[str]) -> Iterable[str]:
    """Of the first arm less each other; where the first is what a study compares with, of each other less it."""
    for entry in summary:
        if entry["first_arm"] is not None:
            arms, sign = (entry["first_arm"], entry["arm"]), 1
            if arms[0] in baselines:
                arms, sign = arms[::-1], -1
            figures = " · ".join(
                "–" if entry[name] is None else f"{100 * sign * entry[name]:+.1f}"
                for name in ("first_arm_ahead_english", "first_arm_ahead_mean_of_others")
            )
            told = " *" if entry["flagged"] or entry["first_arm_flagged"] else ""
            yield f"{entry['task']} {_metric(entry)}: {' − '.join(arms)}: {figures}{told}"


def _metric(entry: Row) -> str:
    name = NAMES.get(entry["metric"], entry["metric"])
    return f"{name} ({entry['setting']})" if entry["setting"] else name


def _notes(rows: Sequence[Row]) -> Iterable[str]:
    if not rows:
        yield "no scores yet"
        return
    yield from _sick_notes(rows)
    selections = dict.fromkeys((row["phase"], row["selection"].split(", step")[0]) for row in rows)
    for phase, selection in selections:
        if selection:
            picked = "the " if selection.startswith("mean of ") else "selected as "
            chosen = {"last step": "weights of the ", "untrained": ""}.get(selection, picked)
            yield f"{phase}: {chosen}{selection}"
    seeds = ", ".join(str(seed) for seed in dict.fromkeys(row["seed"] for row in rows) if seed is not None)
    several = dict.fromkeys(tuple(row["seeds"]) for row in rows if len(row.get("seeds", ())) > 1)
    told = "".join(f"medians of the seeds {', '.join(map(str, group))}; " for group in several)
    yield told + (f"seed {seeds}; " if seeds else "") + "others: the mean over all languages but English"
    seen = sorted({row["task"] for row in rows if "transductive" in row["flags"]})
    if seen:
        yield f"transductive: masked LM saw the texts (not the labels) that are scored for {', '.join(seen)}"
    for flag in dict.fromkeys(flag for row in rows for flag in row["flags"] if flag.startswith("split ")):
        tasks = sorted({row["task"] for row in rows if flag in row["flags"]})
        yield f"{', '.join(tasks)}: scored on the {flag} only"
    for flag in dict.fromkeys(flag for row in rows for flag in row["flags"] if flag.startswith("trained in ")):
        phases = sorted({row["phase"] for row in rows if flag in row["flags"]})
        yield f"{', '.join(phases)}: {flag}"
    lost = {row["task"]: None for row in rows if row["n_scored"] < row["n_dataset"]}
    for name in lost:
        told = {row["lang"]: row["n_dataset"] - row["n_scored"] for row in rows if row["task"] == name}
        yield f"{name}: rows left out: " + ", ".join(f"{count:,} in {lang}" for lang, count in told.items() if count)
    for flag in dict.fromkeys(flag for row in rows for flag in row["flags"] if flag.startswith(RELEASES)):
        tasks = sorted({row["task"] for row in rows if flag in row["flags"]})
        yield f"{', '.join(tasks)}: {flag}, not the source that the task names first"


def _sick_notes(rows: Sequence[Row]) -> Iterable[str]:
    """What the stars mean, and what else must be known of how phases were trained."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for row in rows:
        for flag in (flag for flag in row["flags"] if flag.startswith(SICK)):
            found.setdefault((row["task"], row["arm"], row["phase"], flag), {})[row["lang"]] = None
    if found:
        yield "* nothing learnt, or nothing that transfers; in brackets the mean over the others without these"
    for (task, arm, phase, flag), langs in found.items():
        yield f"* {', '.join(filter(None, (task, arm, phase)))}: {flag}: {', '.join(langs)}"
    for flag in dict.fromkeys(flag for row in rows for flag in row["flags"] if _of_training(flag)):
        yield f"{', '.join(dict.fromkeys(row['phase'] for row in rows if flag in row['flags']))}: {flag}"


def _of_training(flag: str) -> bool:
    return flag.startswith("retried with seed ") or flag.endswith(" steps skipped, not finite")


def _score(row: Row) -> str:
    return _percent(row["score"]) + "*" * is_sick(row["flags"])


def _others(entry: Row) -> str:
    """The mean, and beside it the one without flagged languages where they are others."""
    mean, without = entry["mean_of_others"], entry["mean_of_others_without_flagged"]
    if mean == without:
        return _percent(mean)
    return f"{_percent(mean)} ({_percent(without) or '–'})"


def _same(row: Row, entry: Row) -> bool:
    return all(row[name] == entry[name] for name in ONE_LINE)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
