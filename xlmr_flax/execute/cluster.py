"""Computes a graph's nodes on a Ray cluster: each is a task around the command that computes it here.

Ray decides where and when: a task waits for those of its parents, and takes a whole TPU slice where the cluster has
slices. What a lost machine was computing is run again, and goes on from what it saved. Nothing is kept in Ray: a driver
that is started again finds in the runs folder what is done.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayTaskError

from xlmr_flax.errors import InputError, Interrupted, TrainingError
from xlmr_flax.execute.cluster_task import Job, SliceKind, check, compute, compute_on_slice
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.failures import Failures
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.nodes import Node, TokenizerNode, WorldNode, folder_name, is_done
from xlmr_flax.graph.wanted import wanted
from xlmr_flax.plan.chips import CLOUD, slice_of
from xlmr_flax.storage.holding import held, why_gone
from xlmr_flax.storage.places import exchange, look, names_in
from xlmr_flax.train.loop import Stop

DRIVERS = ".holders/drivers"  # of each a file in the runs folder, by which tasks know that they see the same one
STOP_SECONDS = 120  # for tasks that were told to stop to have saved
# A task whose machine is gone, or that was interrupted from outside, goes on from what it saved.
AGAIN: Mapping[str, Any] = {"retry_exceptions": [Interrupted], "max_retries": -1}
# What a driver was told by its environment, its tasks are told too.
PASSED_ON = ("JAX_COMPILATION_CACHE_DIR", "LIBTPU_INIT_ARGS", "XLA_FLAGS", "HF_HUB_OFFLINE", "HF_HOME", "JAX_PLATFORMS")
GENERATIONS = {ours: cloud for cloud, ours in CLOUD.items()} | {"tpu7x": "v7x"}  # as Ray calls them


def run_on_ray(
    graph: Graph,
    config: Sequence[str],
    context: Context,
    *,
    only: str | None,
    key: str | None,
    address: str | None,
    topology: str | None,
) -> None:
    """Computes every node that is missing, those that need nothing of each other at the same time.

    `config` is the config file and the changes to it. Raises InputError where the cluster or the input is wrong, and
    TrainingError that names what failed when all that does not need it is done.
    """
    folders = context.folders
    nodes = [node for node in wanted(graph, only=only, key=key) if not is_done(node, folders.runs)]
    if not nodes:
        return
    path, *changes = config
    places = (str(folders.runs), str(folders.data), str(folders.cache))
    # in this order: Ray takes SIGTERM for itself
    with _connected(address), Stop().listening() as stop, _present(context, stop) as mark:
        job = Job(str(Path(path).resolve()), tuple(changes), *places, mark)
        kind = _slices(topology)
        context.say(f"{len(nodes)} parts on {_told(kind)}")
        _follow(nodes, _submit(nodes, job, kind), stop, context)


@contextlib.contextmanager
def _present(context: Context, stop: Stop) -> Iterator[str]:
    """The name of a file in the runs folder while this driver lives; what drivers that were killed left is removed."""
    runs = context.folders.runs
    for old in (runs / DRIVERS / name for name in names_in(runs / DRIVERS) if name.endswith(".json")):
        if (seen := look(old)) and why_gone(seen, time.time()):
            exchange(old, seen, None)
    mark = f"{DRIVERS}/{uuid.uuid4().hex}.json"
    with held(runs / mark, context.experiment.name, say=context.say, is_asked=lambda: stop.asked):
        yield mark


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A cluster: the one at an address, or of the environment, or else one of this machine alone while it is used."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    alone = {"include_dashboard": False} if where == "local" else {}
    try:
        ray.init(
            address=where, namespace="xlmr_flax", runtime_env={"env_vars": passed}, logging_level="WARNING", **alone
        )
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--address {where}: no Ray cluster answers there ({error})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _slices(topology: str | None) -> SliceKind | None:
    """The slices that phases take: those asked for, or those that the cluster has. None: it has no TPUs."""
    if topology:
        asked = slice_of(topology)
        return SliceKind(GENERATIONS.get(asked.generation, asked.generation), asked.shape)
    found = {
        SliceKind(labels["ray.io/accelerator-type"].removeprefix("TPU-").lower(), labels["ray.io/tpu-topology"])
        for node in ray.nodes()
        if node["Alive"] and (labels := node["Labels"]).get("ray.io/tpu-topology")
    }
    if len(found) > 1:
        those = ", ".join(sorted(f"{kind.generation}:{kind.topology}" for kind in found))
        raise InputError(f"the cluster has slices of several kinds ({those}): name one by --topology")
    return found.pop() if found else None


def _told(kind: SliceKind | None) -> str:
    machines = sum(node["Alive"] for node in ray.nodes())
    return f"{machines} machines" + (f", each part on a slice of {kind.generation}:{kind.topology}" if kind else "")


def _submit(nodes: Sequence[Node], job: Job, kind: SliceKind | None) -> dict[str, Any]:
    """A task for each node that waits for those of its parents, and for what is checked before; by the nodes' keys."""
    keys = [node.key for node in nodes]
    tasks: dict[str, Any] = {"checks": _on_cpu(check, "checks").remote(job, keys)}

    def needed(node: Node) -> list[Any]:
        return [tasks["checks"], *(tasks[parent.key] for parent in node.parents if parent.key in tasks)]

    for node in (node for node in nodes if _is_ground(node)):
        tasks[node.key] = _on_cpu(compute, folder_name(node)).remote(job, node.key, *needed(node))
    if len(tasks) > 1:  # now that they are there, the rest can be checked: not at hour six
        tasks["checks"] = _on_cpu(check, "checks of what was made").remote(job, keys, *tasks.values())
    for node in (node for node in nodes if not _is_ground(node)):
        if kind:
            whole = ray.remote(compute_on_slice).options(name=folder_name(node), num_cpus=0, **AGAIN)
            tasks[node.key] = whole.remote(job, node.key, kind, *needed(node))
        else:
            here = ray.remote(compute).options(name=folder_name(node), num_cpus=1, **_gpus(), **AGAIN)
            tasks[node.key] = here.remote(job, node.key, *needed(node))
    return tasks


