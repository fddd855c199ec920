"""Tasks with one class for a text or a pair of texts.

Files of XTREME's download come before the authors' archives, but where that download hides labels (the tests of XNLI
and PAWS-X) it comes after them. XNLI's training text is that of XNLI-MT's multinli.train.en.tsv, as in XTREME, with
spaces around punctuation; GLUE's MNLI has the same pairs as they were written.

A pair of languages such as de-en has sentence 1 in German and sentence 2 in English: generalised transfer. QQP selects
on a part of its training pairs, because GLUE hides its test labels and its dev set is what is scored.
"""

from xlmr_flax.metrics.accuracy import accuracy, accuracy_and_class_f1, accuracy_and_f1
from xlmr_flax.sources.nli import read_anli, read_nli
from xlmr_flax.sources.pawsx import read_crossed_pawsx, read_pawsx
from xlmr_flax.sources.translated import (
    read_pawsx_translated,
    read_translated_pairs,
    read_xnli_translated,
    read_xtreme_pawsx,
    read_xtreme_xnli,
)
from xlmr_flax.sources.tsv import read_crossed_pairs, read_glue_pairs, read_hypotheses, read_pairs, read_qqp
from xlmr_flax.sources.xnli import read_xnli, read_xnli_hypotheses
from xlmr_flax.tasks import published
from xlmr_flax.tasks.languages import ISO3
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes, translated, xtreme
from xlmr_flax.tasks.task import Files, Head, Task

_XNLI = codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = codes("de en es fr ja ko zh")
_NLI = Head("sequence", labels=("entailment", "neutral", "contradiction"))
_PARAPHRASE = Head("sequence", labels=("0", "1"))
_USERS = ("en", *ISO3)  # whatever language a user translates into

_GLUE_MNLI = Files(
    read_glue_pairs,
    {
        split: (f"mnli/{split}.tsv",)
        for split in ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched")
    },
)
_MULTINLI = Files(
    read_nli,
    {
        "train": ("multinli_1.0/multinli_1.0_train.jsonl",),
        "dev_matched": ("multinli_1.0/multinli_1.0_dev_matched.jsonl",),
        "dev_mismatched": ("multinli_1.0/multinli_1.0_dev_mismatched.jsonl",),
    },
)
_GLUE_QQP = Files(read_qqp, {split: (f"qqp/{split}.tsv",) for split in ("train", "dev", "test")})

# The files to score XNLI and PAWS-X on, the same whatever they were trained on.
_XNLI_SCORED = (
    Files(read_pairs, xtreme("xnli", "dev")),
    Files(
        read_xnli,
        {split: (f"XNLI-1.0/xnli.{split}.tsv",) for split in ("dev", "test")},
        tells_lang=True,
        tells_pairs=True,
    ),
    *published.XNLI_SCORED,
    Files(read_pairs, xtreme("xnli", "test")),
    Files(
        read_crossed_pairs,
        {split: (f"xnli/{split}-{{first}}.tsv", f"xnli/{split}-{{second}}.tsv") for split in ("dev", "test")},
    ),
)
_PAWSX_SCORED = (
    Files(read_pairs, xtreme("pawsx", "dev")),
    Files(read_pawsx, {split: (f"x-final/{{lang}}/{split}_2k.tsv",) for split in ("dev", "test")}),
    Files(
        read_crossed_pawsx,
        {
            split: (f"x-final/{{first}}/{split}_2k.tsv", f"x-final/{{second}}/{split}_2k.tsv")
            for split in ("dev", "test")
        },
    ),
    *published.PAWSX_SCORED,
    Files(read_pairs, xtreme("pawsx", "test")),
    Files(
        read_crossed_pairs,
        {split: (f"pawsx/{split}-{{first}}.tsv", f"pawsx/{split}-{{second}}.tsv") for split in ("dev", "test")},
    ),
)
_XNLI_SOURCE = (
    f"{XTREME_DOWNLOAD} so: xnli/train-en.tsv, xnli/dev-LANG.tsv and xnli/test-LANG.tsv, the last without labels; to "
    "score it, unpack XNLI-1.0.zip (dl.fbaipublicfiles.com/XNLI) beside xnli/, or write premise, hypothesis and label "
    "into xnli/test-LANG.tsv from its xnli.test.tsv"
)
_PAWSX_SOURCE = (
    f"{XTREME_DOWNLOAD} so: pawsx/train-en.tsv, pawsx/dev-LANG.tsv and pawsx/test-LANG.tsv, the last without labels; "
    "to score it, unpack x-final.tar.gz (github.com/google-research-datasets/paws) beside pawsx/, or write sentence 1, "
    "sentence 2 and label into pawsx/test-LANG.tsv from its test_2k.tsv"
)
_MNLI_SOURCE = (
    "The TSV files of GLUE's MNLI (gluebenchmark.com/tasks) go to mnli/: train.tsv, dev_matched.tsv, "
    "dev_mismatched.tsv; those of its test sets have no labels. Or unpack multinli_1.0.zip (cims.nyu.edu/~sbowman/"
    "multinli), which holds multinli_1.0/"
)
_QQP_SOURCE = (
    "The TSV files of GLUE's QQP (gluebenchmark.com/tasks) go to qqp/: train.tsv and dev.tsv; its test.tsv has no "
    "labels"
)
_OWN_PAIRS = (
    'one JSON object a line with "text", "pair" and "label", in translated/{name}/train-LANG.jsonl (and dev-LANG.jsonl '
    "and test-LANG.jsonl); English is read from the task's own files where there are none"
)

