"""Scores of answers that are fair to scripts without spaces; not the official ones, and labelled so.

SQuAD's normaliser, which XTREME applies to XQuAD and TyDiQA in every language, makes a Chinese or Thai answer one word
and keeps its punctuation. Here all punctuation goes, full-width forms equal the usual ones, the articles are the
answer's language's (where MLQA names them), and each character of a script without spaces is a word.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence

from xlmr_flax.metrics.mlqa import ARTICLES, without_punctuation
from xlmr_flax.metrics.squad import answers

# MLQA's Arabic pattern cuts into words; here the article goes from where it stands, the start of a word.
_ARTICLES = {**ARTICLES, "ar": r"\bال"}
# Thai, Lao, Myanmar, Khmer, kana, Han with its extensions and compatibility forms.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
)


def squad_sane(gold: Sequence[Sequence[str]], predicted: Sequence[str | None], lang: str) -> dict[str, float]:
    """`f1_sane` and `exact_match_sane` in the answers' language; of a pair such as de-en the first."""
    found = answers(gold, predicted, functools.partial(normalised, lang=lang.partition("-")[0]))
    return {f"{name}_sane": value for name, value in found.items()}


def normalised(text: str, lang: str) -> str:
    """NFKC, lower case, no punctuation, none of the language's articles, characters of unspaced scripts apart."""
    text = without_punctuation(unicodedata.normalize("NFKC", text).lower())
    if pattern := _ARTICLES.get(lang):
        text = re.sub(pattern, " ", text)
    return " ".join(_UNSPACED.sub(r" \1 ", text).split())
