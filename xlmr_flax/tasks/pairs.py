"""Tasks with one class for a text or a pair of texts."""

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.sources.tsv import read_glue_pairs, read_hypotheses, read_pairs
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes, xtreme
from xlmr_flax.tasks.task import Files, Head, Task

_XNLI = codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = codes("de en es fr ja ko zh")
_NLI = Head("sequence", labels=("entailment", "neutral", "contradiction"))
_XNLI_SOURCE = (
    f"{XTREME_DOWNLOAD} so: xnli/train-en.tsv, xnli/dev-LANG.tsv and xnli/test-LANG.tsv, the last without labels; to "
    "score it, write premise, hypothesis and label into xnli/test-LANG.tsv from xnli.test.tsv of XNLI-1.0.zip"
)

PAIRS = (
    Task(
        name="xnli",
        head=_NLI,
        langs=_XNLI,
        files=(Files(read_pairs, xtreme("xnli")),),
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
        files=(Files(read_hypotheses, xtreme("xnli")),),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=_XNLI_SOURCE,
    ),
    Task(
        name="mnli",
        head=_NLI,
        langs=("en",),
        files=(
            Files(
                read_glue_pairs,
                {
                    split: (f"mnli/{split}.tsv",)
                    for split in ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched")
                },
            ),
        ),
        train="train",
        select="dev_matched",
        test="dev_mismatched",
        metric="accuracy",
        score=accuracy,
        source="The TSV files of GLUE's MNLI (gluebenchmark.com/tasks) go to mnli/: train.tsv, dev_matched.tsv, "
        "dev_mismatched.tsv; those of its test sets have no labels",
    ),
    Task(
        name="pawsx",
        head=Head("sequence", labels=("0", "1")),
        langs=_PAWSX,
        files=(Files(read_pairs, xtreme("pawsx")),),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=f"{XTREME_DOWNLOAD} so: pawsx/train-en.tsv, pawsx/dev-LANG.tsv and pawsx/test-LANG.tsv, the last "
        "without labels; to score it, write sentence 1, sentence 2 and label into pawsx/test-LANG.tsv from test_2k.tsv "
        "of x-final.tar.gz (github.com/google-research-datasets/paws)",
    ),
)
