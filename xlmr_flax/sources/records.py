"""Records with named columns, as the Hugging Face Hub and TFDS keep them, and the rows that they are."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Excluded, Row

NO_LABEL = ("", "-", "-1")  # GLUE's hidden labels, SNLI's where annotators disagree, HellaSwag's


class Record(NamedTuple):
    """One record of a file; `name` is its number from 1, after that of its shard where there are several.

    Classes are words, as the file's own schema calls them, and None where it has none; `lang` is the language that is
    asked for, where a file holds many.
    """

    path: Path
    name: str
    values: Mapping[str, Any]
    lang: str = ""

    def text(self, column: str) -> str:
        """A string that holds only characters of a text; it may be empty."""
        return self._string(self._value(column), column)

    def texts(self, column: str) -> tuple[str, ...]:
        """A list of such strings."""
        return tuple(self._string(value, column) for value in self._list(self._value(column), column))

    def part(self, column: str) -> "Record":
        """The record within the record."""
        value = self._value(column)
        if not isinstance(value, Mapping):
            raise self.problem(f"{column} is {_told(value)}, a record is wanted")
        return self._replace(name=f"{self.name}.{column}", values=value)

    def numbers(self, column: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        found = self._list(self._value(column), column)
        odd = [value for value in found if not isinstance(value, int) or isinstance(value, bool)]
        if odd:
            raise self.problem(f"{column} holds {_told(odd[0])}, whole numbers are wanted")
        return tuple(found)

    def word(self, column: str, words: Mapping[str, str] | None = None) -> str | None:
        """A label, by the task's word for it; None where there is none. A word that is not in `words` stays."""
        value = self._value(column)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise self.problem(f"{column} is {_told(value)}, a label is wanted")
        word = "" if value is None else str(value).strip()
        return None if word in NO_LABEL else (words or {}).get(word, word)

    def words(self, column: str) -> tuple[str | None, ...]:
        """The labels of a list."""
        return tuple(
            self._replace(values={column: one}).word(column) for one in self._list(self._value(column), column)
        )

    def problem(self, text: str) -> InputError:
        """What is wrong with the record, with its file."""
        return InputError(f"{self.path}: record {self.name}: {text}")

    def _value(self, column: str) -> Any:
        if column not in self.values:
            raise self.problem(f"there is no {column}, only {', '.join(self.values)}; is this the right data set?")
        return self.values[column]

    def _list(self, value: Any, column: str) -> Sequence[Any]:
        if not isinstance(value, list | tuple):
            raise self.problem(f"{column} is {_told(value)}, a list is wanted")
        return value

    def _string(self, value: Any, column: str) -> str:
        if not isinstance(value, str):
            raise self.problem(f"{column} is {_told(value)}, text is wanted")
        odd = next((letter for letter in value if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
        if odd is not None:
            raise self.problem(f"{column} holds U+{ord(odd):04X}, which is no character of a text")
        return value


Convert = Callable[[Record], Row | Excluded | None]


def converted(records: Iterable[Record], convert: Convert) -> list[Row | Excluded]:
    """The rows of the records, less those that are in another language: there `convert` gives None."""
    return [row for row in map(convert, records) if row is not None]


def shard_prefix(name: str) -> str:
    """What begins the names of a shard's records: nothing where the file is the only one of its split."""
    found = re.search(r"-(\d{5})-of-(\d{5})", name)
    return f"{int(found[1])}:" if found and int(found[2]) > 1 else ""


def first_line(error: Exception) -> str:
    """What a library says of an error, without what follows."""
    return next(iter(str(error).strip().splitlines()), repr(error))


def _told(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)[:60]
