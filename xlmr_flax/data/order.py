"""Which examples make up the batch of a step: a pure function of the seed and the step."""

from functools import lru_cache

import numpy as np

from xlmr_flax.data.packing import ranks
from xlmr_flax.data.randomness import generator


def items_at(step: int, *, items: int, batch_size: int, seed: int) -> np.ndarray:
    """The numbers of the examples of batch `step`: epoch after epoch, each in an order of its own, none left out.

    A batch may reach over the end of an epoch into the next one.
    """
    first, last = step * batch_size, (step + 1) * batch_size
    epochs = range(first // items, (last - 1) // items + 1)
    parts = (_epoch(seed, e, items)[max(first - e * items, 0) : last - e * items] for e in epochs)
    return np.concatenate(list(parts))


def steps_of(items: int, *, batch_size: int, epochs: float) -> int:
    """The steps that show every example `epochs` times, rounded up."""
    return max(1, int(np.ceil(items * epochs / batch_size)))


@lru_cache(maxsize=32)  # of a mixture every task is in an epoch of its own
def _epoch(seed: int, epoch: int, items: int) -> np.ndarray:
    return generator(seed, "order", epoch).permutation(items)


def first_items(items: int, *, limit: int | None, seed: int, classes: np.ndarray | None = None) -> np.ndarray:
    """A subset of `limit` examples, in file order; of two limits the smaller subset lies within the larger.

    With `classes`, the class of each example, every class has about the share that it has in the whole: its examples
    are spread evenly over the order that all subsets are beginnings of.
    """
    if limit is None or limit >= items:
        return np.arange(items)
    order = generator(seed, "subset").permutation(items)
    if classes is not None:
        order = order[np.argsort(_spread(classes[order]), kind="stable")]
    return np.sort(order[:limit])


def _spread(classes: np.ndarray) -> np.ndarray:
    """Where between 0 and 1 each example stands when those of its class stand evenly, in the order given."""
    _, number, size = np.unique(classes, return_inverse=True, return_counts=True)
    by_class = np.argsort(number, kind="stable")
    rank = np.empty(len(classes))
    rank[by_class] = ranks(number[by_class])
    return (rank + 0.5) / size[number]
