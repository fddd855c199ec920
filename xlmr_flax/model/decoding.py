"""Masked words, decoded with the word table a block of positions at a time, and the loss of what they turn out to be.

Whole, the logits of XLM-R's 250,002 words take 150 kB for each token of a batch, more than all 24 layers of Large keep.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlmr_flax.data.batch import IGNORED
from xlmr_flax.model.encoder import NEVER, multiply

# A block's logits take about what one layer keeps, on any number of devices: each block has positions of every row, so
# that it is spread over devices as the batch is. More blocks would add up the table's gradient more often.
BLOCKS = 8

Gradients = tuple[jax.Array, jax.Array, jax.Array]  # of x_BGD, words_VD and bias_V


class Guesses(NamedTuple):
    """What stands at masked positions, not decoded yet, and what decodes it; no word of padding is ever guessed."""

    x_BGD: jax.Array  # in the compute type
    words_VD: jax.Array
    bias_V: jax.Array  # float32

    def logits(self) -> jax.Array:
        """All of them at once as float32 BGV, for whoever wants to look at them; training never does."""
        return _logits(self.x_BGD, self.words_VD, self.bias_V)


def guesses(x_BGD: jax.Array, words_VD: jax.Array, bias_V: jax.Array, *, vocab_size: int) -> Guesses:
    """Guesses among the first `vocab_size` words; the table's other rows only fill it up."""
    real_V = jnp.arange(len(bias_V)) < vocab_size
    return Guesses(x_BGD, words_VD, jnp.where(real_V, bias_V.astype(jnp.float32), NEVER))


@jax.custom_vjp
def guess_loss(given: Guesses, label_BG: jax.Array) -> jax.Array:
    """The sum of -log p of the labels, where there are any.

    Where its gradient is asked for, it is computed in the same pass: a block's logits are computed once and forgotten.
    """

    def add(total: jax.Array, block: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x_BGD, label_BG = block
        loss, _ = _judged(_logits(x_BGD, words_VD, given.bias_V), label_BG)
        return total + loss, None

    words_VD = given.words_VD.astype(given.x_BGD.dtype)
    return jax.lax.scan(add, jnp.float32(0), _blocks(given.x_BGD, label_BG))[0]


def _forward(given: Guesses, label_BG: jax.Array) -> tuple[jax.Array, Guesses]:
    """The loss and its gradient."""
    dtype = given.x_BGD.dtype
    words_VD = given.words_VD.astype(dtype)

    def add(
        sums: tuple[jax.Array, jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array, jax.Array], jax.Array]:
        x_BGD, label_BG = block
        loss, slope_BGV = _judged(_logits(x_BGD, words_VD, given.bias_V), label_BG)
        total, to_words_VD, to_bias_V = sums
        # float32, or the sum over blocks would be rounded after each
        to_words_VD += multiply("BGV,BGD->VD", slope_BGV, x_BGD, dtype, out=jnp.float32)
        sums = total + loss, to_words_VD, to_bias_V + slope_BGV.sum((0, 1))
        return sums, multiply("BGV,VD->BGD", slope_BGV, words_VD, dtype)

    zeros = jnp.float32(0), jnp.zeros(words_VD.shape), jnp.zeros(given.bias_V.shape)
    (total, to_words_VD, to_bias_V), to_x_NBGD = jax.lax.scan(add, zeros, _blocks(given.x_BGD, label_BG))
    to_x_BGD = _whole(to_x_NBGD)[:, : label_BG.shape[1]]
    return total, Guesses(to_x_BGD, to_words_VD.astype(given.words_VD.dtype), to_bias_V)


def _backward(gradient: Guesses, to_total: jax.Array) -> tuple[Guesses, None]:
    return jax.tree.map(lambda leaf: (leaf * to_total).astype(leaf.dtype), gradient), None


guess_loss.defvjp(_forward, _backward)


def _logits(x_BGD: jax.Array, words_VD: jax.Array, bias_V: jax.Array) -> jax.Array:
    return multiply("BGD,VD->BGV", x_BGD, words_VD, x_BGD.dtype).astype(jnp.float32) + bias_V[None, None]


def _judged(logits_BGV: jax.Array, label_BG: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sum of the loss and its gradient by the logits."""
    has_BG = label_BG != IGNORED
    # By comparison and not by index: where the vocabulary is sharded an index would gather all logits.
    word_BGV = jax.lax.broadcasted_iota(label_BG.dtype, logits_BGV.shape, 2)
    own_BGV = word_BGV == jnp.where(has_BG, label_BG, 0)[..., None]
    all_BG = jax.nn.logsumexp(logits_BGV, axis=-1)
    loss_BG = all_BG - jnp.where(own_BGV, logits_BGV, 0).sum(-1)
    slope_BGV = (jnp.exp(logits_BGV - all_BG[..., None]) - own_BGV) * has_BG[..., None]
    return (loss_BG * has_BG).sum(), slope_BGV


def _blocks(x_BGD: jax.Array, label_BG: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Positions in blocks on a new first axis; the last is filled up with positions that have no label."""
    G = label_BG.shape[1]
    size = -(-G // BLOCKS)
    missing = -G % size
    return (
        _parted(jnp.pad(x_BGD, ((0, 0), (0, missing), (0, 0))), size),
        _parted(jnp.pad(label_BG, ((0, 0), (0, missing)), constant_values=IGNORED), size),
    )


def _parted(a: jax.Array, size: int) -> jax.Array:
    return a.reshape(len(a), -1, size, *a.shape[2:]).swapaxes(0, 1)


def _whole(a_NBGD: jax.Array) -> jax.Array:
    return a_NBGD.swapaxes(0, 1).reshape(a_NBGD.shape[1], -1, a_NBGD.shape[-1])