def _on_cpu(do: Callable[..., None], name: str) -> Any:
    # Each in a process of its own: how many devices a CPU looks like can be told to jax once.
    own = ray.remote(max_calls=1)(do)
    return own.options(name=name, num_cpus=1, runtime_env={"env_vars": {"JAX_PLATFORMS": "cpu"}}, **AGAIN)


def _is_ground(node: Node) -> bool:
    """Whether it is made on the CPU: a world or a tokenizer."""
    return isinstance(node, WorldNode | TokenizerNode)


def _gpus() -> dict[str, float]:
    """All GPUs of a machine for each part, where there are any."""
    each = [node["Resources"]["GPU"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    return {"num_gpus": min(each)} if each else {}


def _follow(nodes: Sequence[Node], tasks: Mapping[str, Any], stop: Stop, context: Context) -> None:
    """Tells what is done and what failed, as it happens; raises in the end what stands for the failures."""
    failures, waiting = Failures(context), [tasks["checks"], *(tasks[node.key] for node in nodes)]
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=1)
        if stop.asked:
            _stop([*tasks.values()])
        if tasks["checks"] in ready:
            _raise(tasks["checks"])
        for node in (node for node in nodes if tasks[node.key] in ready):  # parents first, whose errors are inherited
            if not failures.block(node):
                with failures.kept(node):
                    _raise(tasks[node.key])
                    context.say(f"{folder_name(node)} is done")
    failures.tell()


def _raise(task: Any) -> None:
    """Raises what a task has raised."""
    try:
        ray.get(task)
    except RayTaskError as error:
        if isinstance(error.cause, InputError | TrainingError):
            raise error.cause from None
        raise


def _stop(tasks: Sequence[Any]) -> None:
    """Ends all tasks, whose processes save first."""
    for task in tasks:
        ray.cancel(task, force=False)
    ray.wait(list(tasks), num_returns=len(tasks), timeout=STOP_SECONDS)
    raise Interrupted("stopped; what was saved is kept: run the same command again")
