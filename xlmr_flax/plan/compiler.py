"""The TPU compiler that libtpu brings: programs for slices that are not there, and what came of each, kept."""

import contextlib
import ctypes
import gzip
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.errors import InputError, quiet
from xlmr_flax.plan.chips import Slice
from xlmr_flax.train.sharding import make_mesh

KEPT_VERSION = 1  # raise it when other things are kept of a program
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Built(NamedTuple):
    """What the compiler made of a program for each device.

    Where it refused, because that does not fit, or crashed, of which `fits` is None, there is no text of a module.
    """

    fits: bool | None
    argument_bytes: int | None
    temporary_bytes: int | None
    hbm_bytes: int | None  # all that it needs at once
    compile_seconds: float | None
    text: str | None


class Compiler(NamedTuple):
    """One version of libtpu, and where its answers are kept."""

    version: str
    slice_: Slice
    cache: Path

    def mesh(self, sizes: MeshSizes) -> Mesh:
        """The slice as the experiment lays it out. Raises InputError that says which numbers divide it."""
        inner, devices = sizes.fsdp * sizes.tensor, self.slice_.devices
        one = devices // self.slice_.slices  # fsdp and tensor never reach over slices
        if one % inner or (sizes.data and sizes.data * inner != devices):
            told = "".join(f"{name}={size} x " for name, size in (("data", sizes.data),) if size)
            divide = ", ".join(str(n) for n in range(1, one + 1) if one % n == 0)
            raise InputError(
                f"mesh: {told}fsdp={sizes.fsdp} x tensor={sizes.tensor} does not fit {devices} devices of "
                f"{self.slice_.name}{_several(self.slice_)}; set fsdp and tensor so that their product is one of "
                f"{divide}, and leave data to the rest (mesh.data=none)"
            )
        return make_mesh(sizes, self.devices())

    def devices(self) -> list[Any]:
        """The slice's devices; slices stand one after the other, so that the first axis of a mesh runs over them."""
        try:
            with quiet():  # libtpu complains of a cloud that is not there
                return list(topologies.get_topology_desc(platform="tpu", **self.slice_.request).devices)
        except jax.errors.JaxRuntimeError as error:
            if "Invalid TPU external name" in str(error):
                raise InputError(
                    f"libtpu {self.version} does not know {self.slice_.generation}; install a newer one: "
                    "pip install -U libtpu"
                ) from None
            raise InputError(f"--topology {self.slice_.name}: {str(error).splitlines()[0]}") from None

    def build(self, lowered: jax.stages.Lowered) -> Built:
        """Compiles, or takes what was kept of the same program, slice and libtpu."""
        stem = self.cache / "plans" / self._key(lowered.as_text())
        if (kept := _read(stem)) is not None:
            return kept
        began = time.monotonic()
        try:
            with quiet(), _marked(stem):
                compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            built = _refused(lowered, str(error), time.monotonic() - began)
        else:
            built = _made(compiled, time.monotonic() - began)
            del compiled
        _write(stem, built)
        _give_back()
        return built

    def hbm_limit(self) -> int:
        """Bytes of a device that a program may use, by the compiler's own words when it is asked for too much."""
        path = self.cache / "plans" / f"{self._key('limit')}.limit"
        if path.is_file():
            return int(path.read_text(encoding="utf-8"))
        whole = NamedSharding(Mesh(np.array(self.devices()), "x"), P())
        huge = jax.ShapeDtypeStruct((2**10, 2**30), jnp.int8, sharding=whole)
        try:
            with quiet():
                jax.jit(lambda x: x + 1).lower(huge).compile()
        except jax.errors.JaxRuntimeError as error:
            limit = _sizes_told(str(error))[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(limit), encoding="utf-8")
        return limit

    def _key(self, program: str) -> str:
        named = json.dumps([KEPT_VERSION, self.version, jax.__version__, sorted(self.slice_.request.items()), program])
        return hashlib.sha256(named.encode()).hexdigest()[:32]


def compiler(slice_: Slice, cache: Path) -> Compiler:
    """The compiler of this machine's libtpu. Raises InputError that says what to do where there is none."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise InputError(
            f"plan: libtpu compiles on Linux on x86-64, and this is {platform.system()} on {platform.machine()}; "
            "run plan on such a machine, which needs no TPU"
        )
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("plan: libtpu, the TPU's compiler, is not installed here; pip install 'xlmr-flax[tpu]'")
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # no cloud's metadata to ask
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # another plan may be compiling
    jax.config.update("jax_platforms", "cpu")  # a TPU that is here may be busy training
    return Compiler(importlib.metadata.version("libtpu"), slice_, cache)


@contextlib.contextmanager
def _marked(stem: Path) -> Iterator[None]:
    """Says in the cache what is being compiled, for whoever finds this process crashed."""
    mark = stem.with_name(f"{stem.name}.{os.getpid()}.compiling")
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def _give_back() -> None:
    """Gives the system the memory that compiling took: the C library keeps it, and a search compiles many programs."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _made(compiled: jax.stages.Compiled, seconds: float) -> Built:
    memory = compiled.memory_analysis()
    arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    needed = arguments + temporaries + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Built(True, arguments, temporaries, needed, seconds, compiled.as_text())


def _refused(lowered: jax.stages.Lowered, told: str, seconds: float) -> Built:
    needed = max(_sizes_told(told)[:-1], default=0)
    arguments = bytes_a_device([leaf._aval for leaf in jax.tree.leaves(lowered.args_info)])
    return Built(False, arguments, None, needed, seconds, None)


def bytes_a_device(tree: Any) -> int:
    """Bytes of abstract arrays on one device, as they are laid out and without the compiler's padding."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
        total += int(np.prod(shape)) * leaf.dtype.itemsize
    return total


def _sizes_told(text: str) -> list[int]:
    """Every amount of memory that a text names, such as 15.86G."""
    return [
        int(float(n) * UNITS[unit]) for n, unit in re.findall(r"\b(\d+(?:\.\d+)?)([KMGT])\b", text.split("\n\n")[0])
    ]


def _read(stem: Path) -> Built | None:
    facts, text = stem.with_suffix(".json"), stem.with_suffix(".hlo.gz")
    if not facts.is_file():
        return None
    kept = json.loads(facts.read_text(encoding="utf-8"))
    if kept["fits"] and not text.is_file():
        return None
    return Built(**kept, text=gzip.decompress(text.read_bytes()).decode() if kept["fits"] else None)


def _write(stem: Path, built: Built) -> None:
    """The facts last: they are there only when all is."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if built.text is not None:
        _place(stem.with_suffix(".hlo.gz"), gzip.compress(built.text.encode(), compresslevel=3))
    facts = {name: value for name, value in built._asdict().items() if name != "text"}
    _place(stem.with_suffix(".json"), json.dumps(facts).encode())


def _place(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(path)


def _several(slice_: Slice) -> str:
    return f" x {slice_.slices} slices" if slice_.slices > 1 else ""
