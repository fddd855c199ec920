"""Scores of sentence vectors: Tatoeba's translations found by cosine, BUCC's mined by margin, for a sweep of settings.

Sentences are encoded once for all layers and poolings of an evaluation; their vectors lie in mapped files meanwhile.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.config.schema import Evaluation
from xlmr_flax.data.load import load_sentences
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.retrieval import (
    Setting,
    centred,
    embed,
    mined_scores,
    nearest,
    repeated,
    sides,
    unique,
)
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.trained import Subject, check_length
from xlmr_flax.metrics.bucc import best_threshold, mined
from xlmr_flax.report.examples import Terms, terms_of
from xlmr_flax.sources.rows import Aligned, Mined, Row
from xlmr_flax.tasks.files import hidden, rows
from xlmr_flax.tasks.fingerprints import fingerprints
from xlmr_flax.tasks.task import gold, scores
from xlmr_flax.train import processes

# What scores must say of special tokens, since published figures differ by it.
SPECIAL_TOKENS = {"mean": "the mean counts <s> and </s>", "cls": "<s> alone"}

Vectors = dict[Setting, np.ndarray]


class Found(NamedTuple):
    """What one setting finds: predictions as the task's file has them, scores where gold is known, and what to say.

    `terms` are what the scores are made of.
    """

    predicted: list[Any]
    scores: dict[str, float]
    more: dict[str, Any]
    terms: dict[str, Terms]


class Retrieved(NamedTuple):
    """What every setting of an evaluation finds, in their order, for how many sentences, and what was counted."""

    by_setting: dict[Setting, Found]
    queries: int
    counts: dict[str, int]

    @property
    def told(self) -> list[dict[str, Any]]:
        """The settings as scores.json has them."""
        return [
            setting._asdict() | {"special_tokens": SPECIAL_TOKENS[setting.pooling], "scores": one.scores} | one.more
            for setting, one in self.by_setting.items()
        ]


def settings(evaluation: Evaluation, last: int) -> list[Setting]:
    """Every layer with every pooling. Raises InputError for a layer that a model of `last` layers does not have."""
    layers = (last // 2,) if evaluation.layers is None else evaluation.layers
    layers = tuple(range(last + 1)) if layers == "all" else layers
    if outside := [layer for layer in layers if layer > last]:
        raise InputError(f"layers={outside}: the model has hidden states 0 … {last}")
    return [Setting(layer, pooling) for layer in layers for pooling in evaluation.poolings]


def retrieve(subject: Subject, lang: str, found: Sequence[Row], folder: Path, context: Context) -> Retrieved:
    """The predictions and scores in one language; vectors lie in the folder until it is done."""
    way = _aligned if isinstance(found[0], Aligned) else _mined if subject.select else _sorted
    folder = processes.own(folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        return way(subject, lang, found, _Encoder(subject, lang, folder, context))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Encoder:
    """Gives the vectors of sentences in every setting, and counts what it cut."""

    def __init__(self, subject: Subject, lang: str, folder: Path, context: Context) -> None:
        arch, evaluation = subject.trained.model.arch, subject.evaluation
        self.subject, self.lang, self.folder, self.context = subject, lang, folder, context
        self.settings = settings(evaluation, arch.num_hidden_layers)
        self.length = evaluation.length or subject.trained.length
        self.truncated = 0
        check_length(arch, self.length, field="evaluation length")

    def vectors(self, spec: str, side: str, sentences: list[str]) -> Vectors:
        """The vectors of one side of a split."""
        subject, context = self.subject, self.context
        key = {"task": subject.task.name, "split": spec, "lang": self.lang, "side": side, "sentences": len(sentences)}
        key["files"] = sorted(fingerprints(subject.task, spec, self.lang, subject.data).items())
        with processes.in_turn(f"encoding {subject.task.name} {spec} {self.lang} {side}"):
            examples = load_sentences(
                sentences, key=key, tokenizer=subject.trained.tokenizer, length=self.length, cache=context.folders.cache
            )
        self.truncated += examples.encoded.counts["truncated"]
        return embed(
            subject.trained.model,
            subject.trained.params,
            examples,
            settings=self.settings,
            mesh=context.mesh,
            batch_size=subject.evaluation.batch_size,
            folder=self.folder / f"{spec}-{side}",
            packing=subject.evaluation.packing,
        )

    def each(self, find: Callable[[Setting], Found], queries: int, counts: dict[str, int]) -> Retrieved:
        """What all settings find."""
        by_setting = {setting: find(setting) for setting in self.settings}
        return Retrieved(by_setting, queries, {"truncated": self.truncated} | counts)


def _aligned(subject: Subject, lang: str, found: Sequence[Aligned], encoder: _Encoder) -> Retrieved:
    """Sentences whose translation is the row's other one: a prediction is the number of a row."""
    foreign = encoder.vectors(subject.split, "source", [row.source for row in found])
    english = encoder.vectors(subject.split, "target", [row.target for row in found])
    wanted, mesh = [gold(subject.task, row) for row in found], encoder.context.mesh

    def scored(best: np.ndarray) -> tuple[dict[str, float], dict[str, Terms]]:
        ids = [found[number].id for number in best]
        shown = scores(subject.task, wanted, ids, lang)
        return shown, terms_of(subject.task, wanted, ids, shown, lang)

    def find(setting: Setting) -> Found:
        x_ND, y_ND = foreign[setting], english[setting]
        raw = nearest(y_ND, x_ND, mesh=mesh)
        shown, terms = scored(raw)
        without_mean = scored(nearest(centred(y_ND), centred(x_ND), mesh=mesh))
        for values, more in zip((shown, terms), without_mean, strict=True):
            values |= {f"{name}_centred": value for name, value in more.items()}
        return Found(raw.tolist(), shown, {}, terms)

    # Which of two equal English sentences is the translation is nothing that a model could know.
    doubled = len(found) - len({row.target.strip() for row in found})
    return encoder.each(find, len(found), {"repeated_english": doubled})


