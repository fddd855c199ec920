"""What has to be settled before jax looks for devices; on a TPU or GPU it changes nothing."""

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import platform
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

import xlmr_flax
from xlmr_flax.config.processes import expected
from xlmr_flax.config.schema import Mesh
from xlmr_flax.errors import InputError
from xlmr_flax.execute.parent import TPU_CHIPS, holders, on_tpu, several_expected
from xlmr_flax.storage.bucket import check as check_bucket
from xlmr_flax.storage.places import is_remote, place
from xlmr_flax.train import processes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT_BYTES = 2**25
# What the drivers of TPUs (older, newer) and of NVIDIA's GPUs show of each chip.
CHIPS = (*TPU_CHIPS, "dev/nvidia[0-9]*")
# What decides the bits that come out, or which program is compiled.
LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "tokenizers", "sentencepiece")
FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")


def prepare_cpu(mesh: Mesh, *, processes: int = 1) -> None:
    """Makes the CPU look like as many devices as the mesh names, and keeps the memory of each step for the next.

    Of several processes each has its share of them.

    Two simulated devices use two cores where a small model's matmuls are too small to be shared: 20 ms a step for 34 in
    the demo's masked LM.
    """
    if not has_chips(Path("/")) and importlib.util.find_spec("libtpu"):
        # Where libtpu is there to compile for other machines, jax would look for TPUs, and libtpu complain aloud.
        jax.config.update("jax_platforms", "cpu")
    devices = (mesh.data or processes) * mesh.fsdp * mesh.tensor // processes
    if devices > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Devices wait for each other in XLA's thread pool, which has a thread a core: too few, and they wait for ever.
        os.environ.setdefault("NPROC", str(8 * devices))
        try:
            jax.config.update("jax_num_cpu_devices", devices)
        except RuntimeError:
            raise InputError(
                f"mesh: {devices} devices are to be simulated, but this Python has used jax before, with "
                f"{jax.device_count()}; begin a new one, or set mesh.data to fit"
            ) from None
    try:
        # XLA asks for its buffers anew at each step; returned to the system they cost half as much time as the step.
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 4 * KEPT_BYTES)
    except (OSError, AttributeError):
        return  # another C library, with other habits


@contextlib.contextmanager
def hosts(mesh: Mesh, command: Mapping[str, Any]) -> Iterator[None]:
    """Settles the devices, meets the other processes if there are any, and holds all together while the block runs."""
    known = expected()
    prepare_cpu(mesh, processes=known.num_processes if known else 1)
    # A cache of compiled programs that is opened before the processes know of each other is every process's own.
    compiled = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    if several_expected():
        processes.join(known)
    with processes.together():
        check_devices()
        if compiled:
            use_compiled(compiled)
        processes.agree("what to run", lambda: _flat(command) | _circumstances())
        yield


def use_compiled(folder: str) -> None:
    """Takes programs from a folder, or gs://, that earlier runs have left compiled in, and leaves new ones there.

    Raises InputError where a bucket cannot be used: jax would say so in a warning, and compile everything.
    """
    where = place(folder)
    if is_remote(where):
        check_bucket(where)
    jax.config.update("jax_compilation_cache_dir", str(where))


def circumstances() -> dict[str, str]:
    """What the environment says of how programs are compiled, for the record of a phase."""
    told = {name: os.environ[name] for name in FLAGS if os.environ.get(name)}
    compiled = jax.config.jax_compilation_cache_dir
    return told | ({"JAX_COMPILATION_CACHE_DIR": compiled} if compiled else {})


def settle() -> None:
    """Settles the devices of a command that is one process."""
    prepare_cpu(Mesh())
    check_devices()


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested tables, and lists of them, as one, so that the field is named that differs."""
    if isinstance(value, list | tuple) and value and all(isinstance(one, Mapping) for one in value):
        value = {str(place): one for place, one in enumerate(value)}
    if isinstance(value, Mapping):
        return {k: v for key, inner in value.items() for k, v in _flat(inner, f"{name}.{key}".strip(".")).items()}
    return {name: value}


def _circumstances() -> dict[str, Any]:
    """What has to be equal on all hosts beside the command."""
    code = hashlib.sha256()
    package = Path(xlmr_flax.__file__).parent
    for path in sorted(package.rglob("*.py")):
        code.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    device = jax.local_devices()[0]
    return {
        "code": f"{xlmr_flax.__version__} ({code.hexdigest()[:12]})",
        "python": platform.python_version(),
        "device kind": f"{device.device_kind} ({device.platform})",
        "devices": jax.local_device_count(),
        **{name: version(name) for name in LIBRARIES},
        **{name: os.environ.get(name, "") for name in FLAGS},
    }


def check_devices(root: Path = Path("/")) -> None:
    """Raises InputError when chips are here and jax cannot have them, or has taken the CPU instead."""
    if not on_tpu(root):
        return
    others = list(holders(root))
    try:
        found = jax.devices()[0].platform
    except RuntimeError as error:
        first = str(error).splitlines()[0]
        held = f"; held by {', '.join(others)}: end it first" if others else ""
        raise InputError(f"the TPU of {socket.gethostname()} cannot be used{held} ({first})") from error
    if found == "cpu":
        held = (
            f"held by {', '.join(others)}; end it first" if others else "install libtpu (pip install 'xlmr-flax[tpu]')"
        )
        raise InputError(
            f"{socket.gethostname()} has TPU chips, but jax would compute on the CPU: {held}, or set JAX_PLATFORMS=cpu"
        )


def has_chips(root: Path) -> bool:
    """Whether this machine shows a TPU or a GPU."""
    return any(True for pattern in CHIPS for _ in root.glob(pattern))
