"""A world that is being told: in which languages, where to, and the files that it is told in."""

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from xlmr_flax.config.world import Sizes, WorldSettings
from xlmr_flax.sources.miniworld.draws import distinct, stream
from xlmr_flax.sources.miniworld.language import Language, Token, surface
from xlmr_flax.sources.miniworld.world import World

Example = TypeVar("Example")


@dataclass(frozen=True)
class Telling:
    """A world, the languages that it is told in, and where to."""

    settings: WorldSettings
    world: World
    languages: tuple[Language, ...]  # English first
    folder: Path

    @property
    def english(self) -> Language:
        """The language that every family is told in."""
        return self.languages[0]

    def stream(self, *names: str) -> random.Random:
        """The randomness of one named use."""
        return stream(self.settings.seed, *names)

    def told_in(self, split: str) -> tuple[Language, ...]:
        """English alone for training, every language for the rest."""
        return self.languages[:1] if split == "train" else self.languages

    @property
    def translations(self) -> tuple[Language, ...]:
        """The languages that what is told in English alone is translated to, where that is asked for."""
        return self.languages[1:] if self.settings.translated else ()

    def examples(
        self,
        field: str,
        count: int,
        draw: Callable[[random.Random, Any], Example],
        key: Callable[[Example], str],
        wanted: Iterator[Any] | None = None,
        *names: str,
    ) -> list[Example]:
        """So many different examples of the family and split in `field`; `names` tell apart several such lists."""
        rng = self.stream(*field.split("."), *names)
        return distinct(field, count, lambda value: draw(rng, value), key, wanted)

    def table(self, name: str, rows: Iterable[Iterable[object]], *, delimiter: str) -> None:
        """Writes rows as csv.writer does: quoted where needed, with CRLF."""
        with self._open(name, newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows(rows)

    def lines(self, name: str, lines: Iterable[str]) -> None:
        """Writes lines, each with a line feed."""
        with self._open(name, newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)

    def cells(self, name: str, rows: Iterable[Iterable[object]]) -> None:
        """Writes rows with TABs between their cells, which may hold anything else: no quoting."""
        self.lines(name, ("\t".join(map(str, row)) for row in rows))

    def json(self, name: str, value: Any) -> None:
        """Writes one JSON document."""
        self.lines(name, [_json(value)])

    def jsonl(self, name: str, values: Iterable[Any]) -> None:
        """Writes a JSON document on each line."""
        self.lines(name, map(_json, values))

    def _open(self, name: str, *, newline: str) -> Any:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", newline=newline)


def splits(sizes: Sizes) -> Iterator[tuple[str, int]]:
    """Each split and its examples, those of none too."""
    yield from (("train", sizes.train), ("dev", sizes.dev), ("test", sizes.test))


def asked(sizes: Sizes) -> Iterator[tuple[str, int]]:
    """Each split that has examples."""
    yield from ((split, count) for split, count in splits(sizes) if count)


def key(*sentences: Iterable[Token]) -> str:
    """What two examples may not have in common: their words but for articles, which some languages lack."""
    return "\t".join(surface(token for token in tokens if token.tag != "DET") for tokens in sentences)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
