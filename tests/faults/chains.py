"""A small experiment that is killed and started again until it ends, and what it left compared with an undisturbed one.

A chain is one folder: started, killed, started, … until the program ends by itself or has been killed often enough.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

HERE = Path(__file__).parent
LONGEST_SECONDS = 600  # a start that takes longer hangs

# All kinds of nodes: a world, a tokenizer, masked LM, an intermediate task, a target that selects, an evaluation in
# three languages, retrieval. What is due is due every other step, so that a kill finds something under way.
EXPERIMENT = """
name = "killed"
seed = 3
tokenizer.vocab_size = 120
text.files = ["text/*.txt"]
model = { preset = "tiny", compute = "float32" }
save.every_steps = %d
[world]
languages = ["x1", "x2"]
documents = 40
nli = { train = 61, dev = 21, test = 17 }
paraphrase = { train = 5, dev = 5, test = 5 }
tagging = { train = 5, dev = 5, test = 5 }
questions = { train = 5, dev = 5, test = 5 }
choice = { train = 43, dev = 9, test = 0 }
retrieval_pairs = 23
[[phases]]
name = "pretrain"
tasks = ["mlm"]
length = 16
batch_size = 16
steps = 25
optim.peak_lr = 1e-3
[[phases]]
name = "choice"
tasks = ["cosmosqa"]
parent = "pretrain"
length = 16
batch_size = 8
steps = 9
optim.peak_lr = 1e-3
[[phases]]
name = "nli"
tasks = ["xnli"]
parent = "choice"
length = 16
batch_size = 16
steps = 25
optim.peak_lr = 1e-3
selection = { every_steps = 5, max_examples = 19 }
[[evaluations]]
phase = "nli"
tasks = ["xnli"]
[[evaluations]]
phase = "choice"
tasks = ["tatoeba"]
"""
SAVE_EVERY_STEPS = 2
WORDS = ["run", "../killed.toml", "--runs", "runs", "--data", "data", "--cache", "cache"]

# What the main thread is about, by the functions it stands in; the first that is found names the moment.
DOING = {
    "backend_compile|compile_or_get_cached|_cached_compilation": "compiling",
    "trace_to_jaxpr|lower_jaxpr_to_module|lower_jaxpr_to_fun": "tracing a program",
    "write_world": "writing the world",
    "train_tokenizer": "training the tokenizer",
    "cached|load_sentences|load_examples|load_languages|load_text": "in the tokenised cache",
    "remove_training": "handing over, DONE is written",
    "_finish|save_selected": "handing over, before DONE",
    "first_params|load_selected|load_trained": "handing over, the child reads",
    "restore": "restoring a checkpoint",
    "save|close|wait": "saving",
    "retrieve": "evaluating, retrieval",
    "_selector|scored_in": "evaluating, to select",
    "run_evaluation": "evaluating, a language",
    "train|_train": "stepping",
    "preflight|prepare": "checking",
    "collect|write_results|print_results": "writing the report",
}


class Killed(NamedTuple):
    """One kill: with what, what was under way and where, how the program ended, and how it stood then."""

    how: str
    doing: str
    where: str
    code: int
    progress: tuple[int, int, int]


@dataclass
class Chain:
    """What happened to one folder."""

    folder: Path
    kills: list[Killed] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)  # seconds of running until further on than before the kill
    starts: int = 0

    @property
    def runs(self) -> Path:
        return self.folder / "runs"


class Starter:
    """The process that starts the program; imports are paid once."""

    def __init__(self, folder: Path, *, compiled: Path | None) -> None:
        env = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
        env |= {
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false",
            "COLUMNS": "200",
        }  # one device
        if compiled:
            env |= {
                "JAX_COMPILATION_CACHE_DIR": str(compiled),
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore::RuntimeWarning", HERE / "starter.py"],  # jax warns of forks
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env,
        )  # fmt: skip

    def __enter__(self) -> "Starter":
        return self

    def __exit__(self, *error: object) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(timeout=60)
        assert self.process.stdout
        self.process.stdout.close()

    def start(self) -> int:
        """The pid of a new start, which is that of its process group."""
        (self.folder / "stacks").unlink(missing_ok=True)
        return self._ask(start=WORDS, folder=str(self.folder))

    def ended(self, pid: int, *, block: bool = False) -> int | None:
        """Its exit status, or None while it runs."""
        return self._ask(wait=pid, block=block)

    def _ask(self, **request: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def undisturbed(folder: Path, compiled: Path) -> tuple[Chain, float]:
    """The experiment run to its end, and its seconds."""
    chain = opened(folder)
    with Starter(folder, compiled=compiled) as starter:
        began = time.monotonic()
        code = starter.ended(starter.start(), block=True)
        assert code == 0, told(chain)
    return chain, time.monotonic() - began


def opened(folder: Path) -> Chain:
    """A new folder for a chain; `kept` is where the starter puts last checkpoints."""
    (folder / "kept").mkdir(parents=True)
    (folder.parent / "killed.toml").write_text(EXPERIMENT % SAVE_EVERY_STEPS, encoding="utf-8")
    return Chain(folder)


def disturbed(folder: Path, compiled: Path | None, *, kills: int, seconds: float, draw: random.Random) -> Chain:
    """A chain killed so often at random moments, or less often where it ends before; then run to its end.

    `seconds` is what one undisturbed run takes.
    """
    chain = opened(folder)
    with Starter(folder, compiled=compiled) as starter:
        since, before = 0.0, None
        while True:
            chain.starts += 1
            last = len(chain.kills) == kills
            pid, began = starter.start(), time.monotonic()
            kill = None if last else drawn_kill(chain, draw, seconds, kills)
            killed = False
            while (code := starter.ended(pid)) is None:
                elapsed = time.monotonic() - began
                assert elapsed < LONGEST_SECONDS, f"hangs: {stacks(chain, pid)}"
                if before and progress(chain.runs) > before:
                    chain.recoveries.append(since + elapsed)
                    before, since = None, 0.0
                if kill and kill(elapsed):
                    chain.kills.append(killing(chain, starter, pid, draw))
                    killed, kill = True, None
                    break
                time.sleep(0.005 if kill else 0.02)
            if not killed:
                assert code == 0, told(chain)
                return chain
            before = before or chain.kills[-1].progress
            since += time.monotonic() - began


def drawn_kill(chain: Chain, draw: random.Random, seconds: float, kills: int) -> Callable[[float], bool]:
    """Says when: after a while, or a moment after so many things have begun or ended on the disk."""
    if draw.random() < 0.2:
        after = draw.uniform(0, seconds / 2)
        return lambda elapsed: elapsed > after
    events, moment = 1 + draw.expovariate(kills / EVENTS), draw.expovariate(1 / 0.03)
    seen, since = set(signs(chain.folder)), []
    before = len(seen)

    def due(elapsed: float) -> bool:
        seen.update(signs(chain.folder))
        if not since and len(seen) - before >= events:
            since.append(elapsed)
        return bool(since) and elapsed >= since[0] + moment

    return due


# What shows from outside that something has begun or ended.
SIGNS = (
    "runs/worlds/*/*", "runs/tokenizers/*/*", "cache/encoded/*", "runs/phases/*/*", "runs/phases/*/checkpoints/*",
    "runs/phases/*/checkpoints/training/*", "runs/evals/*/*", "runs/evals/*/predictions/*", "runs/killed-*/*",
)  # fmt: skip
EVENTS = 50  # an undisturbed run has twice as many


def signs(folder: Path) -> Iterator[Path]:
    """What there is of them."""
    for pattern in SIGNS:
        yield from folder.glob(pattern)


# A kill, a friendly one, one that is repeated, and one that is not waited for, as when a machine is taken away.
HOW = ("SIGKILL", "SIGTERM", "SIGKILL", "SIGTERM, then SIGKILL", "SIGKILL", "SIGTERM twice", "SIGKILL", "SIGTERM")


def killing(chain: Chain, starter: Starter, pid: int, draw: random.Random) -> Killed:
    """Kills a process group, asking first where it stands; a patient kill waits for it to end, an impatient one not."""
    how = HOW[len(chain.kills) % len(HOW)]
    told_where = stacks(chain, pid)
    stood = progress(chain.runs)
    doing, where = doing_of(told_where), where_of(chain.runs)
    first = signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM
    send(pid, first)
    if how == "SIGTERM twice":
        time.sleep(draw.uniform(0, 0.2))
        send(pid, signal.SIGTERM)
    elif how == "SIGTERM, then SIGKILL":
        time.sleep(draw.expovariate(1 / 0.1))
        send(pid, signal.SIGKILL)
    code = starter.ended(pid, block=True)
    assert code in {0, 75, -signal.SIGTERM, -signal.SIGKILL}, f"{how} while {doing}: exit code {code}\n{told(chain)}"
    assert "Traceback" not in told(chain), f"{how} while {doing}\n{told(chain)}"
    assert code != 75 or told(chain).endswith("all saved; run the same command to continue\n"), told(chain)
    return Killed(how, doing, where, code, stood)


def send(pid: int, number: int) -> None:
    """Signals a process group, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


