"""Scores of folders of predictions in XTREME's layout, as its evaluate.py gives them, of all of them or of some."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from xlmr_flax.errors import InputError, listed
from xlmr_flax.report.table import HIDDEN, NAMES
from xlmr_flax.report.xtreme import GROUPS, Official, Scored, xtreme


def score_folders(predictions: Path, labels: Path, *, version: str = "xtreme", sane: bool = False) -> dict[str, Any]:
    """Every task that both folders have, its languages and averages, and those of the groups; in percent.

    A language without a file on either side is named under `missing`, and its task has no average; a task without one
    leaves its group and the whole without one (null). A question or mention without a prediction scores 0.
    """
    known = xtreme(version, sane=sane)
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise InputError(f"{folder}: not a folder; wanted one with TASK/test-LANG files in XTREME's layout")
    problems: list[str] = []
    tasks = {
        name: _task(name, official, predictions, labels, problems)
        for name, official in known.items()
        if (predictions / name).is_dir() and (labels / name).is_dir()
    }
    if not tasks:
        raise InputError(
            f"{predictions} and {labels} have no task's folder in common; the tasks are {', '.join(known)}"
        )
    if problems:
        raise listed(problems)
    scores = {name: tasks[name]["score"] if name in tasks else None for name in known}
    groups = {group: _mean([scores[name] for name in names]) for group, names in GROUPS[version].items()}
    return {"version": version, "tasks": tasks, "groups": groups, "all": _mean(list(scores.values()))}


def print_scores(found: dict[str, Any], console: Console) -> None:
    """A line for each task and metric, for each group, and for all; what is missing is named."""
    table = Table(box=None, pad_edge=False)
    for column, justify in (("task", "left"), ("metric", "left"), ("average", "right"), ("languages", "left")):
        table.add_column(column, justify=justify, overflow="fold")
    for name, task in found["tasks"].items():
        shown = dict.fromkeys(metric for scores in task["langs"].values() for metric in scores if metric not in HIDDEN)
        for metric in shown:
            langs = "  ".join(f"{lang} {scores[metric]:.4f}" for lang, scores in task["langs"].items())
            table.add_row(name, NAMES.get(metric, metric), _cell(task["average"].get(metric)), langs)
    table.add_section()
    for name, score in (*found["groups"].items(), ("all tasks", found["all"])):
        table.add_row(name, "", _cell(score), "")
    console.print(table, highlight=False)
    for line in _notes(found):
        console.print(line, highlight=False, soft_wrap=True)


def _task(name: str, official: Official, predictions: Path, labels: Path, problems: list[str]) -> dict[str, Any]:
    scored, missing = {}, {}
    for lang in official.langs:
        file = f"{name}/test-{lang}.{official.suffix}"
        files = {"predictions": predictions / file, "labels": labels / file}
        if absent := [side for side, path in files.items() if not path.is_file()]:
            missing[lang] = absent
            continue
        try:
            scored[lang] = official.score(*files.values(), lang)
        except InputError as error:
            told = str(error)
            problems.append(
                told if any(str(path) in told for path in files.values()) else f"{predictions / file}: {told}"
            )
    average = {} if missing else _averages(name, scored)
    return {
        "score": _mean([average.get(metric) for metric in official.metrics]),
        "average": average,
        "langs": {lang: {metric: 100 * value for metric, value in one.scores.items()} for lang, one in scored.items()},
        "gold": {lang: one.gold for lang, one in scored.items()},
        "unanswered": {lang: one.unanswered for lang, one in scored.items() if one.unanswered},
        "missing": missing,
    }


def _averages(name: str, scored: dict[str, Scored]) -> dict[str, float]:
    """The mean over languages; in LAReQA over the questions of all of them, which share their candidates."""
    names = dict.fromkeys(metric for one in scored.values() for metric in one.scores)
    if name == "lareqa":
        count = sum(one.gold for one in scored.values())
        return {metric: 100 * sum(one.scores[metric] * one.gold for one in scored.values()) / count for metric in names}
    return {metric: fmean(100 * one.scores[metric] for one in scored.values()) for metric in names}


def _notes(found: dict[str, Any]) -> Sequence[str]:
    notes = []
    for name, task in found["tasks"].items():
        if task["missing"]:
            told = ", ".join(f"{lang} ({' and '.join(sides)})" for lang, sides in task["missing"].items())
            notes.append(f"{name}: no average, there is no file for {told}")
        if task["unanswered"]:
            told = ", ".join(f"{lang} {count} of {task['gold'][lang]}" for lang, count in task["unanswered"].items())
            notes.append(f"{name}: without a prediction, which scores 0: {told}")
    absent = [name for name in xtreme(found["version"]) if name not in found["tasks"]]
    if absent:
        notes.append(f"not in both folders: {', '.join(absent)}")
    return notes


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