def _sorted(subject: Subject, lang: str, found: Sequence[Mined], encoder: _Encoder) -> Retrieved:
    """Sentences whose translation is hidden: a prediction for each of the target side is a number of the source's."""
    sources, targets = sides(found)
    foreign = encoder.vectors(subject.split, "source", [row.text for row in sources])
    english = encoder.vectors(subject.split, "target", [row.text for row in targets])

    def find(setting: Setting) -> Found:
        best = nearest(english[setting], foreign[setting], mesh=encoder.context.mesh)
        return Found(best.tolist(), {}, {}, {})

    doubled = len(targets) - len({row.text.strip() for row in targets})
    return encoder.each(find, len(targets), {"repeated_english": doubled})


def _mined(subject: Subject, lang: str, found: Sequence[Mined], encoder: _Encoder) -> Retrieved:
    """Pairs of ids whose margin reaches the threshold that is best on the gold pairs of the split to select on."""
    select = subject.select or ""
    known = rows(subject.task, select, lang, subject.data)
    wanted = {pair for row in known for pair in gold(subject.task, row)}
    parts = {
        (spec, side): encoder.vectors(spec, side, unique(own))
        for spec, corpus in ((select, known), (subject.split, found))
        for side, own in zip(("source", "target"), sides(corpus), strict=True)
    }
    unscored = hidden(subject.task, subject.split, found)

    def margins(spec: str, corpus: Sequence[Mined], setting: Setting) -> dict[tuple[str, str], float]:
        vectors = (parts[spec, side][setting] for side in ("source", "target"))
        return mined_scores(corpus, *vectors, mesh=encoder.context.mesh)

    def find(setting: Setting) -> Found:
        on_known = margins(select, known, setting)
        threshold = best_threshold(on_known, wanted)
        pairs = mined(margins(subject.split, found, setting), threshold)
        told = {"threshold": threshold, select: subject.task.score([wanted], [mined(on_known, threshold)])}
        golds = [] if unscored else [gold(subject.task, row) for row in found]
        shown = {} if unscored else scores(subject.task, golds, [pairs], lang)
        return Found(pairs, shown, told, {} if unscored else terms_of(subject.task, golds, [pairs], shown, lang))

    counts = {
        f"repeated_{row}": len(repeated(own)) for row, own in zip(("source", "target"), sides(found), strict=True)
    }
    return encoder.each(find, len(found), counts)
