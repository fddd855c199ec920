"""What stands on the encoder: a head for each kind of task, its logits and its loss.

A head is called with (x_BLD, words_VD, tokens, target, noise) and gives float32 logits, or what its loss needs in their
place; its loss is a Tally of sums.
"""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.data.batch import (
    IGNORED,
    ChoiceTarget,
    DualTarget,
    MaskedTarget,
    SequenceTarget,
    SpanTarget,
    Tally,
    Tokens,
    TokenTarget,
)
from xlmr_flax.errors import InputError
from xlmr_flax.model.decoding import Guesses, guess_loss, guesses
from xlmr_flax.model.dropout import Noise, Site, drop_channels
from xlmr_flax.model.encoder import ACTIVATIONS, NEVER, Norm, Project, multiply, padded_rows

Kind = Literal["sequence", "choice", "token", "span", "mlm", "embedding", "dual"]
Pooling = Literal["mean", "first"]
Similarity = Literal["cosine", "dot"]

# What similarities are multiplied by before the softmax: XTREME-R's run_retrieval_qa.py has 100 for the cosine.
SCALES: dict[str, float] = {"cosine": 100.0, "dot": 1.0}


@dataclasses.dataclass(frozen=True)
class HeadSpec:
    """Which head, and its number of classes, options or tags; 0 for those whose size is given.

    A dual head compares its two vectors by `similarity`, times `scale` (None: SCALES); other heads read neither.
    """

    kind: Kind
    size: int = 0
    similarity: Similarity = "cosine"
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0:
            raise InputError(f"a scale of {self.scale} makes no softmax; give a number above 0")
        if self.kind not in get_args(Kind):
            raise InputError(f"head kind {self.kind!r} does not exist; there are {', '.join(get_args(Kind))}")
        sized = self.kind in ("sequence", "choice", "token")
        if sized and self.size < 2:
            raise InputError(
                f"a {self.kind} head of size {self.size} decides nothing; give at least 2 labels or options"
            )
        if not sized and self.size:
            raise InputError(
                f"a {self.kind} head has no number of labels, but size={self.size} was given; leave it out"
            )


class SequenceHead(nnx.Module):
    """A class for each unit, from its <s>: dropout, dense, tanh, dropout, out."""

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.rate = classifier_rate(arch)
        D, C = arch.hidden_size, spec.size
        self.dense = Project("BSD,DE->BSE", (D, D), (D,), arch, dtype, rngs)
        self.out = Project("BSD,DC->BSC", (D, C), (C,), arch, dtype, rngs)

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: SequenceTarget, noise: Noise | None
    ) -> jax.Array:
        noise = _of_units(noise, target.first_BS)
        x_BSD = drop_channels(_at(x_BLD, target.first_BS), noise, self.rate, site=Site.HEAD)
        x_BSD = drop_channels(jnp.tanh(self.dense(x_BSD)), noise, self.rate, site=Site.HEAD_INNER)
        return self.out(x_BSD).astype(jnp.float32)

    @staticmethod
    def loss(logits_BSC: jax.Array, target: SequenceTarget) -> Tally:
        return _tally(cross_entropy(logits_BSC, target.label_BS), target.weight_BS)


class ChoiceHead(nnx.Module):
    """A score for each option, from its <s> through the pooler; the options of an example compete."""

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.rate = arch.hidden_dropout_prob
        D = arch.hidden_size
        self.pooler = Project("BSD,DE->BSE", (D, D), (D,), arch, dtype, rngs)
        self.out = Project("BSD,DC->BSC", (D, 1), (1,), arch, dtype, rngs)

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: ChoiceTarget, noise: Noise | None
    ) -> jax.Array:
        pooled_BSD = jnp.tanh(self.pooler(_at(x_BLD, target.first_BS)))
        pooled_BSD = drop_channels(pooled_BSD, _of_units(noise, target.first_BS), self.rate, site=Site.HEAD)
        return jnp.take(self.out(pooled_BSD).astype(jnp.float32).reshape(-1), target.place_EN)

    @staticmethod
    def loss(logits_EN: jax.Array, target: ChoiceTarget) -> Tally:
        return _tally(cross_entropy(logits_EN, target.label_E), target.weight_E)


