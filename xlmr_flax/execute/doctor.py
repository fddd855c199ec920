"""What a machine has of what a run needs: each finding is fine, absent, or wrong, and then says what to do.

Nothing here waits for ever: what asks the network, the devices or a bucket has a limit, and what may hang is asked by
a process or a thread that is left behind. Imports nothing heavy itself.
"""

import contextlib
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from xlmr_flax.config.processes import expected
from xlmr_flax.errors import InputError
from xlmr_flax.execute.parent import holders, on_tpu
from xlmr_flax.storage.bucket import check as check_bucket
from xlmr_flax.storage.places import is_remote
from xlmr_flax.tasks.catalogue import TASKS
from xlmr_flax.tasks.files import paths

SECONDS = 30.0  # for one check
NETWORK_SECONDS = 4.0
GIB = 2**30
# XLM-R Large has 0.56 billion parameters; a checkpoint with both moments is 12 bytes each, and a phase keeps three.
FREE_DISK_BYTES = 20 * GIB
# Such a checkpoint on its way to the disk, and the weights that were read.
FREE_MEMORY_BYTES = 10 * GIB
PACKAGES = ("xlmr-flax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "transformers", "tokenizers")
# What no requirement says: flax up to 0.12.8 derives from a class that jax 0.11.1 has no more.
CLASHES = (("flax", "<=0.12.8", "jax", ">=0.11.1"),)
# As a child, so that what hangs can be ended; a slice's chips answer only when all of its hosts ask.
DEVICES = "import jax; d = jax.devices(); print(len(d), '×', d[0].device_kind, f'({d[0].platform})')"
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/"


class Finding(NamedTuple):
    """One line: `fine`, `absent` (nothing is wrong; it says when that matters) or `wrong`, with what to do."""

    state: Literal["fine", "absent", "wrong"]
    what: str
    text: str


Check = Callable[[], Iterable[Finding]]


def examine(checks: dict[str, Check], seconds: float = SECONDS) -> Iterator[Finding]:
    """The findings of all checks, which run at the same time; one that takes longer than `seconds` is a finding."""
    results: dict[str, list[Finding]] = {}

    def run(what: str) -> None:
        try:
            results[what] = list(checks[what]())
        except Exception as error:  # a check that fails is a finding too
            results[what] = [Finding("wrong", what, f"could not be looked at: {type(error).__name__}: {error}")]

    threads = {what: threading.Thread(target=run, args=(what,), daemon=True) for what in checks}
    for thread in threads.values():
        thread.start()
    for what, thread in threads.items():
        thread.join(seconds)
        yield from results.get(what, [Finding("wrong", what, f"no answer within {seconds:.0f} s")])


def all_checks(runs: Path, data: Path, cache: Path) -> dict[str, Check]:
    """Every check of this machine, in the order in which they are told."""
    buckets = [folder for folder in (runs, data, cache) if is_remote(folder)]
    return {
        "Python": check_python,
        "versions": check_versions,
        "chips": lambda: check_chips(Path("/")),
        "devices": lambda: check_devices(Path("/")),
        "hosts": check_hosts,
        "disk": lambda: check_disk(folder for folder in (runs, cache) if not is_remote(folder)),
        "memory": lambda: check_memory(Path("/proc/meminfo")),
        "data": lambda: check_data(data),
        "hub": check_hub,
        "buckets": lambda: check_buckets(buckets),
    }


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    yield Finding("fine", "Python", f"{platform.python_version()} ({sys.executable})")


def check_versions() -> Iterator[Finding]:
    """Whether what is installed fits together, as its own metadata says and as is known beside."""
    installed = {name: found for name in (*PACKAGES, "libtpu") if (found := _version(name))}
    problems = [problem for name in installed for problem in _unmet(name)]
    for one, those, other, with_those in CLASHES:
        if _holds(one, those) and _holds(other, with_those):
            problems.append(f"{one} {version(one)} does not work with {other} {version(other)}")
    if problems:
        yield Finding(
            "wrong", "versions", f"{'; '.join(problems)}: install what a file in lock/ names, in a new environment"
        )
    else:
        yield Finding("fine", "versions", ", ".join(f"{name} {found}" for name, found in installed.items()))


def _unmet(name: str) -> Iterator[str]:
    for text in requires(name) or ():
        wanted = Requirement(text)
        # The TPU's library counts where it is installed.
        extra = "tpu" if wanted.name == "libtpu" else ""
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        found = _version(wanted.name)
        if found is None and not extra:
            yield f"{name} wants {wanted.name}, which is not installed"
        elif found is not None and not wanted.specifier.contains(found, prereleases=True):
            yield f"{name} {version(name)} wants {wanted.name}{wanted.specifier}, and {found} is installed"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _holds(name: str, those: str) -> bool:
    found = _version(name)
    return found is not None and SpecifierSet(those).contains(found, prereleases=True)


def check_chips(root: Path) -> Iterator[Finding]:
    """TPU chips, the library for them, and who holds them."""
    if not on_tpu(root):
        yield Finding("absent", "chips", "no TPU here; a GPU or the CPU is used")
    elif not _version("libtpu"):
        yield Finding("wrong", "chips", "there are TPU chips and no libtpu: pip install 'xlmr-flax[tpu]'")
    elif held := list(holders(root)):
        yield Finding("wrong", "chips", f"held by {', '.join(held)}: end it, or wait until it has ended")
    else:
        yield Finding("fine", "chips", "TPU chips, held by nobody that this user may see")


def check_devices(root: Path, *, code: str = DEVICES, seconds: float = SECONDS - 2) -> Iterator[Finding]:
    """What jax finds, asked in a process of its own."""
    environment = os.environ | ({} if on_tpu(root) or "JAX_PLATFORMS" in os.environ else _without_tpu())
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        yield Finding(
            "wrong",
            "devices",
            f"jax found none within {seconds:.0f} s; the hosts of a slice have to ask together: run doctor on all of "
            "them at once",
        )
        return
    told = done.stdout.strip()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding("wrong", "devices", f"jax finds none: {last}")
    elif on_tpu(root) and "(cpu)" in told:
        yield Finding("wrong", "devices", f"{told}, though there are TPU chips: see chips")
    else:
        yield Finding("fine", "devices", told)


def _without_tpu() -> dict[str, str]:
    """Where libtpu is there to compile for other machines it would look for chips, and complain."""
    return {"JAX_PLATFORMS": "cpu"} if _version("libtpu") else {}


def check_hosts() -> Iterator[Finding]:
    """Which processes a run on this machine would meet, and whether they can be found."""
    try:
        known = expected()
    except InputError as error:
        yield Finding("wrong", "hosts", str(error))
        return
    if known:
        host, _, port = known.coordinator_address.rpartition(":")
        told = f"process {known.process_id} of {known.num_processes}, process 0 at {host}:{port}"
        yield _resolved([host], told)
    elif names := _slice_hosts():
        yield _resolved(names, f"{len(names)} of a slice: {', '.join(names[:4])}{', …' if len(names) > 4 else ''}")
    else:
        yield Finding("fine", "hosts", "this one alone")


def _slice_hosts() -> list[str]:
    """The hosts of the TPU slice that this machine is part of, as GKE or the VM's metadata name them."""
    if names := os.environ.get("TPU_WORKER_HOSTNAMES"):
        return [name for name in names.split(",") if name]
    if not on_tpu(Path("/")):
        return []
    request = urllib.request.Request(METADATA + "worker-network-endpoints", headers={"Metadata-Flavor": "Google"})
    with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=NETWORK_SECONDS) as answer:
        return [one.split(":")[2] for one in answer.read().decode().split(",")]
    return []


