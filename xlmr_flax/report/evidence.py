"""The rows of a report as lines: one arm's scores of one thing, by seed and language; and what can be said of them."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.report.bootstrap import Draws, Sample, mean_of
from xlmr_flax.report.chance import AT_CHANCE, COLLAPSED, is_sick
from xlmr_flax.report.examples import drawn
from xlmr_flax.report.load import Examples, Loaded, Row, clean_and_perturbed, perturbation, protocol
from xlmr_flax.report.table import HIDDEN, NAMES
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.tasks.catalogue import TASKS

TASK_NAMES = {
    "anli": "ANLI", "anli_plus": "ANLI+", "bucc2018": "BUCC", "ccg": "CCG", "commonsenseqa": "CommonsenseQA",
    "copa": "COPA", "cosmosqa": "Cosmos QA", "hellaswag": "HellaSwag", "hellaswag_translated": "HellaSwag, translated",
    "lareqa": "LAReQA", "mewslix": "Mewsli-X", "mlqa": "MLQA", "mnli": "MNLI", "panx": "NER (PAN-X)",
    "pawsx": "PAWS-X", "qqp": "QQP", "snli": "SNLI", "socialiqa": "Social IQA", "squad": "SQuAD",
    "squad_v2": "SQuAD 2", "tatoeba": "Tatoeba", "tydiqa": "TyDiQA", "udpos": "POS (UD)", "xcopa": "XCOPA",
    "xnli": "XNLI", "xquad": "XQuAD",
}  # fmt: skip
Perturbed = tuple[str, float]


class Column(NamedTuple):
    """What arms are compared in."""

    task: str
    asked_phase: str
    setting: str
    metric: str


class Line:
    """One arm in one column, under one protocol of selection: its rows by seed and language."""

    def __init__(self, arm: str, column: Column, chosen: str, perturbed: Perturbed | None) -> None:
        self.arm, self.column, self.protocol, self.perturbed = arm, column, chosen, perturbed
        self.rows: dict[int | None, dict[str, Row]] = {}

    @property
    def langs(self) -> list[str]:
        """Those that every seed has, English first."""
        common = set.intersection(*(set(rows) for rows in self.rows.values()))
        order = dict.fromkeys(lang for rows in self.rows.values() for lang in rows)
        return sorted((lang for lang in order if lang in common), key=lambda lang: lang != "en")

    @property
    def others(self) -> list[str]:
        """All but English."""
        return [lang for lang in self.langs if lang != "en"]

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """In order."""
        return tuple(sorted(self.rows, key=lambda seed: (seed is None, seed)))

    @cached_property
    def degenerate(self) -> tuple[int | None, ...]:
        """The seeds whose run learnt nothing; a language at chance in a run that learnt English is not one."""
        return tuple(seed for seed in self.seeds if _learnt_nothing(self.rows[seed]))

    @property
    def runs(self) -> tuple[int | None, ...]:
        """A seed of each run: one of what no seed changes."""
        first, *others = self.seeds
        return self.seeds if any(self.rows[seed] != self.rows[first] for seed in others) else (first,)

    def scores(self, lang: str) -> np.ndarray:
        """By seed."""
        return np.array([self.rows[seed][lang]["score"] for seed in self.seeds])

    def average(self, langs: Sequence[str]) -> float:
        """Over languages and seeds."""
        return float(np.mean([self.mean(langs, seed) for seed in self.seeds]))

    def mean(self, langs: Sequence[str], seed: int | None) -> float:
        """Of one run over languages."""
        return float(np.mean([self.rows[seed][lang]["score"] for lang in langs]))


class Evidence:
    """All lines, and samples of them whose examples are drawn once and for all tables."""

    def __init__(self, loaded: Loaded, draws: int) -> None:
        self.loaded, self.examples, self.n_draws = loaded, Examples(loaded), draws
        self.lines = list(_lines(loaded.rows))
        self.draws: dict[str, Draws] = {}
        self.samples: dict[Any, Sample] = {}

    @cached_property
    def columns(self) -> list[Column]:
        """The headline metrics of each task; of a sweep the first setting, which stands for all."""
        found: dict[tuple[str, str], list[Column]] = {}
        for line in self.lines:
            if line.perturbed is None and line.column.metric in headline_metrics(line.column.task, self.metrics_of):
                mine = found.setdefault((line.column.task, line.column.asked_phase), [])
                if line.column not in mine and (not mine or mine[0].setting == line.column.setting):
                    mine.append(line.column)
        return [column for columns in found.values() for column in columns]

    @cached_property
    def other_columns(self) -> list[Column]:
        """What was scored besides: a task's other metrics, in the setting that stands for all."""
        settings = {(column.task, column.asked_phase): column.setting for column in self.columns}
        every = dict.fromkeys(line.column for line in self.lines if line.perturbed is None)
        return [
            column
            for column in every
            if column not in self.columns and settings.get((column.task, column.asked_phase)) == column.setting
        ]

    @cached_property
    def metrics_of(self) -> dict[str, list[str]]:
        """The metrics that the rows of each task have."""
        found: dict[str, list[str]] = {}
        for line in self.lines:
            found.setdefault(line.column.task, []).append(line.column.metric)
        return {task: list(dict.fromkeys(metrics)) for task, metrics in found.items()}

    @cached_property
    def protocols(self) -> list[str | None]:
        """The protocols of selection that some arm was scored under side by side; [None] where none was."""
        seen: dict[Any, list[str]] = {}
        for line in self.lines:
            seen.setdefault((line.arm, line.column, line.perturbed), []).append(line.protocol)
        several = dict.fromkeys(one for found in seen.values() if len(found) > 1 for one in found)
        return list(several) or [None]

    def line(
        self, arm: str | None, column: Column, chosen: str | None = None, perturbed: Perturbed | None = None
    ) -> Line | None:
        """An arm's line, under a protocol where there are several."""
        found = [one for one in self.lines if (one.arm, one.column, one.perturbed) == (arm, column, perturbed)]
        return next((one for one in found if one.protocol == chosen), found[0] if len(found) == 1 else None)

    def sample(self, line: Line, langs: Iterable[str]) -> Sample:
        """The mean over languages, by seed and draw."""
        return mean_of([self._sample(line, lang) for lang in langs])

    def _sample(self, line: Line, lang: str) -> Sample:
        place = id(line), lang
        if place not in self.samples:
            terms = [self.examples.of(line.rows[seed][lang]) for seed in line.seeds]
            sizes = {None if one is None else one.above_TN.shape[1] for one in terms}
            drawn_BS = None
            if len(sizes) == 1 and None not in sizes:
                draws = self.draws.setdefault(line.column.task, Draws(line.column.task, self.n_draws))
                times_BN = draws.of(sizes.pop())
                drawn_BS = np.stack([drawn(one, times_BN) for one in terms], axis=1)
            self.samples[place] = Sample(line.seeds, line.scores(lang), drawn_BS)
        return self.samples[place]


