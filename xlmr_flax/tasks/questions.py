"""Tasks with an answer in a context.

What trains on SQuAD selects on a fixed part of its training articles, because XQuAD is a translation of its dev set;
TyDiQA's dev set is what XTREME scores, so it selects on a part of its training articles too.
"""

import dataclasses
from collections.abc import Sequence

from xlmr_flax.metrics.mlqa import ARTICLES, mlqa
from xlmr_flax.metrics.squad import squad
from xlmr_flax.metrics.squad_v2 import squad_v2
from xlmr_flax.sources.squad import (
    read_squad,
    read_squad_v2,
    read_translated_squad,
    read_tydiqa,
    read_tydiqa_part,
)
from xlmr_flax.tasks import published
from xlmr_flax.tasks.layouts import codes
from xlmr_flax.tasks.task import Files, Head, Task

_XQUAD = codes("en es de el ru tr ar vi th zh hi ro")
_MLQA = codes("en es de ar hi vi zh")
_TYDIQA = codes("en ar bn fi id ko ru sw te")
_SQUAD = {"train": ("squad/train-v1.1.json",)}
_SQUAD_SOURCE = "train-v1.1.json and dev-v1.1.json of rajpurkar.github.io/SQuAD-explorer go to squad/"
_XQUAD_SOURCE = (
    "xquad.LANG.json of github.com/google-deepmind/xquad go to xquad/ (XTREME's download blanks their answers)"
)
_MLQA_DEV = "mlqa/MLQA_V1/dev/dev-context-"
_MLQA_TEST = "mlqa/MLQA_V1/test/test-context-"
# The files of TyDiQA-GoldP 1.1 as they are published come first: they know their articles, and their dev set has its
# answers. XTREME's download moves the training file, parts it by language, and blanks the dev set.
_TYDIQA_TRAIN = (
    Files(read_tydiqa, {"train": ("tydiqa/tydiqa-goldp-v1.1-train.json",)}, tells_lang=True),
    Files(read_tydiqa, {"train": ("tydiqa/tydiqa-goldp-v1.1-train/tydiqa-goldp-v1.1-train.json",)}, tells_lang=True),
    Files(read_tydiqa_part, {"train": ("tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{lang}.train.json",)}),
)
_TYDIQA_DEV = (
    Files(read_squad, {"dev": ("tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",)}),
    Files(read_tydiqa, {"dev": ("tydiqa/tydiqa-goldp-v1.1-dev.json",)}, tells_lang=True),
    *published.TYDIQA_DEV,
    Files(read_squad, {"dev": ("tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{lang}.dev.json",)}),
)
_TYDIQA_SOURCE = (
    "tydiqa-goldp-v1.1-train.json and the unpacked folder of tydiqa-goldp-v1.1-dev.tgz of "
    "github.com/google-research-datasets/tydiqa go to tydiqa/; XTREME's download blanks the answers of the latter"
)
_TRANSLATIONS = "of the bucket gs://xtreme_translations, to which XTREME's README links, go below xtreme_translations/"


def _mlqa(gold: Sequence[Sequence[str]], predicted: Sequence[str | None], lang: str) -> dict[str, float]:
    """MLQA's scores; a language that it does not have, such as a generated one, has no articles, as Hindi has none."""
    return mlqa(gold, predicted, lang if lang.partition("-")[0] in ARTICLES else "hi")


