"""Tasks with an answer in a context.

XQuAD's and SQuAD's split to select on is a fixed part of SQuAD's training articles, because XQuAD is a translation of
SQuAD's dev set.
"""

from xlmr_flax.metrics.squad import squad
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.tasks.layouts import codes
from xlmr_flax.tasks.task import Files, Head, Task

_XQUAD = codes("en es de el ru tr ar vi th zh hi ro")
_SQUAD_SOURCE = "train-v1.1.json and dev-v1.1.json of rajpurkar.github.io/SQuAD-explorer go to squad/"

QUESTIONS = (
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
)
