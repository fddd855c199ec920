"""Which layout of a training step is fastest on a slice, among those that fit.

Shallow programs rank the layouts: a step's time and memory are a constant and so much a layer, so that two depths tell
of any. A scan over the layers takes as long to compile at any depth, and is compiled whole at once. What cannot fit by
its arguments alone is not compiled. The best are then compiled whole, which is what counts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from xlmr_flax.plan.figures import Program

SHALLOW = (2, 4)  # layers
WHOLE = 3  # layouts that are compiled whole
CRASHED = "unknown: libtpu crashed"
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
    seconds: float | None  # extrapolated; None: unknown, not asked, or it does not fit even in shallow programs
    hbm_bytes: int | None  # of a device, extrapolated; at least so much where it does not fit
    fits: bool
    whole: Program | None = None

    @property
    def step_seconds(self) -> float | None:
        """Of the whole program where it was compiled."""
        return self.whole.step_seconds if self.whole else self.seconds

    @property
    def needed(self) -> int:
        """Bytes of a device, by the whole program where it was compiled; 0: unknown."""
        return (self.whole.built.hbm_bytes if self.whole else self.hbm_bytes) or 0

    @property
    def told(self) -> str:
        """In a few words."""
        memory = f"{self.needed / 2**30:.2f} GiB a device"
        if not self.fits:
            return f"at least {memory}: does not fit" if self.needed else CRASHED
        seconds = "unknown" if self.step_seconds is None else f"{self.step_seconds * 1e3:.1f} ms"
        return f"step {seconds}, {memory}{', extrapolated' * (self.whole is None)}"

    @property
    def error(self) -> float | None:
        """How far the extrapolated time is from that of the whole program, as a fraction of it."""
        if self.whole is None or self.seconds is None or not self.whole.step_seconds:
            return None
        return self.seconds / self.whole.step_seconds - 1


def layouts(
    devices: int, rows: int, *, layers_split: int, accumulation: int, scan_layers: bool = False, slices: int = 1
) -> list[list[list[Layout]]]:
    """What is worth trying, in stages: a later stage only where nothing of the earlier ones fits.

    A stage has families of layouts that differ in fsdp alone, the most first. `rows` are those of a batch, and
    `layers_split` what the attention heads and the feed-forward width both divide by. Layers are all compiled in the
    same way; the other one is a neighbour of what was best.
    """
    inner = devices // slices  # weights are never laid out over slices
    powers = [2**n for n in reversed(range(inner.bit_length())) if inner % 2**n == 0]
    counts = [n for n in (1, 2, 4, 8, 16, 32) if n >= accumulation and rows % n == 0] or [accumulation]

    def families(tensors: Sequence[int], remats: Sequence[str], count: int, *, again: bool) -> list[list[Layout]]:
        found = [
            [
                Layout(fsdp, tensor, remat, count, scan_layers, reshard_after_forward=again)
                for fsdp in powers
                if inner % (fsdp * tensor) == 0 and (rows // count) % (devices // tensor) == 0 and fsdp > again
            ]
            for tensor in tensors
            for remat in remats
        ]
        return [family for family in found if family]

    split = [n for n in reversed(powers) if 1 < n <= 8 and layers_split % n == 0]
    stages = [
        families([1], REMATS[:1], counts[0], again=False),
        families([1], REMATS[:2], counts[0], again=True),
        families([1], REMATS[2:], counts[0], again=True),
        *(families([1], REMATS[1:], count, again=True) for count in counts[1:]),
        *(families(split, REMATS[1:], count, again=True) for count in counts),
    ]
    return [stage for stage in stages if stage]


def neighbours(layout: Layout) -> list[Layout]:
    """The same but for one thing: how layers are compiled, when weights are gathered, what is computed again."""
    found = [layout._replace(scan_layers=not layout.scan_layers)]
    if layout.fsdp > 1:
        found.append(layout._replace(reshard_after_forward=not layout.reshard_after_forward))
    place = REMATS.index(layout.remat)
    return found + [layout._replace(remat=remat) for remat in (*REMATS[:place][-1:], *REMATS[place + 1 :][:1])]


class Ask(NamedTuple):
    """How a search learns of a layout at a number of layers."""

    build: Callable[[Layout, int], Program]  # compiles it
    least: Callable[[Layout, int], int | None]  # bytes that a device holds anyway; None: cannot be laid out so
    layers: int  # of the whole model
    limit: int  # a device's memory
    say: Callable[[str], None]


def search(stages: Iterable[Sequence[Sequence[Layout]]], ask: Ask) -> list[Outcome]:
    """The outcomes, best first."""
    outcomes: dict[Layout, Outcome] = {}

    def attempt(layout: Layout) -> Outcome | None:
        """Compiled, and told; None where nothing had to be compiled to know that it does not fit."""
        if layout not in outcomes:
            least = ask.least(layout, ask.layers)
            if least is None or least > ask.limit:
                return None
            if layout.scan_layers:
                outcomes[layout] = compiled_whole(layout, ask)
            else:
                depths = " and ".join(map(str, _depths(ask.layers)))
                ask.say(f"search: {layout}, {depths} of {ask.layers} layers")
                outcomes[layout] = extrapolated(layout, ask)
            ask.say(f"    {outcomes[layout].told}")
        return outcomes[layout]

    for stage in stages:
        for family in stage:
            _descend(family, attempt)
        if any(one.fits for one in outcomes.values()):
            for layout in neighbours(min(outcomes.values(), key=_rank).layout):
                attempt(layout)
            break
    ranked = sorted(outcomes.values(), key=_rank)
    for number, one in enumerate(ranked):
        if not one.fits or sum(other.fits for other in ranked[:number]) == WHOLE:
            break
        if one.whole is None:
            ranked[number] = compiled_whole(one.layout, ask)._replace(seconds=one.seconds, hbm_bytes=one.hbm_bytes)
    return sorted(ranked, key=lambda one: (one.whole is None, _rank(one)) if one.fits else (True, _rank(one)))


def _descend(family: Sequence[Layout], attempt: Callable[[Layout], Outcome | None]) -> None:
    """Tries less and less fsdp until that is worse.

    With fewer of them activations take less and weights more: time and memory fall at first and then rise, so that
    nothing after the first rise is better.
    """
    before: Outcome | None = None
    for layout in family:
        found = attempt(layout)
        if found is None:
            if before is not None:  # less fsdp holds even more
                return
            continue
        if before is not None and _rank(found) > _rank(before):
            return
        before = found


def extrapolated(layout: Layout, ask: Ask) -> Outcome:
    """What two shallow programs tell of a deep one; the second is compiled only where the first leaves room."""
    depths = _depths(ask.layers)
    found: list[Program] = []
    for depth in depths:
        found.append(ask.build(layout, depth))
        if found[-1].built.fits is None:
            return Outcome(layout, None, None, fits=False)
        needed = (
            (found[-1].built.hbm_bytes or 0) + (ask.least(layout, ask.layers) or 0) - (ask.least(layout, depth) or 0)
        )
        if not found[-1].built.fits or needed > ask.limit:
            return Outcome(layout, None, needed, fits=False)
    shallow = [one.built.hbm_bytes or 0 for one in found]
    # The compiler is thriftier with what it knows to be scarce, but more layers never take less.
    needed = max(int(at_depth(depths, shallow, ask.layers)), shallow[-1], ask.least(layout, ask.layers) or 0)
    times = [one.step_seconds for one in found]
    known = [time for time in times if time is not None]
    seconds = at_depth(depths, known, ask.layers) if len(known) == len(times) else None
    return Outcome(layout, seconds, needed, fits=needed <= ask.limit)


def _depths(layers: int) -> tuple[int, ...]:
    return SHALLOW if layers > SHALLOW[-1] else (layers,)


def at_depth(depths: Sequence[int], values: Sequence[float], layers: int) -> float:
    """The straight line through two depths, at another one."""
    if len(depths) == 1:
        return values[0]
    return values[0] + (layers - depths[0]) * (values[1] - values[0]) / (depths[1] - depths[0])


def compiled_whole(layout: Layout, ask: Ask) -> Outcome:
    """What all layers need, with nothing extrapolated."""
    ask.say(f"search: {layout}, all {ask.layers} layers")
    whole = ask.build(layout, ask.layers)
    return Outcome(layout, None, None, bool(whole.built.fits), whole)


def _rank(one: Outcome) -> tuple[bool, float, float]:
    """Those that fit first, by time, or by memory where times are unknown; then the others by what they need."""
    seconds = one.step_seconds if one.fits else None
    return (not one.fits, float("inf") if seconds is None else seconds, one.needed or float("inf"))