QUESTIONS = (
    Task(
        name="squad",
        head=Head("span"),
        langs=("en",),
        files=(
            Files(read_squad, {**_SQUAD, "dev": ("squad/dev-v1.1.json",)}),
            *published.SQUAD_TRAIN,
            *published.SQUAD_DEV,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="f1",
        score=squad,
        source=_SQUAD_SOURCE,
    ),
    Task(
        name="squad_v2",
        head=Head("span"),
        langs=("en",),
        files=(
            Files(read_squad_v2, {"train": ("squad/train-v2.0.json",), "dev": ("squad/dev-v2.0.json",)}),
            *published.SQUAD_V2,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="f1",
        score=squad_v2,
        nullable=True,
        source="train-v2.0.json and dev-v2.0.json of rajpurkar.github.io/SQuAD-explorer go to squad/",
    ),
    Task(
        name="xquad",
        head=Head("span"),
        langs=_XQUAD,
        files=(
            Files(read_squad, {**_SQUAD, "test": ("xquad/xquad.{lang}.json",)}),
            *published.SQUAD_TRAIN,
            *published.XQUAD,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="test",
        metric="f1",
        score=squad,
        source=f"{_XQUAD_SOURCE}, and {_SQUAD_SOURCE}",
    ),
    Task(
        name="mlqa",
        head=Head("span"),
        langs=_MLQA,
        files=(
            Files(
                read_squad,
                {
                    **_SQUAD,
                    "dev": (f"{_MLQA_DEV}{{lang}}-question-{{lang}}.json",),
                    "test": (f"{_MLQA_TEST}{{lang}}-question-{{lang}}.json",),
                },
            ),
            # In a pair such as de-en the context, and so the answer, is German.
            Files(
                read_squad,
                {
                    "dev": (f"{_MLQA_DEV}{{first}}-question-{{second}}.json",),
                    "test": (f"{_MLQA_TEST}{{first}}-question-{{second}}.json",),
                },
            ),
            *published.SQUAD_TRAIN,
            *published.MLQA,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="test",
        metric="f1",
        score=_mlqa,
        score_in_lang=True,
        source="The unpacked folder MLQA_V1 of MLQA_V1.zip (github.com/facebookresearch/MLQA) goes to mlqa/ (XTREME's "
        f"download blanks the answers of its test set), and {_SQUAD_SOURCE}",
    ),
    Task(
        name="tydiqa",
        head=Head("span"),
        langs=_TYDIQA,
        files=(*_TYDIQA_TRAIN, *published.TYDIQA_TRAIN, *_TYDIQA_DEV),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="f1",
        score=squad,
        source=_TYDIQA_SOURCE,
    ),
    Task(
        name="squad_translate",
        head=Head("span"),
        langs=_XQUAD,
        files=(
            Files(read_squad, _SQUAD),
            Files(
                read_translated_squad,
                {"train": ("xtreme_translations/SQuAD/translate-train/squad.translate.train.en-{lang}.json",)},
            ),
            Files(
                read_translated_squad,
                {"train": ("mlqa/mlqa-translate-train/{lang}_squad-translate-train-train-v1.1.json",)},
                note="MLQA's translation, not XTREME's",
            ),
            Files(read_squad, {"test": ("xquad/xquad.{lang}.json",)}),
            *published.SQUAD_TRAIN,
            *published.SQUAD_TRANSLATED,
            *published.XQUAD,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="test",
        metric="f1",
        score=squad,
        source=f"SQuAD/translate-train/squad.translate.train.en-LANG.json {_TRANSLATIONS}, or else the unpacked folder "
        "of mlqa-translate-train.tar.gz (github.com/facebookresearch/MLQA) goes to mlqa/, another translation; in "
        f"English, {_SQUAD_SOURCE}; and {_XQUAD_SOURCE}",
    ),
    Task(
        name="tydiqa_translate",
        head=Head("span"),
        langs=_TYDIQA,
        files=(
            Files(
                read_translated_squad,
                {"train": ("xtreme_translations/TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-{lang}.json",)},
            ),
            *published.TYDIQA_TRANSLATED,
            *(dataclasses.replace(files, langs=("en",)) for files in (*_TYDIQA_TRAIN, *published.TYDIQA_TRAIN)),
            *_TYDIQA_DEV,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="f1",
        score=squad,
        source=f"TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-LANG.json {_TRANSLATIONS}; in English, and to "
        f"score, {_TYDIQA_SOURCE}",
    ),
)
