"""Notices sick training: steps that were not applied, and a loss that does not fall."""

import math
from collections.abc import Callable, Mapping
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
        self.rows, self.losses = 0, list[float]()

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

    def lost(self, loss: float) -> None:
        """Takes the loss of the log's next row."""
        self.rows += 1
        self.losses = [*self.losses[:1], *self.losses[1:][1 - ROWS :], loss]

    def never_fell(self) -> bool:
        """Whether the loss ended where it began: the mean of the last rows, at most half of all, against the first."""
        last = self.losses[1:][-min(ROWS, self.rows // 2) :]
        return self.rows >= FEWEST_ROWS and never_fell(self.losses[0], fmean(last))

    def carry(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as plain JSON."""
        return {"rows": self.rows, "losses": self.losses}

    def restore(self, carried: Mapping[str, Any]) -> None:
        """Goes on from what `carry` gave."""
        self.rows, self.losses = carried["rows"], list(carried["losses"])
