"""How masked LM hides tokens of a batch."""

from typing import NamedTuple

import numpy as np

from xlmr_flax.data.batch import IGNORED, MaskedTarget

# Hidden tokens of a packed row, as a share of what their rate gives: every unit's number of them is rounded.
MASKED_SLACK = 1.1


class Masking(NamedTuple):
    """How masked LM hides tokens: `rate` of them, of which 80 % become <mask>, 10 % another word, 10 % stay."""

    rate: float
    mask_id: int
    words: np.ndarray  # ids of the vocabulary without the special tokens
    specials: tuple[int, ...]  # never hidden

    def hidden(self, words: np.ndarray) -> np.ndarray:
        """How many are hidden in a unit of so many words; none in one without any."""
        return np.where(words > 0, np.maximum(1, np.rint(self.rate * words)), 0).astype(np.int64)

    def places(self, length: int, *, packed: bool) -> int:
        """How many hidden tokens a row has room for."""
        return max(1, round(self.rate * length * (MASKED_SLACK if packed else 1)))


def hide(
    ids: np.ndarray, real: np.ndarray, masking: Masking, *, length: int, noise: np.random.Generator
) -> MaskedTarget:
    """Hides tokens in `ids` in place and returns what they were.

    Random numbers are drawn for `length` tokens a row, so that the row's compiled length does not matter.
    """
    rows, width = ids.shape
    choice, fate = noise.random((2, rows, length))[:, :, :width]
    words = masking.words[noise.integers(len(masking.words), size=(rows, length))[:, :width]]
    open_ = real & ~np.isin(ids, masking.specials)
    wanted = masking.hidden(open_.sum(axis=1))
    most = masking.places(width, packed=False)
    places = np.argsort(np.where(open_, choice, 2.0), axis=1, kind="stable")[:, :most].astype(np.int32)
    used = np.arange(most) < wanted[:, None]
    label = np.where(used, np.take_along_axis(ids, places, axis=1), IGNORED).astype(np.int32)
    fate, words = np.take_along_axis(fate, places, axis=1), np.take_along_axis(words, places, axis=1)
    old = np.take_along_axis(ids, places, axis=1)
    new = np.where(fate < 0.8, masking.mask_id, np.where(fate < 0.9, words, old))
    np.put_along_axis(ids, places, np.where(used, new, old).astype(np.int32), axis=1)
    return MaskedTarget(np.where(used, places, 0).astype(np.int32), label)
