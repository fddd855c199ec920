"""What a Ray cluster is given to do: to compute a node by the command that does so anywhere.

Each function that says so is a task. The process that it starts ends, saved, with the worker that it ran in. A worker
imports jax for the checks alone, for each task has one of its own.
"""

import contextlib
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import get_placement_group, remove_placement_group
from ray.util.tpu import run_on_slice, slice_placement_group

from xlmr_flax.errors import InputError, Interrupted, TrainingError
from xlmr_flax.execute.parent import STOP_WITH, on_tpu
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.study import open_config
from xlmr_flax.storage.places import look, place

SHARED_SECONDS = 15  # for a new file to be seen on all machines
LAST_LINES = 12
KILLED_TRIES = 3  # a process that the system kills so often has too little memory, or an enemy


class Job(NamedTuple):
    """What all tasks of a run are told."""

    config: str  # a file that all machines see
    changes: tuple[str, ...]  # key=value
    runs: str
    data: str
    cache: str
    mark: str  # a file in the runs folder while the driver lives

    @property
    def folders(self) -> Folders:
        """The places by those names."""
        return Folders(place(self.runs), place(self.data), place(self.cache))

    @property
    def words(self) -> tuple[str, ...]:
        """The command, to which the key of a node is added."""
        places = ("--runs", self.runs, "--data", self.data, "--cache", self.cache)
        return ("run", self.config, *self.changes, *places)


class Ended(NamedTuple):
    """How a process ended, and what it said last."""

    code: int  # below 0: by a signal
    said: str


class SliceKind(NamedTuple):
    """Slices as Ray speaks of them: v6e and 4x4."""

    generation: str
    topology: str


def check(job: Job, keys: Sequence[str], *needed: None) -> None:
    """A task: what can be known to be wrong before a node is computed, on any machine's CPU."""
    from rich.console import Console

    from xlmr_flax.execute.context import Context
    from xlmr_flax.execute.devices import prepare_cpu
    from xlmr_flax.execute.preflight import preflight

    _check_shared(job)
    graph = open_config(Path(job.config), job.changes)
    prepare_cpu(graph.experiment.mesh)
    nodes = [node for node in graph.nodes if node.key in keys]
    studied = graph if graph.studied else None
    preflight(nodes, Context(graph.experiment, job.folders, Console(stderr=True), graph=studied))


def compute(job: Job, key: str, *needed: None) -> None:
    """A task: computes one node whose parents are done."""
    _check_shared(job)
    _settle(functools.partial(_run, job, key, {}))


def compute_on_slice(job: Job, key: str, kind: SliceKind, *needed: None) -> None:
    """A task: computes one node on all hosts of a slice that it takes for itself."""
    name = f"xlmr-{key}"
    with contextlib.suppress(ValueError):  # of a task that was lost with its machine
        remove_placement_group(get_placement_group(name))
    taken = slice_placement_group(
        topology=kind.topology, accelerator_version=kind.generation, head_reservation_timeout_s=None, name=name
    )
    try:
        ray.get(taken.placement_group.ready())
        taken.release_head_pgs()
        _settle(functools.partial(_on_hosts, job, key, taken))
    finally:
        taken.shutdown()


def _on_hosts(job: Job, key: str, taken: Any) -> Ended:
    members = ray.get(run_on_slice(ray.remote(max_retries=0)(_member), tpu_slice=taken))
    tasks = run_on_slice(ray.remote(max_retries=0)(_run_host), job, key, members, tpu_slice=taken)
    ray.wait(tasks, num_returns=len(tasks))
    return max((_ended(task) for task in tasks), key=_weight)


def _ended(task: Any) -> Ended:
    try:
        return ray.get(task)
    except RayTaskError:
        raise
    except RayError as error:
        return Ended(Interrupted.exit_code, f"a host was lost: {error}")


def _weight(ended: Ended) -> int:
    """What no other run mends comes first; what another host's end has caused last."""
    known = {InputError.exit_code: 4, TrainingError.exit_code: 3, Interrupted.exit_code: 1, 0: 0}
    return known.get(ended.code, 2)


class _Member(NamedTuple):
    """One host of a slice."""

    node: str
    address: str  # and a port that was free a moment ago
    on_tpu: bool


def _member() -> _Member:
    with socket.socket() as taken:
        taken.bind(("", 0))
        address = f"{ray.util.get_node_ip_address()}:{taken.getsockname()[1]}"
    return _Member(ray.get_runtime_context().get_node_id(), address, on_tpu(Path("/")))


def _run_host(job: Job, key: str, members: Sequence[_Member]) -> Ended:
    """Runs the command on one host; those of a TPU find each other by themselves, others are told."""
    _check_shared(job)
    number = [member.node for member in members].index(ray.get_runtime_context().get_node_id())
    alone = len(members) == 1 or members[number].on_tpu
    names = {"JAX_COORDINATOR_ADDRESS": members[0].address, "JAX_NUM_PROCESSES": len(members), "JAX_PROCESS_ID": number}
    return _run(job, key, {} if alone else {name: str(value) for name, value in names.items()})


def _check_shared(job: Job) -> None:
    """Raises InputError where the runs folder is not the driver's: nodes would be computed again, unseen."""
    until = time.monotonic() + SHARED_SECONDS  # network file systems show new files late
    while not look(job.folders.runs / job.mark):
        if time.monotonic() > until:
            raise InputError(
                f"--runs {job.runs}: on {socket.gethostname()} it is not the driver's; name one that all see"
            )
        time.sleep(0.2)


def _settle(run: Callable[[], Ended]) -> None:
    """Turns a process's end into a task's; one that was killed is started again."""
    for _ in range(KILLED_TRIES):
        ended = run()
        if ended.code >= 0:
            break
    match ended.code:
        case 0:
            return
        case Interrupted.exit_code:
            raise Interrupted(ended.said)
        case InputError.exit_code:
            raise InputError(ended.said)
        case TrainingError.exit_code:
            raise TrainingError(ended.said)
    raise RuntimeError(f"exit code {ended.code}: {ended.said}")


def _run(job: Job, key: str, environment: Mapping[str, str]) -> Ended:
    """Computes a node by the command that does so anywhere; it ends, saved, with the process that this is."""
    with subprocess.Popen(
        [sys.executable, "-m", "xlmr_flax.cli", *job.words, "--phase", key],
        env={**os.environ, **environment, STOP_WITH: str(os.getpid())},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        said: deque[str] = deque(maxlen=LAST_LINES)
        reader = threading.Thread(target=lambda: said.extend(_shown(child)), daemon=True)
        reader.start()
        try:
            while child.poll() is None:  # Ray's request to stop is heard between two waits
                time.sleep(0.2)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        reader.join()
        return Ended(child.returncode, "".join(said).strip())


def _shown(child: subprocess.Popen) -> Iterator[str]:
    for line in child.stderr or ():
        print(line, end="", file=sys.stderr, flush=True)  # noqa: T201
        yield line