MNLI = Task(
    name="mnli",
    head=_NLI,
    langs=("en",),
    files=(_GLUE_MNLI, _MULTINLI, *published.MNLI),
    train="train",
    select="dev_matched",
    test="dev_mismatched",
    metric="accuracy",
    score=accuracy,
    source=_MNLI_SOURCE,
    unlabelled=frozenset({"test_matched", "test_mismatched"}),
)
SNLI = Task(
    name="snli",
    head=_NLI,
    langs=("en",),
    files=(
        Files(read_nli, {split: (f"snli/snli_1.0_{split}.jsonl",) for split in ("train", "dev", "test")}),
        *published.SNLI,
    ),
    train="train",
    select="dev",
    test="test",
    metric="accuracy",
    score=accuracy,
    source="snli_1.0_train.jsonl, snli_1.0_dev.jsonl and snli_1.0_test.jsonl of snli_1.0.zip "
    "(nlp.stanford.edu/projects/snli) go to snli/",
)
ANLI = Task(
    name="anli",
    head=_NLI,
    langs=("en",),
    files=(
        Files(
            read_anli,
            {
                split: tuple(f"anli/R{round_}/{split}.jsonl" for round_ in (1, 2, 3))
                for split in ("train", "dev", "test")
            },
        ),
        Files(
            read_anli,
            {
                f"{split}_r{round_}": (f"anli/R{round_}/{split}.jsonl",)
                for round_ in (1, 2, 3)
                for split in ("train", "dev", "test")
            },
        ),
        *published.ANLI,
    ),
    train="train",
    select="dev",
    test="test",
    metric="accuracy",
    score=accuracy,
    source="The folders R1, R2 and R3 of anli_v1.0.zip (github.com/facebookresearch/anli) go to anli/",
)

