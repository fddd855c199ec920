"""What has to be settled before jax looks for devices; on a TPU or GPU it changes nothing."""

import ctypes
import importlib.util
import os
from pathlib import Path

import jax

from xlmr_flax.config.schema import Mesh

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
KEPT_BYTES = 2**25
# What the drivers of TPUs (older, newer) and of NVIDIA's GPUs show of each chip.
CHIPS = ("dev/accel*", "dev/vfio/[0-9]*", "dev/nvidia[0-9]*")


def prepare_cpu(mesh: Mesh) -> None:
    """Makes the CPU look like as many devices as the mesh names, and keeps the memory of each step for the next.

    Two simulated devices use two cores where a small model's matmuls are too small to be shared: 20 ms a step for 34 in
    the demo's masked LM.
    """
    if not has_chips(Path("/")) and importlib.util.find_spec("libtpu"):
        # Where libtpu is there to compile for other machines, jax would look for TPUs, and libtpu complain aloud.
        jax.config.update("jax_platforms", "cpu")
    devices = (mesh.data or 1) * mesh.fsdp * mesh.tensor
    if devices > 1 and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        # Devices wait for each other in XLA's thread pool, which has a thread a core: too few, and they wait for ever.
        os.environ.setdefault("NPROC", str(8 * devices))
        jax.config.update("jax_num_cpu_devices", devices)
    try:
        # XLA asks for its buffers anew at each step; returned to the system they cost half as much time as the step.
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 4 * KEPT_BYTES)
    except (OSError, AttributeError):
        return  # another C library, with other habits


def has_chips(root: Path) -> bool:
    """Whether this machine shows a TPU or a GPU."""
    return any(True for pattern in CHIPS for _ in root.glob(pattern))