class TokenHead(nnx.Module):
    """A tag for each token."""

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.rate = classifier_rate(arch)
        self.out = Project("BLD,DC->BLC", (arch.hidden_size, spec.size), (spec.size,), arch, dtype, rngs)

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: TokenTarget | None, noise: Noise | None
    ) -> jax.Array:
        return self.out(drop_channels(x_BLD, noise, self.rate, site=Site.HEAD)).astype(jnp.float32)

    @staticmethod
    def loss(logits_BLC: jax.Array, target: TokenTarget) -> Tally:
        return _labelled(logits_BLC, target.label_BL)


class SpanLogits(NamedTuple):
    """Scores of every position of a row as the start and the end of each unit's answer; NEVER outside the unit."""

    start_BSL: jax.Array
    end_BSL: jax.Array


class SpanHead(nnx.Module):
    """Where an answer starts and ends; <s> stands for no answer."""

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.out = Project("BLD,DC->BLC", (arch.hidden_size, 2), (2,), arch, dtype, rngs)

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: SpanTarget, noise: Noise | None
    ) -> SpanLogits:
        logits_BLC = self.out(x_BLD).astype(jnp.float32)
        unit_BS = jnp.take_along_axis(tokens.unit_BL, target.first_BS, axis=1)
        own_BSL = unit_BS[:, :, None] == tokens.unit_BL[:, None, :]
        return SpanLogits(*(jnp.where(own_BSL, logits_BLC[:, None, :, side], NEVER) for side in (0, 1)))

    @staticmethod
    def loss(logits: SpanLogits, target: SpanTarget) -> Tally:
        start_BS = cross_entropy(logits.start_BSL, target.start_BS)
        end_BS = cross_entropy(logits.end_BSL, target.end_BS)
        return _tally((start_BS + end_BS) / 2, target.weight_BS)


class MaskedHead(nnx.Module):
    """The words at masked positions, decoded with the word table itself; no other position meets the vocabulary."""

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.vocab_size = arch.vocab_size
        D = arch.hidden_size
        self.dense = Project("BGD,DE->BGE", (D, D), (D,), arch, dtype, rngs)
        self.norm = Norm(arch, dtype)
        self.bias = nnx.Param(jnp.zeros(padded_rows(arch.vocab_size)))  # V

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: MaskedTarget, noise: Noise | None
    ) -> Guesses:
        # transformers has erf-gelu here whatever hidden_act says
        x_BGD = self.norm(ACTIVATIONS["gelu"](self.dense(_at(x_BLD, target.masked_BG))))
        return guesses(x_BGD, words_VD, self.bias[...], vocab_size=self.vocab_size)

    @staticmethod
    def loss(given: Guesses, target: MaskedTarget) -> Tally:
        return Tally(guess_loss(given, target.label_BG), (target.label_BG != IGNORED).sum().astype(jnp.float32))


