"""The thin process around one process of several: jax ends that one with a stack, and a user wants a sentence.

When process 0 is gone, or not all have come, jax's client calls abort() from a thread of its own, and Python hears
nothing of it. So the work is done in a child, whose C++ output is read here. Imports nothing heavy.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from xlmr_flax.config.processes import expected, in_cluster
from xlmr_flax.errors import PeerLost

ATTENDED = "XLMR_FLAX_ATTENDED"  # set in the child: the descriptor of the standard error that users see
STOP_WITH = "XLMR_FLAX_STOP_WITH"  # the number of a process that this one ends with
TPU_CHIPS = ("dev/accel*", "dev/vfio/[0-9]*")
PARENT_DEATH_SIGNAL = 1  # of Linux's prctl
LOST = "JAX distributed service detected fatal errors"
NEVER_CAME = "RegisterTask"
# What gloo and the coordination service print of themselves where nothing is wrong, or where a sentence follows.
NOISE = re.compile(r"\[Gloo\] |[WE]\d{4} .*(coordination_service|preemption_sync_manager|preemption_notifier)")


def several_expected() -> bool:
    """Whether this may be one of several processes: the environment says so, or a TPU that may be part of a pod."""
    return expected() is not None or in_cluster() or on_tpu(Path("/"))


def on_tpu(root: Path) -> bool:
    """Whether this machine shows TPU chips that jax may use."""
    if "tpu" not in os.environ.get("JAX_PLATFORMS", "tpu") or os.environ.get("JAX_NUM_PROCESSES") == "1":
        return False
    return any(True for pattern in TPU_CHIPS for _ in root.glob(pattern))


def holders(root: Path) -> Iterator[str]:
    """Other processes that have a chip open, as far as this user may see them."""
    chips = {str(path) for pattern in TPU_CHIPS for path in root.glob(pattern)}
    for process in root.glob("proc/[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if any(str(link.readlink()) in chips for link in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().split(b"\0")
                yield f"process {process.name} ({b' '.join(words[:4]).decode(errors='replace').strip()})"


def is_attended() -> bool:
    """Whether this is the child."""
    return ATTENDED in os.environ


def attend(words: Sequence[str]) -> int:
    """Runs the program with these words and returns its exit code.

    Raises PeerLost where jax has ended it because a process was gone or did not come.
    """
    seen = os.dup(2)
    with subprocess.Popen(
        [sys.executable, "-m", "xlmr_flax.cli", *words],
        env={**os.environ, ATTENDED: str(seen)},
        stderr=subprocess.PIPE,
        pass_fds=[seen],
        text=True,
        errors="replace",
    ) as child:
        before = _hand_on(child)
        try:
            held = _relay(child.stderr or ())
            code = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    os.close(seen)
    if code != -signal.SIGABRT or LOST not in held:
        print(held, end="", file=sys.stderr)  # noqa: T201
        return code if code >= 0 else 128 - code
    raise PeerLost(_reason(held))


def be_attended() -> None:
    """In the child: it writes to the standard error that users see, and dies with its parent."""
    seen = int(os.environ[ATTENDED])
    sys.stderr = os.fdopen(seen, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


def stop_with_parent() -> None:
    """Where the parent has asked for it: when it is gone, this process is told to save and to end."""
    parent = os.environ.pop(STOP_WITH, None)
    if parent:
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != int(parent):  # it was gone before
            signal.raise_signal(signal.SIGTERM)


def _hand_on(child: subprocess.Popen) -> dict[int, object]:
    """SIGTERM goes on to the child; Ctrl-C reaches it by itself."""
    handlers = {signal.SIGTERM: lambda *_: child.send_signal(signal.SIGTERM), signal.SIGINT: lambda *_: None}
    return {number: signal.signal(number, handler) for number, handler in handlers.items()}


def _relay(lines: Iterable[str]) -> str:
    """Shows the child's C++ output, but for what is noise and what follows a fatal line; returns the latter."""
    held = ""
    for line in lines:
        if held or (line.startswith("F") and LOST in line):
            held += line
        elif not NOISE.match(line):
            print(line, end="", file=sys.stderr, flush=True)  # noqa: T201
    return held


def _reason(held: str) -> str:
    known = expected()
    where = f" ({known.coordinator_address})" if known else ""
    if NEVER_CAME in held:
        many = f"all {known.num_processes}" if known else "all"
        return (
            f"not {many} processes came, or process 0{where} cannot be reached; "
            "start the same command on every host at the same time"
        )
    return f"process 0{where} is gone; run the same command on all hosts to continue from what was saved"
