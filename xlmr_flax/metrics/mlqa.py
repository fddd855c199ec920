"""MLQA's F1 and exact match, whose normaliser knows the language of the answer.

As facebookresearch/MLQA's mlqa_evaluation_v1.py has it, and XTREME's copy: all Unicode punctuation goes, each
language has its own articles, and a Chinese character is a word.
"""

import functools
import re
import string
import unicodedata
from collections.abc import Sequence

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.squad import answers

# The Arabic pattern's first half can never match (a line's start after a letter), so its second takes ال out of the
# middle of words too. It is the official one: scores depend on it.
ARTICLES: dict[str, str | None] = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "ar": r"\sال^|ال",
    "hi": None,
    "zh": None,
}
_INVENTED = re.compile("x[1-9][0-9]*")  # a generated world's languages: words between spaces, and articles stay
_CHINESE = re.compile("([\u4e00-\u9fa5])")


def mlqa(gold: Sequence[Sequence[str]], predicted: Sequence[str | None], lang: str) -> dict[str, float]:
    """`f1` and `exact_match` in the answers' language; of a pair such as de-en that is the first, the context's."""
    lang = lang.partition("-")[0]
    if lang not in ARTICLES and not _INVENTED.fullmatch(lang):
        raise InputError(f"MLQA cannot score answers in {lang!r}; its languages are {', '.join(ARTICLES)}")
    return answers(gold, predicted, functools.partial(normalised, lang=lang))


def normalised(text: str, lang: str) -> str:
    """Lower case, no punctuation, none of the language's articles, single spaces; Chinese characters stand apart."""
    text = without_punctuation(text.lower())
    if pattern := ARTICLES.get(lang):
        text = re.sub(pattern, " ", text)
    if lang == "zh":
        text = _CHINESE.sub(r" \1 ", text)
    return " ".join(text.split())


def without_punctuation(text: str) -> str:
    """The text without ASCII's and Unicode's punctuation; ASCII's has signs that Unicode calls symbols, such as $."""
    return "".join(char for char in text if not _is_punctuation(char))


@functools.cache
def _is_punctuation(char: str) -> bool:
    return char in string.punctuation or unicodedata.category(char).startswith("P")
