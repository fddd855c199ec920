"""What every fuzz needs: the program's own way of ending, and damage of every kind.

A case is known by its surface and number, and is the same each time: damage is drawn from both.
"""

import contextlib
import functools
import io
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import typer

from xlmr_flax import cli
from xlmr_flax.errors import InputError, TrainingError


class Fuzz:
    """Runs cases until they are through; says what came out of how many."""

    def __init__(self, name: str) -> None:
        self.name, self.ends, self.began = name, Counter(), time.monotonic()

    def each(self, cases: int, case: Callable[[random.Random], int | None], *, allowed: Iterable[int] = (0, 2)) -> None:
        """Each case draws its own damage; any other exception than ours, or another exit code, is a failure.

        All cases are run; the failures are told together, of each place the first.
        """
        failures: dict[Any, str] = {}
        for number in range(cases):
            try:
                code = case(random.Random(f"{self.name} {number}"))
            except (InputError, TrainingError) as error:
                code = error.exit_code if str(error).strip() else 1
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-3:]
                told = "".join(traceback.format_exception(error)[-7:])
                failures.setdefault(
                    (type(error), *((at.filename, at.lineno) for at in where)), f"case {number}: {told}"
                )
                code = 1
            if (code or 0) not in allowed and code != 1:
                failures.setdefault(code, f"case {number}: exit code {code}")
            self.ends[code or 0] += 1
        assert not failures, f"{self.name}: {len(failures)} kinds of failures\n" + "\n".join(failures.values())

    def told(self) -> str:
        """How many cases, and how they ended."""
        ends = ", ".join(f"{count} with {code}" for code, count in sorted(self.ends.items()))
        return f"{self.name}: {sum(self.ends.values())} cases in {time.monotonic() - self.began:.0f} s: {ends}"


@pytest.fixture
def fuzz(request):
    """Cases of one surface, counted and told."""
    one = Fuzz(request.node.name.removeprefix("test_").partition("[")[0])
    yield one
    print(f"\n{one.told()}")


commands = functools.cache(typer.main.get_command)  # of the same options each time, in the time of many a case


@pytest.fixture
def ended(monkeypatch):
    """Runs the program in this process, with its own handling of errors; gives the exit code."""
    monkeypatch.setattr(typer.main, "get_command", commands)

    def end(*words: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["xlmr-flax", *words])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
        told = err.getvalue()
        assert "Traceback" not in told
        assert bool(code) <= bool((told + out.getvalue()).strip()), f"exit code {code} without a word"
        if code == 2:
            assert out.getvalue() == "" or words[:1] in ((), ("check",), ("data",))  # without a word: help
        return code

    return end


PIECES = (
    b"\t", b"\n", b"\r", b'"', b"'", b"\0", b"\xff", b" ", b"9", b"]", b"[", b"{", b"}", b",", b":", b"=", b".", b"-",
    b"\xe2\x80\xa8", b"\\ud83d", b"null", b"1e999", b"NaN", b"-1", b"[" * 3000, b"9" * 5000, b"\xef\xbb\xbf", b"\\",
)  # fmt: skip


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut off, with pieces put in, dropped, doubled or exchanged, or with bits flipped."""
    content = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(len(content) + 1)
        match draw.choice(("cut", "put", "put", "drop", "double", "swap", "flip", "flip", "flip")):
            case "cut":
                del content[at:]
            case "put":
                content[at:at] = draw.choice(PIECES)
            case "drop":
                del content[at : at + draw.choice((1, 1, 2, 10, 100))]
            case "double":
                content[at:at] = content[at : at + draw.choice((1, 10, 100))]
            case "swap":
                lines = bytes(content).split(b"\n")
                one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
                lines[one], lines[other] = lines[other], lines[one]
                content = bytearray(b"\n".join(lines))
            case "flip" if content:
                content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
    return bytes(content)


STRANGE: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 10**9, 2**63, 10**30, 0.5, -2.5, 1e-30, 1e308, float("nan"), float("inf"), "",
    " ", "none", "a", "a b", "../..", "/", "\0", "a\0b", "~/x", "./x", "x" * 5000, "de", "xnli", "\u2028", "é", "{}",
    [], {}, [[]], [None], [""], {"a": 1}, {"": {}}, [1, "a"], ["xnli"], [{}],
)  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where every value in a document stands."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


def retyped(value: Any, draw: random.Random) -> Any:
    """The document with a few values of it of other types, missing, exchanged, or under another name."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.choice((1, 1, 2, 5))):
        *above, last = draw.choice(places(value)) or (None,)
        if last is None:
            continue
        inside = value
        for key in above:
            inside = inside[key]
        match draw.choice(("put", "put", "put", "drop", "double", "rename")):
            case "put":
                inside[last] = json.loads(json.dumps(draw.choice(STRANGE)))
            case "drop":
                del inside[last]
            case "double" if isinstance(inside, list):
                inside.insert(last, inside[last])
            case "rename" if isinstance(inside, dict):
                inside[draw.choice(("", "a", str(last).upper(), f"{last}s", "name"))] = inside.pop(last)
    return value


@pytest.fixture(scope="session")
def damage():
    return damaged


@pytest.fixture(scope="session")
def retype():
    return retyped


@pytest.fixture(scope="session")
def listed():
    """Every file below a folder, with its size and time: what must not change."""

    def paths(folder: Path) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    return paths
