"""Starts the program as several processes on this machine, each as on a host of its own, with few threads."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TINY = """
name = "hosts"
seed = 3
world = { languages = ["x1"], documents = 40, nli = { train = 61, dev = 21, test = 17 }, \
paraphrase = { train = 5, dev = 5, test = 5 }, tagging = { train = 5, dev = 5, test = 5 }, \
questions = { train = 12, dev = 5, test = 5 }, choice = { train = 5, dev = 5, test = 0 }, retrieval_pairs = 23 }
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 120 }
model = { preset = "tiny", compute = "float32" }
save = { every_steps = 3 }
[[phases]]
name = "nli"
tasks = ["xnli"]
length = 16
batch_size = 8
steps = 7
optim = { peak_lr = 1e-3 }
selection = { every_steps = 5, max_examples = 19 }
[[evaluations]]
phase = "nli"
tasks = ["tatoeba", "xnli"]
layers = [1]
"""


class Ended(NamedTuple):
    """How one process ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float  # after the moment that was waited for


class Hosts:
    """Processes of one run with the same words, or a list of them each; `devices` simulated ones each.

    `own` are variables of the environment in which {} is the number of the process.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        words: Sequence[Any],
        *,
        devices: int = 1,
        present: int | None = None,
        own: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.own = folder, own or {}
        folder.mkdir(parents=True, exist_ok=True)
        each = [words] * count if isinstance(words[0], str) else words
        self.started = [self._start(number, count, each[number], devices) for number in range(present or count)]

    def _start(self, number: int, count: int, words: Sequence[str], devices: int):
        flags = (
            f"--xla_force_host_platform_device_count={devices} --xla_cpu_multi_thread_eigen=false "
            "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
        )
        env = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLMR_FLAX_"))}
        env |= {"XLA_FLAGS": flags, "NPROC": str(8 * devices), "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        if count > 1:
            env |= {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{self.port}", "JAX_NUM_PROCESSES": str(count)}
            env |= {"JAX_PROCESS_ID": str(number)}
        env |= {name: value.format(number) for name, value in self.own.items()}
        with (self.folder / f"out.{number}").open("w") as out, (self.folder / f"err.{number}").open("w") as err:
            return subprocess.Popen([sys.executable, "-m", "xlmr_flax.cli", *words], env=env, stdout=out, stderr=err)

    @property
    def port(self) -> int:
        """A port that was free a moment ago."""
        if not hasattr(self, "_port"):
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                self._port = taken.getsockname()[1]
        return self._port

    def wait_for(self, there: Callable[[], bool], seconds: float = 600) -> None:
        """Waits until something is there, while all processes run."""
        until = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < until, "waited in vain"
            assert all(one.poll() is None for one in self.started), self.said()
            time.sleep(0.05)

    def ended(self, seconds: float = 600) -> list[Ended]:
        """How each process ended; those that do not end are killed, and that is a failure."""
        since, found = time.monotonic(), []
        try:
            for number, one in enumerate(self.started):
                code = one.wait(max(0.1, since + seconds - time.monotonic()))
                texts = ((self.folder / f"{name}.{number}").read_text() for name in ("out", "err"))
                found.append(Ended(code, *texts, time.monotonic() - since))
        finally:
            for one in self.started:
                one.kill()
                one.wait()
        return found

    def said(self) -> str:
        """All of it, for the messages of assertions."""
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(self.folder.glob("*.[0-9]")))
