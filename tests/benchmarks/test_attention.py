"""How attention is best computed, by the TPU compiler's figures: plain XLA, JAX's own function, or the splash kernel.

One layer's attention of XLM-R Large with its four projections on one v5e chip, about 4,096 tokens, bfloat16. A kernel
counts at its roofline, so it is never cheaper than told here; it has no dropout, and JAX's function has none either.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.model.dropout import Noise
from xlmr_flax.model.encoder import Attention
from xlmr_flax.plan.chips import slice_of
from xlmr_flax.plan.compiler import compiler
from xlmr_flax.plan.hlo import cost

pytestmark = pytest.mark.bench

TOKENS = 4096
WIDE = {"hidden_size": 1024, "num_hidden_layers": 1, "num_attention_heads": 16, "intermediate_size": 4096}
ARCH = Architecture(vocab_size=128, **WIDE)
FILLED = 0.5  # of a matrix unit of 128 x 128 by heads of 64


def plain(attention, x_BLD, unit_BL, noise):
    """What the encoder does."""
    mask_BLM = unit_BL[:, :, None] == unit_BL[:, None, :]
    return attention._mix(x_BLD, mask_BLM, noise, jnp.int32(0))


def jax_function(attention, x_BLD, unit_BL, noise):
    parts = attention.query(x_BLD), attention.key(x_BLD), attention.value(x_BLD)
    mask_BLM = unit_BL[:, :, None] == unit_BL[:, None, :]
    return attention.out(jax.nn.dot_product_attention(*parts, mask=mask_BLM[:, None]))


def splash_kernel(attention, x_BLD, unit_BL, noise):
    length, heads = x_BLD.shape[1], ARCH.num_attention_heads
    sizes = splash.BlockSizes(
        block_q=length, block_kv=length, block_q_dkv=length, block_kv_dkv=length, use_fused_bwd_kernel=True
    )
    kernel = splash.make_splash_mha(
        masks.MultiHeadMask([masks.FullMask((length, length))] * heads),
        block_sizes=sizes, head_shards=1, q_seq_shards=1,
    )  # fmt: skip
    q_BLHK, k_BLHK, v_BLHK = attention.query(x_BLD), attention.key(x_BLD), attention.value(x_BLD)
    parts = (part.swapaxes(1, 2) for part in (q_BLHK * q_BLHK.shape[-1] ** -0.5, k_BLHK, v_BLHK))
    mixed_BHLK = jax.vmap(kernel)(*parts, splash.SegmentIds(unit_BL, unit_BL))
    return attention.out(mixed_BHLK.swapaxes(1, 2))


@functools.cache
def chip():
    """One v5e: its compiler, and where an array lies."""
    found = compiler(slice_of("v5e:2x2"), None)
    return NamedSharding(Mesh(np.array(found.devices()[:1]), "x"), P())


def milliseconds(way, length, *, train):
    """Of a forward pass, or of a forward and a backward pass with dropout where there is any."""
    rows, width = round(TOKENS / length), ARCH.hidden_size

    def array(shape, dtype):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=chip())

    graph, shapes = nnx.split(nnx.eval_shape(lambda: Attention(ARCH, jnp.bfloat16, nnx.Rngs(0))))
    params = jax.tree.map(lambda leaf: array(leaf.shape, jnp.bfloat16), nnx.to_pure_dict(shapes))

    def forward(params, x_BLD, unit_BL, word):
        noise = Noise(word, unit_BL, unit_BL) if train else None
        return way(nnx.merge(graph, params), x_BLD, unit_BL, noise)

    def both(params, x_BLD, unit_BL, word, dy_BLD):
        y_BLD, back = jax.vjp(lambda params, x_BLD: forward(params, x_BLD, unit_BL, word), params, x_BLD)
        return y_BLD, back(dy_BLD)

    x_BLD = array((rows, length, width), jnp.bfloat16)
    given = params, x_BLD, array((rows, length), jnp.int32), array((), jnp.uint32)
    lowered = jax.jit(both).lower(*given, x_BLD) if train else jax.jit(forward).lower(*given)
    found, v5e = cost(lowered.compile().as_text(), devices=1), slice_of("v5e:2x2").chip
    assert bool(found.kernels) == (way is splash_kernel)
    moved = sum(kernel.bytes for kernel in found.kernels) / v5e.hbm_bytes_per_second
    products = 4 * rows * length**2 * width * (3.5 if train else 1) / (v5e.flops * FILLED)  # backward: 5 for 2
    kernels = max(moved, products) if found.kernels else 0.0
    return (sum(found.cycles.values()) / v5e.clock_hz + kernels) * 1e3


@pytest.mark.parametrize("length", [128, 384, 512])
def test_plain_attention_is_the_right_choice(length, record):
    ways = (plain, jax_function, splash_kernel)
    train = {way: milliseconds(way, length, train=True) for way in ways}
    predict = {way: milliseconds(way, length, train=False) for way in (plain, splash_kernel)}
    for name, found in (("training", train), ("prediction", predict)):
        told = ", ".join(f"{way.__name__} {took:.3f}" for way, took in found.items())
        print(f"\nattention of one layer, length {length}, {name}, in ms: {told}")
        for way, took in found.items():
            if way is not plain:
                what = f"attention of one layer, {name} at length {length}, plain against {way.__name__}, estimated"
                record(what, f"{found[plain]:.2f} ms", f"{took:.2f} ms", found[plain] / took)
    assert train[plain] < train[jax_function] or length == 128
    assert train[plain] < train[splash_kernel] or length > 128
