"""Tasks with a tag for every word."""

from xlmr_flax.metrics.tagging import tagging
from xlmr_flax.sources.conll import read_tagged
from xlmr_flax.sources.conllu import read_conllu
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes, xtreme
from xlmr_flax.tasks.task import Files, Head, Task

# As XTREME's scorer lists them, then what XTREME-R adds.
_UDPOS = codes(
    "af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh lt pl uk wo ro"
)
_UPOS = codes("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X")

TAGGING = (
    Task(
        name="udpos",
        head=Head("token", labels=_UPOS),
        langs=_UDPOS,
        files=(
            Files(read_tagged, xtreme("udpos")),
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
        f"in every split; or {XTREME_DOWNLOAD} so: udpos/SPLIT-LANG.tsv, and its test files have no tags: take them "
        "away to score with those in ud/",
    ),
)