PAIRS = (
    Task(
        name="xnli",
        head=_NLI,
        langs=_XNLI,
        files=(
            Files(read_pairs, xtreme("xnli", "train")),
            Files(read_xnli_translated, {"train": ("XNLI-MT-1.0/multinli/multinli.train.en.tsv",)}),
            *published.XNLI_TRAIN,
            *_XNLI_SCORED,
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=_XNLI_SOURCE,
    ),
    Task(
        name="xnli_hypothesis",
        head=_NLI,
        langs=_XNLI,
        files=(
            Files(read_hypotheses, xtreme("xnli", "train", "dev")),
            Files(
                read_xnli_hypotheses,
                {split: (f"XNLI-1.0/xnli.{split}.tsv",) for split in ("dev", "test")},
                tells_lang=True,
            ),
            *published.XNLI_HYPOTHESIS,
            Files(read_hypotheses, xtreme("xnli", "test")),
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=_XNLI_SOURCE,
    ),
    Task(
        name="xnli_translate",
        head=_NLI,
        langs=_XNLI,
        files=(
            Files(read_xnli_translated, {"train": ("XNLI-MT-1.0/multinli/multinli.train.{lang}.tsv",)}),
            Files(read_xnli_translated, {"train": ("multinli/multinli.train.{lang}.tsv",)}),
            Files(
                read_xtreme_xnli,
                {"train": ("xtreme_translations/XNLI/translate-train/en-{lang}-translated.tsv",)},
                note="XTREME's translation, not that of XNLI-MT-1.0",
            ),
            Files(read_pairs, {"train": ("xnli/train-en.tsv",)}),
            *published.XNLI_TRANSLATED,
            *_XNLI_SCORED,
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source="Unpack XNLI-MT-1.0.zip (dl.fbaipublicfiles.com/XNLI), which holds multinli/multinli.train.LANG.tsv, or "
        "put en-LANG-translated.tsv of gs://xtreme_translations/XNLI/translate-train into "
        f"xtreme_translations/XNLI/translate-train/. For what is scored: {_XNLI_SOURCE}",
    ),
    MNLI,
    SNLI,
    ANLI,
    Task(
        name="anli_plus",
        head=_NLI,
        langs=("en",),
        files=(),
        train="train",
        select="select",
        test="test",
        metric="accuracy",
        score=accuracy,
        source="Its rows are those of anli, mnli and snli",
        members=(ANLI, MNLI, SNLI),
    ),
    Task(
        name="mnli_translated",
        head=_NLI,
        langs=_USERS,
        files=(
            Files(read_translated_pairs, translated("mnli")),
            Files(
                read_glue_pairs,
                {
                    "train": ("mnli/train.tsv",),
                    "dev": ("mnli/dev_matched.tsv",),
                    "test": ("mnli/dev_mismatched.tsv",),
                },
            ),
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=f"Your translations of MNLI: {_OWN_PAIRS.format(name='mnli')}. {_MNLI_SOURCE}",
    ),
    Task(
        name="qqp",
        head=_PARAPHRASE,
        langs=("en",),
        files=(_GLUE_QQP, *published.QQP),
        train="train[:98%]",
        select="train[98%:]",
        test="dev",
        metric="accuracy_and_f1",
        score=accuracy_and_f1,
        source=_QQP_SOURCE,
        unlabelled=frozenset({"test"}),
    ),
    Task(
        name="qqp_translated",
        head=_PARAPHRASE,
        langs=_USERS,
        files=(
            Files(read_translated_pairs, translated("qqp")),
            Files(read_qqp, {"train": ("qqp/train.tsv",), "test": ("qqp/dev.tsv",)}),
        ),
        train="train[:98%]",
        select="train[98%:]",
        test="test",
        metric="accuracy_and_f1",
        score=accuracy_and_f1,
        source=f"Your translations of QQP: {_OWN_PAIRS.format(name='qqp')}. {_QQP_SOURCE}",
    ),
    Task(
        name="pawsx",
        head=_PARAPHRASE,
        langs=_PAWSX,
        files=(
            Files(read_pairs, xtreme("pawsx", "train")),
            Files(read_pawsx, {"train": ("x-final/en/train.tsv",)}),
            *published.PAWSX_TRAIN,
            *_PAWSX_SCORED,
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy_and_class_f1,
        source=_PAWSX_SOURCE,
    ),
    Task(
        name="pawsx_translate",
        head=_PARAPHRASE,
        langs=_PAWSX,
        files=(
            Files(read_pawsx_translated, {"train": ("x-final/{lang}/translated_train.tsv",)}),
            Files(
                read_xtreme_pawsx,
                {"train": ("xtreme_translations/PAWSX/translate-train/en-{lang}-translated.tsv",)},
                note="XTREME's translation, not that of PAWS-X",
            ),
            Files(read_pairs, {"train": ("pawsx/train-en.tsv",)}),
            Files(read_pawsx, {"train": ("x-final/en/train.tsv",)}),
            *published.PAWSX_TRANSLATED,
            *_PAWSX_SCORED,
        ),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy_and_class_f1,
        source="Unpack x-final.tar.gz (github.com/google-research-datasets/paws), which holds "
        "x-final/LANG/translated_train.tsv, or put en-LANG-translated.tsv of "
        "gs://xtreme_translations/PAWSX/translate-train into xtreme_translations/PAWSX/translate-train/. "
        f"For what is scored: {_PAWSX_SOURCE}",
    ),
)
