"""Run and study folders as one set of rows, with what the report needs to know of how they came about."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.report import recorded
from xlmr_flax.report.examples import Terms, read_terms
from xlmr_flax.report.results import ALSO, figures
from xlmr_flax.storage.forms import read

Row = dict[str, Any]
AGAIN = "run the experiment again, which writes it anew"
# How the text of a selection names its languages (execute/phase.py writes it), those of each task in brackets.
_SELECTED = re.compile(r"^best .+ \([^()]+\)(?:, step \d+)?$")
_ALL = re.compile(r"all \d+ languages")


class Run(NamedTuple):
    """One folder that was read: its results.json, its config.json, and the folder that it lies in."""

    folder: Path
    results: dict[str, Any]
    config: dict[str, Any]
    nodes: list[dict[str, str]]

    @property
    def name(self) -> str:
        """What its rows are called where several runs are reported together."""
        return self.results["experiment"]

    @property
    def study(self) -> dict[str, Any]:
        """What a study asks; empty for an experiment."""
        return self.results.get("study") or {}


class Loaded(NamedTuple):
    """Everything that is reported together."""

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]  # each with its `run`, the number of one, and its arm's name there
    baselines: Mapping[str, str]  # the arm that each arm is compared with; a baseline has none itself
    question: str

    @property
    def name(self) -> str:
        """The report's."""
        return " and ".join(dict.fromkeys(run.name for run in self.runs))

    @property
    def baseline(self) -> str | None:
        """The one arm that all others are compared with, if there is one."""
        found = set(self.baselines.values())
        return found.pop() if len(found) == 1 else None

    @property
    def against(self) -> str:
        """What differences are from, in words."""
        return self.baseline or "the baseline of each"

    @property
    def arms(self) -> list[str]:
        """In their order, each baseline before the arms that are compared with it."""
        arms = list(dict.fromkeys(row["arm"] for row in self.rows))
        bases = [self.baselines.get(arm, arm) for arm in arms]
        place = {base: number for number, base in enumerate(dict.fromkeys(bases))}
        return sorted(arms, key=lambda arm: (place[self.baselines.get(arm, arm)], arm in self.baselines))

    def axes_of(self, arm: str) -> dict[str, Any]:
        """An arm's point of the study, without what nothing depends on there."""
        row = next(row for row in self.rows if row["arm"] == arm)
        told = self.runs[row["run"]].study.get("arms", ())
        axes = next((one["axes"] for one in told if one["arm"] == row["own_arm"]), row.get("axes") or {})
        return {name: value for name, value in axes.items() if name != "seed"}


def load(folders: Sequence[Path]) -> Loaded:
    """The rows of these folders. Raises InputError for one that is no run, or that has no scores yet."""
    runs = tuple(_run(folder) for folder in folders)
    alike = len({_but_for_seeds(run) for run in runs}) == 1
    rows: dict[Any, Row] = {}
    for number, run in enumerate(runs):
        for row in run.results["rows"]:
            arm = row["arm"] if alike else f"{_called(run, runs)}: {row['arm']}".removesuffix(": ")
            new = {**row, "arm": arm, "run": number, "own_arm": row["arm"]}
            rows.setdefault(_place(new), new)
    if not rows:
        raise InputError(f"{', '.join(map(str, folders))}: no scores yet; run it to its end, and then report it")
    baselines = _baselines(list(rows.values()), runs, "" if alike else f"{_called(runs[0], runs)}: ")
    return Loaded(runs, tuple(rows.values()), baselines, runs[0].study.get("question", "table"))


def protocol(selection: str) -> str:
    """What checkpoints were selected on, in the words of a table: English, all languages, or nothing."""
    if not _SELECTED.match(selection):
        return "last step" if selection.startswith("last step") else selection or "not known"
    langs = list(dict.fromkeys(lang for each in re.findall(r"\(([^()]+)\)", selection) for lang in each.split(", ")))
    if any(map(_ALL.fullmatch, langs)):
        return "dev of all languages"
    return (
        "English dev" if langs == ["en"] else f"dev of {len(langs)} languages" if len(langs) > 1 else f"{langs[0]} dev"
    )