def stacks(chain: Chain, pid: int) -> str:
    """Where the main thread stands; empty before the program has begun or after it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)
    path = chain.folder / "stacks"
    for _ in range(50):
        if path.is_file() and (text := path.read_text()).endswith("\n"):
            return text
        time.sleep(0.001)
    return ""


def told(chain: Chain) -> str:
    """What the start said."""
    return (chain.folder / "stderr").read_text() if (chain.folder / "stderr").is_file() else ""


def doing_of(stacks: str) -> str:
    """What was under way."""
    functions = re.findall(r'File "([^"]*)", line \d+ in (\S+)', stacks)
    ours = [name for path, name in functions if "xlmr_flax" in path or "/jax/" in path]
    for pattern, doing in DOING.items():
        if any(re.fullmatch(pattern, name) for name in ours):
            return doing
    return "starting or ending"


def where_of(runs: Path) -> str:
    """The first node that is not done."""
    for kind in ("worlds", "tokenizers"):
        if not any(runs.glob(f"{kind}/*/DONE")):
            return kind.removesuffix("s")
    for name in ("pretrain", "choice", "nli"):
        if not any(runs.glob(f"phases/{name}-*/DONE")):
            saving = any(runs.glob(f"phases/{name}-*/checkpoints/training/*tmp*"))
            return name + (", a save under way" if saving else "")
    for name, count in (("xnli", 3), ("tatoeba", 2)):
        if scored(runs, name) < count:
            return f"{name}, {scored(runs, name)} of {count} languages"
    return "results"


def scored(runs: Path, name: str) -> int:
    """The languages of an evaluation that have scores."""
    return sum(len(json.loads(path.read_text())["langs"]) for path in runs.glob(f"evals/{name}-*/scores.json"))


def progress(runs: Path) -> tuple[int, int, int]:
    """How far a run is: nodes done, languages scored, the newest checkpoint of the phase under way."""
    done = sum(1 for _ in runs.glob("*/*/DONE")) + any(runs.glob("killed-*/results.csv"))
    steps = [int(p.name) for p in runs.glob("phases/*/checkpoints/training/*") if p.name.isdigit()]
    return done, sum(scored(runs, name) for name in ("xnli", "tatoeba")), max(steps, default=0)


# Compared below, or what may differ: events of TensorBoard, what was said, who held a folder, the machine, and the
# report, which tells times.
ELSEWHERE = re.compile(r"tensorboard|checkpoints/|^kept/|^cache/|^std|^stacks|/\.holders/|host\.json$|/report/")
TIMES = ("examples_per_second", "tokens_per_second")


def left(chain: Chain) -> dict[str, Any]:
    """Everything that must be the same in a run that was never disturbed, by what it is called."""
    found: dict[str, Any] = {}
    for path in sorted(chain.folder.rglob("*")):
        name = path.relative_to(chain.folder).as_posix()
        if path.is_file() and not ELSEWHERE.search(name):
            found[name] = path.read_bytes()
    for path in chain.runs.glob("phases/*/train.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.relative_to(chain.folder).as_posix()] = [
            {name: value for name, value in row.items() if name not in TIMES} for row in rows
        ]
    for path in chain.runs.glob("phases/*"):
        found[f"weights of {path.name}"] = arrays(path / "checkpoints" / "selected")
        # Whatever a stop saved in between: this is the last that is due.
        steps = json.loads((path / "DONE").read_text())["steps"]
        last = max(step for step in range(steps) if step % SAVE_EVERY_STEPS == 0)
        found[f"training state of {path.name}"] = arrays(chain.folder / "kept" / path.name / str(last))
        found[f"checkpoints of {path.name}"] = sorted(each.name for each in (path / "checkpoints").iterdir())
    for path in chain.folder.glob("cache/encoded/*"):
        if not path.name.endswith(".partial"):
            found[f"encoded {path.name}"] = {each.name: each.read_bytes() for each in path.iterdir()}
    return found


def arrays(folder: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Every array of a checkpoint, as bits."""
    import jax
    from orbax.checkpoint import v1 as ocp

    flat = jax.tree_util.tree_leaves_with_path(ocp.load_checkpointables(folder))
    return {
        jax.tree_util.keystr(at): (str(x.dtype), x.shape, np.asarray(x).tobytes()) for at, x in flat if x is not None
    }


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """What is not the same, by name."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def table(chains: list[Chain], identical: int) -> str:
    """The figures of all chains."""
    kills = [kill for chain in chains for kill in chain.kills]
    lines = [f"{len(kills)} kills in {len(chains)} chains, {sum(chain.starts for chain in chains)} starts"]
    for title, names in (("while", [k.doing for k in kills]), ("in", [k.where for k in kills]),
                         ("by", [k.how for k in kills]), ("ended with", [str(k.code) for k in kills])):  # fmt: skip
        lines.append(f"{title}: " + ", ".join(f"{name} {count}" for name, count in Counter(names).most_common()))
    longest = max((seconds for chain in chains for seconds in chain.recoveries), default=0.0)
    lines.append(f"bit-identical: {identical} of {len(chains)} chains; longest recovery {longest:.1f} s")
    return "\n".join(lines)
