"""Tasks with one right option out of several.

Cosmos QA selects on a part of its training contexts, because its official validation set is what is scored.
"""

from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.tasks.task import Files, Head, Task

CHOICES = (
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
)
