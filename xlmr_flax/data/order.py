"""Which examples make up the batch of a step: a pure function of the seed and the step."""

from functools import lru_cache

import numpy as np

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


@lru_cache(maxsize=8)
def _epoch(seed: int, epoch: int, items: int) -> np.ndarray:
    return generator(seed, "order", epoch).permutation(items)


def first_items(items: int, *, limit: int | None, seed: int) -> np.ndarray:
    """A subset of `limit` examples, in file order; of two limits the smaller subset lies within the larger."""
    if limit is None or limit >= items:
        return np.arange(items)
    return np.sort(generator(seed, "subset").permutation(items)[:limit])