class DualHead(nnx.Module):
    """A vector for each unit, from its <s> through the pooler; queries find their documents by these vectors.

    The loss is the softmax of each query over the documents of all items that it is given, and in this direction
    alone, as XTREME-R trains (run_retrieval_qa.py). A document that stands there again for another query is no wrong
    answer: it is left out.
    """

    def __init__(self, spec: HeadSpec, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.similarity = spec.similarity
        self.scale = SCALES[spec.similarity] if spec.scale is None else spec.scale
        D = arch.hidden_size
        self.pooler = Project("BSD,DE->BSE", (D, D), (D,), arch, dtype, rngs)

    def __call__(
        self, x_BLD: jax.Array, words_VD: jax.Array, tokens: Tokens, target: DualTarget, noise: Noise | None
    ) -> jax.Array:
        """The vectors of queries and documents as E2D; the queries' carry the scale."""
        x_UD = self.vectors(x_BLD, target.first_BS).reshape(-1, x_BLD.shape[-1])
        x_E2D = jnp.take(x_UD, target.place_E2, axis=0)
        return x_E2D * jnp.array([self.scale, 1.0])[None, :, None]

    def vectors(self, x_BLD: jax.Array, first_BS: jax.Array) -> jax.Array:
        """What is compared by inner product, as BSD in float32: of length 1 where the similarity is the cosine."""
        x_BSD = jnp.tanh(self.pooler(_at(x_BLD, first_BS))).astype(jnp.float32)
        if self.similarity == "dot":
            return x_BSD
        return x_BSD * jax.lax.rsqrt(jnp.maximum(jnp.square(x_BSD).sum(-1, keepdims=True), 1e-24))

    @staticmethod
    def loss(vectors_E2D: jax.Array, target: DualTarget) -> Tally:
        logits_EN = multiply("ED,ND->EN", vectors_E2D[:, 0], vectors_E2D[:, 1], jnp.float32)
        item_E = jnp.arange(len(logits_EN))
        own_EN = item_E[:, None] == item_E[None]
        again_EN = target.document_E[:, None] == target.document_E[None]
        wrong_EN = ~again_EN & (target.weight_E > 0)[None]
        return _tally(cross_entropy(jnp.where(own_EN | wrong_EN, logits_EN, NEVER), item_E), target.weight_E)


HEADS: dict[str, type[nnx.Module]] = {
    "sequence": SequenceHead,
    "choice": ChoiceHead,
    "token": TokenHead,
    "span": SpanHead,
    "mlm": MaskedHead,
    "dual": DualHead,
}  # the embedding has no parameters: it is `pool`


def pool(x_BLD: jax.Array, unit_BL: jax.Array, first_BS: jax.Array, pooling: Pooling) -> jax.Array:
    """A float32 vector for each unit as BSD; a row without one gets zeros.

    "mean" counts <s> and </s> too, as XTREME's retrieval does.
    """
    x_BLD = x_BLD.astype(jnp.float32)
    unit_BS = jnp.take_along_axis(unit_BL, first_BS, axis=1)
    if pooling == "first":
        return jnp.where(unit_BS[..., None] >= 0, _at(x_BLD, first_BS), 0)
    own_BSL = (unit_BS[:, :, None] == unit_BL[:, None, :]) & (unit_BS >= 0)[:, :, None]
    total_BSD = multiply("BSL,BLD->BSD", own_BSL, x_BLD, jnp.float32)
    return total_BSD / jnp.maximum(own_BSL.sum(2), 1)[..., None]


def cross_entropy(logits: jax.Array, label: jax.Array) -> jax.Array:
    """-log p of the label, over the last axis."""
    # Picked by comparison and not by index: where the vocabulary is sharded an index would gather all logits.
    chosen = jax.lax.broadcasted_iota(label.dtype, logits.shape, logits.ndim - 1) == label[..., None]
    return jax.nn.logsumexp(logits, axis=-1) - jnp.where(chosen, logits, 0).sum(-1)


def classifier_rate(arch: Architecture) -> float:
    """The dropout of the sequence and token heads."""
    return arch.hidden_dropout_prob if arch.classifier_dropout is None else arch.classifier_dropout


def _labelled(logits: jax.Array, label: jax.Array) -> Tally:
    has = label != IGNORED
    return _tally(cross_entropy(logits, jnp.where(has, label, 0)), has.astype(jnp.float32))


def _tally(loss: jax.Array, weight: jax.Array) -> Tally:
    return Tally((loss * weight).sum(), weight.sum())


def _at(x_BLD: jax.Array, position_BS: jax.Array) -> jax.Array:
    """The vectors at some positions of each row."""
    return jnp.take_along_axis(x_BLD, position_BS[..., None], axis=1)


def _of_units(noise: Noise | None, first_BS: jax.Array) -> Noise | None:
    """The noise of vectors taken at `first_BS`, so that a unit's mask does not depend on where it stands."""
    if noise is None:
        return None
    unit_BS, position_BS = (jnp.take_along_axis(x, first_BS, axis=1) for x in (noise.unit_BL, noise.position_BL))
    return Noise(noise.word, unit_BS, position_BS)
