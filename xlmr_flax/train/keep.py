"""Which checkpoints of a running phase stay."""

from collections.abc import Iterable, Sequence
from typing import Any


class Keep:
    """Orbax's preservation policy: the newest few, one every so many steps, and what each of these would hand over.

    Orbax removes the others when the save under way has come to its end, never before. What was passed over as damaged
    stays until then, and does not count among the newest.
    """

    def __init__(self, newest: int, every_steps: int | None = None) -> None:
        self.newest, self.every_steps = newest, every_steps
        self.needed: dict[int, frozenset[int]] = {}  # of each saved step, those that may be handed over
        self.passed_over: set[int] = set()

    def steps(self, saved: Iterable[int]) -> set[int]:
        """Those of the saved steps that stay."""
        whole = sorted(set(saved) - self.passed_over)
        stay = {*whole[-self.newest :], *(step for step in whole if self.every_steps and step % self.every_steps == 0)}
        return stay.union(*(self.needed.get(step, ()) for step in stay)) & {*whole}

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        """True for each checkpoint that stays."""
        stay = self.steps(checkpoint.step for checkpoint in checkpoints)
        return [checkpoint.step in stay for checkpoint in checkpoints]
