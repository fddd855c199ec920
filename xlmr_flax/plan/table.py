"""A plan for people: one block a program, one line a phase."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from xlmr_flax.plan.figures import Program, exchanged
from xlmr_flax.plan.search import CRASHED, Outcome

UNKNOWN = "unknown"
SHOWN = 8  # largest contributors


def print_programs(found: list[Program], out: Console) -> None:
    """Figures side by side, then where the time of each goes."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for one in found:
        share = "" if one.shape.share == 1 else f" · {_share(one.shape.share)} of steps"
        task = f" {one.shape.task}" if one.shape.task else ""
        table.add_column(f"{one.phase} {one.step}{task}\n{one.shape.rows} x {one.shape.length}{share}", justify="right")
    columns = [_lines(one) for one in found]
    for name in columns[0] if columns else ():
        table.add_row(name, *(column[name] for column in columns))
    largest = _largest(found)
    if largest:
        table.add_row("of the computing")
    for source, _ in largest:
        table.add_row(f"  {source}", *(_milliseconds(dict(one.sources).get(source)) for one in found))
    kinds = sorted({each.kind for one in found if one.cost for each in one.cost.collectives})
    if kinds:
        table.add_row("sent by a chip")
    for kind in kinds:
        table.add_row(f"  {kind}", *(_exchange(one, kind) for one in found))
    out.print(table)
    for one in found:
        unstated = sum(kernel.times for kernel in one.cost.kernels if not kernel.stated) if one.cost else 0
        if unstated:
            out.print(
                f"{one.phase} {one.step}: {unstated} calls of custom kernels state no cost, and count by their bytes "
                "alone",
                highlight=False,
            )


def print_phases(found: list[dict[str, Any]], programs: list[Program], out: Console) -> None:
    """Hours and chip-hours of each phase, and how long its programs took to compile."""
    table = Table(box=None, pad_edge=False)
    for column in (*(found[0] if found else ()), "compiled in"):
        table.add_column(column.replace("_", " "), justify="left" if column == "phase" else "right")
    for one in found:
        seconds = [each.built.compile_seconds for each in programs if each.phase == one["phase"]]
        table.add_row(*(_figure(value) for value in one.values()), _compiled(seconds))
    out.print(table)


def _lines(one: Program) -> dict[str, str]:
    figures = one.as_json()
    seconds = {name: _milliseconds(figures[f"{name}_seconds"]) for name in ("compute", "collective", "step")}
    utilisation = figures["model_flops_utilisation"]
    return {
        "memory a chip": f"{_gib(figures['hbm_bytes_per_chip'])} of {_gib(figures['hbm_limit_bytes'])}",
        "  arguments": _gib(figures["argument_bytes"]),
        "  temporaries": _gib(figures["temporary_bytes"]),
        "compute, estimated": seconds["compute"],
        "  in matrix products": _milliseconds(_products(one)),
        "collectives, estimated": seconds["collective"],
        "step, estimated": seconds["step"],
        "examples/s": _rate(figures["examples_per_second"]),
        "useful tokens/s": _rate(figures["useful_tokens_per_second"]),
        "model FLOPs utilisation": UNKNOWN if utilisation is None else f"{utilisation:.1%}",
        "compiled in": _compiled([one.built.compile_seconds]),
    }


def _compiled(seconds: Sequence[float | None]) -> str:
    return UNKNOWN if None in seconds else f"{sum(filter(None, seconds)):.0f} s"


def _products(one: Program) -> float | None:
    clock = one.slice_.chip.clock_hz
    return one.cost.products / clock if one.cost and clock else None


def _largest(found: list[Program]) -> list[tuple[str, float]]:
    most: dict[str, float] = {}
    for one in found:
        for source, seconds in one.sources:
            most[source] = max(most.get(source, 0), seconds)
    return sorted(most.items(), key=lambda pair: -pair[1])[:SHOWN]


def _exchange(one: Program, kind: str) -> str:
    if one.cost is None:
        return UNKNOWN
    entry = exchanged(one.cost.collectives, one.slice_.chip).get(kind)
    return f"{entry['bytes'] / 1e6:,.1f} MB in {entry['count']}" if entry else "–"


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0%}"


def _gib(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value / 2**30:.2f} GiB"


def _milliseconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value * 1e3:.2f} ms"


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _figure(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def print_outcomes(phase: str, outcomes: Sequence[Outcome], out: Console) -> None:
    """What the search found, best first: by two shallow programs, and by the whole one where it was compiled."""
    table = Table(box=None, pad_edge=False)
    table.add_column(f"{phase}: layout")
    for column in (
        "step\nextrapolated",
        "memory a device\nextrapolated",
        "step\nwhole",
        "memory a device\nwhole",
        "error",
    ):
        table.add_column(column, justify="right")
    for one in outcomes:
        error = "" if one.error is None else f"{one.error:+.1%}"
        no = "does not fit" if one.needed else CRASHED
        shallow = whole = ("", "")
        if one.whole:
            whole = (_milliseconds(one.whole.step_seconds) if one.fits else no, _gib(one.whole.built.hbm_bytes))
        if one.hbm_bytes is not None or not one.whole:  # a scan was compiled whole at once
            fitted = one.fits or one.whole is not None
            seconds = _milliseconds(one.seconds) if fitted else no
            shallow = (seconds, f"{'' if fitted else '≥ '}{_gib(one.hbm_bytes)}")
        table.add_row(str(one.layout), *shallow, *whole, error)
    out.print(table)
