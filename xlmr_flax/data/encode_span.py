"""Questions about a context as windows over it, with the answer's place in each."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from xlmr_flax.data.encoded import NOWHERE, Encoded, check_length, flat, joined
from xlmr_flax.data.tokenizer import Pieces, Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Question

SPECIALS = 4  # <s> question </s></s> window </s>
NULL = (0, 0)


def encode_span(
    rows: Sequence[Question], tokenizer: Tokenizer, length: int, stride: int = 128, question_limit: int = 64
) -> Encoded:
    """Windows that begin `stride` tokens of the context apart, or closer where fewer fit, so that none is lost.

    A question keeps at most `question_limit` tokens and half of the room. The label is the first answer's; that of a
    window without it, or of a question without any, is <s>.
    """
    check_length(length)
    if stride < 1 or question_limit < 1:
        raise InputError(f"stride={stride}, question_limit={question_limit}: wanted 1 or more for both")
    limit = min(question_limit, (length - SPECIALS) // 2)
    contexts = _pieces([row.context for row in rows], tokenizer)
    questions = tokenizer.ids([row.question for row in rows])
    units, example, label, where, cut = [], [], [], [], []
    counts = Counter(
        rows=len(rows),
        questions_truncated=sum(len(ids) > limit for ids in questions),
        contexts_not_aligned=sum(not pieces.aligned for pieces in contexts.values()),
        questions_without_answer=sum(row.answers == () for row in rows),
        answers=0,
        answers_not_exact=0,
        answers_in_no_window=0,
        windows_without_answer=0,
    )
    for number, (row, question) in enumerate(zip(rows, questions, strict=True)):
        pieces, whole, question = contexts[row.context], len(question) <= limit, question[:limit]
        answer = _answer(row, pieces, counts)
        before = len(question) + SPECIALS - 1
        held = 0
        for first, last in _windows(len(pieces.ids), length - SPECIALS - len(question), stride):
            units.append(_unit(question, pieces.ids[first:last], tokenizer))
            example.append(number)
            cut.append(not whole)  # of a context no token is lost
            where.append(_where(pieces.spans[first:last], before))
            holds = answer is not None and first <= answer[0] and answer[1] < last
            label.append((answer[0] - first + before, answer[1] - first + before) if holds else NULL)
            held += holds
            counts["windows_without_answer"] += bool(row.answers) and not holds
        counts["answers_in_no_window"] += bool(row.answers) and not held
    labels = np.array(label, np.int32).reshape(-1, 2)
    return joined(units, example, dict(counts), label=labels, where=flat(where).reshape(-1, 2), cut=cut)


def answer_tokens(row: Question, pieces: Pieces) -> tuple[int, int] | None:
    """First and last token of the context that overlap the first answer; None where none does.

    Where a character became several tokens (½), one that ends with the answer is better than one that reaches beyond.
    """
    answer = row.answers[0]
    start, end = answer.start, answer.start + len(answer.text)
    over = np.flatnonzero((pieces.spans[:, 0] < end) & (pieces.spans[:, 1] > start))
    if not len(over):
        return None
    begins = over[pieces.spans[over, 0] == start]
    closes = over[pieces.spans[over, 1] == end]
    first = begins[0] if len(begins) else over[0]
    last = closes[-1] if len(closes) else over[-1]
    return (int(first), int(last)) if first <= last else (int(over[0]), int(over[-1]))


def _answer(row: Question, pieces: Pieces, counts: Counter[str]) -> tuple[int, int] | None:
    if not row.answers:
        return None
    tokens = answer_tokens(row, pieces)
    counts["answers"] += 1
    # White space around an answer is never part of a token, and no scorer sees it.
    text = "" if tokens is None else row.context[pieces.spans[tokens[0], 0] : pieces.spans[tokens[1], 1]]
    counts["answers_not_exact"] += text.strip() != row.answers[0].text.strip()
    return tokens


def _pieces(contexts: Sequence[str], tokenizer: Tokenizer) -> dict[str, Pieces]:
    """Many questions share a context, so each is encoded once."""
    distinct = list(dict.fromkeys(contexts))
    return dict(zip(distinct, tokenizer.encode(distinct), strict=True))


def _windows(tokens: int, room: int, stride: int) -> Iterator[tuple[int, int]]:
    first = 0
    while first + room < tokens:
        yield first, first + room
        first += min(stride, room)
    yield first, tokens


def _unit(question: np.ndarray, window: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    bos, eos = tokenizer.bos, tokenizer.eos
    return np.concatenate([[bos], question, [eos, eos], window, [eos]], dtype=np.int32)


def _where(spans: np.ndarray, before: int) -> np.ndarray:
    return np.pad(spans, ((before, 1), (0, 0)), constant_values=NOWHERE)
