"""Which layout of a training step is fastest on a slice, among those that fit.

Shallow programs rank the layouts: a step's time and memory are a constant and so much a layer, so that two depths tell
of any. The best are then compiled whole, which is what counts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from xlmr_flax.plan.figures import Program

SHALLOW = (2, 4)  # layers
WHOLE = 3  # layouts that are compiled whole
REMATS = ("none", "elementwise", "layers")  # from the most memory to the least


class Layout(NamedTuple):
    """How a training step is laid out; data takes the devices that the others leave."""

    fsdp: int
    tensor: int
    remat: str
    accumulation: int
    scan_layers: bool = False
    reshard_after_forward: bool = False

    def __str__(self) -> str:
        told = [f"fsdp={self.fsdp}", *([f"tensor={self.tensor}"] if self.tensor > 1 else [])]
        told += [f"remat={self.remat}"] if self.remat != "none" else []
        told += [name for name in ("scan_layers", "reshard_after_forward") if getattr(self, name)]
        return " ".join([*told, *([f"accumulation={self.accumulation}"] if self.accumulation > 1 else [])])

    def toml(self, phase: str) -> str:
        """The lines of a config that ask for it."""
        lines = ["[model]", f'remat = "{self.remat}"', f"scan_layers = {str(self.scan_layers).lower()}"]
        lines += ["", "[mesh]", f"fsdp = {self.fsdp}"]
        lines += [f"tensor = {self.tensor}"] if self.tensor > 1 else []
        lines += ["reshard_after_forward = true"] if self.reshard_after_forward else []
        return "\n".join([*lines, "", "[[phases]]", f'name = "{phase}"', f"accumulation = {self.accumulation}"])


class Outcome(NamedTuple):
    """What became of a layout: extrapolated, and then compiled whole where it was among the best."""

    layout: Layout
    seconds: float | None  # extrapolated; None: unknown, or it does not fit even in shallow programs
    hbm_bytes: int | None  # of a device, extrapolated
    fits: bool
    whole: Program | None = None

    @property
    def error(self) -> float | None:
        """How far the extrapolated time is from that of the whole program, as a fraction of it."""
        if self.whole is None or self.seconds is None or not self.whole.step_seconds:
            return None
        return self.seconds / self.whole.step_seconds - 1


def layouts(devices: int, rows: int, *, layers_split: int, accumulation: int, slices: int = 1) -> list[list[Layout]]:
    """What is worth trying, in stages: a later stage only where nothing of the earlier ones fits.

    `rows` are those of a batch, and `layers_split` what the attention heads and the feed-forward width both divide by.
    """
    inner = devices // slices  # weights are never laid out over slices
    powers = [2**n for n in range(inner.bit_length()) if inner % 2**n == 0]
    micro = [n for n in (1, 2, 4, 8, 16, 32) if n >= accumulation and rows % n == 0]

    def stage(tensors: Sequence[int], remats: Sequence[str], counts: Sequence[int], *, again: bool) -> list[Layout]:
        return [
            Layout(fsdp, tensor, remat, count, reshard_after_forward=again)
            for tensor in tensors
            for fsdp in powers
            for remat in remats
            for count in counts
            if inner % (fsdp * tensor) == 0 and (rows // count) % (devices // tensor) == 0 and (fsdp > 1 or not again)
        ]

    split = [n for n in powers if 1 < n <= 8 and layers_split % n == 0]
    return [
        stage([1], REMATS[:1], micro[:1], again=False),
        stage([1], REMATS[:2], micro[:1], again=True),
        stage([1], REMATS[1:], micro[:2], again=True),
        stage([1], REMATS[1:], micro[2:], again=True),
        stage(split, REMATS[1:], micro, again=True),
    ]


def neighbours(layout: Layout) -> list[Layout]:
    """The same but for one thing: how layers are compiled, when weights are gathered, what is computed again."""
    found = [layout._replace(scan_layers=not layout.scan_layers)]
    if layout.fsdp > 1:
        found.append(layout._replace(reshard_after_forward=not layout.reshard_after_forward))
    return found + [layout._replace(remat=remat) for remat in REMATS if remat != layout.remat]


def search(
    stages: Iterable[Sequence[Layout]],
    build: Callable[[Layout, int], Program],
    *,
    layers: int,
    limit: int,
    say: Callable[[str], None],
) -> list[Outcome]:
    """The outcomes, best first; `build` compiles a layout at a depth, and `limit` is a device's memory."""
    outcomes: list[Outcome] = []

    def try_all(stage: Sequence[Layout]) -> None:
        for number, layout in enumerate(stage):
            say(f"search: {layout} ({number + 1} of {len(stage)})")
            outcomes.append(extrapolated(layout, build, layers=layers, limit=limit))
        outcomes.sort(key=_rank)

    for stage in stages:
        try_all(stage)
        if any(one.fits for one in outcomes):
            tried = {one.layout for one in outcomes}
            try_all([layout for layout in neighbours(outcomes[0].layout) if layout not in tried])
            break
    best = [_compiled_whole(one, build, layers=layers, say=say) for one in outcomes[:WHOLE] if one.fits]
    return sorted(best, key=_rank) + outcomes[len(best) :]


def extrapolated(layout: Layout, build: Callable[[Layout, int], Program], *, layers: int, limit: int) -> Outcome:
    """What two shallow programs tell of a deep one."""
    depths = SHALLOW if layers > SHALLOW[-1] else (layers,)
    found = [build(layout, depth) for depth in depths]
    if any(not one.built.fits for one in found):
        return Outcome(layout, None, None, fits=False)
    needed = int(at_depth(depths, [one.built.hbm_bytes or 0 for one in found], layers))
    times = [one.step_seconds for one in found]
    known = [time for time in times if time is not None]
    seconds = at_depth(depths, known, layers) if len(known) == len(times) else None
    return Outcome(layout, seconds, needed, fits=needed <= limit)


def at_depth(depths: Sequence[int], values: Sequence[float], layers: int) -> float:
    """The straight line through two depths, at another one."""
    if len(depths) == 1:
        return values[0]
    return values[0] + (layers - depths[0]) * (values[1] - values[0]) / (depths[1] - depths[0])


def _compiled_whole(
    one: Outcome, build: Callable[[Layout, int], Program], *, layers: int, say: Callable[[str], None]
) -> Outcome:
    say(f"search: {one.layout}, whole")
    whole = build(one.layout, layers)
    return one._replace(whole=whole, fits=bool(whole.built.fits))


def _rank(one: Outcome) -> tuple[bool, float, float]:
    """Those that fit first, then by time, or by memory where times are unknown."""
    seconds = one.whole.step_seconds if one.whole else one.seconds
    return (not one.fits, float("inf") if seconds is None else seconds, one.hbm_bytes or float("inf"))
