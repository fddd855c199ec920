"""Tasks that find sentences by their vectors."""

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.sources.tatoeba import read_tatoeba
from xlmr_flax.tasks.layouts import codes
from xlmr_flax.tasks.task import Files, Head, Task

# As XTREME's scorer lists them, then what XTREME-R adds.
_TATOEBA = codes(
    "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu "
    "az lt pl uk ro"
)

RETRIEVAL = (
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
)
