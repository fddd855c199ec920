"""Notices sick training: steps that were not applied, and a loss that does not fall."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from xlmr_flax.data.batch import Outcome
from xlmr_flax.errors import TrainingError
from xlmr_flax.report.chance import never_fell

ROWS = 10  # of the log, at the end, whose mean is compared with the first one
FEWEST_ROWS = 4  # fewer say nothing


class SickError(TrainingError):
    """Too many steps in a row could not be applied."""


class Watch:
    """Sees every step's outcome on the host, some steps late, on all hosts alike: all of them stop at the same step.

    `batch_of` says what a step was trained on and how to look at it. The losses that it is told are those of the log's
    rows: of the first, and of the last ones.
    """

    def __init__(self, name: str, *, max_skipped_steps: int, batch_of: Callable[[int], str]) -> None:
        self.name, self.limit, self.batch_of = name, max_skipped_steps, batch_of
        self.falls = {"": Fall()}  # of the whole, and in a phase of several tasks of each

    def see(self, step: int, outcome: Outcome) -> None:
        """Raises SickError when this step is one too many that was not applied."""
        if int(outcome.in_row) < self.limit:
            return
        loss = float(outcome.total) / max(float(outcome.count), 1.0)
        what = "gradients are" if math.isfinite(loss) else f"loss is {loss},"
        first = step - int(outcome.in_row) + 1
        since = f"; the same in every step since step {first}, and none of them was applied" if first < step else ""
        raise SickError(
            f"{self.name}: the {what} not finite at step {step}{since}. {self.batch_of(first)}. A lower peak_lr or "
            "more warm-up often helps"
        )

    @property
    def losses(self) -> list[float]:
        """Those of the log's rows that are kept."""
        return self.falls[""].losses

    def lost(self, loss: float, by_task: Mapping[str, float] | None = None) -> None:
        """Takes the loss of the log's next row, and those of the tasks that had steps in it."""
        for name, one in {"": loss, **(by_task or {})}.items():
            self.falls.setdefault(name, Fall()).add(one)

    def never_fell(self, task: str = "") -> bool:
        """Whether the loss ended where it began, that of one task where it is named."""
        return task in self.falls and self.falls[task].never_fell()

    def carry(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as plain JSON."""
        whole, *tasks = ((name, {"rows": one.rows, "losses": one.losses}) for name, one in self.falls.items())
        return {**whole[1], **({"tasks": dict(tasks)} if tasks else {})}

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Goes on from what `carry` gave."""
        each = {"": carried, **carried.get("tasks", {})}
        self.falls = {name: Fall(one["rows"], list(one["losses"])) for name, one in each.items()}


@dataclass
class Fall:
    """The first of some losses, and the last ones."""

    rows: int = 0
    losses: list[float] = field(default_factory=list)

    def add(self, loss: float) -> None:
        """Takes the next one."""
        self.rows += 1
        self.losses = [*self.losses[:1], *self.losses[1:][1 - ROWS :], loss]

    def never_fell(self) -> bool:
        """Whether they ended where they began: the mean of the last rows, at most half of all, against the first."""
        last = self.losses[1:][-min(ROWS, self.rows // 2) :]
        return self.rows >= FEWEST_ROWS and never_fell(self.losses[0], fmean(last))
