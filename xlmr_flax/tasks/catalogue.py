"""All tasks. To add one, or a language of one, edit this file only.

Each selects its checkpoint on a split that shares no text with any split that a task scores. XQuAD's and SQuAD's are a
fixed part of SQuAD's training articles, because XQuAD is a translation of SQuAD's dev set. Cosmos QA's is a part of its
training contexts, because its official validation set is what is scored. Masked LM and Tatoeba have none: there the
last checkpoint is used.
"""

import difflib

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.metrics.squad import squad
from xlmr_flax.metrics.tagging import tagging
from xlmr_flax.sources.conll import read_tagged
from xlmr_flax.sources.conllu import read_conllu
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.sources.tatoeba import read_tatoeba
from xlmr_flax.sources.tsv import read_glue_pairs, read_hypotheses, read_pairs
from xlmr_flax.tasks.task import Files, Head, Task


def _codes(listed: str) -> tuple[str, ...]:
    return tuple(listed.split())


def _named(*tasks: Task) -> dict[str, Task]:
    """The tasks by name; a name twice is a mistake in this file."""
    by_name = {task.name: task for task in tasks}
    if len(by_name) != len(tasks):
        raise ValueError(f"a task's name occurs twice: {', '.join(sorted(task.name for task in tasks))}")
    return by_name


# Languages as XTREME's scorer lists them, then what XTREME-R adds.
_XNLI = _codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
_PAWSX = _codes("de en es fr ja ko zh")
_UDPOS = _codes(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh lt pl uk wo ro"
)
_XQUAD = _codes("en es de el ru tr ar vi th zh hi ro")
_TATOEBA = _codes(
    "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu "
    "az lt pl uk ro"
)
_UPOS = _codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")
_NLI = Head("sequence", labels=("entailment", "neutral", "contradiction"))

_XTREME_DOWNLOAD = "scripts/download_data.sh of github.com/google-research/xtreme writes its download/ folder"
_SQUAD_SOURCE = "train-v1.1.json and dev-v1.1.json of rajpurkar.github.io/SQuAD-explorer go to squad/"


def _xtreme(folder: str) -> dict[str, tuple[str, ...]]:
    return {split: (f"{folder}/{split}-{{lang}}.tsv",) for split in ("train", "dev", "test")}


_XNLI_SOURCE = (
    f"{_XTREME_DOWNLOAD} so: xnli/train-en.tsv, xnli/dev-LANG.tsv and xnli/test-LANG.tsv, the last without labels; to "
    "score it, write premise, hypothesis and label into xnli/test-LANG.tsv from xnli.test.tsv of XNLI-1.0.zip"
)

TASKS = _named(
    Task(
        name="xnli",
        head=_NLI,
        langs=_XNLI,
        files=(Files(read_pairs, _xtreme("xnli")),),
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
        files=(Files(read_hypotheses, _xtreme("xnli")),),
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
        files=(Files(read_pairs, _xtreme("pawsx")),),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=accuracy,
        source=f"{_XTREME_DOWNLOAD} so: pawsx/train-en.tsv, pawsx/dev-LANG.tsv and pawsx/test-LANG.tsv, the last "
        "without labels; to score it, write sentence 1, sentence 2 and label into pawsx/test-LANG.tsv from test_2k.tsv "
        "of x-final.tar.gz (github.com/google-research-datasets/paws)",
    ),
    Task(
        name="udpos",
        head=Head("token", labels=_UPOS),
        langs=_UDPOS,
        files=(
            Files(read_tagged, _xtreme("udpos")),
            # Some treebanks come in pieces: de_hdt-ud-train-a-1.conllu.
            Files(
                read_conllu,
                {split: (f"ud/UD_*/{{lang}}_*-ud-{split}*.conllu",) for split in ("train", "dev", "test")},
            ),
        ),
        train="train",
        select="dev",
        test="test",
        metric="f1",
        score=tagging,
        source="The folders UD_* of a Universal Dependencies release (universaldependencies.org) go to ud/, with tags "
        f"in every split; or {_XTREME_DOWNLOAD} so: udpos/SPLIT-LANG.tsv, and its test files have no tags: take them "
        "away to score with those in ud/",
    ),
    Task(
        name="squad",
        head=Head("span"),
        langs=("en",),
        files=(Files(read_squad, {"train": ("squad/train-v1.1.json",), "dev": ("squad/dev-v1.1.json",)}),),
        train="train[:95%]",
        select="train[95%:]",
        test="dev",
        metric="f1",
        score=squad,
        source=_SQUAD_SOURCE,
    ),
    Task(
        name="xquad",
        head=Head("span"),
        langs=_XQUAD,
        files=(Files(read_squad, {"train": ("squad/train-v1.1.json",), "test": ("xquad/xquad.{lang}.json",)}),),
        train="train[:95%]",
        select="train[95%:]",
        test="test",
        metric="f1",
        score=squad,
        source="xquad.LANG.json of github.com/google-deepmind/xquad go to xquad/ (XTREME's download blanks their "
        f"answers), and {_SQUAD_SOURCE}",
    ),
    Task(
        name="tatoeba",
        head=Head("embedding"),
        langs=_TATOEBA,
        files=(Files(read_tatoeba, {"test": ("tatoeba/tatoeba.{iso3}-eng.{iso3}", "tatoeba/tatoeba.{iso3}-eng.eng")}),),
        train=None,
        select=None,
        test="test",
        metric="accuracy",
        score=accuracy,
        source="The files of data/tatoeba/v1 of github.com/facebookresearch/LASER go to tatoeba/ under their names "
        "(XTREME's download sorts the English ones, which loses what translates what)",
    ),
    Task(
        name="cosmosqa",
        head=Head("choice", options=4),
        langs=("en",),
        files=(Files(read_cosmosqa, {split: (f"cosmosqa/{split}.csv",) for split in ("train", "valid")}),),
        train="train[:95%]",
        select="train[95%:]",
        test="valid",
        metric="accuracy",
        score=accuracy,
        source="train.csv and valid.csv of data/ of github.com/wilburOne/cosmosqa go to cosmosqa/",
    ),
    Task(
        name="mlm",
        head=Head("mlm"),
        langs=(),
        files=(),
        train=None,
        select=None,
        test=None,
        metric="accuracy",
        score=accuracy,
        source="Its text is named in the experiment",
    ),
)


def task(name: str) -> Task:
    """The task of this name."""
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"there is no task {name!r}{meant} The tasks are {', '.join(TASKS)}")
    return TASKS[name]
