"""Chunk F1 as seqeval 0.0.12 computes it, on entity tags (B-PER) and on bare tags (NOUN) alike, and token accuracy.

XTREME's leaderboard prints this F1 for UDPOS although its tags have no B- and I-. seqeval takes a tag's first letter
for its position in a chunk and what follows the last hyphen for its type. So a run of equal tags is one chunk, but
tags that begin with B, S, E, I or O (SCONJ, INTJ) follow the rules for those letters. Later versions of seqeval read
bare tags differently.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.paired import check_paired

# Pairs of first letters, before and after, between which a chunk ends, and at whose second one begins.
_ENDS = frozenset(("BB", "BS", "BO", "IB", "IS", "IO"))
_BEGINS = frozenset(("EE", "EI", "SE", "SI", "OE", "OI"))


class Chunk(NamedTuple):
    """A stretch of one type; `first` and `last` count tags over all sentences, with one more between two sentences."""

    kind: str
    first: int
    last: int


def tagging(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Micro `f1`, `precision` and `recall` of chunks, and the `accuracy` of tokens, over all sentences together."""
    check_paired(gold, predicted)
    for number, (wanted, found) in enumerate(zip(gold, predicted, strict=True), start=1):
        if len(wanted) != len(found):
            raise InputError(f"sentence {number}: {len(found)} predicted tags for {len(wanted)} gold tags")
    wanted, found = chunks(gold), chunks(predicted)
    correct = len(wanted & found)
    precision = correct / len(found) if found else 0.0
    recall = correct / len(wanted) if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if correct else 0.0
    tokens = sum(map(len, gold))
    right = sum(a == b for one, other in zip(gold, predicted, strict=True) for a, b in zip(one, other, strict=True))
    return {"f1": f1, "precision": precision, "recall": recall, "accuracy": right / tokens if tokens else 0.0}


def chunks(sentences: Sequence[Sequence[str]]) -> set[Chunk]:
    """All chunks of these sentences; none reaches from one into the next."""
    tags = [tag for sentence in sentences for tag in (*sentence, "O")]
    found: set[Chunk] = set()
    letter, kind, first = "O", "", 0
    for place, tag in enumerate([*tags, "O"]):
        if not tag:
            raise InputError("an empty tag cannot be scored")
        new_letter, new_kind = tag[0], tag.split("-")[-1]
        changed = kind != new_kind
        if letter in "ES" or letter + new_letter in _ENDS or (letter not in "O." and changed):
            found.add(Chunk(kind, first, place - 1))
        if new_letter in "BS" or letter + new_letter in _BEGINS or (new_letter not in "O." and changed):
            first = place
        letter, kind = new_letter, new_kind
    return found