def headline_metrics(task: str, known: dict[str, list[str]]) -> tuple[str, ...]:
    """What a task's score is: XTREME's, or else the task's own, or else the first that its rows have."""
    official = {**xtreme("xtreme"), **xtreme("xtreme-r")}
    if task in official:
        return official[task].metrics
    if task in TASKS and TASKS[task].metric in known[task]:
        return (TASKS[task].metric,)
    return (known[task][0],)


def column_name(column: Column, columns: Sequence[Column]) -> str:
    """`XQuAD F1`; with the phase that was asked where a task was scored after several."""
    name = TASK_NAMES.get(column.task, column.task)
    columns = columns if column in columns else [*columns, column]
    if len({one.asked_phase for one in columns if one.task == column.task}) > 1:
        name += f" after {column.asked_phase}"
    alone = len([one for one in columns if one[:2] == column[:2]]) == 1
    return name if alone and column.metric == "accuracy" else f"{name} {NAMES.get(column.metric, column.metric)}"


def _lines(rows: Sequence[Row]) -> Iterable[Line]:
    """What no seed of a study changes, such as retrieval by the pretrained weights, holds for each of its seeds."""
    found: dict[Any, Line] = {}
    seeds = dict.fromkeys(row["seed"] for row in rows if (row.get("axes") or {}).get("seed") is not None)
    for row in rows:
        if row["metric"] in HIDDEN:
            continue
        column = Column(row["task"], row["asked_phase"], clean_and_perturbed(row)[0], row["metric"])
        key = row["arm"], column, protocol(row["selection"]), perturbation(row)
        line = found.setdefault(key, Line(*key))
        of_all = seeds and (row.get("axes") or {"seed": row["seed"]}).get("seed", 0) is None
        for seed in seeds if of_all else [row["seed"]]:
            line.rows.setdefault(seed, {})[row["lang"]] = row
    return found.values()


def _learnt_nothing(rows: dict[str, Row]) -> bool:
    """Training that failed; or English, where it is scored, or else every language, at chance."""
    flags = [flag for row in rows.values() for flag in row["flags"]]
    if is_sick([flag for flag in flags if not flag.startswith((AT_CHANCE, COLLAPSED))]):
        return True
    asked = [rows["en"]] if "en" in rows else list(rows.values())
    return all(is_sick(row["flags"]) for row in asked)
