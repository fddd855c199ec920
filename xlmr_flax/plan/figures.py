"""From what the compiler says of a program to what a user asks: seconds, throughput, memory, hours, money."""

from collections import Counter
from typing import Any, NamedTuple

from xlmr_flax.plan.chips import Chip, Slice
from xlmr_flax.plan.compiler import Built
from xlmr_flax.plan.hlo import Collective, Cost, cost
from xlmr_flax.plan.programs import Shape


class Program(NamedTuple):
    """One compiled program of a phase, with its estimates; None is unknown."""

    phase: str
    step: str  # train or eval
    shape: Shape
    built: Built
    slice_: Slice
    hbm_limit: int  # of a device
    cost: Cost | None  # None: it does not fit

    @property
    def compute_seconds(self) -> float | None:
        """All cycles, and custom kernels at their roofline."""
        chip = self.slice_.chip
        if self.cost is None or chip.clock_hz is None:
            return None
        return sum(self.cost.cycles.values()) / chip.clock_hz + sum(self.kernel_seconds.values())

    @property
    def kernel_seconds(self) -> Counter[str]:
        """What custom kernels take at the chip's peak and bandwidth, by source."""
        chip, found = self.slice_.chip, Counter()
        for kernel in self.cost.kernels if self.cost else ():
            seconds = max(kernel.flops / chip.flops, kernel.bytes / chip.hbm_bytes_per_second) * chip.devices
            found[kernel.source] += seconds * kernel.times
        return found

    @property
    def sources(self) -> list[tuple[str, float]]:
        """Seconds by source, the largest first."""
        clock = self.slice_.chip.clock_hz
        if self.cost is None or clock is None:
            return []
        total = Counter({source: cycles / clock for source, cycles in self.cost.cycles.items()})
        total.update(self.kernel_seconds)
        return total.most_common()

    @property
    def collective_seconds(self) -> float | None:
        """All exchanges at the published rates, one after the other."""
        return None if self.cost is None else self._exchange_seconds(self.cost.collectives)

    @property
    def step_seconds(self) -> float | None:
        """Computing, and exchanges as far as computing does not hide them.

        Those that the compiler runs beside computing count only where they take longer than all of it.
        """
        if self.cost is None or self.compute_seconds is None:
            return None
        beside = self._exchange_seconds([one for one in self.cost.collectives if one.beside])
        alone = self._exchange_seconds([one for one in self.cost.collectives if not one.beside])
        return None if beside is None or alone is None else max(self.compute_seconds, beside) + alone

    @property
    def flops(self) -> float:
        """What the real tokens need on all devices: a backward pass takes twice the forward one."""
        return self.shape.flops * (3 if self.step == "train" else 1)

    def _exchange_seconds(self, collectives: "tuple[Collective, ...] | list[Collective]") -> float | None:
        chip = self.slice_.chip
        inside = sum(one.bytes for one in collectives if not one.crosses)
        across = sum(one.bytes for one in collectives if one.crosses)
        if across and chip.dcn_bytes_per_second is None:
            return None
        between = across / chip.dcn_bytes_per_second if across and chip.dcn_bytes_per_second else 0.0
        return (inside / chip.ici_bytes_per_second + between) * chip.devices

    def as_json(self) -> dict[str, Any]:
        """The figures under their names for scripts."""
        chip, seconds = self.slice_.chip, self.step_seconds
        rate = None if seconds is None else 1 / seconds
        return {
            "phase": self.phase,
            "step": self.step,
            "rows": self.shape.rows,
            "length": self.shape.length,
            **({"task": self.shape.task} if self.shape.task else {}),
            "share_of_steps": self.shape.share,
            "compile_seconds": self.built.compile_seconds,
            "hbm_bytes_per_chip": _times(self.built.hbm_bytes, chip.devices),
            "hbm_limit_bytes": self.hbm_limit * chip.devices,
            "argument_bytes": _times(self.built.argument_bytes, chip.devices),
            "temporary_bytes": _times(self.built.temporary_bytes, chip.devices),
            "compute_seconds": self.compute_seconds,
            "collectives": None if self.cost is None else exchanged(self.cost.collectives, chip),
            "collective_seconds": self.collective_seconds,
            "step_seconds": seconds,
            "examples_per_second": _times(rate, self.shape.items),
            "useful_tokens_per_second": _times(rate, self.shape.tokens),
            "model_flops_utilisation": _times(rate, self.flops / (self.slice_.chips * chip.flops)),
        }


def program(phase: str, step: str, shape: Shape, built: Built, slice_: Slice, hbm_limit: int) -> Program:
    """A compiled program with its cost."""
    found = None
    if built.text is not None:
        found = cost(built.text, devices=slice_.devices // slice_.slices, slices=slice_.slices)
    return Program(phase, step, shape, built, slice_, hbm_limit, found)


def exchanged(collectives: tuple[Collective, ...], chip: Chip) -> dict[str, dict[str, int]]:
    """Count of each kind in a step, and the bytes that one chip sends."""
    found: dict[str, dict[str, int]] = {}
    for one in collectives:
        entry = found.setdefault(one.kind, {"count": 0, "bytes": 0})
        entry["count"] += one.count
        entry["bytes"] += one.bytes * chip.devices
    return dict(sorted(found.items()))


def phase_figures(
    phase: str, steps: int | None, programs: list[Program], *, chips: int, price: float | None
) -> dict[str, Any]:
    """Hours of a phase's training steps, all chips' hours, and their price where one is given for a chip's hour."""
    trained = [one for one in programs if one.phase == phase and one.step == "train"]
    known = [(one.shape.share, one.step_seconds) for one in trained]
    hours = None
    if steps is not None and all(None not in pair for pair in known):
        hours = steps * sum((share or 0.0) * (took or 0.0) for share, took in known) / 3600
    figures = {"phase": phase, "steps": steps, "hours": hours, "chip_hours": _times(hours, chips)}
    return figures if price is None else {**figures, "price": _times(hours, chips * price)}


def _times(value: float | None, factor: float) -> Any:
    return None if value is None else value * factor
