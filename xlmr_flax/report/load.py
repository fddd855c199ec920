"""Run and study folders as one set of rows, with what the report needs to know of how they came about."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.report.examples import Terms, read_terms
from xlmr_flax.report.results import figures

Row = dict[str, Any]
QUESTIONS = ("table", "size", "scale", "robustness")
# How the text of a selection names its languages (execute/phase.py writes it).
_SELECTED = re.compile(r"^best .+ \((?P<langs>[^()]+)\)(?:, step \d+)?$")


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
    rows: tuple[Row, ...]  # each with its `run`, the number of one of them
    baseline: str | None  # an arm
    question: str

    @property
    def name(self) -> str:
        """The report's."""
        return " and ".join(dict.fromkeys(run.name for run in self.runs))

    @property
    def arms(self) -> list[str]:
        """In their order, the baseline first."""
        arms = list(dict.fromkeys(row["arm"] for row in self.rows))
        return sorted(arms, key=lambda arm: arm != self.baseline)


def load(folders: Sequence[Path]) -> Loaded:
    """The rows of these folders. Raises InputError for one that is no run, or that has no scores yet."""
    runs = tuple(_run(folder) for folder in folders)
    alike = len({_but_for_seeds(run) for run in runs}) == 1
    rows: dict[Any, Row] = {}
    for number, run in enumerate(runs):
        for row in run.results["rows"]:
            arm = row["arm"] if alike else f"{_called(run, runs)}: {row['arm']}".removesuffix(": ")
            new = {**row, "arm": arm, "run": number}
            rows.setdefault(_place(new), new)
    if not rows:
        raise InputError(f"{', '.join(map(str, folders))}: no scores yet; run it to its end, and then report it")
    first = runs[0]
    baseline = first.study.get("baseline") or _least_skipped(first.config)
    if not alike and baseline is not None:
        baseline = f"{_called(first, runs)}: {baseline}".removesuffix(": ")
    known = list(dict.fromkeys(row["arm"] for row in rows.values()))
    return Loaded(
        runs,
        tuple(rows.values()),
        baseline if baseline in known else known[0] if len(known) > 1 else None,
        first.study.get("question", "table"),
    )


def protocol(selection: str) -> str:
    """What checkpoints were selected on, in the words of a table: English, all languages, or nothing."""
    found = _SELECTED.match(selection)
    if not found:
        return "last step" if selection.startswith("last step") else selection or "not known"
    langs = found["langs"].split(", ")
    return (
        "English dev" if langs == ["en"] else f"dev of {len(langs)} languages" if len(langs) > 1 else f"{langs[0]} dev"
    )


def perturbation(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """The kind and strength of what was done to a row's texts; None where they are as they were."""
    found = row.get("perturbation")
    return (found["kind"], float(found["strength"])) if found else None


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
    scored = _json(path)["langs"].get(lang, {}) if path.is_file() else {}
    return list(dict.fromkeys(told for told, _, _ in figures(scored))) if scored else []


def _run(folder: Path) -> Run:
    path = folder / "results.json"
    if not path.is_file():
        raise InputError(
            f"{folder}: has no results.json; wanted the folder of a run or of a study, the last line that run prints"
        )
    results = _json(path)
    if not isinstance(results, dict) or not isinstance(results.get("rows"), list) or "experiment" not in results:
        raise InputError(f"{path}: not the results of a run (an object with experiment and rows); run it again")
    asked = (results.get("study") or {}).get("question", "table")
    if asked not in QUESTIONS:
        raise InputError(f"{path}: study.question is {asked!r}, wanted one of {', '.join(QUESTIONS)}")
    parts = [_json(folder / name) if (folder / name).is_file() else none for name, none in _BESIDE]
    return Run(folder, results, *parts)


_BESIDE = (("config.json", {}), ("nodes.json", []))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); run the experiment again, which writes it anew") from error


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
