"""What a model says of single rows, with scores, whatever its head: plain values, ready to be printed as JSON.

Rows are encoded, predicted and forgotten. Few shapes are compiled: two row counts, of which the small one answers a row
or two at once, and two lengths.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.data.batch import Batch, MaskedTarget
from xlmr_flax.data.batches import Shown, evaluation_batches
from xlmr_flax.data.encode import encode_sentences
from xlmr_flax.data.encode_dual import encode_documents
from xlmr_flax.data.encoded import together
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.fill import encode_masked, word_of
from xlmr_flax.data.load import encoded_rows
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.evaluate.predict import rows_of
from xlmr_flax.evaluate.retrieval import POOLINGS, Setting
from xlmr_flax.evaluate.spans import found_spans
from xlmr_flax.metrics.squad_v2 import Guess, answer_of
from xlmr_flax.model.build import Model
from xlmr_flax.sources.rows import Document, Row
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.processes import fetch
from xlmr_flax.train.sharding import row_shards
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.step import make_embed_step, make_fill_step, make_predict_step, make_vector_step

FEW = 4  # rows of text that do not wait for a large batch to be computed
MOST_ROWS = 64
ROOM_BYTES = 2**30  # on each device, for what a layer computes
WORDS = 5  # that are told for a hidden one
DIGITS = 6  # of a probability

Answer = dict[str, Any]


class Asked(NamedTuple):
    """A model and what it is asked; `setting` says what stands for a sentence, where that is asked."""

    model: Model
    params: Any
    tokenizer: Tokenizer
    task: Task
    length: int
    mesh: Mesh
    setting: Setting | None = None


def answered(asked: Asked, rows: Sequence[Row]) -> list[Answer]:
    """An answer for each row, in order: its id, what is predicted with scores, and `truncated` where it was cut."""
    kind = asked.task.head.kind
    examples = ENCODERS.get(kind, _labelled)(asked, rows)
    told: list[Answer] = [{"id": row.id} for row in rows]
    TELLERS[kind](asked, rows, examples, told)
    encoded = examples.encoded
    for row in np.unique(encoded.example[encoded.cut.astype(bool)]) if len(encoded.cut) else ():
        told[row]["truncated"] = True
    return told


def batch_rows(arch: Architecture, length: int, mesh: Mesh) -> int:
    """How many rows of text are computed at once: a power of two a device for which one layer's values have room."""
    of_token = 2 * arch.num_attention_heads * length + 2 * arch.intermediate_size + 8 * arch.hidden_size
    row_bytes = 4 * length * of_token
    most = max(1, min(MOST_ROWS, ROOM_BYTES // row_bytes))
    return row_shards(mesh) * 2 ** (most.bit_length() - 1)


def _batches(asked: Asked, examples: Examples) -> Iterator[tuple[Shown, Batch]]:
    """The batches of the rows that wait, a small one where they are few."""
    large = batch_rows(asked.model.arch, asked.length, asked.mesh)
    small = min(large, row_shards(asked.mesh))
    few = examples.items <= FEW * examples.units_per_item
    return evaluation_batches(examples, rows=rows_of(small if few else large, examples, asked.mesh))


def _logits(asked: Asked, batch: Batch) -> Any:
    placed = place_batch(batch, asked.mesh, lead=0)
    return fetch(make_predict_step(asked.model)(asked.params, placed.tokens, placed.target))


def _vectors(asked: Asked, batch: Batch, step: Callable[..., Any]) -> Any:
    placed = place_batch(batch, asked.mesh, lead=0)
    return fetch(step(asked.params, placed.tokens, placed.target.first_BS))


def _labelled(asked: Asked, rows: Sequence[Row]) -> Examples:
    return encoded_rows(asked.task.head, rows, asked.tokenizer, asked.length)


def _sentences(asked: Asked, rows: Sequence[Row]) -> Examples:
    encoded = encode_sentences([row.text for row in rows], asked.tokenizer, asked.length)
    return Examples("embedding", encoded, asked.length, asked.tokenizer.pad)


def _either(asked: Asked, rows: Sequence[Row]) -> Examples:
    """Queries as sentences and documents as documents, in the order of the rows."""
    parts = [
        encode_documents([row], asked.tokenizer, asked.length)
        if isinstance(row, Document)
        else encode_sentences([row.text], asked.tokenizer, asked.length)
        for row in rows
    ]
    return Examples("embedding", together(parts), asked.length, asked.tokenizer.pad)


def _masked(asked: Asked, rows: Sequence[Row]) -> Examples:
    return Examples("embedding", encode_masked(rows, asked.tokenizer, asked.length), asked.length, asked.tokenizer.pad)


ENCODERS: dict[str, Callable[[Asked, Sequence[Row]], Examples]] = {
    "embedding": _sentences,
    "dual": _either,
    "mlm": _masked,
}


def _tell_classes(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The most probable label of each row, and the probability of every label."""
    names = asked.task.head.labels
    for shown, batch in _batches(asked, examples):
        logits_BSC = _logits(asked, batch)
        for item, scores in zip(shown.items, _softmax(logits_BSC[shown.row_N, shown.slot_N]), strict=True):
            scored = dict(zip(names, _rounded(scores), strict=True))
            told[item] |= {"label": names[scores.argmax()], "scores": scored}


def _tell_options(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The number of the most probable option, and the probability of each."""
    for shown, batch in _batches(asked, examples):
        logits_EN = _logits(asked, batch)
        for item, scores in zip(shown.items, _softmax(logits_EN[: len(shown.items)]), strict=True):
            told[item] |= {"label": int(scores.argmax()), "scores": _rounded(scores)}


def _tell_tags(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """A tag for every word, that of its first sub-word, and its probability."""
    labels, encoded = asked.task.head.labels, examples.encoded
    for row, answer in zip(rows, told, strict=True):
        answer |= {"tags": [""] * len(row.words), "scores": [0.0] * len(row.words)}
    for shown, batch in _batches(asked, examples):
        logits_BLC = _logits(asked, batch)
        for unit, row, own in _units(shown):
            words = encoded.where[encoded.start[unit] : encoded.start[unit + 1]]
            answer, places = told[encoded.example[unit]], np.flatnonzero(words >= 0)
            for word, scores in zip(words[places], _softmax(logits_BLC[row, own][places]), strict=True):
                answer["tags"][word] = labels[scores.argmax()]
                answer["scores"][word] = round(float(scores.max()), DIGITS)
    assert all(all(answer["tags"]) for answer in told), "a word has no tag"


def _tell_spans(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The answer, its probability in its window, and where it stands in the context, in code points."""
    starts: list[Any] = [None] * examples.items
    ends: list[Any] = [None] * examples.items
    for shown, batch in _batches(asked, examples):
        logits = _logits(asked, batch)
        for (unit, row, own), slot in zip(_units(shown), shown.slot_N, strict=True):
            starts[unit], ends[unit] = logits.start_BSL[row, slot, own], logits.end_BSL[row, slot, own]
    for row, answer, span in zip(rows, told, found_spans(rows, examples.encoded, starts, ends), strict=True):
        text = row.context[span.begin : span.end]
        answer["answer"] = answer_of(Guess(text, span.null_score)) if asked.task.nullable else text
        answer |= {"score": round(span.score, DIGITS), "start": span.begin, "end": span.end}
        if asked.task.nullable:
            answer["null_score"] = span.null_score


def _tell_words(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The most probable words in each hidden one's place, and their probabilities."""
    step, mask = make_fill_step(asked.model, count=WORDS), asked.tokenizer.mask
    for answer in told:
        answer["words"] = []
    for shown, batch in _batches(asked, examples):
        hidden_BL = np.asarray(batch.tokens.ids_BL) == mask
        most = 2 ** int(max(3, np.ceil(np.log2(hidden_BL.sum(axis=1).max(initial=1)))))
        masked_BG = np.argsort(~hidden_BL, axis=1, kind="stable")[:, :most].astype(np.int32)
        target = MaskedTarget(masked_BG, np.zeros_like(masked_BG))
        placed = place_batch(batch._replace(target=target), asked.mesh, lead=0)
        score_BGK, word_BGK = fetch(step(asked.params, placed.tokens, placed.target))
        for unit, row, own in _units(shown):
            within = (masked_BG[row] >= own.start) & (masked_BG[row] < own.stop) & hidden_BL[row, masked_BG[row]]
            for scores, words in zip(score_BGK[row, within], word_BGK[row, within], strict=True):
                found = zip(words, _rounded(scores), strict=True)
                told[examples.encoded.example[unit]]["words"].append(
                    [{"word": word_of(asked.tokenizer, word), "score": score} for word, score in found]
                )


def _tell_vectors(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The vector of each sentence: a hidden state, pooled."""
    assert asked.setting is not None
    layer, pooling = asked.setting
    step = make_embed_step(asked.model, poolings=(POOLINGS[pooling],), layers=(layer,))
    for shown, batch in _batches(asked, examples):
        vectors_BSD = _vectors(asked, batch, step)[0, 0]
        _tell_each(shown, vectors_BSD, told)


def _tell_compared(asked: Asked, rows: Sequence[Row], examples: Examples, told: list[Answer]) -> None:
    """The vector of a query or a document, to be compared by inner product."""
    step = make_vector_step(asked.model)
    for shown, batch in _batches(asked, examples):
        _tell_each(shown, _vectors(asked, batch, step), told)


TELLERS: dict[str, Callable[[Asked, Sequence[Row], Examples, list[Answer]], None]] = {
    "sequence": _tell_classes,
    "choice": _tell_options,
    "token": _tell_tags,
    "span": _tell_spans,
    "mlm": _tell_words,
    "embedding": _tell_vectors,
    "dual": _tell_compared,
}


def _tell_each(shown: Shown, vectors_BSD: np.ndarray, told: list[Answer]) -> None:
    for unit, vector in zip(shown.units, vectors_BSD[shown.row_N, shown.slot_N], strict=True):
        told[unit]["vector"] = [float(f"{x:.8g}") for x in vector]  # float32 has no more digits


def _units(shown: Shown) -> Iterator[tuple[int, int, slice]]:
    """Each unit with its row and where in the row it stands."""
    for unit, row, offset, size in zip(shown.units, shown.row_N, shown.offset_N, shown.size_N, strict=True):
        yield unit, row, slice(offset, offset + size)


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponent = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True, initial=-np.inf)
    return np.exp(exponent) / np.exp(exponent).sum(axis=-1, keepdims=True)


def _rounded(scores: np.ndarray) -> list[float]:
    return [round(float(score), DIGITS) for score in scores]
