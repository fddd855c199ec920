"""Turns rows into units of sub-word ids, one function for each kind of head.

Pure: the same rows, tokenizer and arguments give the same arrays. Whatever is cut or replaced is counted.
"""

from collections.abc import Sequence

import numpy as np

from xlmr_flax.data.encode_span import encode_span
from xlmr_flax.data.encode_token import encode_token
from xlmr_flax.data.encoded import ENCODER_VERSION, NO_LABEL, Encoded, check_length, joined, number_of
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Aligned, Choices, Classified, Text

__all__ = [
    "ENCODER_VERSION",
    "Encoded",
    "encode_choice",
    "encode_embedding",
    "encode_sentences",
    "encode_sequence",
    "encode_span",
    "encode_text",
    "encode_token",
]

SINGLE_SPECIALS = 2  # <s> A </s>
PAIR_SPECIALS = 4  # <s> A </s></s> B </s>


def encode_sequence(rows: Sequence[Classified], labels: Sequence[str], tokenizer: Tokenizer, length: int) -> Encoded:
    """A text or a pair in one unit; too long a pair loses from its longer half first."""
    check_length(length)
    label = [NO_LABEL if row.label is None else number_of(labels, row.label, f"row {row.id}") for row in rows]
    first = tokenizer.ids([row.text for row in rows])
    second = iter(tokenizer.ids([row.pair for row in rows if row.pair is not None]))
    units, cut = [], []
    for row, one in zip(rows, first, strict=True):
        if row.pair is None:
            keep = min(len(one), length - SINGLE_SPECIALS)
            cut.append(keep < len(one))
            units.append(_single(one[:keep], tokenizer))
        else:
            two = next(second)
            keep, keep_two = longest_first(len(one), len(two), length - PAIR_SPECIALS)
            cut.append(keep < len(one) or keep_two < len(two))
            units.append(pair(one[:keep], two[:keep_two], tokenizer))
    counts = {"rows": len(rows), "truncated": sum(cut)}
    return joined(units, range(len(rows)), counts, label=np.array(label, np.int32), cut=cut)


def encode_choice(rows: Sequence[Choices], tokenizer: Tokenizer, length: int) -> Encoded:
    """A unit for each option, after the prompt and the question that ends it.

    Too long a unit loses from the end of what stands before the question; only where nothing of that is left, from the
    end of the question; an option is never cut. Counted are the units that lose anything (`truncated`), the tokens
    that go before questions (`prompt_tokens_cut`), and the units whose question is not whole (`questions_truncated`).
    """
    check_length(length)
    _check_choices(rows)
    prompts, questions = (tokenizer.ids([getattr(row, part) for row in rows]) for part in ("prompt", "question"))
    options = iter(tokenizer.ids([option for row in rows for option in row.options]))
    units, example, cut = [], [], []
    counts = {"rows": len(rows), "truncated": 0, "prompt_tokens_cut": 0, "questions_truncated": 0}
    for number, (row, prompt, question) in enumerate(zip(rows, prompts, questions, strict=True)):
        for _ in row.options:
            option = next(options)
            room = length - PAIR_SPECIALS - len(option)
            if room < 0:
                raise InputError(
                    f"row {row.id}: an option of {len(option)} tokens does not fit into length={length}, "
                    f"which has to be at least {len(option) + PAIR_SPECIALS}: options are never cut"
                )
            keep = min(len(prompt), max(0, room - len(question)))
            cut.append(room < len(prompt) + len(question))
            counts["truncated"] += cut[-1]
            counts["prompt_tokens_cut"] += len(prompt) - keep
            counts["questions_truncated"] += room < len(question)
            units.append(pair(np.concatenate([prompt[:keep], question[: room - keep]]), option, tokenizer))
            example.append(number)
    label = np.array([NO_LABEL if row.label is None else row.label for row in rows], np.int32)
    return joined(units, example, counts, label=label, cut=cut)


def encode_text(rows: Sequence[Text], tokenizer: Tokenizer, length: int) -> Encoded:
    """Every line in as few units as it needs, of about equal length; a line without sub-words has none."""
    check_length(length)
    units, example, empty, split = [], [], 0, 0
    for number, ids in enumerate(tokenizer.ids([row.text for row in rows])):
        parts = -(-len(ids) // (length - SINGLE_SPECIALS))
        empty += parts == 0
        split += parts > 1
        if parts:
            units += [_single(part, tokenizer) for part in np.array_split(ids, parts)]
            example += [number] * parts
    return joined(units, example, {"rows": len(rows), "rows_split": split, "rows_without_tokens": empty})


def encode_embedding(rows: Sequence[Aligned], tokenizer: Tokenizer, length: int) -> tuple[Encoded, Encoded]:
    """The sources and the targets, a unit for each."""
    return (
        encode_sentences([row.source for row in rows], tokenizer, length),
        encode_sentences([row.target for row in rows], tokenizer, length),
    )


def encode_sentences(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Encoded:
    """One unit for each text, cut at the end where it is too long."""
    check_length(length)
    room = length - SINGLE_SPECIALS
    pieces = tokenizer.ids(texts)
    units = [_single(ids[:room], tokenizer) for ids in pieces]
    cut = [len(ids) > room for ids in pieces]
    return joined(units, range(len(texts)), {"rows": len(texts), "truncated": sum(cut)}, cut=cut)


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text stay, as transformers' fast tokenizers decide.

    The shorter text stays whole if it fits into half the room; otherwise both get half, and the longer one (of two
    equal ones the second) the odd token.
    """
    if first + second <= room:
        return first, second
    small, large = min(first, second), room - min(first, second)
    if small > room // 2:
        small, large = room // 2, room - room // 2
    return (small, large) if first <= second else (large, small)


def pair(first: np.ndarray, second: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """XLM-R's format of two texts."""
    bos, eos = tokenizer.bos, tokenizer.eos
    return np.concatenate([[bos], first, [eos, eos], second, [eos]], dtype=np.int32)


def _single(ids: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    return np.concatenate([[tokenizer.bos], ids, [tokenizer.eos]], dtype=np.int32)


def _check_choices(rows: Sequence[Choices]) -> None:
    for row in rows:
        if len(row.options) != len(rows[0].options):
            raise InputError(
                f"row {row.id} has {len(row.options)} options and row {rows[0].id} has {len(rows[0].options)}: "
                "all rows of a task need the same number"
            )
        if row.label is not None and not 0 <= row.label < len(row.options):
            raise InputError(f"row {row.id}: the label {row.label} is not one of 0 to {len(row.options) - 1}")
