"""Tasks with a tag for every word."""

from collections.abc import Sequence

from xlmr_flax.metrics.tagging import tagging
from xlmr_flax.sources.conll import read_tagged, read_wikiann
from xlmr_flax.sources.conllu import read_conllu
from xlmr_flax.tasks import published
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes, xtreme
from xlmr_flax.tasks.task import Files, Head, Task

# As XTREME's scorer lists them, then what XTREME-R adds.
_UDPOS = codes(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh lt pl uk wo ro"
)
_PANX = codes(
    "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et "
    "fi hu qu pl uk az lt pa gu ro"
)
_UPOS = codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")
_ENTITIES = codes("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC")
_SPLITS = ("train", "dev", "test")


def _tokens(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """`accuracy` of tokens alone: supertags are no chunks."""
    return {"accuracy": tagging(gold, predicted)["accuracy"]}


def _but_test(folder: str) -> dict[str, tuple[str, ...]]:
    """XTREME's train and dev files."""
    return {split: patterns for split, patterns in xtreme(folder).items() if split != "test"}


def _test(folder: str) -> dict[str, tuple[str, ...]]:
    """XTREME's test files, which have no tags: they come after sources that do."""
    return {"test": xtreme(folder)["test"]}


TAGGING = (
    Task(
        name="udpos",
        head=Head("token", labels=_UPOS),
        langs=_UDPOS,
        files=(
            Files(read_tagged, _but_test("udpos")),
            # Some treebanks come in pieces: de_hdt-ud-train-a-1.conllu.
            Files(read_conllu, {split: (f"ud/UD_*/{{lang}}_*-ud-{split}*.conllu",) for split in _SPLITS}),
            *published.UDPOS,
            Files(read_tagged, _test("udpos")),
        ),
        train="train",
        select="dev",
        test="test",
        metric="f1",
        score=tagging,
        source="The folders UD_* of a Universal Dependencies release (universaldependencies.org) go to ud/, with tags "
        f"in every split; or {XTREME_DOWNLOAD} so: udpos/SPLIT-LANG.tsv, of which the test files have no tags",
    ),
    Task(
        name="panx",
        head=Head("token", labels=_ENTITIES),
        langs=_PANX,
        files=(
            Files(read_tagged, _but_test("panx")),
            Files(read_wikiann, {split: (f"panx/{{lang}}/{split}",) for split in _SPLITS}),
            *published.PANX,
            Files(read_tagged, _test("panx")),
        ),
        train="train",
        select="dev",
        test="test",
        metric="f1",
        score=tagging,
        source="train, dev and test of LANG.tar.gz of the WikiANN archive (panx_dataset.tar, once AmazonPhotos.zip) go "
        f"to panx/LANG/, with tags in every split; or {XTREME_DOWNLOAD} so: panx/SPLIT-LANG.tsv, of which the test "
        "files have no tags",
    ),
    Task(
        name="ccg",
        head=Head("token", labels_read=True),
        langs=("en",),
        files=(Files(read_tagged, {split: (f"ccg/{split}.tsv",) for split in _SPLITS}),),
        train="train",
        select="dev",
        test="test",
        metric="accuracy",
        score=_tokens,
        source="CCGbank (LDC2005T13) is licensed: write sections 02-21, 00 and 23 into ccg/train.tsv, ccg/dev.tsv and "
        "ccg/test.tsv yourself, a word, a TAB and its supertag on a line, and a blank line between sentences",
    ),
)
