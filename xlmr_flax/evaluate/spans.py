"""The best answer of a question out of the span logits of all its windows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.data.encode_span import NULL
from xlmr_flax.data.encoded import Encoded
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.sources.rows import Question

# Windows at once: their logits, padded, stay within some megabytes.
WINDOWS = 256

IMPOSSIBLE = -np.inf


class Found(NamedTuple):
    """The best span of a question: where it lies in the context, and how probable it is in its window.

    `null_score` is how far the sum of logits of null lies above the span's.
    """

    begin: int
    end: int
    score: float
    null_score: float


def found_spans(
    rows: Sequence[Question],
    encoded: Encoded,
    start_logits: Sequence[np.ndarray],
    end_logits: Sequence[np.ndarray],
    max_answer_tokens: int = 30,
    n_best: int = 20,
) -> list[Found]:
    """The text between the two tokens of the context with the highest sum of logits, without blanks around it.

    Logits are given for each unit, one for each of its tokens. Both tokens are among their window's `n_best` of their
    kind, unless no such pair makes an answer. The span is never null; it is empty only where a context has no words.
    Null is a window's <s>, and a question's is that of the window where it is least probable, as in transformers.
    """
    best, null = np.full(len(rows), IMPOSSIBLE), np.full(len(rows), np.inf)
    found = [Found(0, 0, 0.0, 0.0)] * len(rows)  # without words both are the empty answer
    for first in range(0, len(encoded.example), WINDOWS):
        units = range(first, min(first + WINDOWS, len(encoded.example)))
        score_U, span_U2 = _best_spans(encoded, units, start_logits, end_logits, max_answer_tokens, n_best)
        for unit, score, (begin, end) in zip(units, score_U, span_U2, strict=True):
            row = encoded.example[unit]
            null[row] = min(null[row], float(start_logits[unit][NULL[0]]) + float(end_logits[unit][NULL[1]]))
            # Of equal scores the first window's stays, so that the answer does not depend on the batch.
            if score > best[row]:
                best[row] = score
                share = np.exp(score - _log_sum(start_logits[unit]) - _log_sum(end_logits[unit]))
                found[row] = Found(*_trimmed(rows[row].context, begin, end), float(share), 0.0)
    return [
        one._replace(null_score=float(low - high)) if one.begin < one.end else one
        for one, low, high in zip(found, null, best, strict=True)
    ]


def guesses(rows: Sequence[Question], *given: Any, **limits: int) -> list[Guess]:
    """The texts of `found_spans`, and how null compares with each."""
    return [
        Guess(row.context[one.begin : one.end], one.null_score)
        for row, one in zip(rows, found_spans(rows, *given, **limits), strict=True)
    ]


def best_answers(rows: Sequence[Question], *given: Any, **limits: int) -> list[str]:
    """The same where every question has an answer: the texts alone."""
    return [guess.text for guess in guesses(rows, *given, **limits)]


def _trimmed(context: str, begin: int, end: int) -> tuple[int, int]:
    """A span without the blanks at its ends."""
    text = context[begin:end]
    begin += len(text) - len(text.lstrip())
    return int(begin), int(begin) + len(text.strip())


def _log_sum(logits_L: np.ndarray) -> float:
    most = float(logits_L.max())
    return most + float(np.log(np.exp(logits_L.astype(np.float64) - most).sum()))


def _best_spans(
    encoded: Encoded,
    units: range,
    start_logits: Sequence[np.ndarray],
    end_logits: Sequence[np.ndarray],
    max_answer_tokens: int,
    n_best: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The best score of each window, and where its answer lies in the context."""
    where = [encoded.where[encoded.start[unit] : encoded.start[unit + 1]] for unit in units]
    where_ULX = _padded(where, -1, np.int32)
    context_UL = where_ULX[..., 0] >= 0
    start_UL = np.where(context_UL, _padded([start_logits[unit] for unit in units], 0, np.float64), IMPOSSIBLE)
    end_UL = np.where(context_UL, _padded([end_logits[unit] for unit in units], 0, np.float64), IMPOSSIBLE)
    few = _best_pairs(_among_best(start_UL, n_best), _among_best(end_UL, n_best), where_ULX, max_answer_tokens)
    all_of_them = _best_pairs(start_UL, end_UL, where_ULX, max_answer_tokens)
    score_U, first_U, last_U = (np.where(few[0] > IMPOSSIBLE, *pair) for pair in zip(few, all_of_them, strict=True))
    row_U = np.arange(len(score_U))
    return score_U, np.stack([where_ULX[row_U, first_U, 0], where_ULX[row_U, last_U, 1]], axis=1)


def _best_pairs(
    start_UL: np.ndarray, end_UL: np.ndarray, where_ULX: np.ndarray, max_answer_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The highest sum over pairs in order, of at most so many tokens, and their places; the first of equals."""
    U, L = start_UL.shape
    score_U = np.full(U, IMPOSSIBLE)
    first_U, last_U = np.zeros(U, np.int64), np.zeros(U, np.int64)
    for more in range(min(max_answer_tokens, L)):
        sum_UL = start_UL[:, : L - more] + end_UL[:, more:]
        # A lone ▁ has no characters, and alone it is no answer.
        sum_UL[where_ULX[:, more:, 1] <= where_ULX[:, : L - more, 0]] = IMPOSSIBLE
        at_U = sum_UL.argmax(axis=1)
        here_U = sum_UL[np.arange(U), at_U]
        better_U = here_U > score_U
        score_U[better_U], first_U[better_U], last_U[better_U] = here_U[better_U], at_U[better_U], at_U[better_U] + more
    return score_U, first_U, last_U


def _among_best(logit_UL: np.ndarray, n_best: int) -> np.ndarray:
    if n_best >= logit_UL.shape[1]:
        return logit_UL
    least_U1 = np.partition(logit_UL, -n_best, axis=1)[:, -n_best, None]
    return np.where(logit_UL >= least_U1, logit_UL, IMPOSSIBLE)


def _padded(parts: Sequence[np.ndarray], fill: int, dtype: type) -> np.ndarray:
    longest = max(len(part) for part in parts)
    padded = np.full((len(parts), longest, *np.shape(parts[0])[1:]), fill, dtype)
    for row, part in zip(padded, parts, strict=True):
        row[: len(part)] = part
    return padded
