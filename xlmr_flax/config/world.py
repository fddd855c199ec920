"""What a generated world is asked for; every file of it is a pure function of these settings."""

import re

from pydantic import Field, model_validator

from xlmr_flax.config.settings import Settings, later

LANGUAGES_MAX = 60  # x1 … x60: so many alphabets of their own can be given out


class Sizes(Settings):
    """Examples in each split of one task family; a question counts as one example, not its paragraph."""

    train: int = Field(ge=0)  # English only
    dev: int = Field(ge=0)  # in every language that the family has
    test: int = Field(ge=0)  # in every language that the family has


NONE = Sizes(train=0, dev=0, test=0)

# What is not among a family's files: of which split nothing can be asked for, and why.
WITHOUT = {
    "choice": (("test",), "Cosmos QA has train and valid"),
    "squad_v2": (("test",), "SQuAD 2.0 has train and dev"),
    "mlqa": (("train",), "MLQA has dev and test, and trains on SQuAD"),
    "tydiqa": (("dev",), "TyDiQA-GoldP has train and a dev that is the test here"),
    "bucc2018": (("train",), "BUCC has dev and test"),
}


class WorldSettings(Settings):
    """A small world told in English and in invented languages that share its meaning but not its words."""

    seed: int = Field(0, ge=0)
    languages: tuple[str, ...] = ("x1", "x2", "x3", "x4", "x5")  # beside English; the number fixes grammar and alphabet
    documents: int = Field(8000, ge=0)  # of plain text in each language, English too
    documents_by_language: tuple[tuple[str, int], ...] = ()  # other numbers for some: (("x4", 500),) makes x4 scarce
    cognate_frac: float = Field(0.0, ge=0, le=1)  # of the content words that a language writes as English does
    shared_anchors: bool = True  # names, digits and punctuation; False: disjoint by language too, the clean control
    nli: Sizes = Sizes(train=4000, dev=300, test=300)
    paraphrase: Sizes = Sizes(train=1000, dev=300, test=300)
    tagging: Sizes = Sizes(train=4000, dev=300, test=300)
    questions: Sizes = Sizes(train=2000, dev=300, test=300)  # SQuAD, and XQuAD as its test
    choice: Sizes = Sizes(train=2000, dev=300, test=0)  # English only; Cosmos QA publishes no test labels
    retrieval_pairs: int = Field(300, ge=0)  # in each language
    # From here on families are named by their task, and have nothing unless it is asked for.
    mnli: Sizes = later(NONE)  # English only; dev is dev_matched, test is dev_mismatched
    snli: Sizes = later(NONE)  # English only
    anli: Sizes = later(NONE)  # English only; of each of the three rounds
    qqp: Sizes = later(NONE)  # English only; no test labels
    hellaswag: Sizes = later(NONE)  # English only; no test labels
    commonsenseqa: Sizes = later(NONE)  # English only; no test labels
    socialiqa: Sizes = later(NONE)  # English only
    xcopa: Sizes = later(NONE)  # train is COPA's
    panx: Sizes = later(NONE)
    ccg: Sizes = later(NONE)  # English only
    squad_v2: Sizes = later(NONE)  # English only; every other question has no answer
    mlqa: Sizes = later(NONE)  # contexts and questions in every pair of languages
    tydiqa: Sizes = later(NONE)  # no translations of each other: other paragraphs in each language
    bucc2018: Sizes = later(NONE)  # pairs to be found in each language, among as many other sentences on either side
    mewslix: Sizes = later(NONE)  # dev: of the English pairs, and of the mentions in every language
    lareqa: int = later(0)  # questions in each language; it trains on SQuAD
    translated: bool = later(
        False
    )  # the training splits of NLI, paraphrase and questions in the invented languages too

    @model_validator(mode="after")
    def _languages_exist(self) -> "WorldSettings":
        for code in self.languages:
            if not re.fullmatch("x[1-9][0-9]*", code) or int(code[1:]) > LANGUAGES_MAX:
                raise ValueError(f"languages: {code!r} is no invented language; choose from x1 … x{LANGUAGES_MAX}")
        if len(set(self.languages)) < len(self.languages):
            raise ValueError(f"languages: {list(self.languages)} names a language twice")
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> "WorldSettings":
        told = [code for code, _ in self.documents_by_language]
        for code, documents in self.documents_by_language:
            if code not in ("en", *self.languages):
                raise ValueError(f"documents_by_language: {code!r} is not told here; choose from en and languages")
            if documents < 0 or told.count(code) > 1:
                raise ValueError(f"documents_by_language: {code!r} wants one number of documents, 0 or more")
        if self.lareqa < 0:
            raise ValueError(f"lareqa={self.lareqa}: wanted a number of questions, 0 or more")
        for family, (splits, reason) in WITHOUT.items():
            for split in splits:
                if asked := getattr(getattr(self, family), split):
                    raise ValueError(f"{family}.{split}={asked} has no file to go to: {reason}; set 0")
        return self

    def documents_in(self, language: str) -> int:
        """How many documents of plain text this language has."""
        return dict(self.documents_by_language).get(language, self.documents)
