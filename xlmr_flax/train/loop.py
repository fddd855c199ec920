"""The loop of one phase, and the record of which step was best."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grain

from xlmr_flax.config.schema import ALL_LANGS, Average
from xlmr_flax.data.batch import Batch
from xlmr_flax.data.batches import real_tokens
from xlmr_flax.data.mixture import Batches
from xlmr_flax.errors import Interrupted
from xlmr_flax.train.average import saved_steps
from xlmr_flax.train.log import Log
from xlmr_flax.train.processes import several, stop_agreed

READ_THREADS, READ_AHEAD = 2, 8


@dataclass
class Best:
    """Which evaluation was best so far; a later one must be better, not equal. Saved with every checkpoint."""

    patience: int | None = None
    evaluations: list[dict[str, float]] = field(default_factory=list)

    @property
    def step(self) -> int | None:
        """The step of the best evaluation."""
        return int(max(self.evaluations, key=lambda e: e["score"])["step"]) if self.evaluations else None

    @property
    def score(self) -> float | None:
        """Its score."""
        return max((e["score"] for e in self.evaluations), default=None)

    @property
    def also_step(self) -> int | None:
        """The step of the evaluation that was best in all languages, where these select too."""
        scored = [e for e in self.evaluations if "also" in e]
        return int(max(scored, key=lambda e: e["also"])["step"]) if scored else None

    def add(self, step: int, score: float, also: float | None = None) -> None:
        """Takes an evaluation into the record, and its score in all languages where these select too."""
        self.evaluations.append({"step": step, "score": score} | ({} if also is None else {"also": also}))

    def has(self, step: int) -> bool:
        """Whether `step` has been evaluated, perhaps before a restart."""
        return any(e["step"] == step for e in self.evaluations)

    def exhausted(self) -> bool:
        """Whether `patience` evaluations have passed without a better one."""
        if self.patience is None or self.step is None:
            return False
        return sum(e["step"] > self.step for e in self.evaluations) >= self.patience

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"best_step": self.step, "also_step": self.also_step, "evaluations": self.evaluations}


@dataclass(frozen=True)
class Plan:
    """When the loop does what."""

    steps: int
    save_every_steps: int
    eval_every_steps: int | None  # None: the last step is handed over
    average: Average | None = None  # the checkpoints whose mean is handed over


class Stop:
    """Set by SIGTERM or Ctrl-C: finish the step, save, and end with exit code 75. A second Ctrl-C does not wait.

    Of several processes any may be told, by a signal or by the runtime's notice, and all stop at the same point.
    """

    def __init__(self) -> None:
        self.asked, self.points = False, 0

    def reached(self) -> bool:
        """Whether to stop here. Every process asks at the same points: each step, each language."""
        self.points += 1
        return stop_agreed(self.points) if several() else self.asked

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Takes the signals over while a phase runs; only a process's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # Of several processes jax listens for SIGTERM, and tells the others.
        handlers = {signal.SIGINT: _terminate} if several() else {signal.SIGTERM: self._ask, signal.SIGINT: self._ask}
        before = {name: signal.signal(name, handler) for name, handler in handlers.items()}
        try:
            yield self
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


def _terminate(number: int, frame: Any) -> None:
    signal.raise_signal(signal.SIGTERM)


def train(
    state: Any,
    *,
    start: int,
    plan: Plan,
    batches: Batches,
    step_fn: Callable[[Any, Batch], tuple[Any, Any]],
    place: Callable[[Batch], Batch],
    evaluate: Callable[[Any], dict[str, float]],
    save: Callable[[int, Any, dict[str, Any]], None],
    check_saved: Callable[[], None],
    best: Best,
    metric: str,
    log: Log,
    stop: Stop,
) -> tuple[Any, int]:
    """Runs one phase from step `start` to its last one, or until patience ends; returns the state and its step.

    Raises Interrupted, with everything saved, when `stop` was asked.
    """
    reader = iter(read(batches, start, plan.steps))
    for now in range(start, plan.steps + 1):
        # This order is the contract: what was evaluated is what gets saved, and a restart at `now` asks for batch
        # `now` again. A step that is evaluated, or averaged, is saved too, so that it can be handed over; the last one
        # is kept by the caller, who needs its weights alone. First of all, a save that has failed ends the phase.
        check_saved()
        evaluated = plan.eval_every_steps is not None and due(now, plan.eval_every_steps, plan.steps)
        if evaluated and not best.has(now):
            log.flush()
            scores = evaluate(state)
            best.add(now, scores[metric], scores.get(f"{metric}_{ALL_LANGS}"))
            log.row(now, **{f"select_{name}": value for name, value in scores.items()})
        last = now == plan.steps or best.exhausted()
        if last:
            log.finish(now)
            log.flush()
            return state, now
        stopping = stop.reached()
        averaged = saved_steps(plan.average, now) if plan.average else []
        wanted = evaluated or now in averaged or due(now, plan.save_every_steps, plan.steps)
        if now > start and (stopping or wanted):
            log.flush()
            carried = log.carry()
            log.publish()
            save(now, state, {**best.progress(), "averaged": averaged, "log": carried})
        if stopping:
            raise Interrupted(f"stopped at step {now} of {plan.steps}, all saved; run the same command to continue")
        host = next(reader)
        state, outcome = step_fn(state, place(host))
        log.step(now + 1, outcome, examples=batches.items_in(now), tokens=real_tokens(host))
    raise AssertionError("the last step returns")


def read(batches: Batches, start: int, stop: int) -> grain.IterDataset:
    """Batches `start` … `stop`, made ahead by threads; which batch comes when is a matter of its number alone."""
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=READ_AHEAD)
    return grain.MapDataset.range(start, stop).map(batches).to_iter_dataset(options)


def due(now: int, every_steps: int, last: int) -> bool:
    """Whether something done every so many steps, and at the last, is done now."""
    return now > 0 and (now % every_steps == 0 or now == last)