def perturbation(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """What was done to a row's texts, in words, and how strongly; None where they are as they were.

    The words are those of the row's setting, which also say into which languages and by which seed.
    """
    found = row.get("perturbation")
    if not found:
        return None
    strength, (_, told) = float(found["strength"]), clean_and_perturbed(row)
    return told.replace(f" {100 * strength:g} %", "") or found["kind"], strength


def clean_and_perturbed(row: Mapping[str, Any]) -> tuple[str, str]:
    """The words of a row's setting before those for its perturbation, and those; which model it was is no setting."""
    found = row.get("perturbation")
    clean, kind, rest = row["setting"].partition(found["kind"].replace("_", "-") if found else "\0")
    return ", ".join(each for each in clean.split(", ") if each not in ("", ALSO)), kind + rest


class Examples:
    """What examples scored, from the files beside scores.json; a row of an older run has none."""

    def __init__(self, loaded: Loaded) -> None:
        self.runs = loaded.runs
        self.files: dict[Any, dict[tuple[int, str], Terms]] = {}
        self.settings: dict[Any, list[str]] = {}

    def of(self, row: Row) -> Terms | None:
        """The terms of a row's score."""
        if not row.get("eval_key"):
            return None
        folder = self.runs[row["run"]].folder.parent / "evals" / f"{row['task']}-{row['eval_key']}"
        place = folder, row["lang"]
        if place not in self.files:
            self.files[place] = read_terms(folder / "examples" / f"{row['lang']}.npz")
            self.settings[place] = _settings(folder, row["lang"]) if self.files[place] else []
        told = self.settings[place]
        fits = [number for number, one in enumerate(told) if _begins(row["setting"], one)]
        best = max(fits, key=lambda number: len(told[number]), default=0)
        return self.files[place].get((best, row["metric"]))


def _begins(setting: str, told: str) -> bool:
    """Whether a row's setting is that of a sweep, with what else the row says after it."""
    return not told or setting == told or setting.startswith(f"{told}, ")


def _settings(folder: Path, lang: str) -> list[str]:
    path = folder / "scores.json"
    scored = read(path, recorded.Scores, {"langs": {}}, "remove the folder and run the experiment again")["langs"]
    return list(dict.fromkeys(told for told, _, _ in figures(scored[lang]))) if lang in scored else []


def _baselines(rows: Sequence[Row], runs: Sequence[Run], prefix: str) -> dict[str, str]:
    """By arm: what the study says, or else the first run's baseline for all, or else the first arm."""
    arms, first = list(dict.fromkeys(row["arm"] for row in rows)), runs[0]
    told = {one["arm"]: one.get("baseline") for one in first.study.get("arms", ())}
    if any(told.values()):
        pairs = {f"{prefix}{arm}": f"{prefix}{base}" for arm, base in told.items() if base}
        return {arm: base for arm, base in pairs.items() if arm != base and {arm, base} <= set(arms)}
    base = first.study.get("baseline") or _least_skipped(first.config)
    base = f"{prefix}{base}" if base and f"{prefix}{base}" in arms else arms[0]
    return {arm: base for arm in arms if arm != base}


def _run(folder: Path) -> Run:
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: has no results.json; wanted the folder of a run or of a study, the last line that run prints"
        )
    return Run(
        folder,
        read(path, recorded.Results, None, AGAIN),
        read(folder / "config.json", recorded.Config, {}, AGAIN),
        read(folder / "nodes.json", recorded.Nodes, [], AGAIN),
    )


def _but_for_seeds(run: Run) -> str:
    """What two runs have in common that differ in nothing but their seeds."""
    return json.dumps({"name": run.name, **{k: v for k, v in run.config.items() if k != "seed"}}, sort_keys=True)


def _called(run: Run, runs: Sequence[Run]) -> str:
    """A run's name, with its fingerprint where another has the same."""
    names = [one.name for one in runs]
    return run.name if names.count(run.name) == 1 else f"{run.name}-{run.results.get('fingerprint', run.folder.name)}"


def _place(row: Row) -> tuple[Any, ...]:
    """What makes two rows the same one; a run that is named twice counts once."""
    told = (row[name] for name in ("arm", "asked_phase", "task", "setting", "lang", "metric", "seed", "selection"))
    return (*told, perturbation(row), str(row.get("axes")))


def _least_skipped(config: Mapping[str, Any]) -> str | None:
    """Of an experiment's arms the one that leaves out least, and something: what the whole is compared with."""
    skipping = [arm for arm in config.get("arms", ()) if arm.get("skip")]
    return min(skipping, key=lambda arm: len(arm["skip"]))["name"] if skipping else None
