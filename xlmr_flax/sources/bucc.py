"""A comparable corpus in two files of id TAB sentence, and which ids translate each other, as BUCC 2018 lays it out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Mined


def read_bucc(source: Path, target: Path, gold: Path | None = None) -> list[Mined]:
    """All sentences of the first file, then all of the second; without `gold` what translates what is hidden."""
    sources, targets = _sentences(source), _sentences(target)
    hidden = gold is None
    found: dict[str, tuple[str, ...]] = dict.fromkeys(sources, ())
    for name, translation in () if hidden else _pairs(gold, sources, targets, source, target):
        found[name] += (translation,)
    return [
        *(_row(name, text, "source", None if hidden else found[name]) for name, text in sources.items()),
        *(_row(name, text, "target", None if hidden else ()) for name, text in targets.items()),
    ]


def _row(name: str, text: str, side: Literal["source", "target"], translations: tuple[str, ...] | None) -> Mined:
    return Mined(id=name, group=name, text=text, side=side, translations=translations)


def _sentences(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, (name, text) in _columns(path, "an id and a sentence"):
        if name in found:
            raise InputError(f"{path}:{number}: the id {name!r} occurs twice, ids are wanted once each")
        found[name] = text
    return found


def _pairs(
    gold: Path, sources: dict[str, str], targets: dict[str, str], source: Path, target: Path
) -> Iterator[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    for number, pair in _columns(gold, "two ids"):
        for name, known, path in zip(pair, (sources, targets), (source, target), strict=True):
            if name not in known:
                raise InputError(f"{gold}:{number}: the id {name!r} is not in {path}; are the files of one release?")
        if pair in seen:
            raise InputError(f"{gold}:{number}: the pair {pair[0]} {pair[1]} occurs twice, pairs are wanted once each")
        seen.add(pair)
        yield pair


def _columns(path: Path, wanted: str) -> Iterator[tuple[int, tuple[str, str]]]:
    """The two columns of every line, and the line's number; neither may be blank."""
    for number, line in enumerate(lines(path), start=1):
        first, *rest = line.split("\t")
        if len(rest) != 1 or not first.strip() or not rest[0].strip():
            raise InputError(
                f"{path}:{number}: {wanted} with one TAB between are wanted, found {len(rest) + 1} columns in {line!r}"
            )
        yield number, (first, rest[0])
