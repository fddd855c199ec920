"""Finds where in a text each sub-word comes from, whatever the normaliser did to the text.

A normaliser works cluster by cluster, so a text may be cut wherever the normal forms of the parts make up the normal
form of the whole. Between such cuts nothing finer is known: each character of the normal form is the whole cluster's.
"""

from collections.abc import Callable, Iterator

import numpy as np


def token_spans(text: str, tokens: list[str], normalise: Callable[[str], str]) -> np.ndarray | None:
    """Start and end of each token in `text` (int32, tokens × 2), or None where the tokens do not spell its normal form.

    A token without characters of its own (a lone ▁) lies with no length before the character that follows it.
    """
    letters, spans = _letters(text, normalise)
    bare = [_bare(token) for token in tokens]
    if "".join(bare) != letters:
        return None
    ends = np.cumsum([len(token) for token in bare], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(bare)]
    # One entry more, so that an empty token at the very end lies at the end of the text.
    padded = np.concatenate([spans, np.full((1, 2), len(text), np.int32)])
    empty = ends == starts
    return np.stack([padded[starts, 0], np.where(empty, padded[starts, 0], padded[ends - 1, 1])], axis=1)


def _bare(token: str) -> str:
    return "".join(token.split()).replace("▁", "")


def _letters(text: str, normalise: Callable[[str], str]) -> tuple[str, np.ndarray]:
    """The normal form without white space, and start and end in `text` of each of its characters."""
    letters: list[str] = []
    spans: list[tuple[int, int]] = []
    for first, last, normal in _clusters(text, normalise):
        same = len(normal) == last - first and normal == text[first:last]
        for index, letter in enumerate(normal):
            if letter != "▁" and not letter.isspace():
                letters.append(letter)
                spans.append((first + index, first + index + 1) if same else (first, last))
    return "".join(letters), np.array(spans, np.int32).reshape(-1, 2)


def _clusters(text: str, normalise: Callable[[str], str]) -> Iterator[tuple[int, int, str]]:
    """Parts of `text` in order, each with its normal form: equal to it, or else as short as can be."""
    left = [(0, len(text), normalise(text))]
    while left:
        first, last, normal = left.pop()
        part = text[first:last]
        if normal == part or last - first == 1:
            yield first, last, normal
            continue
        for middle in _outward(last - first):
            before, after = normalise(part[:middle]), normalise(part[middle:])
            if before + after == normal:
                left += [(first + middle, last, after), (first, first + middle, before)]
                break
        else:
            yield first, last, normal


def _outward(length: int) -> Iterator[int]:
    """Every place to cut, from the middle to both ends."""
    middle = length // 2
    for distance in range(middle + 1):
        if distance < middle:
            yield middle - distance
        if distance and middle + distance < length:
            yield middle + distance
