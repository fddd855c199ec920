"""Starts the program again and again, each time in a process group of its own that has imported everything.

A line of JSON in: {"start": [words], "folder": where its output goes}, or {"wait": pid, "block": whether to wait for
it}. A line of JSON out: the pid, or the exit status, or null while it runs. On SIGUSR1 the program writes where its
main thread stands to `stacks`, and goes on.
"""

import contextlib
import faulthandler
import importlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path

from xlmr_flax import cli
from xlmr_flax.execute import attempts

KEPT = "kept"
IMPORTED = ("execute.local", "execute.devices", "config.load", "graph.build", "report.results", "report.table")


def main() -> None:
    """Serves requests until there are no more; in a child, runs the program and ends as it does."""
    for name in IMPORTED:
        importlib.import_module(f"xlmr_flax.{name}")
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # of a child that is not ready
    for line in sys.stdin:
        asked = json.loads(line)
        if "start" in asked:
            sys.stdout.flush()
            pid = os.fork()
            if not pid:
                become(asked["start"], Path(asked["folder"]))
                cli.main()
            answer(pid)
        else:
            pid, status = os.waitpid(asked["wait"], 0 if asked["block"] else os.WNOHANG)
            answer(os.waitstatus_to_exitcode(status) if pid else None)


def answer(value: int | None) -> None:
    """One line to whoever asked."""
    print(json.dumps(value), flush=True)


def become(words: list[str], folder: Path) -> None:
    """Makes this process the program: its own group, its own output, its own arguments."""
    os.setsid()
    # Of this thread alone: the others run on while theirs are read, and that can end the process.
    faulthandler.register(signal.SIGUSR1, file=(folder / "stacks").open("w"), all_threads=False)
    os.chdir(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    out, err = (os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr"))
    for number, file in enumerate((nothing, out, err)):
        os.dup2(file, number)
    sys.argv = ["xlmr-flax", *words]
    attempts.remove_training = keep_training


def keep_training(folder: Path) -> None:
    """Copies a finished phase's last checkpoints aside before they are removed, so that they can be compared."""
    training = folder / "training"
    aside = Path.cwd() / KEPT / folder.parent.name
    if training.is_dir() and not aside.is_dir():
        partial = aside.with_name(f"{aside.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):  # what a removal that was killed left is no checkpoint
            shutil.copytree(training, partial)
            partial.rename(aside)
    remove_training(folder)


remove_training = attempts.remove_training

if __name__ == "__main__":
    main()
