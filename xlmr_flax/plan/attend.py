"""Planning in a process of its own, because libtpu may take the process down with it; imports nothing heavy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.errors import InputError

ATTENDED = "XLMR_FLAX_PLAN_ATTENDED"  # set in that process
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
CRASHED = {
    "fits": None, "argument_bytes": None, "temporary_bytes": None, "hbm_bytes": None, "compile_seconds": None,
}  # fmt: skip


def is_attended() -> bool:
    """Whether this is the process that compiles."""
    return ATTENDED in os.environ


def attend(words: Sequence[str], cache: Path) -> int:
    """Runs the program with these words, again after every crash of the compiler; returns its exit code.

    The program on which it crashed is noted in the cache, and is passed over the next time.
    """
    command = [sys.executable, "-m", "xlmr_flax.cli", *words]
    while True:
        with subprocess.Popen(command, env={**os.environ, ATTENDED: "1"}) as process:
            try:
                code = process.wait()
            except KeyboardInterrupt:  # the process has been told as well
                code = process.wait()
        marks = list((cache / "plans").glob(f"*.{process.pid}.compiling"))
        for mark in marks:
            if -code in CRASHES:
                (cache / "plans" / f"{mark.name.partition('.')[0]}.json").write_text(json.dumps(CRASHED))
            mark.unlink()
        if -code not in CRASHES or not marks:
            break
    if code < 0:
        raise InputError(
            f"plan: the process that compiles was ended by signal {-code} ({signal.strsignal(-code)}); "
            "a large program takes 20 GB of memory and more"
        )
    return code
