"""The XLM-R encoder.

Shapes are written as suffixes, the same in every file of this room:
    B rows · L query position · M key position · D model width · H heads · K width per head · F feed-forward width
    V vocabulary · C classes or tags · N choices · S units per row · E examples of N units · G masked positions per row
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.data.batch import Tokens
from xlmr_flax.model.dropout import Noise, Site, drop_channels, drop_probabilities
from xlmr_flax.model.elementwise import gelu, layer_norm, softmax

Tree = dict[str, Any]
Part = Callable[[jax.Array], jax.Array]
Take = Callable[[jax.Array, jax.Array], jax.Array]  # of the table of words VD and ids BL, as BLD
Keep = Callable[[jax.Array, Any], Any]
Body = Callable[[jax.Array, tuple[jax.Array, Tree]], tuple[jax.Array, Any]]  # of a loop over numbered layers

NEVER = -1e30  # a logit that softmax turns into an exact 0.0, and that stays finite where everything is masked
ROWS_MULTIPLE = 128  # the word table is padded to this, so that it divides over any mesh and fills a TPU's lanes

# What the backward pass does again instead of keeping its result. A layer's weights reach it through these alone, so
# that weights gathered from other devices are gathered again: kept, they would be every layer's at once.
MOVES = frozenset((
    "all_gather", "broadcast_in_dim", "convert_element_type", "custom_vjp_call", "expand_dims", "layout_constraint",
    "name", "optimization_barrier", "reshape", "sharding_constraint", "squeeze", "transpose",
))  # fmt: skip

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": lambda x: jax.nn.gelu(x, approximate=True),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
}


def take_rows(words_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
    """The words' vectors in float32, as BLD."""
    return jnp.take(words_VD, ids_BL, axis=0).astype(jnp.float32)


class Place(NamedTuple):
    """How arrays are laid out as they are used; these defaults say nothing and need no mesh.

    `weights` gets the parts of the parameters that are no layers, under their whole paths. Layers run within `by_rows`,
    on a device's own rows and with its own shares of stacked weights; there `layer` gives one layer's as they are used.
    """

    weights: Callable[[Tree], Tree] = lambda tree: tree
    words: Take = take_rows
    beside_words: Callable[[jax.Array], jax.Array] = lambda x_BGD: x_BGD  # what the table of words decodes
    activations: Callable[[jax.Array], jax.Array] = lambda x_BLD: x_BLD
    by_rows: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda run: run  # of (layers, rows, word)
    layer: Callable[[Tree], Tree] = lambda layer: layer


class Project(nnx.Module):
    """x · kernel + bias, in the letters of an einsum."""

    def __init__(
        self,
        letters: str,
        kernel: tuple[int, ...],
        bias: tuple[int, ...],
        arch: Architecture,
        dtype: Any,
        rngs: nnx.Rngs,
    ) -> None:
        self.letters, self.dtype = letters, dtype
        self.kernel = nnx.Param(arch.initializer_range * jax.random.normal(rngs.params(), kernel))
        self.bias = nnx.Param(jnp.zeros(bias))

    def __call__(self, x: jax.Array) -> jax.Array:
        y = multiply(self.letters, x, self.kernel[...], self.dtype)
        return y + jnp.expand_dims(self.bias[...].astype(self.dtype), range(y.ndim - self.bias.ndim))


class Norm(nnx.Module):
    """LayerNorm with statistics in float32."""

    def __init__(self, arch: Architecture, dtype: Any) -> None:
        self.eps, self.dtype = arch.layer_norm_eps, dtype
        self.scale = nnx.Param(jnp.ones(arch.hidden_size))  # D
        self.bias = nnx.Param(jnp.zeros(arch.hidden_size))  # D

    def __call__(self, x_BLD: jax.Array) -> jax.Array:
        return layer_norm(x_BLD, self.scale[...], self.bias[...], self.eps, self.dtype)


