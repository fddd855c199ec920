"""Compiles a phase's training programs in the order in which its steps want them, beside the training itself."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from xlmr_flax.data.batch import Batch
from xlmr_flax.data.mixture import Batches
from xlmr_flax.train.clock import StepFn, program_of

Program = tuple[int | str, ...]  # rows, length, and in a phase of several tasks the task

PATIENCE_SECS = 1.0  # a wait for the compiler that takes longer is told


class Ahead:
    """Looks which shape each step will have, and compiles it before its turn: a rare one would stop all chips.

    `compile` makes jax keep the program of a batch of this shape, so that the jitted step finds it there. Shapes that
    no step has are not compiled.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        start: int,
        stop: int,
        compile: Callable[[Batch], Any],
        say: Callable[[str], None],
    ) -> None:
        self.batches, self.start, self.stop, self.compile, self.say = batches, start, stop, compile, say
        self._lock, self._closing = threading.Lock(), False
        self._programs: dict[Program, Future[None]] = {}
        self._thread = threading.Thread(target=self._look, name="ahead", daemon=True)

    def __enter__(self) -> "Ahead":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # What is being compiled is waited for: a process must not end in the middle of the compiler.
        self._closing = True
        self._thread.join()

    def step(self, step_fn: StepFn) -> StepFn:
        """The step, which waits for its program where that is still being compiled."""

        def ready_step(state: Any, batch: Batch) -> tuple[Any, Any]:
            self._await(program_of(batch))
            return step_fn(state, batch)

        return ready_step

    def _await(self, shape: Program) -> None:
        program, mine = self._claim(shape)
        if mine:
            program.set_result(None)  # nobody is at it: the call compiles
            return
        try:
            program.result(PATIENCE_SECS)
        except TimeoutError:
            self.say(f"compiling the step of {shape[0]} rows of {shape[1]} tokens")
            program.result()

    def _claim(self, shape: Program) -> tuple[Future[None], bool]:
        with self._lock:
            if shape in self._programs:
                return self._programs[shape], False
            self._programs[shape] = Future()
            return self._programs[shape], True

    def _look(self) -> None:
        for step in range(self.start, self.stop):
            if self._closing or len(self._programs) == len(self.batches.shapes):
                return
            shape = self.batches.shape(step)
            if shape in self._programs:
                continue
            program, mine = self._claim(shape)
            if not mine:
                continue
            try:
                self.compile(self.batches(step))
            except Exception as error:  # the step that wants it raises it
                program.set_exception(error)
            else:
                program.set_result(None)
