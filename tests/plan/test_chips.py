"""Names of slices, and what does not exist."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.plan.chips import CHIPS, Slice, cloud_name, slice_of


@pytest.mark.parametrize(
    ("name", "shape", "chips", "devices"),
    [
        ("v2-8", "v2:2x2", 4, 8),  # counts cores, two a chip, and jax sees each
        ("v3-32", "v3:4x4", 16, 32),
        ("v4-32", "v4:2x2x4", 16, 16),  # counts cores, but two of them are one device
        ("v5litepod-8", "v5e:2x4", 8, 8),
        ("v5litepod-256", "v5e:16x16", 256, 256),
        ("v5p-8", "v5p:2x2x1", 4, 4),
        ("v6e-8", "v6e:2x4", 8, 8),
        ("tpu7x-8", "tpu7x:2x2x1", 4, 8),
        ("v5e:4x8", "v5e:4x8", 32, 32),
        ("v4:4x4x12", "v4:4x4x12", 192, 192),  # not listed, and made of cubes
    ],
)
def test_a_slice_goes_by_the_compilers_name_and_by_the_clouds(name, shape, chips, devices):
    found = slice_of(name)
    assert (found.name, found.chips, found.devices) == (shape, chips, devices)


@pytest.mark.parametrize("generation", CHIPS)
def test_every_listed_shape_goes_by_its_cloud_name(generation):
    for shape in CHIPS[generation].shapes:
        assert slice_of(cloud_name(generation, shape)) == slice_of(f"{generation}:{shape}") == Slice(generation, shape)


def test_slices_multiply_the_chips():
    assert (slice_of("v5e:2x4", 3).chips, slice_of("v5e:2x4", 3).request["num_slices"]) == (24, 3)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("v5e:3x5", r"no slice of that shape; v5e: 1x1 \(v5litepod-1\), .*16x16 \(v5litepod-256\)"),
        ("v5e", "no slice of that shape; v5e: 1x1"),
        ("v4:4x4x6", "no slice of that shape; v4: .* and other cubes of 4x4x4"),
        ("v4-30", "no slice of that size; v4: 2x2x1"),
        ("v9:2x2", r"no such TPU; there are\n  v2: .*\n  v3: .*"),
        ("a100", "no such TPU"),
    ],
)
def test_a_slice_that_does_not_exist_lists_those_that_do(name, told):
    with pytest.raises(InputError, match=rf"(?s)--topology {name}: {told}"):
        slice_of(name)


def test_no_slices_at_all_are_refused():
    with pytest.raises(InputError, match="--slices 0: wanted 1 or more"):
        slice_of("v5e:2x4", 0)


def test_a_slice_smaller_than_a_host_says_so_to_the_compiler():
    assert slice_of("v5e:1x1").request["chips_per_host_bounds"] == (1, 1, 1)
    assert slice_of("v5e:2x4").request["chips_per_host_bounds"] == (2, 2, 1)