class Embeddings(nnx.Module):
    """Word + position + token type; XLM-R has one type of token, and where a table has more the first is used."""

    def __init__(self, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.pad, self.rate = arch.pad_token_id, arch.hidden_dropout_prob
        width, spread = arch.hidden_size, arch.initializer_range
        row_V1 = jnp.arange(padded_rows(arch.vocab_size))[:, None]
        words_VD = spread * jax.random.normal(rngs.params(), (row_V1.shape[0], width))
        self.words = nnx.Param(jnp.where((row_V1 == self.pad) | (row_V1 >= arch.vocab_size), 0, words_VD))  # VD
        positions_PD = spread * jax.random.normal(rngs.params(), (arch.max_position_embeddings, width))
        self.positions = nnx.Param(positions_PD.at[self.pad].set(0))  # PD
        self.types = nnx.Param(spread * jax.random.normal(rngs.params(), (arch.type_vocab_size, width)))  # TD
        self.norm = None if arch.pre_norm else Norm(arch, dtype)
        self.dtype = dtype

    def __call__(
        self, tokens: Tokens, noise: Noise | None, take: Take = take_rows, move: Part | None = None
    ) -> jax.Array:
        # XLM-R counts positions from pad + 1 = 2 and gives padding position 1. Counting from 0 loads without complaint
        # and is wrong for every token.
        position_BL = jnp.where(tokens.unit_BL >= 0, tokens.position_BL + self.pad + 1, self.pad)
        words_BLD = take(self.words[...], tokens.ids_BL)
        words_BLD = words_BLD if move is None else move(words_BLD)
        positions_BLD = jnp.take(self.positions[...], position_BL, axis=0).astype(jnp.float32)
        x_BLD = words_BLD + self.types[...][0][None, None].astype(jnp.float32) + positions_BLD
        x_BLD = x_BLD.astype(self.dtype) if self.norm is None else self.norm(x_BLD)
        return drop_channels(x_BLD, noise, self.rate, site=Site.EMBEDDINGS)


def norm_after(x_BLD: jax.Array, part: Part, norm: Part) -> jax.Array:
    """A part of a layer as XLM-R has it: residual, then norm."""
    return norm(x_BLD + part(x_BLD))


def norm_before(x_BLD: jax.Array, part: Part, norm: Part) -> jax.Array:
    """A part of a layer as XLM-R XL has it: what is added up from layer to layer meets no norm."""
    return x_BLD + part(norm(x_BLD))


RESIDUALS = {False: norm_after, True: norm_before}  # by Architecture.pre_norm


class Attention(nnx.Module):
    """Self-attention within units, with its residual and norm."""

    def __init__(self, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.rate, self.probability_rate = arch.hidden_dropout_prob, arch.attention_probs_dropout_prob
        self.dtype = dtype
        D, H = arch.hidden_size, arch.num_attention_heads
        K = D // H
        self.query = Project("BLD,DHK->BLHK", (D, H, K), (H, K), arch, dtype, rngs)
        self.key = Project("BLD,DHK->BLHK", (D, H, K), (H, K), arch, dtype, rngs)
        self.value = Project("BLD,DHK->BLHK", (D, H, K), (H, K), arch, dtype, rngs)
        self.out = Project("BLHK,HKD->BLD", (H, K, D), (D,), arch, dtype, rngs)
        self.norm, self.residual = Norm(arch, dtype), RESIDUALS[arch.pre_norm]

    def __call__(self, x_BLD: jax.Array, mask_BLM: jax.Array, noise: Noise | None, layer: jax.Array) -> jax.Array:
        return self.residual(x_BLD, lambda x_BLD: self._mix(x_BLD, mask_BLM, noise, layer), self.norm)

    def _mix(self, x_BLD: jax.Array, mask_BLM: jax.Array, noise: Noise | None, layer: jax.Array) -> jax.Array:
        q_BLHK, k_BMHK, v_BMHK = self.query(x_BLD), self.key(x_BLD), self.value(x_BLD)
        scores_BHLM = multiply("BLHK,BMHK->BHLM", q_BLHK, k_BMHK, self.dtype) * q_BLHK.shape[-1] ** -0.5
        scores_BHLM = jnp.where(mask_BLM[:, None], scores_BHLM.astype(jnp.float32), NEVER)
        probs_BHLM = softmax(scores_BHLM, self.dtype)
        probs_BHLM = drop_probabilities(probs_BHLM, noise, self.probability_rate, layer=layer)
        mixed_BLHK = multiply("BHLM,BMHK->BLHK", probs_BHLM, v_BMHK, self.dtype)
        return drop_channels(self.out(mixed_BLHK), noise, self.rate, site=Site.ATTENTION, layer=layer)


class FeedForward(nnx.Module):
    """Two projections with an activation between, with residual and norm."""

    def __init__(self, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.rate, self.activation = arch.hidden_dropout_prob, arch.hidden_act
        D, F = arch.hidden_size, arch.intermediate_size
        self.up = Project("BLD,DF->BLF", (D, F), (F,), arch, dtype, rngs)
        self.down = Project("BLF,FD->BLD", (F, D), (D,), arch, dtype, rngs)
        self.norm, self.residual = Norm(arch, dtype), RESIDUALS[arch.pre_norm]

    def __call__(self, x_BLD: jax.Array, noise: Noise | None, layer: jax.Array) -> jax.Array:
        return self.residual(x_BLD, lambda x_BLD: self._feed(x_BLD, noise, layer), self.norm)

    def _feed(self, x_BLD: jax.Array, noise: Noise | None, layer: jax.Array) -> jax.Array:
        y_BLD = self.down(ACTIVATIONS[self.activation](self.up(x_BLD)))
        # transformers' XLM-R XL drops nothing here; fairseq, which trained it, does (TransformerEncoderLayerBase).
        return drop_channels(y_BLD, noise, self.rate, site=Site.FEED_FORWARD, layer=layer)


class Layer(nnx.Module):
    """One of the encoder's layers."""

    def __init__(self, arch: Architecture, dtype: Any, rngs: nnx.Rngs) -> None:
        self.attention = Attention(arch, dtype, rngs)
        self.feed_forward = FeedForward(arch, dtype, rngs)

    def __call__(self, x_BLD: jax.Array, mask_BLM: jax.Array, noise: Noise | None, layer: jax.Array) -> jax.Array:
        return self.feed_forward(self.attention(x_BLD, mask_BLM, noise, layer), noise, layer)


class Rows(NamedTuple):
    """What layers need of each row; every array has its rows on the first axis."""

    x_BLD: jax.Array
    unit_BL: jax.Array
    position_BL: jax.Array
    beside: Any


class Encoder(NamedTuple):
    """The static half of an encoder: definitions that run on arrays given from outside."""

    embeddings: nnx.GraphDef
    layer: nnx.GraphDef
    norm: nnx.GraphDef | None  # of the last layer's output; None where each layer ends with its own
    place: Place
    remat: str
    scan_layers: bool
    reshard_after_forward: bool

    def embed(self, params: Tree, tokens: Tokens, noise: Noise | None, move: Part | None = None) -> jax.Array:
        """The input of the first layer; `params` are the embeddings', already placed; `move` moves words' vectors."""
        return self.place.activations(nnx.merge(self.embeddings, params)(tokens, noise, self.place.words, move))

    def run(
        self, layers: Tree, x_BLD: jax.Array, tokens: Tokens, noise: Noise | None, *, keep: Keep, beside: Any = ()
    ) -> tuple[jax.Array, Any]:
        """The last layer's output, and of every layer what `keep` makes of its output and of `beside`, stacked.

        What is kept, and what stands beside, has its rows on the first axis.
        """

        def run(layers: Tree, rows: Rows, word: jax.Array | None) -> tuple[jax.Array, Any]:
            # Padding, all of it unit -1, sees padding: so no softmax is left without candidates. Nobody reads the
            # outcome.
            mask_BLM = rows.unit_BL[:, :, None] == rows.unit_BL[:, None, :]
            noise = None if word is None else Noise(word, rows.unit_BL, rows.position_BL)

            def body(x_BLD: jax.Array, numbered: tuple[jax.Array, Tree]) -> tuple[jax.Array, Any]:
                number, layer = numbered
                placed = self.place.layer(layer) if self.reshard_after_forward else layer
                x_BLD = nnx.merge(self.layer, placed)(x_BLD, mask_BLM, noise, number)
                return x_BLD, keep(x_BLD, rows.beside)

            return (self._scanned if self.scan_layers else self._unrolled)(body, layers, rows.x_BLD)

        rows = Rows(x_BLD, tokens.unit_BL, tokens.position_BL, beside)
        return self.place.by_rows(run)(layers, rows, noise and noise.word)

    def _scanned(self, body: Body, layers: Tree, x_BLD: jax.Array) -> tuple[jax.Array, Any]:
        if not self.reshard_after_forward:
            layers = jax.vmap(self.place.layer)(layers)
        # A scan keeps its two passes apart by itself; checkpoint's own barrier would only cost time.
        step = jax.checkpoint(body, prevent_cse=False, policy=POLICIES[self.remat])
        return jax.lax.scan(step, x_BLD, (jnp.arange(_count(layers)), layers))

    def _unrolled(self, body: Body, layers: Tree, x_BLD: jax.Array) -> tuple[jax.Array, Any]:
        again = self.reshard_after_forward or self.remat != "none"
        step = jax.checkpoint(body, policy=POLICIES[self.remat]) if again else body
        kept = []
        for number, layer in enumerate(_unstacked(layers, _count(layers))):
            placed = layer if self.reshard_after_forward else self.place.layer(layer)
            x_BLD, one = step(x_BLD, (jnp.int32(number), placed))
            kept.append(one)
        return x_BLD, jax.tree.map(lambda *each: jnp.stack(each), *kept)


def _count(layers: Tree) -> int:
    return jax.tree.leaves(layers)[0].shape[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _unstacked(layers: Tree, count: int) -> list[Tree]:
    """One layer's weights after the other's, whose gradients are stacked once and not added into zeros each."""
    return [jax.tree.map(lambda leaf, number=number: leaf[number], layers) for number in range(count)]


def _unstacked_forward(layers: Tree, count: int) -> tuple[list[Tree], None]:
    return _unstacked(layers, count), None


def _unstacked_backward(count: int, _: None, gradients: list[Tree]) -> tuple[Tree]:
    return (jax.tree.map(lambda *each: jnp.stack(each), *gradients),)


_unstacked.defvjp(_unstacked_forward, _unstacked_backward)


# By the setting `model.remat`: what jax.checkpoint keeps of a layer for the backward pass. Weights as they are gathered
# are never kept.
POLICIES: dict[str, Callable[..., bool]] = {
    "none": lambda primitive, *_, **__: primitive.name not in MOVES,
    # attention's scores, products of rows with rows, cost less to compute than to keep
    "elementwise": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "layers": jax.checkpoint_policies.nothing_saveable,
}


def multiply(letters: str, a: jax.Array, b: jax.Array, dtype: Any, *, out: Any = None) -> jax.Array:
    """An einsum in the compute type, given in `out` or in the same; float32 has to be asked for on a TPU."""
    precision = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None
    return jnp.einsum(letters, a.astype(dtype), b.astype(dtype), precision=precision, preferred_element_type=out)


def padded_rows(vocab_size: int) -> int:
    """Rows of the word table as we keep it."""
    return -(-vocab_size // ROWS_MULTIPLE) * ROWS_MULTIPLE
