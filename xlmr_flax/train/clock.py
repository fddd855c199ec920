"""What a phase's steps take, a trace of some of them, and the memory that was needed."""

import contextlib
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import jax

from xlmr_flax.data.batch import Batch

StepFn = Callable[[Any, Batch], tuple[Any, Any]]


class Timed(NamedTuple):
    """The steps of one shape that were timed."""

    rows: int  # of all devices and micro-batches
    length: int
    steps: int
    median_seconds: float | None  # None: there was the first alone


class Clock:
    """Times steps without holding them up: a thread waits for their results in the loop's place.

    A step takes from when it was called, or from when the step before it was done if that is later, until its result
    is there. Where the thread came late, on a machine with other work, steps were done before it looked: they and the
    one it waited for share the time. The first step of each shape may have been compiled, and is left out.
    """

    def __init__(self) -> None:
        self._seconds: dict[tuple[int, int], list[float]] = {}
        self._called: SimpleQueue[tuple[tuple[int, int], float, Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._wait, name="clock", daemon=True)

    def __enter__(self) -> "Clock":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._called.put(None)
        self._thread.join()

    def timed(self, step_fn: StepFn) -> StepFn:
        """The step with its times taken."""

        def timed_step(state: Any, batch: Batch) -> tuple[Any, Any]:
            called = time.monotonic()
            state, result = step_fn(state, batch)
            self._called.put((shape_of(batch), called, result))
            return state, result

        return timed_step

    def times(self) -> list[Timed]:
        """What was timed, the most frequent shape first; complete once the clock is closed."""
        found = [
            Timed(*shape, len(seconds), statistics.median(seconds) if seconds else None)
            for shape, seconds in self._seconds.items()
        ]
        return sorted(found, key=lambda one: -one.steps)

    def _wait(self) -> None:
        began, done = 0.0, 0.0
        shared: list[tuple[int, int]] = []
        while (call := self._called.get()) is not None:
            shape, called, result = call
            late = called < done and all(leaf.is_ready() for leaf in jax.tree.leaves(result))
            # A step that failed is for the loop to tell of, which reads the same result.
            with contextlib.suppress(Exception):
                jax.block_until_ready(result)
            if not late or shape not in self._seconds:
                self._share(shared, done - began)
                began, shared = max(called, done), []
            done = time.monotonic()
            if shape in self._seconds:
                shared.append(shape)
            else:
                self._seconds[shape], began = [], done
        self._share(shared, done - began)

    def _share(self, shapes: list[tuple[int, int]], seconds: float) -> None:
        for shape in shapes:
            self._seconds[shape].append(seconds / len(shapes))


class Trace:
    """A profiler's trace of the steps `first` to `last`, counted from 1, of which the next one is `step`."""

    def __init__(self, folder: Path, steps: tuple[int, int], *, step: int, say: Callable[[str], None]) -> None:
        self.folder, (self.first, self.last), self.step, self.say = folder, steps, step, say
        self.traced: list[int] = []

    def __enter__(self) -> "Trace":
        return self

    def __exit__(self, *error: object) -> None:
        if self.traced and self.traced[-1] != self.last:
            self._stop()
        elif not self.traced:
            self.say(f"--profile {self.first}:{self.last}: none of these steps was trained here")

    def traced_step(self, step_fn: StepFn) -> StepFn:
        """The step, traced when its turn comes."""

        def step_(state: Any, batch: Batch) -> tuple[Any, Any]:
            if not self.first <= self.step <= self.last:
                self.step += 1
                return step_fn(state, batch)
            if not self.traced:
                jax.profiler.start_trace(self.folder)
            self.traced.append(self.step)
            with jax.profiler.StepTraceAnnotation("train", step_num=self.step):
                state, result = step_fn(state, batch)
            self.step += 1
            if self.traced[-1] == self.last:
                jax.block_until_ready(result)
                self._stop()
            return state, result

        return step_

    def _stop(self) -> None:
        jax.profiler.stop_trace()
        self.say(f"steps {self.traced[0]} to {self.traced[-1]} are traced in {self.folder}")


class Peak(NamedTuple):
    """The most memory that was in use at once since this process began."""

    bytes: int
    of: str  # "device": the fullest of this process's; "process": where devices keep no count, as a CPU


def peak_memory() -> Peak:
    """What this process has needed so far."""
    counted = [device.memory_stats() or {} for device in jax.local_devices()]
    if all("peak_bytes_in_use" in each for each in counted):
        return Peak(max(each["peak_bytes_in_use"] for each in counted), "device")
    unit = 1 if sys.platform == "darwin" else 2**10
    return Peak(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "process")


def shape_of(batch: Batch) -> tuple[int, int]:
    """The rows of all micro-batches, and their length."""
    parts, rows, length = batch.tokens.ids_BL.shape
    return parts * rows, length


def program_of(batch: Batch) -> tuple[int | str, ...]:
    """What a batch's step is compiled for: the same, and in a phase of several tasks the task."""
    return (*shape_of(batch), batch.task) if batch.task else shape_of(batch)
