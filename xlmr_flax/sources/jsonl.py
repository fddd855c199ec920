"""JSON Lines: one object a line, whose fields are looked up with one clear error for each thing that can be wrong."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines


class Record(NamedTuple):
    """One object and where it stands: its file and line, for errors, and the line alone, from 1."""

    where: str
    line: str
    fields: dict[str, Any]

    def text(self, name: str) -> str:
        """The text of a field."""
        return as_text(self.there(name), name, self.where)

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts of a field that lists them."""
        found = self.there(name)
        if not isinstance(found, list):
            raise InputError(f"{self.where}: {name!r} is {_short(found)}, a list of texts is wanted")
        return tuple(as_text(one, name, self.where) for one in found)

    def there(self, name: str) -> Any:
        """The value of a field that must be there."""
        if name not in self.fields:
            raise InputError(f"{self.where}: no field {name!r}; there are: {', '.join(map(str, self.fields))}")
        return self.fields[name]

    def among(self, name: str, words: Sequence[str]) -> int | None:
        """Which of the words a field is, from 0; None where the record does not have the field."""
        if name not in self.fields:
            return None
        found = self.fields[name]
        if not isinstance(found, str) or found not in words:
            raise InputError(f"{self.where}: {name!r} is {_short(found)}, wanted: {', '.join(words)}")
        return words.index(found)

    def number(self, name: str) -> int | None:
        """The whole number of a field; None where the record does not have the field."""
        if name not in self.fields:
            return None
        found = self.fields[name]
        if not isinstance(found, int) or isinstance(found, bool):
            raise InputError(f"{self.where}: {name!r} is {_short(found)}, a whole number is wanted")
        return found


def records(path: Path) -> Iterator[Record]:
    """Every object of the file, in order."""
    for number, line in enumerate(lines(path), start=1):
        where = f"{path}:{number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as problem:
            raise InputError(f"{where}: not JSON ({problem}); one object a line is wanted") from problem
        if not isinstance(fields, dict):
            raise InputError(f"{where}: {_short(fields)} instead of an object with fields")
        yield Record(where, str(number), fields)


def as_text(value: Any, name: str, where: str) -> str:
    """The value, if it is text that UTF-8 can write: JSON can escape half a character, which no tokenizer takes."""
    if not isinstance(value, str):
        raise InputError(f"{where}: {name!r} is {_short(value)}, text is wanted")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise InputError(f"{where}: {name!r} holds half a character ({problem}); text is wanted") from problem
    return value


def _short(value: Any) -> str:
    told = json.dumps(value)
    return told if len(told) <= 40 else f"{told[:40]} …"
