"""What a phase says while it runs: train.jsonl, TensorBoard and one line of progress."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from xlmr_flax.data.batch import Outcome
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import is_remote, look, remove, upload, write
from xlmr_flax.train.watch import Watch

LOG = "train.jsonl"
TOLD_SECONDS = 60  # between two lines of progress where there is no terminal


class Log:
    """Keeps the metrics of the steps on the device until later steps are under way, then writes them as one row.

    A row is the mean over the steps since the row before it that were applied: sums and counts are added first and
    divided once. It has no loss where none was. `skipped_steps` counts from the phase's beginning. In a bucket, which
    cannot append, the files are those that were last published. In a phase of several tasks, where `task_of` tells
    whose a batch is, each task has a loss too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        start: int,
        steps: int,
        every_steps: int,
        console: Console,
        watch: Watch,
        carried: Mapping[str, Any] | None = None,
        task_of: Callable[[int], str] | None = None,
    ) -> None:
        self.published, self.folder = folder, local_of(folder)
        if is_remote(folder):
            remove(self.folder)
            restored = look(folder / LOG)
            write(self.folder / LOG, restored.content if restored else b"")
        self.path, self.every_steps, self.steps, self.name = self.folder / LOG, every_steps, steps, name
        cut(self.path, start)
        self.file = self.path.open("a", encoding="utf-8")
        self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=start + 1)
        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[says]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.bar = self.progress.add_task(name, total=steps, completed=start, says="compiling")
        carried = carried or {"outcomes": [], "examples": 0, "tokens": 0, "watch": watch.carry()}
        watch.restore(carried["watch"])
        first = start - len(carried["outcomes"]) + 1
        self.held = [(step, _outcome(*one)) for step, one in enumerate(carried["outcomes"], first)]
        self.watch, self.task_of = watch, task_of
        self.examples, self.tokens = carried["examples"], carried["tokens"]
        self.console, self.waiting = console, []
        self.began = self.told = time.monotonic()

    def __enter__(self) -> "Log":
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()
        self.file.close()
        self.board.close()
        self.publish()

    def step(self, step: int, outcome: Outcome, *, examples: int, tokens: int) -> None:
        """Takes the result of one step, which may still be computing."""
        self.held.append((step, outcome))
        self.examples, self.tokens = self.examples + examples, self.tokens + tokens
        if step % self.every_steps == 0:
            self._write_waiting()
            self._close_row(step)

    def flush(self) -> None:
        """Writes what is still on the device."""
        self._write_waiting()

    def finish(self, step: int) -> None:
        """Writes everything, with a last row for the steps since the row before."""
        self._write_waiting()
        if self.held:
            self._close_row(step)
            self._write_waiting()

    def publish(self) -> None:
        """Copies the rows and TensorBoard's events to a bucket: before each checkpoint, which goes on from them."""
        if is_remote(self.published):
            self.board.flush()
            upload(self.folder, self.published)

    def carry(self) -> dict[str, Any]:
        """What a checkpoint keeps, so that the row that is under way comes out as if there had been no interruption.

        Raises TrainingError when too many steps in a row were not applied: such a state is not worth saving.
        """
        self.held = self._seen(self.held)
        outcomes = [[float(x) for x in one[:2]] + [int(x) for x in one[2:]] for _, one in self.held]
        for one in outcomes:
            one[0] = 0.0 if one[3] else one[0]  # JSON has no word for what is not finite
        told = {"outcomes": outcomes, "examples": self.examples, "tokens": self.tokens}
        return {**told, "watch": self.watch.carry()}

    def row(self, step: int, **values: float | int | str) -> None:
        """Writes one row at once."""
        self.file.write(json.dumps({"step": step, **values}) + "\n")
        self.file.flush()
        for name, value in values.items():
            if isinstance(value, int | float):
                self.board.add_scalar(f"{self.name}/{name}", value, step)

    def say(self, text: str) -> None:
        """A line above the progress."""
        self.console.print(text, highlight=False, markup=False)

    def _write_waiting(self) -> None:
        for step, held, examples, tokens in self.waiting:
            got = self._seen(held)
            applied = [(at, one) for at, one in got if not one.in_row]
            loss, by_task = self._loss([one for _, one in applied]), self._by_task(applied)
            now = time.monotonic()
            secs, self.began = max(now - self.began, 1e-9), now
            rates = {"examples_per_second": round(examples / secs, 2), "tokens_per_second": round(tokens / secs, 1)}
            losses = {"loss": loss, **{f"loss_{name}": one for name, one in by_task.items()}} if applied else {}
            if applied:
                self.watch.lost(loss, by_task)
            self.row(step, **losses, **rates, skipped_steps=int(got[-1][1].skipped))
            says = f"loss {loss:.3f} · " if applied else "no step applied · "
            says += f"{examples / secs:,.0f} examples/s · {tokens / secs:,.0f} tokens/s"
            self.progress.update(self.bar, completed=step, says=says)
            self._tell(step, says, now)
        self.waiting = []

    def _loss(self, applied: list[Outcome]) -> float:
        """The mean over all that was counted; of several tasks, which count other things, that of the steps' own."""
        if self.task_of is None:
            return _mean(applied)
        return sum(_mean([one]) for one in applied) / max(len(applied), 1)

    def _by_task(self, applied: list[tuple[int, Outcome]]) -> dict[str, float]:
        """The loss of each task that had steps here, in a phase of several; the first step has the first batch."""
        by_task: dict[str, list[Outcome]] = {}
        for step, one in applied if self.task_of else ():
            by_task.setdefault(self.task_of(step - 1), []).append(one)
        return {name: _mean(ones) for name, ones in sorted(by_task.items())}

    def _tell(self, step: int, says: str, now: float) -> None:
        """A line now and then, and in the end, where no bar is seen: in a log file, a pipe, a pod's log."""
        if not self.console.is_terminal and (step == self.steps or now - self.told >= TOLD_SECONDS):
            self.told = now
            self.say(f"{self.name}: {step:,} of {self.steps:,} steps · {says}")

    def _close_row(self, step: int) -> None:
        self.waiting, self.held = [(step, self.held, self.examples, self.tokens)], []
        self.examples = self.tokens = 0

    def _seen(self, held: list[Any]) -> list[Any]:
        """The outcomes on the host, each looked at."""
        got = jax.device_get(held)
        for step, outcome in got:
            self.watch.see(step, outcome)
        return got


def _mean(outcomes: list[Outcome]) -> float:
    return float(sum(one.total for one in outcomes)) / max(float(sum(one.count for one in outcomes)), 1.0)


def _outcome(total: float, count: float, skipped: int, in_row: int) -> Outcome:
    return Outcome(np.float32(total), np.float32(count), np.int32(skipped), np.int32(in_row))


def cut(path: Path, step: int) -> None:
    """Removes the rows of a log that come after `step`: they are about to be written again."""
    if path.exists():
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("".join(f"{line}\n" for line in rows), encoding="utf-8")
        partial.replace(path)


def _step(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return float("inf")  # the half row that a kill left behind
