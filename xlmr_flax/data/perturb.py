"""Inputs made worse, to see what scores are worth: typing errors, lost diacritics, words of other languages.

What happens to a row depends on the seed, the kind, the language and the row's id, and on nothing else. A letter or
word that is hit at one strength is hit at every greater one.
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence

import numpy as np

from xlmr_flax.data.randomness import generator
from xlmr_flax.errors import InputError
from xlmr_flax.graph.nodes import Perturbation
from xlmr_flax.sources.dictionary import Dictionary
from xlmr_flax.sources.rows import Choices, Classified, Question, Row, Tagged

Change = Callable[[str, str, np.random.Generator], str]  # of a text, its language and randomness

JOINERS = "\u200c\u200d"  # zero width; they shape the letters beside them
# Canonical combining classes of marks that are no diacritics: 0, with the vowel signs of Indic scripts; 9, the sign
# that takes a vowel away; the vowel signs of Thai, Lao and Tibetan.
NO_DIACRITIC = frozenset((0, 9, 103, 118, 129, 130, 132))


def perturbed(
    rows: Sequence[Row], perturbation: Perturbation, lang: str, dictionaries: Sequence[Dictionary] = ()
) -> tuple[list[Row], int]:
    """The rows with worse inputs, and how many of them are not as they were; labels and ids stay.

    Of a question about a context the question alone changes, so that every answer stands where it stood. In a pair of
    languages, de-en, the first text has the first one; `dictionaries` are those of each language.
    """
    first, _, second = lang.partition("-")
    by_lang = dict(zip((first, second) if second else (first,), dictionaries, strict=False))
    change = _change(perturbation, by_lang)
    found = [_row(row, change, first, second or first, _random(row, perturbation, lang)) for row in rows]
    return found, sum(new != old for new, old in zip(found, rows, strict=True))


def typos(text: str, strength: float, random: np.random.Generator) -> str:
    """This share of the letters is swapped with the next one, dropped, or doubled, in any script.

    A letter keeps its marks, and none leaves its word. What is no letter stays, and so do numbers; no word vanishes.
    """
    letters = clusters(text)
    drawn = random.random((len(letters), 2))
    runs = _runs(letters)
    found, skip = [], False
    for place, (letter, (hit, fate)) in enumerate(zip(letters, drawn, strict=True)):
        after = letters[place + 1] if place + 1 < len(letters) else ""
        if skip or not runs[place] or hit >= strength:
            found += [] if skip else [letter]
            skip = False
        elif fate < 1 / 3 and after != letter and _is_letter(after):
            found += [after, letter]
            skip = True
        elif fate < 2 / 3 and runs[place][0] > 1:
            runs[place][0] -= 1
        else:
            found += [letter, letter]
    return "".join(found)


def without_diacritics(text: str, strength: float, random: np.random.Generator) -> str:
    """This share of the letters that have diacritics loses them: the canonical decomposition less its marks."""
    letters = clusters(text)
    drawn = random.random(len(letters))
    return "".join(
        bare(letter) if hit < strength else letter for letter, hit in zip(letters, drawn, strict=True)
    )  # fmt: skip


def switched(text: str, strength: float, random: np.random.Generator, dictionary: Dictionary) -> str:
    """This share of the words that the dictionary has is translated; what stands around a word stays, and its case."""
    found = []
    for part in re.split(r"(\s+)", text):
        if not part or part.isspace():
            found.append(part)
            continue
        hit, which, word = random.random(3)
        before, core, behind = trimmed(part)
        every = look_up(core, dictionary) if hit < strength else ()
        if every:
            into = every[int(which * len(every))]
            part = f"{before}{into[int(word * len(into))]}{behind}"
        found.append(part)
    return "".join(found)


def look_up(word: str, dictionary: Dictionary) -> tuple[tuple[str, ...], ...]:
    """A word's translations, in its own case; nothing where the dictionary has none."""
    word = unicodedata.normalize("NFC", word)
    if word in dictionary:
        return dictionary[word]
    every = dictionary.get(word.lower(), ())
    if word[:1] == word[:1].lower():
        return every
    case = str.upper if len(word) > 1 and word == word.upper() else _capitalised
    return tuple(tuple(case(one) for one in into) for into in every)


def trimmed(word: str) -> tuple[str, str, str]:
    """What stands before a word, the word from its first letter or digit to its last, and what stands behind it."""
    inside = [place for place, sign in enumerate(word) if unicodedata.category(sign)[0] in "LMN"]
    if not inside:
        return word, "", ""
    return word[: inside[0]], word[inside[0] : inside[-1] + 1], word[inside[-1] + 1 :]


def clusters(text: str) -> list[str]:
    """The text in letters, each with its marks."""
    found: list[str] = []
    for sign in text:
        if found and (unicodedata.category(sign)[0] == "M" or sign in JOINERS):
            found[-1] += sign
        else:
            found.append(sign)
    return found


def bare(letter: str) -> str:
    """A letter without diacritics; one that has none is what it was, bit by bit."""
    whole = unicodedata.normalize("NFD", letter)
    kept = [sign for sign in whole if unicodedata.combining(sign) in NO_DIACRITIC]
    return letter if len(kept) == len(whole) else unicodedata.normalize("NFC", "".join(kept))


def _change(perturbation: Perturbation, by_lang: dict[str, Dictionary]) -> Change:
    match perturbation.kind:
        case "typos":
            return lambda text, lang, random: typos(text, perturbation.strength, random)
        case "diacritics":
            return lambda text, lang, random: without_diacritics(text, perturbation.strength, random)
    return lambda text, lang, random: switched(text, perturbation.strength, random, by_lang.get(lang, {}))


def _row(row: Row, change: Change, first: str, second: str, random: np.random.Generator) -> Row:
    match row:
        case Classified(text=text, pair=pair):
            new = change(text, first, random)
            return row._replace(text=new, pair=None if pair is None else change(pair, second, random))
        case Choices(prompt=prompt, question=question, options=options):
            new = {"prompt": change(prompt, first, random), "question": change(question, first, random)}
            return row._replace(**new, options=tuple(change(option, first, random) for option in options))
        case Tagged(words=words):
            return row._replace(words=tuple(change(word, first, random) for word in words))
        case Question(question=question):
            return row._replace(question=change(question, second, random))
    raise InputError(f"row {row.id}: a {type(row).__name__} has no input that can be perturbed")


def _random(row: Row, perturbation: Perturbation, lang: str) -> np.random.Generator:
    where = (zlib.crc32(word.encode()) for word in (lang, row.id))
    return generator(perturbation.seed, f"perturb {perturbation.kind}", *where)


def _runs(letters: Sequence[str]) -> list[list[int]]:
    """Of each letter the number of letters that are left in its word, one list for the word; [] of what is none."""
    found: list[list[int]] = []
    for letter in letters:
        if not _is_letter(letter):
            found.append([])
        elif found and found[-1]:
            found[-1][0] += 1
            found.append(found[-1])
        else:
            found.append([1])
    return found


def _is_letter(cluster: str) -> bool:
    return bool(cluster) and unicodedata.category(cluster[0])[0] == "L"


def _capitalised(word: str) -> str:
    return word[:1].upper() + word[1:]
