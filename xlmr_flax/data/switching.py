"""Code-switching of encoded examples: words become translations anew in every batch, labels stay with their words."""

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from xlmr_flax.data.encode_span import NULL
from xlmr_flax.data.encoded import NO_TOKEN_LABEL, joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.perturb import look_up, trimmed
from xlmr_flax.data.tokenizer import SPECIAL_WORDS, Tokenizer
from xlmr_flax.data.words import SPACE
from xlmr_flax.sources.dictionary import Dictionary


class Word(NamedTuple):
    """A word of a unit, to be replaced."""

    first: int
    stop: int
    text: str  # what stands there instead


class Made(NamedTuple):
    """A unit with words replaced."""

    ids: np.ndarray
    to: np.ndarray  # where each of its sub-words has gone; −1: the later ones of a word that was replaced


@dataclass(frozen=True, eq=False)
class Switch:
    """Replaces this share of the words that a dictionary of their language has.

    Which words, and by what, depends on the item's place in the batch and the word's place in its unit alone: so what
    the options of a choice have in common stays in common. A word is not replaced where its unit would no longer fit
    into the length, nor inside an answer.
    """

    tokenizer: Tokenizer
    dictionaries: Mapping[str, Dictionary]  # by language
    rate: float
    known: dict[str, np.ndarray] = field(default_factory=dict)  # sub-words of replacements

    def __call__(self, examples: Examples, items: np.ndarray, noise: np.random.Generator) -> Examples:
        """The items as examples of their own, numbered from 0."""
        drawn = noise.random((3, len(items), examples.length))
        starts, ids = examples.encoded.start, examples.encoded.ids
        units = examples.units(items)
        sources = [np.asarray(ids[starts[unit] : starts[unit + 1]]) for unit in units]
        per = examples.units_per_item
        words = [
            self._words(examples, source, unit, drawn[:, place // per], examples.name(items[place // per])[0])
            for place, (unit, source) in enumerate(zip(units, sources, strict=True))
        ]
        self._learn([word.text for some in words for word in some])
        made = [self._replaced(source, some, examples.length) for source, some in zip(sources, words, strict=True)]
        example = np.repeat(np.arange(len(items)), per)
        encoded = joined([one.ids for one in made], example, {}, _labels(examples, items, made))
        return replace(examples, encoded=encoded, entry=None)

    def _words(self, examples: Examples, ids: np.ndarray, unit: int, drawn: np.ndarray, lang: str) -> list[Word]:
        """The words of a unit that are replaced, in their order."""
        dictionary, kept = self.dictionaries.get(lang, {}), _answer(examples, unit)
        found = []
        for first, stop in _bounds(self._begins[ids], self._specials[ids]):
            hit, which, choice = drawn[:, first]
            if hit >= self.rate or (kept and first <= kept[1] and kept[0] < stop):
                continue
            before, core, behind = trimmed("".join(self._pieces[number] for number in ids[first:stop])[len(SPACE) :])
            if every := look_up(core, dictionary):
                into = every[int(which * len(every))]
                found.append(Word(first, stop, f"{before}{into[int(choice * len(into))]}{behind}"))
        return found

    def _learn(self, texts: Sequence[str]) -> None:
        new = list(dict.fromkeys(text for text in texts if text not in self.known))
        self.known.update(zip(new, self.tokenizer.ids(new), strict=True))

    def _replaced(self, ids: np.ndarray, words: Sequence[Word], length: int) -> Made:
        parts, to, behind, size = [], np.arange(len(ids)), 0, len(ids)
        for word in words:
            new = self.known[word.text]
            more = len(new) - (word.stop - word.first)
            if not len(new) or size + more > length:
                continue
            parts += [ids[behind : word.first], new]
            to[word.first + 1 : word.stop] = -1
            to[word.stop :] += more
            behind, size = word.stop, size + more
        return Made(np.concatenate([*parts, ids[behind:]], dtype=np.int32), to)

    @functools.cached_property
    def _pieces(self) -> list[str]:
        return [self.tokenizer.backend.id_to_token(number) or "" for number in range(self.tokenizer.vocab_size)]

    @functools.cached_property
    def _begins(self) -> np.ndarray:
        return np.array([piece.startswith(SPACE) for piece in self._pieces])

    @functools.cached_property
    def _specials(self) -> np.ndarray:
        return np.array([piece in SPECIAL_WORDS for piece in self._pieces])


def _bounds(begins_L: np.ndarray, specials_L: np.ndarray) -> list[tuple[int, int]]:
    """Where each word begins and ends: at its first sub-word, before the next word or special one."""
    edges = [*np.flatnonzero(begins_L | specials_L).tolist(), len(begins_L)]
    return [(first, stop) for first, stop in itertools.pairwise(edges) if begins_L[first]]


def _answer(examples: Examples, unit: int) -> tuple[int, int] | None:
    """The sub-words of a window's answer, which stay."""
    if examples.kind != "span" or tuple(examples.encoded.label[unit]) == NULL:
        return None
    first, last = examples.encoded.label[unit].tolist()
    return first, last


def _labels(examples: Examples, items: np.ndarray, made: Sequence[Made]) -> np.ndarray:
    """The labels of the items whose sub-words have moved."""
    label = examples.encoded.label
    match examples.kind:
        case "token":
            tags = (_tags(examples, unit, one.to, len(one.ids)) for unit, one in zip(items, made, strict=True))
            return np.concatenate(list(tags))
        case "span":
            return np.stack([one.to[label[unit]] for unit, one in zip(items, made, strict=True)]).astype(np.int32)
    return np.asarray(label[items])


def _tags(examples: Examples, unit: int, to: np.ndarray, size: int) -> np.ndarray:
    start, found = examples.encoded.start, np.full(size, NO_TOKEN_LABEL, np.int32)
    old = np.asarray(examples.encoded.label[start[unit] : start[unit + 1]])
    found[to[to >= 0]] = old[to >= 0]
    return found
