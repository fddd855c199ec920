"""What a TPU chip has, by generation, and which slices of them there are under which names."""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError


class Chip(NamedTuple):
    """One generation; rates are a second and for the whole chip. None: no source says."""

    flops: float  # of bfloat16 products
    hbm_bytes_per_second: float
    ici_bytes_per_second: float  # out of a chip, over all its links together
    dcn_bytes_per_second: float | None  # out of a chip, between slices
    clock_hz: float | None
    cores: int  # the name that the cloud gives a slice counts them, except v5litepod and v6e
    devices: int  # that jax sees in a chip
    shapes: tuple[str, ...]  # of slices, the smallest first
    layout: Mapping[str, Any] = {}  # what get_topology_desc wants beside the name


FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
DEEP = (
    "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x12", "8x8x16", "8x16x16", "12x16x16",
    "16x16x16",
)  # fmt: skip

# Peak, bandwidths and shapes: docs.cloud.google.com/tpu/docs/{v2,v3,v4,v5e,v5p,v6e,tpu7x}. The interconnect's rate is
# one direction, half of the bidirectional one that is published there; v2 is 4 links of 496 Gbit/s (Jouppi et al. 2020,
# "A Domain-Specific Supercomputer for Training Deep Neural Networks"), v3 4 of 70 and v4 6 of 50 GB/s (Jouppi et al.
# 2023, "TPU v4: An Optically Reconfigurable Supercomputer", table 4). Between slices: 6.4 Tbit/s for the 256 chips of a
# v5e pod and 50 Gbit/s a v5p chip, as published.
# Clocks: at 0.70, 0.94, 1.05, 1.50 and 1.75 GHz all matrix units of 128 x 128 together give the published peak; the
# first three are those of Jouppi et al. 2021, "Ten Lessons From Three Generations Shaped Google's TPUv4i", table 1. The
# published number of units of v6e and tpu7x does not explain the compiler's cycles at any such clock, so that their
# times are unknown.
CHIPS: Mapping[str, Chip] = {
    "v2": Chip(46e12, 700e9, 248e9, None, 700e6, 2, 2, ("2x2", "4x4", "8x8", "8x16", "16x16")),
    "v3": Chip(123e12, 900e9, 280e9, None, 940e6, 2, 2, ("2x2", "4x4", "8x8", "8x16", "16x16", "16x32", "32x32")),
    "v4": Chip(275e12, 1228e9, 300e9, None, 1050e6, 2, 1, DEEP, {"chip_config_name": "megacore"}),
    "v5e": Chip(197e12, 819e9, 200e9, 3.125e9, 1500e6, 1, 1, FLAT),
    "v5p": Chip(459e12, 2765e9, 600e9, 6.25e9, 1750e6, 2, 1, DEEP),
    "v6e": Chip(918e12, 1638e9, 400e9, None, None, 1, 1, FLAT),
    "tpu7x": Chip(2307e12, 7380e9, 600e9, None, None, 2, 2, DEEP),
}
CLOUD = {"v5litepod": "v5e"}  # what the cloud calls a generation where it is not our name

HOST = (2, 2, 1)  # chips of a host, as the compiler assumes


class Slice(NamedTuple):
    """One or more slices of one shape, seen by one program."""

    generation: str
    shape: str
    slices: int = 1

    @property
    def name(self) -> str:
        """The compiler's name of one slice."""
        return f"{self.generation}:{self.shape}"

    @property
    def chip(self) -> Chip:
        """What each chip has."""
        return CHIPS[self.generation]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Chips along each dimension of one slice."""
        return tuple(int(size) for size in self.shape.split("x"))

    @property
    def chips(self) -> int:
        """Of all slices together."""
        return math.prod(self.sizes) * self.slices

    @property
    def devices(self) -> int:
        """As jax sees them, of all slices together."""
        return self.chips * self.chip.devices

    @property
    def request(self) -> dict[str, Any]:
        """What get_topology_desc is asked."""
        host = tuple(min(most, size) for most, size in zip(HOST, (*self.sizes, 1), strict=False))
        several = {"num_slices": self.slices} if self.slices > 1 else {}
        return {"topology_name": self.name, "chips_per_host_bounds": host, **self.chip.layout, **several}


def slice_of(name: str, slices: int = 1) -> Slice:
    """A slice by the compiler's name (v5e:2x4) or the cloud's (v5litepod-8, v4-32).

    Raises InputError that lists those that exist.
    """
    if slices < 1:
        raise InputError(f"--slices {slices}: wanted 1 or more")
    if named := re.fullmatch(r"([a-z0-9]+)-(\d+)", name):
        generation, count = CLOUD.get(named[1], named[1]), int(named[2])
        if generation in CHIPS:
            return Slice(generation, _shape(name, generation, count), slices)
    elif shaped := re.fullmatch(r"([a-z0-9]+):(\d+(?:x\d+)+)", name):
        generation, shape = CLOUD.get(shaped[1], shaped[1]), shaped[2]
        if generation in CHIPS and _exists(generation, shape):
            return Slice(generation, shape, slices)
    else:
        generation = name
    if generation in CHIPS:
        raise InputError(f"--topology {name}: no slice of that shape; {_those(generation)}")
    those = "\n".join(f"  {_those(generation)}" for generation in CHIPS)
    raise InputError(f"--topology {name}: no such TPU; there are\n{those}")


def slice_name(found: Slice) -> str:
    """A slice as people write it, or several of them."""
    return f"{found.slices} x {found.name}" if found.slices > 1 else found.name


def cloud_name(generation: str, shape: str) -> str:
    """What the cloud calls a slice."""
    counted = 1 if generation in ("v5e", "v6e") else CHIPS[generation].cores
    prefix = next((cloud for cloud, ours in CLOUD.items() if ours == generation), generation)
    return f"{prefix}-{math.prod(map(int, shape.split('x'))) * counted}"


def _shape(name: str, generation: str, count: int) -> str:
    wanted = f"{name.rpartition('-')[0]}-{count}"
    for shape in CHIPS[generation].shapes:
        if cloud_name(generation, shape).rpartition("-")[2] == str(count):
            return shape
    raise InputError(f"--topology {wanted}: no slice of that size; {_those(generation)}")


def _exists(generation: str, shape: str) -> bool:
    """Whether it is one of those listed, or in three dimensions one of cubes of 4 x 4 x 4."""
    listed, sizes = CHIPS[generation].shapes, [int(size) for size in shape.split("x")]
    if shape in listed:
        return True
    cubes = len(sizes) == 3 and all(size and size % 4 == 0 for size in sizes)
    return listed is DEEP and cubes and math.prod(sizes) <= 16**3


def _those(generation: str) -> str:
    names = ", ".join(f"{shape} ({cloud_name(generation, shape)})" for shape in CHIPS[generation].shapes)
    more = ", and other cubes of 4x4x4" if CHIPS[generation].shapes is DEEP else ""
    return f"{generation}: {names}{more}"
