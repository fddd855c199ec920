"""Tasks that find sentences by their vectors."""

from collections.abc import Iterable
from itertools import chain

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.metrics.bucc import bucc
from xlmr_flax.metrics.ranking import mean_average_precision, mean_reciprocal_rank
from xlmr_flax.sources.bucc import read_bucc
from xlmr_flax.sources.lareqa import read_squad_sentences, read_xquad_r, read_xquad_r_sentences
from xlmr_flax.sources.mewslix import (
    read_mewslix_entities,
    read_mewslix_mentions,
    read_mewslix_pairs,
    read_mewslix_part,
)
from xlmr_flax.sources.tatoeba import read_tatoeba, read_tatoeba_sorted
from xlmr_flax.tasks import published
from xlmr_flax.tasks.layouts import XTREME_DOWNLOAD, codes
from xlmr_flax.tasks.task import Files, Head, Task

# As XTREME's scorer lists them, then what XTREME-R adds.
_TATOEBA = codes(
    "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu "
    "az lt pl uk ro"
)

_BUCC_PARTS = ("{lang}", "en", "gold")


def mined_pairs(gold: Iterable[tuple], predicted: Iterable[tuple]) -> dict[str, float]:
    """BUCC's scores of the pairs of all rows together."""
    return bucc(chain.from_iterable(gold), chain.from_iterable(predicted))


RETRIEVAL = (
    Task(
        name="tatoeba",
        head=Head("embedding"),
        langs=_TATOEBA,
        files=(
            Files(read_tatoeba, {"test": ("tatoeba/tatoeba.{iso3}-eng.{iso3}", "tatoeba/tatoeba.{iso3}-eng.eng")}),
            *published.TATOEBA,
            Files(read_tatoeba_sorted, {"test": ("tatoeba/{lang}-en.{lang}", "tatoeba/{lang}-en.en")}),
        ),
        train=None,
        select=None,
        test="test",
        metric="accuracy",
        score=accuracy,
        source="The files of data/tatoeba/v1 of github.com/facebookresearch/LASER go to tatoeba/ under their names. "
        f"Or {XTREME_DOWNLOAD}: its tatoeba/ has the English sentences sorted, which loses what translates what, and "
        "can be predicted, not scored",
    ),
    Task(
        name="bucc2018",
        head=Head("embedding"),
        langs=codes("de fr ru zh"),
        files=(
            Files(
                read_bucc,
                {
                    "dev": tuple(f"bucc2018/{{lang}}-en/{{lang}}-en.sample.{part}" for part in _BUCC_PARTS),
                    "test": tuple(f"bucc2018/{{lang}}-en/{{lang}}-en.training.{part}" for part in _BUCC_PARTS),
                },
            ),
            Files(
                read_bucc,
                {
                    "dev": tuple(f"bucc2018/{{lang}}-en.dev.{part}" for part in _BUCC_PARTS),
                    "test": tuple(f"bucc2018/{{lang}}-en.test.{part}" for part in _BUCC_PARTS[:2]),
                },
            ),
        ),
        train=None,
        select="dev",  # where the threshold comes from
        test="test",
        metric="f1",
        score=mined_pairs,
        source="BUCC 2018's archives bucc2018-LANG-en.sample-gold.tar.bz2 and bucc2018-LANG-en.training-gold.tar.bz2 "
        "of comparable.limsi.fr/bucc2018 unpack to bucc2018/LANG-en/: the sample is the dev split, the training part "
        f"the test split. Or {XTREME_DOWNLOAD}: its bucc2018/ lacks what translates what in the test split, which can "
        "be predicted, not scored",
    ),
    Task(
        name="lareqa",
        head=Head("dual"),
        langs=codes("ar de el en es hi ru th tr vi zh"),
        files=(
            Files(read_squad_sentences, {"train": ("squad/train-v1.1.json",)}),
            Files(read_xquad_r, {"test": ("lareqa/xquad-r/{lang}.json",)}, tells_lang=True),
            Files(read_xquad_r_sentences, {"candidates": ("lareqa/xquad-r/{lang}.json",)}, tells_lang=True),
        ),
        train="train[:95%]",
        select="train[95%:]",  # XQuAD-R is a translation of SQuAD's dev set, on which XTREME-R selects
        test="test",
        metric="map@20",
        score=mean_average_precision,
        source="xquad-r/ of github.com/google-research-datasets/lareqa goes to lareqa/: sentences of all its languages "
        "are candidates, so take all files. And train-v1.1.json of rajpurkar.github.io/SQuAD-explorer goes to squad/",
    ),
    Task(
        name="mewslix",
        head=Head("dual"),
        langs=codes("ar de en es fa ja pl ro ta tr uk"),
        files=(
            Files(read_mewslix_pairs, {part: (f"mewslix/wikipedia_pairs-{part}.jsonl",) for part in ("train", "dev")}),
            Files(
                read_mewslix_mentions,
                {
                    "wikinews_dev": ("mewslix/wikinews_mentions-dev.jsonl",),
                    "test": ("mewslix/wikinews_mentions-test.jsonl",),
                },
                tells_lang=True,
            ),
            Files(
                read_mewslix_part,
                {
                    split: (
                        f"mewslix/wikinews_mentions/{part}-{{lang}}.jsonl",
                        f"mewslix/wikinews_labels/{part}-{{lang}}.json",
                    )
                    for split, part in (("wikinews_dev", "dev"), ("test", "test"))
                },
                tells_lang=True,
            ),
            Files(read_mewslix_entities, {"candidates": ("mewslix/candidate_set_entities.jsonl",)}),
        ),
        train="train",
        select="dev",
        test="test",
        metric="mrr@20",
        score=mean_reciprocal_rank,
        source="get-mewsli-x.sh in dense_representations_for_entity_retrieval/mel of github.com/google-research/"
        "google-research makes candidate_set_entities.jsonl, wikipedia_pairs-{train,dev}.jsonl and "
        "wikinews_mentions-{dev,test}.jsonl, which go to mewslix/",
    ),
)