def _resolved(names: Sequence[str], told: str) -> Finding:
    for name in names:
        try:
            socket.getaddrinfo(name, None)
        except OSError as error:
            return Finding("wrong", "hosts", f"{told}; {name} cannot be found ({error.strerror})")
    return Finding("fine", "hosts", told)


def check_disk(folders: Iterable[Path]) -> Iterator[Finding]:
    """Free room where runs and the cache are or will be."""
    for folder in folders:
        there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        if not os.access(there, os.W_OK):
            yield Finding("wrong", "disk", f"{folder}: this user may not write there; name another folder")
            continue
        free = shutil.disk_usage(there).free
        told = f"{folder}: {free / GIB:,.0f} GiB free"
        if free < FREE_DISK_BYTES:
            text = f"{told}; a phase of XLM-R Large keeps up to {FREE_DISK_BYTES / GIB:.0f} GiB while it runs"
            yield Finding("wrong", "disk", f"{text}: make room, or name a folder or gs:// with more")
        else:
            yield Finding("fine", "disk", told)


def check_memory(meminfo: Path) -> Iterator[Finding]:
    """Free memory, as Linux tells it."""
    try:
        free = 1024 * int(re.search(r"MemAvailable: +(\d+) kB", meminfo.read_text())[1])
    except (OSError, TypeError):
        yield Finding("absent", "memory", "this system does not say")
        return
    told = f"{free / GIB:,.0f} GiB free"
    if free < FREE_MEMORY_BYTES:
        text = f"{told}; XLM-R Large wants {FREE_MEMORY_BYTES / GIB:.0f} on a TPU host, and more on a CPU"
        yield Finding("wrong", "memory", f"{text}: end other programs, or train a smaller model")
    else:
        yield Finding("fine", "memory", told)


