"""The words of each language: an alphabet of its own, and a word for each English one."""

import random
from collections.abc import Mapping
from typing import NamedTuple

from xlmr_flax.sources.miniworld.draws import stream
from xlmr_flax.sources.miniworld.words import ANCHORS, CONTENT, FUNCTION, TAGS

# Two alphabets never share a letter, so that a trained tokenizer finds no piece that two languages have in common:
# such pieces would be anchors that nobody meant.
ALPHABETS = (
    ("βγδζκλμνπρστ", "αειο"),
    ("бвгджзклмнпр", "аеиу"),
    ("բգդզթլխկհձղմ", "աեիո"),
    ("ბგდვზთკლმნპჟ", "აეიო"),
    ("กขคงจชซดตถทน", "ะาเแ"),
)
LETTERS = 16
VOWELS = 4
# For the languages after those: as many more alphabets as are wanted out of the thousand letters of Yi.
YI_FIRST = 0xA016  # after the iteration mark, which is no letter

MORPHEMES = 2  # syllables of a content word


class Alphabet(NamedTuple):
    """The letters that a language's words are made of."""

    consonants: str
    vowels: str


class Lexicon(NamedTuple):
    """A language's words by their English ones, and its mark of the plural."""

    words: Mapping[str, str]
    plural: str  # letters before or after the word, as the grammar says


def alphabet_of(number: int) -> Alphabet:
    """The alphabet of the language x`number`; no two have a letter in common."""
    if number <= len(ALPHABETS):
        return Alphabet(*ALPHABETS[number - 1])
    first = YI_FIRST + (number - len(ALPHABETS) - 1) * LETTERS
    letters = "".join(map(chr, range(first, first + LETTERS)))
    return Alphabet(letters[VOWELS:], letters[:VOWELS])


def english() -> Lexicon:
    """English, in which every word is itself."""
    return Lexicon({word: word for word in TAGS}, "s")


def invented(seed: int, number: int, *, cognate_frac: float, shared_anchors: bool) -> Lexicon:
    """The words of x`number`, all different, also with the plural's mark on either side."""
    rng = stream(seed, "lexicon", f"x{number}")
    alphabet = alphabet_of(number)
    plural = _syllable(rng, alphabet)
    taken: set[str] = set()
    words = {english: _coin(rng, alphabet, plural, taken, english) for english in TAGS}
    order = list(CONTENT)
    rng.shuffle(order)
    # The first of one fixed order, so that a higher rate only adds cognates.
    words |= {word: word for word in order[: round(cognate_frac * len(order))]}
    if shared_anchors:
        words |= {word: word for word in ANCHORS}
    return Lexicon(words, plural)


def _coin(rng: random.Random, alphabet: Alphabet, plural: str, taken: set[str], english: str) -> str:
    syllables = 1 if english in FUNCTION or len(english) == 1 else MORPHEMES
    while True:
        word = "".join(_syllable(rng, alphabet) for _ in range(syllables))
        if syllables > 1 and rng.random() < 0.5:
            word += rng.choice(alphabet.consonants)
        forms = {word, word + plural, plural + word}
        if not forms & taken:
            taken |= forms
            return word


def _syllable(rng: random.Random, alphabet: Alphabet) -> str:
    return rng.choice(alphabet.consonants) + rng.choice(alphabet.vowels)
