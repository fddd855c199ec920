"""Masks that depend on what is masked and on nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlmr_flax.model.dropout import Noise, Site, drop_channels, drop_probabilities, mix

B, L, D, H = 8, 32, 256, 4
UNIT_BL = jnp.broadcast_to(jnp.arange(B)[:, None], (B, L))
POSITION_BL = jnp.broadcast_to(jnp.arange(L)[None], (B, L))


def noise(word=1):
    return Noise(jnp.uint32(word), UNIT_BL, POSITION_BL)


def kept(word=1, site=Site.ATTENTION, layer=0, rate=0.1):
    return np.asarray(drop_channels(jnp.ones((B, L, D)), noise(word), rate, site=site, layer=layer)) > 0


def kept_probabilities(word=1, layer=0, rate=0.1):
    return np.asarray(drop_probabilities(jnp.ones((B, H, L, L)), noise(word), rate, layer=layer)) > 0


def standard_errors(found, expected, n):
    """How many standard deviations of a mean of n coin throws lie between."""
    return abs(found - expected) / np.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.5])
def test_the_rate_is_kept_overall_and_in_every_row_and_column(rate):
    for mask in (kept(rate=rate), kept_probabilities(rate=rate)):
        assert standard_errors(mask.mean(), 1 - rate, mask.size) < 4
        for axis in range(mask.ndim):
            others = tuple(a for a in range(mask.ndim) if a != axis)
            n = mask.size / mask.shape[axis]
            assert standard_errors(mask.mean(others), 1 - rate, n).max() < 5


def test_what_is_kept_is_scaled_so_that_the_mean_stays():
    x_BLD = jnp.full((B, L, D), 3.0)
    y_BLD = np.asarray(drop_channels(x_BLD, noise(), 0.25, site=Site.HEAD))
    assert set(np.unique(y_BLD)) == {0.0, 4.0}


@pytest.mark.parametrize(
    "other",
    [{"word": 2}, {"layer": 1}, {"site": Site.FEED_FORWARD}, {"word": 1 << 31 | 1}],
    ids=["step", "layer", "site", "high bit of the word"],
)
def test_masks_of_another_step_layer_or_site_are_independent(other):
    both = (kept(rate=0.5) == kept(rate=0.5, **other)).mean()
    assert standard_errors(both, 0.5, B * L * D) < 4


def test_masks_of_probabilities_are_independent_over_steps_and_layers():
    mask = kept_probabilities(rate=0.5)
    for other in (kept_probabilities(word=2, rate=0.5), kept_probabilities(layer=1, rate=0.5)):
        assert standard_errors((mask == other).mean(), 0.5, mask.size) < 4


@pytest.mark.parametrize("make", [kept, kept_probabilities])
def test_neighbours_along_every_axis_are_independent(make):
    mask = make(rate=0.5)
    for axis in range(mask.ndim):
        for shift in (1, 2, 3):
            same = (mask == np.roll(mask, shift, axis)).mean()
            assert standard_errors(same, 0.5, mask.size) < 4.5, (axis, shift)


def test_no_two_vectors_of_a_step_share_a_mask():
    masks = np.concatenate(
        [kept(rate=0.5, layer=layer, site=site).reshape(-1, D) for layer in range(3) for site in Site]
    )
    assert len(np.unique(np.packbits(masks, axis=1), axis=0)) == len(masks)


def test_the_backward_pass_uses_the_mask_of_the_forward_pass():
    x_BLD = jax.random.normal(jax.random.key(0), (B, L, D))
    y_BLD, back = jax.vjp(lambda x: drop_channels(x, noise(), 0.3, site=Site.HEAD), x_BLD)
    (gradient_BLD,) = back(jnp.ones_like(y_BLD))
    np.testing.assert_allclose(y_BLD, x_BLD * gradient_BLD, rtol=1e-6)


def test_no_mask_is_kept_for_the_backward_pass():
    x_BLD = jnp.ones((B, L, D))
    _, back = jax.vjp(lambda x: drop_channels(x, noise(), 0.3, site=Site.HEAD), x_BLD)
    assert max(leaf.size for leaf in jax.tree.leaves(back)) <= B * L


def test_without_noise_or_rate_nothing_happens():
    x_BLD = jnp.ones((B, L, D))
    assert drop_channels(x_BLD, None, 0.5, site=Site.HEAD) is x_BLD
    assert drop_channels(x_BLD, noise(), 0.0, site=Site.HEAD) is x_BLD
    assert drop_probabilities(x_BLD, None, 0.5, layer=0) is x_BLD


def test_the_mixer_changes_half_of_the_bits_for_each_bit_that_changes():
    h = mix(jnp.arange(4096, dtype=jnp.uint32))
    assert len(np.unique(h)) == 4096
    for bit in range(32):
        flipped = mix(jnp.arange(4096, dtype=jnp.uint32) ^ jnp.uint32(1 << bit))
        changed = np.unpackbits(np.asarray(h ^ flipped).view(np.uint8)).mean()
        assert 0.48 < changed < 0.52


def test_the_mixer_is_the_published_one():
    values = [1, 2, 12345, 2**31, 2**32 - 1]
    assert [int(x) for x in mix(jnp.array(values, jnp.uint32))] == list(reference_mix(values))


def reference_mix(values):
    for x in values:
        x = ((x ^ (x >> 16)) * 0x7FEB352D) % 2**32
        x = ((x ^ (x >> 15)) * 0x846CA68B) % 2**32
        yield x ^ (x >> 16)