def check_data(data: Path) -> Iterator[Finding]:
    """How many tasks have files there; `data check` reads them."""
    if is_remote(data):
        yield Finding("fine", "data", f"{data}: looked into when it is used")
        return
    there = [name for name in TASKS if _has_files(name, data)] if data.is_dir() else []
    if there:
        yield Finding("fine", "data", f"{data}: files of {', '.join(there)}; xlmr-flax data check reads them")
    else:
        text = f"{data}: no task's files; xlmr-flax data fetch TASK gets them, and generated worlds want none"
        yield Finding("absent", "data", text)


def _has_files(name: str, data: Path) -> bool:
    task = TASKS[name]
    for split in filter(None, (task.train, task.test, task.select)):
        for lang in task.langs[:1]:
            with contextlib.suppress(InputError, OSError):
                return bool(paths(task, split.partition("[")[0], lang, data)[1])
    return False


def check_hub(address: str = "https://huggingface.co") -> Iterator[Finding]:
    """What the hub's cache has, and whether the hub answers."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(path.name.removeprefix("models--").replace("--", "/") for path in cache.glob("models--*"))
    told = f"{cache}: {', '.join(models) or 'no models yet'}"
    if constants.HF_HUB_OFFLINE:
        yield Finding("fine", "hub", f"{told}; HF_HUB_OFFLINE keeps to these")
        return
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=NETWORK_SECONDS):
            yield Finding("fine", "hub", f"{told}; the hub answers")
    except (OSError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", error)
        text = f"{told}; the hub does not answer ({reason}): weights and data have to be in folders, or in this cache"
        yield Finding("absent", "hub", text)


def check_buckets(folders: Sequence[Path]) -> Iterator[Finding]:
    """Whether the buckets that are named can be listed."""
    if not folders:
        have = "gcsfs is installed" if _version("gcsfs") else "pip install 'xlmr-flax[gcs]' for them"
        yield Finding("absent", "buckets", f"none is named ({have}); --runs, --data and --cache may be gs://")
    for folder in folders:
        try:
            check_bucket(folder)
        except InputError as error:
            yield Finding("wrong", "buckets", str(error))
        else:
            yield Finding("fine", "buckets", f"{folder} can be listed")
