"""What a phase's steps were measured to take, kept in its host.json beside what `plan` had estimated for them."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from xlmr_flax.config.schema import Experiment
from xlmr_flax.data.batch import Batch
from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.execute.context import Context
from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import is_remote, upload, write_json
from xlmr_flax.train import processes
from xlmr_flax.train.ahead import Ahead
from xlmr_flax.train.clock import Clock, Peak, StepFn, Timed, Trace, peak_memory

Figures = dict[str, Any]


@contextlib.contextmanager
def watched(
    step_fn: StepFn,
    node: PhaseNode,
    context: Context,
    *,
    batches: TrainingBatches,
    start: int,
    stop: int,
    compile: Callable[[Batch], Any],
) -> Iterator[StepFn]:
    """A phase's step, compiled ahead of need, timed, and traced where a trace was asked for.

    What was measured is in host.json when this ends, however it ends, and is told when the phase is trained.
    """
    folder, clock = context.folders.of(node), Clock()

    def say(text: str) -> None:
        context.say(f"{node.name}: {text}")

    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(clock)
            ahead = stack.enter_context(Ahead(batches, start=start, stop=stop, compile=compile, say=say))
            step_fn = clock.timed(step_fn)
            if context.profile:
                kept = local_of(folder) / "profile"
                stack.callback(_publish, kept, folder / "profile")
                trace = Trace(kept, context.profile, step=start + 1, say=say)
                step_fn = stack.enter_context(trace).traced_step(step_fn)
            yield ahead.step(step_fn)
    finally:
        estimate = estimate_path(node, context.experiment, context.mesh, context.folders.cache)
        processes.writes(_keep, folder / "host.json", clock.times(), read_estimate(estimate))
    processes.writes(lambda: say(told(read_host(folder)["measured"])))


def _publish(trace: Path, to: Path) -> None:
    if is_remote(to) and trace.is_dir():
        upload(trace, to)


def _keep(path: Path, times: Sequence[Timed], estimate: Figures | None) -> None:
    host = read_host(path.parent)
    host["measured"] = compared(most_timed(times, host.get("measured")), peak_memory(), estimate)
    write_json(path, host)


def read_host(folder: Path) -> Figures:
    """Where a phase runs or ran, and what was measured there; nothing where it has not begun."""
    path = folder / "host.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def measured_before(folder: Path, host: Figures) -> Figures | None:
    """What an interrupted run of a phase has measured, where it ran on such devices too."""
    before = read_host(folder)
    alike = all(before.get(name) == host[name] for name in ("devices", "mesh", "shapes"))
    return before.get("measured") if alike else None


def most_timed(times: Sequence[Timed], before: Figures | None) -> list[Timed]:
    """Of each shape the figures of more steps: those of this process, or those of one that was interrupted."""
    best = {(one.rows, one.length): one for one in times}
    for kept in before["shapes"] if before else ():
        one = Timed(*(kept[name] for name in Timed._fields))
        best[one.rows, one.length] = max(one, best.get((one.rows, one.length), one), key=lambda each: each.steps)
    return sorted(best.values(), key=lambda one: -one.steps)


def compared(times: Sequence[Timed], peak: Peak, estimate: Figures | None) -> Figures:
    """What was measured beside the estimates for the same shapes; None is unknown."""
    planned = {(one["rows"], one["length"]): one for one in estimate["programs"]} if estimate else {}
    shapes = []
    for one in times:
        estimated = planned.get((one.rows, one.length), {}).get("step_seconds")
        both = one.median_seconds is not None and estimated
        ratio = one.median_seconds / estimated if both else None
        shapes.append({**one._asdict(), "estimated_seconds": estimated, "ratio": ratio})
    known = [one for one in shapes if one["ratio"] is not None]
    sums = [sum(one["steps"] * one[name] for one in known) for name in ("median_seconds", "estimated_seconds")]
    bytes_ = [one["hbm_bytes"] for one in planned.values() if one["hbm_bytes"] is not None]
    return {
        "shapes": shapes,
        "ratio": sums[0] / sums[1] if known else None,
        "peak_bytes": peak.bytes,
        "peak_of": peak.of,
        "estimated_bytes": max(bytes_, default=None),
        "libtpu": estimate["libtpu"] if estimate else None,
    }


def told(figures: Figures) -> str:
    """The same in a line."""
    steps = ", ".join(
        f"{1000 * one['median_seconds']:,.1f} ms a step of {one['rows']} rows of {one['length']} tokens "
        f"({one['steps']})"
        for one in figures["shapes"]
        if one["median_seconds"] is not None
    )
    ratio = "unknown" if figures["ratio"] is None else f"{figures['ratio']:.2f}"
    peak = f"peak memory of the {figures['peak_of']} {figures['peak_bytes'] / 2**30:.2f} GiB"
    if figures["estimated_bytes"] is not None:
        peak += f", estimated {figures['estimated_bytes'] / 2**30:.2f}"
    return f"measured {steps or 'no step but each first one'} · {peak} · measured / estimated time: {ratio}"


def estimate_path(node: PhaseNode, experiment: Experiment, mesh: Mesh, cache: Path) -> Path:
    """Where a plan keeps its figures of a phase on a mesh of some kind of device, for a run of it to find."""
    kinds = sorted({device.device_kind for device in mesh.devices.flat})
    computed = [experiment.model.model_dump(mode="json"), node.phase.model_dump(mode="json")]
    named = json.dumps([node.key, kinds, dict(mesh.shape), computed], sort_keys=True)
    return cache / "plans" / f"{node.name}-{hashlib.sha256(named.encode()).hexdigest()[:16]}.estimate.json"


def read_estimate(path: Path) -> Figures | None:
    """What was planned, if it was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
