"""XLM-R Large on one NVIDIA GPU beside transformers' PyTorch model: python -m tests.benchmarks.gpu

Sequence classification of full rows in bfloat16, AdamW, dropout 0.1; each with the number of rows at which it is
fastest, both in one run by turns and never at once on the card. Without torch only ours is measured; --smoke takes
tiny sizes on the CPU and says nothing of speed.
"""

import argparse
import importlib.util
import json
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.config.architecture import PRESETS, XLMR_VOCABULARY, Architecture

Worker = runpy.run_path(str(Path(__file__).with_name("workers.py")))["Worker"]

WANTED_UTILISATION, WANTED_SPEED = 0.5, 1.2  # of the card's peak; times PyTorch's
ENOUGH = 1.02  # more rows are tried until they are no longer faster by this
REMATS = {"ours": ("none", "elementwise"), "torch": ("none",)}

# Dense bfloat16 operations a second, by NVIDIA's data sheets (half of the figure with sparsity). The first that is part
# of the device's name counts.
PEAKS = (
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
)


class Work(NamedTuple):
    """What is trained; `rows` are the numbers that are tried, from few to many."""

    architecture: dict[str, Any]
    length: int
    rows: tuple[int, ...]
    compute: str = "bfloat16"
    backend: str = "inductor"  # of torch.compile
    classes: int = 3


class Speed(NamedTuple):
    """The fastest of the settings that were tried; seconds are those of a step."""

    rows: int
    remat: str
    seconds: float

    @property
    def examples(self) -> float:
        """A second."""
        return self.rows / self.seconds


class Compared(NamedTuple):
    """Both on one work; None where there is no torch, and where the card's peak is not known."""

    work: Work
    device: str
    ours: Speed
    theirs: Speed | None
    utilisation: float | None

    @property
    def ratio(self) -> float | None:
        """How many times PyTorch's examples a second ours are."""
        return None if self.theirs is None else self.ours.examples / self.theirs.examples

    def told(self) -> str:
        """One line."""
        used = "unknown" if self.utilisation is None else f"{self.utilisation:.1%}"
        theirs = "torch is not installed: pip install -e '.[parity]'"
        if self.theirs is not None:
            theirs = f"PyTorch {self.theirs.examples:,.0f} with {self.theirs.rows} rows, ratio {self.ratio:.2f}"
        return (
            f"{self.device}, length {self.work.length}: ours {self.ours.examples:,.0f} examples/s with "
            f"{self.ours.rows} rows (remat {self.ours.remat}), {used} of the peak; {theirs}"
        )


LARGE = Architecture(vocab_size=XLMR_VOCABULARY, **PRESETS["large"]).model_dump()
TINY = Architecture(vocab_size=150, **PRESETS["tiny"]).model_dump()
FULL = (
    Work(LARGE, length=512, rows=(8, 16, 32, 64, 128, 256)),
    Work(LARGE, length=128, rows=(32, 64, 128, 256, 512, 1024)),
)
SMOKE = (Work(TINY, length=16, rows=(2, 4), compute="float32", backend="eager"),)


def missing() -> str | None:
    """Why nothing can be measured here; None where a GPU is."""
    if not any(True for _ in Path("/dev").glob("nvidia[0-9]*")):
        return "no NVIDIA GPU here: there is no /dev/nvidia0"
    if not any(importlib.util.find_spec(name) for name in ("jax_cuda13_plugin", "jax_cuda12_plugin")):
        return "jax cannot use the GPU: pip install -e '.[cuda]'"
    return None


def compared(works: tuple[Work, ...], *, env: dict[str, str]) -> Iterator[Compared]:
    """Each work, with ours and PyTorch's by turns: search, search, and both again at what was best."""
    engines = ("ours", "torch") if importlib.util.find_spec("torch") else ("ours",)
    for work in works:
        device, best = "", {}
        for again in (False, True):
            for engine in engines:
                worker = Worker("gpu_worker.py", engine, json.dumps(work._asdict()), env=env)
                device = worker.ready
                found = repeated(worker, best[engine]) if again else fastest(worker, work, REMATS[engine])
                best[engine] = found
                worker.end()
        yield Compared(work, device, best["ours"], best.get("torch"), utilisation(work, device, best["ours"]))


def fastest(worker: Any, work: Work, remats: tuple[str, ...]) -> Speed:
    """The best of all numbers of rows that fit, with each of these settings."""
    best: Speed | None = None
    for remat in remats:
        before = 0.0
        for rows in work.rows:
            seconds = worker.told(f"{rows} {remat}")
            if seconds is None:
                break
            speed = Speed(rows, remat, seconds)
            print(f"  {worker.name.split()[1]}, {rows} x {work.length}, {remat}: {speed.examples:,.0f} examples/s")
            best = speed if best is None or speed.examples > best.examples else best
            if speed.examples < ENOUGH * before:
                break
            before = speed.examples
    assert best is not None, f"{work.rows[0]} rows of {work.length} do not fit"
    return best


def repeated(worker: Any, found: Speed) -> Speed:
    """The mean of what was found and of the same once more."""
    seconds = worker.told(f"{found.rows} {found.remat}")
    assert seconds is not None, f"{found.rows} rows fitted before"
    return found._replace(seconds=(found.seconds + seconds) / 2)


def utilisation(work: Work, device: str, speed: Speed) -> float | None:
    """The share of the card's peak that the model's own operations are, without what is computed again."""
    peak = next((peak for name, peak in PEAKS if name in device), None)
    return None if peak is None else flops(work) * speed.examples / peak


def flops(work: Work) -> float:
    """Operations of matrix products for an example, forward and, twice that, backward."""
    from xlmr_flax.data.batches import TrainingBatches
    from xlmr_flax.plan.programs import forward_flops, full_examples

    examples = full_examples("sequence", items=1, units=1, length=work.length)
    batch = TrainingBatches(examples, np.arange(1), batch_size=1, micro_batches=1, seed=0)(0)
    return 3 * forward_flops(Architecture(**work.architecture), batch)


def main() -> None:
    """Prints a line for each length."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes on the CPU")
    smoke = parser.parse_args().smoke
    if not smoke and (why := missing()):
        sys.exit(why)
    for one in compared(SMOKE, env={"JAX_PLATFORMS": "cpu"}) if smoke else compared(FULL, env=GPU):
        print(one.told(), flush=True)


GPU = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95"}  # jax's own 0.75 would leave rows out

if __name__ == "__main__":
    main()
