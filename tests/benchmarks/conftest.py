"""Processes that measure, and what is told at the end: one table, each figure beside its peer's, with versions."""

import os
import platform
import runpy
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

LIBRARIES = ("jax", "libtpu", "flax", "optax", "grain", "numpy", "tokenizers", "transformers", "torch", "faiss-cpu")


Worker = runpy.run_path(str(Path(__file__).with_name("workers.py")))["Worker"]


class Figure(NamedTuple):
    """One line of the table; `wanted` is a bound of the ratio, with its sign."""

    what: str
    ours: str
    peer: str
    ratio: float | None
    wanted: str


FIGURES = pytest.StashKey[list[Figure]]()
Record = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


@pytest.fixture(scope="session")
def record(pytestconfig: pytest.Config) -> Record:
    """Takes a line: what, ours, the peer's, their ratio (None: a figure without a peer) and what was wanted of it."""

    def take(what: str, ours: str, peer: str = "", ratio: float | None = None, wanted: str = "") -> None:
        pytestconfig.stash[FIGURES].append(Figure(what, ours, peer, ratio, wanted))

    return take


@pytest.fixture(scope="module")
def worker() -> Iterator[Callable[..., Any]]:
    """Starts one on the CPU: its script, then its arguments. All of them end with the module."""
    started: list[Any] = []

    def start(script: str, *arguments: str) -> Any:
        started.append(Worker(script, *arguments, env={"JAX_PLATFORMS": "cpu"}))
        return started[-1]

    yield start
    for one in started:
        one.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if not figures:
        return
    terminalreporter.section("speeds, each beside its peer's in this run")
    terminalreporter.write_line("\n".join(table(figures)))
    terminalreporter.write_line(f"\n{machine()}; {versions()}")


def table(figures: list[Figure]) -> list[str]:
    """The lines as Markdown, as the README has them."""
    heads = ("", "ours", "peer", "ratio", "wanted")
    rows = [(f.what, f.ours, f.peer, "" if f.ratio is None else f"{f.ratio:.2f}", f.wanted) for f in figures]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = [heads, tuple("-" * width for width in widths), *rows]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in lines
    ]


def machine() -> str:
    """The processor, and how much others did on it: runnable processes in the last quarter of an hour."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{os.cpu_count()} x {name}, load {os.getloadavg()[2]:.1f}"


def versions() -> str:
    """Of Python and of each library that is there."""
    found = {library: _version(library) for library in LIBRARIES}
    told = [f"{library} {version}" for library, version in found.items() if version]
    return ", ".join([f"Python {platform.python_version()}", *told])


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
