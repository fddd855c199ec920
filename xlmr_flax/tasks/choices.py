"""Tasks with one right option out of several.

Cosmos QA, HellaSwag and CommonsenseQA select on a part of their training data, because their official validation sets
are what is scored: their test labels are hidden. So does COPA, whose validation set XCOPA selects on, as XTREME-R does.
"""

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.sources.commonsense import (
    read_commonsenseqa,
    read_copa,
    read_copa_test,
    read_hellaswag,
    read_socialiqa,
)
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.translated import read_translated_choices
from xlmr_flax.tasks import published
from xlmr_flax.tasks.languages import ISO3
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes, translated
from xlmr_flax.tasks.task import Files, Head, Task

_XCOPA = codes("et ht id it qu sw ta th tr vi zh")
_HELLASWAG = {"train": ("hellaswag/hellaswag_train.jsonl",), "val": ("hellaswag/hellaswag_val.jsonl",)}
_HELLASWAG_SOURCE = (
    "hellaswag_train.jsonl, hellaswag_val.jsonl and hellaswag_test.jsonl (the last without labels) of data/ of "
    "github.com/rowanz/hellaswag go to hellaswag/"
)
_COPA = (
    Files(read_copa, {"train": ("xcopa/train-en.jsonl",), "val": ("xcopa/val-en.jsonl",)}),
    Files(read_copa, {"train": ("COPA/train.jsonl",), "val": ("COPA/val.jsonl",)}),
    *published.COPA,
)
_COPA_SOURCE = (
    f"{XTREME_DOWNLOAD} so: xcopa/train-en.jsonl and xcopa/val-en.jsonl; they are COPA's train.jsonl and val.jsonl, so "
    "COPA.zip of SuperGLUE (super.gluebenchmark.com/tasks) may be unpacked instead, which holds COPA/"
)

CHOICES = (
    Task(
        name="cosmosqa",
        head=Head("choice", options=4),
        langs=("en",),
        files=(
            Files(read_cosmosqa, {split: (f"cosmosqa/{split}.csv",) for split in ("train", "valid")}),
            *published.COSMOSQA,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="valid",
        metric="accuracy",
        score=accuracy,
        source="train.csv and valid.csv of data/ of github.com/wilburOne/cosmosqa go to cosmosqa/",
    ),
    Task(
        name="hellaswag",
        head=Head("choice", options=4),
        langs=("en",),
        files=(
            Files(read_hellaswag, _HELLASWAG | {"test": ("hellaswag/hellaswag_test.jsonl",)}),
            *published.HELLASWAG,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="val",
        metric="accuracy",
        score=accuracy,
        source=_HELLASWAG_SOURCE,
        unlabelled=frozenset({"test"}),
    ),
    Task(
        name="hellaswag_translated",
        head=Head("choice", options=4),
        langs=("en", *ISO3),
        files=(
            Files(read_translated_choices, translated("hellaswag")),
            Files(read_hellaswag, {"train": _HELLASWAG["train"], "test": _HELLASWAG["val"]}),
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="test",
        metric="accuracy",
        score=accuracy,
        source='Your translations of HellaSwag: one JSON object a line with "prompt", "options" (four texts) and '
        '"label" (the number of the right one, from 0), in translated/hellaswag/train-LANG.jsonl (and dev-LANG.jsonl '
        "and test-LANG.jsonl); English is read from HellaSwag's own files where there are none, its val as test. "
        f"{_HELLASWAG_SOURCE}",
    ),
    Task(
        name="commonsenseqa",
        head=Head("choice", options=5),
        langs=("en",),
        files=(
            Files(
                read_commonsenseqa,
                {
                    "train": ("commonsenseqa/train_rand_split.jsonl",),
                    "dev": ("commonsenseqa/dev_rand_split.jsonl",),
                    "test": ("commonsenseqa/test_rand_split_no_answers.jsonl",),
                },
            ),
            *published.COMMONSENSEQA,
        ),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="accuracy",
        score=accuracy,
        source="train_rand_split.jsonl, dev_rand_split.jsonl and test_rand_split_no_answers.jsonl of CommonsenseQA "
        "1.11 (tau-nlp.org/commonsenseqa) go to commonsenseqa/",
        unlabelled=frozenset({"test"}),
    ),
    Task(
        name="socialiqa",
        head=Head("choice", options=3),
        langs=("en",),
        files=(
            Files(
                read_socialiqa,
                {
                    split: (f"siqa/socialIQa_v1.4_{name}.jsonl",)
                    for split, name in (("train", "trn"), ("dev", "dev"), ("test", "tst"))
                },
            ),
            *published.SOCIALIQA,
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=f"{XTREME_DOWNLOAD} so: siqa/socialIQa_v1.4_trn.jsonl, _dev.jsonl and _tst.jsonl",
    ),
    Task(
        name="copa",
        head=Head("choice", options=2),
        langs=("en",),
        files=_COPA,
        train="train[:90%]",
        select="train[90%:]",
        test="val",
        metric="accuracy",
        score=accuracy,
        source=_COPA_SOURCE,
    ),
    Task(
        name="xcopa",
        head=Head("choice", options=2),
        langs=_XCOPA,
        files=(
            *_COPA,
            Files(
                read_copa,
                {split: (f"xcopa/data/{{lang}}/{split}.{{lang}}.jsonl",) for split in ("val", "test")},
                langs=_XCOPA,
            ),
            *published.XCOPA,
            Files(read_copa, {"val": ("xcopa/val-{lang}.jsonl",)}),
            Files(read_copa_test, {"test": ("xcopa/test-{lang}.jsonl",)}),
        ),
        train="train",
        select="val",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=f"{_COPA_SOURCE}. In the other languages: xcopa/val-LANG.jsonl and xcopa/test-LANG.jsonl, in which the "
        "download sets every label to 0; to score them, put data/ of github.com/cambridgeltl/xcopa into xcopa/",
    ),
)
