"""Encoder and head as pure functions of a plain nested dict of arrays: {"encoder": …, "head": …}."""

import dataclasses
import functools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.data.batch import Batch, Tally, Target, Tokens
from xlmr_flax.errors import InputError
from xlmr_flax.model.decoding import Guesses
from xlmr_flax.model.dropout import Noise
from xlmr_flax.model.encoder import Embeddings, Encoder, Keep, Layer, Norm, Place, Tree
from xlmr_flax.model.heads import HEADS, HeadSpec, Pooling, SpanLogits, pool
from xlmr_flax.model.smoothing import Smoothing, divergence, moved

Logits = jax.Array | SpanLogits | Guesses  # guesses of masked words are decoded by their loss


@dataclasses.dataclass(frozen=True)
class Model:
    """What a phase computes, as pure functions of arguments; `noise` is a step's uint32 word, None for no dropout."""

    arch: Architecture
    spec: HeadSpec
    dtype: Any
    encoder: Encoder
    head: nnx.GraphDef | None  # None: the embedding, which has no parameters

    def init_params(self, key: jax.Array) -> Tree:
        """Fresh float32 parameters; each part's key comes from its name, so the encoder is the same under any head."""
        return {"encoder": self.init_encoder(key), "head": self.init_head(key)}

    def init_encoder(self, key: jax.Array) -> Tree:
        """Fresh embeddings, layers stacked along a leading axis, and the last norm where layers do not end with one."""
        layer_keys = jax.random.split(_named(key, "layers"), self.arch.num_hidden_layers)
        norm = {"norm": _params(Norm(self.arch, self.dtype))} if self.arch.pre_norm else {}
        return {
            "embeddings": _params(Embeddings(self.arch, self.dtype, nnx.Rngs(_named(key, "embeddings")))),
            "layers": jax.vmap(lambda each: _params(Layer(self.arch, self.dtype, nnx.Rngs(each))))(layer_keys),
            **norm,
        }

    def init_head(self, key: jax.Array) -> Tree:
        """Fresh parameters of the head."""
        if self.spec.kind not in HEADS:
            return {}
        return _params(HEADS[self.spec.kind](self.spec, self.arch, self.dtype, nnx.Rngs(_named(key, "head"))))

    def apply(
        self,
        params: Tree,
        tokens: Tokens,
        target: Target | None,
        noise: jax.Array | None,
        smoothing: Smoothing | None = None,
    ) -> Logits:
        """The head's logits in float32; of the target only positions are read, never labels.

        With `smoothing` the words' vectors are moved by noise of the same word; masks are as without.
        """
        noises = _noise(noise, tokens)
        move = smoothing and noises and functools.partial(moved, noise=noises, smoothing=smoothing)
        embeddings = self._embeddings(params)
        x_BLD = self._last_layer(params, self.encoder.embed(embeddings, tokens, noises, move), tokens, noises)
        return self._head(params)(x_BLD, embeddings["words"], tokens, target, noises)

    def loss(self, params: Tree, batch: Batch, noise: jax.Array | None) -> Tally:
        """The sum of the loss and what to divide it by."""
        given = self.apply(params, batch.tokens, batch.target, noise)
        if isinstance(given, Guesses):
            given = given._replace(x_BGD=self.encoder.place.beside_words(given.x_BGD))
        return self.head_loss(given, batch.target)

    def smoothed_loss(self, params: Tree, batch: Batch, noise: jax.Array, smoothing: Smoothing) -> Tally:
        """The loss of moved inputs, and how far what is said of them is from what is said of the clean ones."""
        given = self.apply(params, batch.tokens, batch.target, noise, smoothing)
        tally = self.head_loss(given, batch.target)
        if not smoothing.consistency:
            return tally
        clean = self.apply(params, batch.tokens, batch.target, noise)
        return tally._replace(total=tally.total + smoothing.consistency * divergence(clean, given, batch.target))

    def head_loss(self, logits: Logits, target: Target) -> Tally:
        """The loss of logits that `apply` gave."""
        return HEADS[self.spec.kind].loss(logits, target)

    def vectors(self, params: Tree, tokens: Tokens, first_BS: jax.Array) -> jax.Array:
        """A dual head's float32 vectors (B, S, D) of units, to be compared by inner product."""
        x_BLD = self.encoder.embed(self._embeddings(params), tokens, None)
        return self._head(params).vectors(self._last_layer(params, x_BLD, tokens, None), first_BS)

    def hidden_states(self, params: Tree, tokens: Tokens) -> jax.Array:
        """The embeddings' output and every layer's, stacked in front of BLD."""
        return self._every_layer(params, tokens, lambda x_BLD, _: x_BLD)

    def embeddings(
        self,
        params: Tree,
        tokens: Tokens,
        first_BS: jax.Array,
        poolings: tuple[Pooling, ...],
        layers: tuple[int, ...],
    ) -> jax.Array:
        """Float32 vectors (layer, pooling, B, S, D) of units; one pass that keeps only vectors.

        Layer 0 is the embeddings' output, layer n the n-th layer's.
        """
        last = self.arch.num_hidden_layers
        if outside := [layer for layer in layers if not 0 <= layer <= last]:
            raise InputError(
                f"layers {outside} do not exist: this encoder has 0 (its embeddings) to {last}; name some of these"
            )

        def pooled(x_BLD: jax.Array, units: tuple[jax.Array, jax.Array]) -> jax.Array:
            return jnp.stack([pool(x_BLD, *units, pooling) for pooling in poolings], axis=1)

        found = self._every_layer(params, tokens, pooled, (tokens.unit_BL, first_BS))
        return found[jnp.array(layers)].swapaxes(1, 2)

    def _last_layer(self, params: Tree, x_BLD: jax.Array, tokens: Tokens, noise: Noise | None) -> jax.Array:
        x_BLD, _ = self.encoder.run(params["encoder"]["layers"], x_BLD, tokens, noise, keep=lambda *_: None)
        return self._finished(params, x_BLD)

    def _every_layer(self, params: Tree, tokens: Tokens, keep: Keep, beside: Any = ()) -> jax.Array:
        x_BLD = self.encoder.embed(self._embeddings(params), tokens, None)
        y_BLD, kept = self.encoder.run(params["encoder"]["layers"], x_BLD, tokens, None, keep=keep, beside=beside)
        # Of the last layer alone the norm that follows it is part, as in transformers' hidden_states.
        last = keep(self._finished(params, y_BLD), beside)
        return jnp.concatenate([keep(x_BLD, beside)[None], kept[:-1], last[None]])

    def _finished(self, params: Tree, x_BLD: jax.Array) -> jax.Array:
        """The last layer's output as heads see it."""
        if self.encoder.norm is None:
            return x_BLD
        placed = self.encoder.place.weights({"encoder": {"norm": params["encoder"]["norm"]}})
        return nnx.merge(self.encoder.norm, placed["encoder"]["norm"])(x_BLD)

    def _embeddings(self, params: Tree) -> Tree:
        placed = self.encoder.place.weights({"encoder": {"embeddings": params["encoder"]["embeddings"]}})
        return placed["encoder"]["embeddings"]

    def _head(self, params: Tree) -> nnx.Module:
        if self.head is None:
            raise InputError("a sentence embedding has no logits and no loss; ask for embeddings(…)")
        return nnx.merge(self.head, self.encoder.place.weights({"head": params["head"]})["head"])


