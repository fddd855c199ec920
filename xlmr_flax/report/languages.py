"""Of each language: its name, family, script, and how much of its text XLM-R was pretrained on, each with its source.

A language that is not here, a generated one for instance, is of unknown family, script and size: nothing is guessed.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

FAMILY_SOURCE = "CLDR 46, supplemental/languageGroups.json (ISO 639-5 groups, from Wikidata)"
SCRIPT_SOURCE = "CLDR 47, likelySubtags, as Babel 2.18.0 has them"
CORPUS_SOURCE = (
    "Conneau et al. 2020 (arXiv 1911.02116), Appendix A, Table 6, as github.com/mayhewsw/multilingual-data-stats "
    "has it in cc-100/cc-100.csv (commit 7397902)"
)
NOT_THERE = f"no row in {CORPUS_SOURCE}"

# The group of CLDR's that each family is (ISO 639-5, or the language's own code where it stands alone). Turkic stands
# under the disputed Altaic there, and the French-based creoles under Romance: here each is its own family.
FAMILIES = {
    "Afro-Asiatic": "afa",
    "Atlantic-Congo": "alv",
    "Austro-Asiatic": "aav",
    "Austronesian": "map",
    "Basque": "euq",
    "Dravidian": "dra",
    "French-based creole": "cpf",
    "Indo-European": "ine",
    "Japonic": "jpx",
    "Korean": "ko",
    "Quechua": "qu",
    "Sino-Tibetan": "sit",
    "South Caucasian": "ccs",
    "Tai": "tai",
    "Turkic": "trk",
    "Uralic": "urj",
}

UNKNOWN = "unknown"
SIZES = ((0.0, "< 1 GiB"), (1.0, "1 to 10 GiB"), (10.0, "10 to 50 GiB"), (50.0, "≥ 50 GiB"))


class Language(NamedTuple):
    """What is known of a language; `gib` and `tokens` (millions) are of XLM-R's text, None where it has none."""

    name: str
    family: str
    script: str
    gib: float | None
    tokens: int | None

    @property
    def pretrained(self) -> str:
        """Whether XLM-R's pretraining text has it."""
        return "in XLM-R's pretraining" if self.gib is not None else "not in XLM-R's pretraining"

    @property
    def size(self) -> str:
        """The class of its size."""
        if self.gib is None:
            return "none"
        return [name for least, name in SIZES if self.gib >= least][-1]

    @property
    def sources(self) -> tuple[str, str, str]:
        """Where family, script and size come from."""
        return FAMILY_SOURCE, SCRIPT_SOURCE, CORPUS_SOURCE if self.gib is not None else NOT_THERE


