"""The program, and Ray clusters whose machines are processes here."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

CONFIG = """
name = "arrows"
seed = 3
world = { languages = ["x1"], documents = 40, nli = { train = 61, dev = 21, test = 17 }, \
paraphrase = { train = 25, dev = 5, test = 5 }, tagging = { train = 5, dev = 5, test = 5 }, \
questions = { train = 12, dev = 5, test = 5 }, choice = { train = 5, dev = 5, test = 0 }, retrieval_pairs = 23 }
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 120 }
model = { preset = "tiny", compute = "float32" }
save = { every_steps = 10 }
phases = [
  { name = "nli", tasks = ["xnli"], length = 16, batch_size = 8, steps = 200, optim = { peak_lr = 1e-3 } },
  { name = "more", tasks = ["xnli"], parent = "nli", length = 16, batch_size = 8, steps = 3 },
  { name = "pairs", tasks = ["pawsx"], parent = "nli", length = 16, batch_size = 8, steps = 30 },
]
evaluations = [{ phase = "pairs", tasks = ["pawsx"] }]
"""
# One thread, so that a sum has one order wherever it is computed; and quick to compile.
FLAGS = "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"


def environment() -> dict[str, str]:
    own = ("JAX_", "XLMR_FLAX_", "RAY_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return kept | {
        "XLA_FLAGS": FLAGS, "NPROC": "8", "OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",  # 15 without it: on a busy machine a test would wait for ever
        "TPU_NAME": "s",  # where Ray looks for the name of a machine's slice
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip


class Program:
    """The program at work on the config, with what it prints in files."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "arrows.toml"
        config.write_text(CONFIG, encoding="utf-8")
        command = [sys.executable, "-m", "xlmr_flax.cli", "run", str(config), "--runs", str(folder / "runs"), *words]
        with (folder / "out").open("a") as out, (folder / "err").open("a") as err:
            self.process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=out, stderr=err)

    def wait_for(self, there: Callable[[], object], seconds: float = 300) -> None:
        """Waits until something is there, while the program runs."""
        until = time.monotonic() + seconds
        while not there():
            assert time.monotonic() < until, f"waited in vain: {self.said()}"
            assert self.process.poll() is None, self.said()
            time.sleep(0.01)

    def saved(self, phase: str) -> list[Path]:
        """A phase's checkpoints, while it is under way."""
        under_way = [path for path in self.folder.glob(f"runs/phases/{phase}-*") if not (path / "DONE").exists()]
        return [path for folder in under_way for path in folder.glob("checkpoints/training/*") if path.name.isdecimal()]

    def code(self, seconds: float = 600) -> int:
        return self.process.wait(seconds)

    def said(self) -> str:
        return (self.folder / "err").read_text()


class Cluster:
    """A head without room for work, and machines: each a `ray start` of its own with its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{taken.getsockname()[1]}"

    def start(self) -> None:
        """The head."""
        self._start(
            "--head",
            f"--port={self.address.split(':')[1]}",
            "--num-cpus=0",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}",
        )

    def add(self, *, cpus: int = 1, labels: dict | None = None, resources: dict | None = None) -> None:
        """One more machine."""
        labels = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        more = ("--labels", labels) if labels else ()
        self._start(
            f"--address={self.address}", f"--num-cpus={cpus}", *more, "--resources", json.dumps(resources or {})
        )

    def _start(self, *words: str) -> None:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
        command += ["--node-ip-address=127.0.0.1", "--object-store-memory=80000000", *words]
        with (self.folder / "log").open("a") as log:
            self.started.append(subprocess.Popen(command, env=environment(), stdout=log, stderr=log))
        until = time.monotonic() + 180
        while (self.folder / "log").read_text().count("Ray runtime started") < len(self.started):
            assert time.monotonic() < until, (self.folder / "log").read_text()
            assert self.started[-1].poll() is None, (self.folder / "log").read_text()
            time.sleep(0.2)

    def end(self) -> None:
        """Ends every machine and what it started."""
        mine = [psutil.Process(one.pid) for one in self.started if one.poll() is None]
        everything = [*mine, *(child for one in mine for child in one.children(recursive=True))]
        for one in reversed(self.started):
            one.terminate()
        for one in self.started:
            one.wait(60)
        _, alive = psutil.wait_procs(everything, timeout=30)
        for one in alive:
            one.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert alive == []


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that computes something in a folder."""
    found = []
    for one in psutil.process_iter(["cmdline"]):
        if "--phase" in (one.info["cmdline"] or []) and str(folder) in " ".join(one.info["cmdline"]):
            found.append(one)
    return found


def is_told_to_stop(suspended: psutil.Process) -> bool:
    """Whether SIGTERM waits for a process."""
    status = Path(f"/proc/{suspended.pid}/status").read_text()
    pending = next(line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (signal.SIGTERM - 1) & 1)
