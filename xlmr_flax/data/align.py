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
    bare = _bare(tokens)
    if "".join(bare) != letters:
        return None
    ends = np.cumsum([len(token) for token in bare], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[: len(bare)]
    # One entry more, so that an empty token at the very end lies at the end of the text.
    padded = np.concatenate([spans, np.full((1, 2), len(text), np.int32)])
    empty = ends == starts
    return np.stack([padded[starts, 0], np.where(empty, padded[starts, 0], padded[ends - 1, 1])], axis=1)


def _bare(tokens: list[str]) -> list[str]:
    bare = [token.replace("▁", "") for token in tokens]
    whole = "".join(bare)
    return bare if whole == "".join(whole.split()) else ["".join(token.split()) for token in bare]


def _letters(text: str, normalise: Callable[[str], str]) -> tuple[str, np.ndarray]:
    """The normal form without white space, and start and end in `text` of each of its characters."""
    normals: list[str] = []
    spans: list[np.ndarray] = []
    for first, last, normal in _clusters(text, normalise):
        normals.append(normal)
        if normal == text[first:last]:
            spans.append(np.arange(first, last)[:, None] + np.arange(2))
        else:
            spans.append(np.full((len(normal), 2), (first, last)))
    whole = "".join(normals)
    kept = [place for place, letter in enumerate(whole) if not letter.isspace() and letter != "▁"]
    every = np.concatenate(spans) if spans else np.zeros((0, 2))
    return "".join(whole.replace("▁", "").split()), every[kept].astype(np.int32)


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