def build(
    arch: Architecture,
    spec: HeadSpec,
    dtype: Any,
    *,
    remat: str = "none",
    scan_layers: bool = True,
    reshard_after_forward: bool = True,
    place: Place | None = None,
) -> Model:
    """The model that computes in `dtype` ("bfloat16" or "float32"); allocates nothing.

    `remat` is one of `encoder.POLICIES`: what the backward pass computes again instead of keeping it. Layers are
    scanned, or compiled one by one; weights are gathered again for the backward pass, or once and kept.
    """
    dtype, key = jnp.dtype(dtype), jax.random.key(0)
    head = HEADS.get(spec.kind)
    return Model(
        arch=arch,
        spec=spec,
        dtype=dtype,
        encoder=Encoder(
            embeddings=_definition(lambda: Embeddings(arch, dtype, nnx.Rngs(key))),
            layer=_definition(lambda: Layer(arch, dtype, nnx.Rngs(key))),
            norm=_definition(lambda: Norm(arch, dtype)) if arch.pre_norm else None,
            place=place or Place(),
            remat=remat,
            scan_layers=scan_layers,
            reshard_after_forward=reshard_after_forward,
        ),
        head=head and _definition(lambda: head(spec, arch, dtype, nnx.Rngs(key))),
    )


def _definition(make: Any) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(make))[0]


def _params(module: nnx.Module) -> Tree:
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


def _named(key: jax.Array, name: str) -> jax.Array:
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def _noise(word: jax.Array | None, tokens: Tokens) -> Noise | None:
    return None if word is None else Noise(word, tokens.unit_BL, tokens.position_BL)