# Chinese is the sum of the table's simplified (46.9 GiB) and traditional (16.6) rows, Burmese that of its two (1.6 and
# 0.4).
LANGUAGES: Mapping[str, Language] = {
    "af": Language("Afrikaans", "Indo-European", "Latin", 1.3, 242),
    "ar": Language("Arabic", "Afro-Asiatic", "Arabic", 28.0, 2869),
    "az": Language("Azerbaijani", "Turkic", "Latin", 6.5, 783),
    "bg": Language("Bulgarian", "Indo-European", "Cyrillic", 57.5, 5487),
    "bn": Language("Bengali", "Indo-European", "Bengali", 8.4, 525),
    "de": Language("German", "Indo-European", "Latin", 66.6, 10297),
    "el": Language("Greek", "Indo-European", "Greek", 46.9, 4285),
    "en": Language("English", "Indo-European", "Latin", 300.8, 55608),
    "es": Language("Spanish", "Indo-European", "Latin", 53.3, 9374),
    "et": Language("Estonian", "Uralic", "Latin", 6.1, 843),
    "eu": Language("Basque", "Basque", "Latin", 2.0, 270),
    "fa": Language("Persian", "Indo-European", "Arabic", 111.6, 13259),
    "fi": Language("Finnish", "Uralic", "Latin", 54.3, 6730),
    "fr": Language("French", "Indo-European", "Latin", 56.8, 9780),
    "gu": Language("Gujarati", "Indo-European", "Gujarati", 1.9, 140),
    "he": Language("Hebrew", "Afro-Asiatic", "Hebrew", 31.6, 3399),
    "hi": Language("Hindi", "Indo-European", "Devanagari", 20.2, 1715),
    "ht": Language("Haitian Creole", "French-based creole", "Latin", None, None),
    "hu": Language("Hungarian", "Uralic", "Latin", 58.4, 7807),
    "id": Language("Indonesian", "Austronesian", "Latin", 148.3, 22704),
    "it": Language("Italian", "Indo-European", "Latin", 30.2, 4983),
    "ja": Language("Japanese", "Japonic", "Japanese", 69.3, 530),
    "jv": Language("Javanese", "Austronesian", "Latin", 0.2, 24),
    "ka": Language("Georgian", "South Caucasian", "Georgian", 9.1, 469),
    "kk": Language("Kazakh", "Turkic", "Cyrillic", 6.4, 476),
    "ko": Language("Korean", "Korean", "Korean", 54.2, 5644),
    "lt": Language("Lithuanian", "Indo-European", "Latin", 13.7, 1835),
    "ml": Language("Malayalam", "Dravidian", "Malayalam", 7.6, 313),
    "mr": Language("Marathi", "Indo-European", "Devanagari", 2.8, 175),
    "ms": Language("Malay", "Austronesian", "Latin", 8.5, 1318),
    "my": Language("Burmese", "Sino-Tibetan", "Myanmar", 2.0, 71),
    "nl": Language("Dutch", "Indo-European", "Latin", 29.3, 5025),
    "pa": Language("Punjabi", "Indo-European", "Gurmukhi", 0.8, 68),
    "pl": Language("Polish", "Indo-European", "Latin", 44.6, 6490),
    "pt": Language("Portuguese", "Indo-European", "Latin", 49.1, 8405),
    "qu": Language("Quechua", "Quechua", "Latin", None, None),
    "ro": Language("Romanian", "Indo-European", "Latin", 61.4, 10354),
    "ru": Language("Russian", "Indo-European", "Cyrillic", 278.0, 23408),
    "sw": Language("Swahili", "Atlantic-Congo", "Latin", 1.6, 275),
    "ta": Language("Tamil", "Dravidian", "Tamil", 12.2, 595),
    "te": Language("Telugu", "Dravidian", "Telugu", 4.7, 249),
    "th": Language("Thai", "Tai", "Thai", 71.7, 1834),
    "tl": Language("Tagalog", "Austronesian", "Latin", 3.1, 556),
    "tr": Language("Turkish", "Turkic", "Latin", 20.9, 2736),
    "uk": Language("Ukrainian", "Indo-European", "Cyrillic", 84.6, 6960),
    "ur": Language("Urdu", "Indo-European", "Arabic", 5.7, 730),
    "vi": Language("Vietnamese", "Austro-Asiatic", "Latin", 137.3, 24757),
    "wo": Language("Wolof", "Atlantic-Congo", "Latin", None, None),
    "yo": Language("Yoruba", "Atlantic-Congo", "Latin", None, None),
    "zh": Language("Chinese", "Sino-Tibetan", "Han", 63.5, 435),
}

GROUPINGS = ("family", "script", "pretrained", "size")


def group_of(lang: str, grouping: str) -> str:
    """The group of a language; of a pair such as de-en that of the first, and unknown where nothing is known."""
    known = LANGUAGES.get(lang.partition("-")[0])
    return UNKNOWN if known is None else getattr(known, grouping)


def groups(langs: Sequence[str], grouping: str) -> dict[str, list[str]]:
    """These languages by group, sizes from small to large and the others by name; the unknown last."""
    found: dict[str, list[str]] = {}
    for lang in langs:
        found.setdefault(group_of(lang, grouping), []).append(lang)
    order = ["none", *(name for _, name in SIZES)]
    return dict(sorted(found.items(), key=lambda one: (one[0] == UNKNOWN, *_place(one[0], order))))


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(name) if name in order else -1), name
