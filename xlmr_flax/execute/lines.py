"""Unlabelled rows for `predict` from lines of text or JSON, or from values that are read already."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from xlmr_flax.config.load import did_you_mean
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Classified, Document, Query, Question, Row, Tagged, Text
from xlmr_flax.tasks.task import Head

MASK = "<mask>"
# What a line of JSON holds for each kind of head; the keys in brackets may be left out.
WANTED: Mapping[str, str] = {
    "sequence": '{"text": "…", ["pair": "…"]}',
    "token": '{"words": ["…", …]}',
    "choice": '{"prompt": "…", ["question": "…"], "options": ["…", …]}',
    "span": '{"context": "…", "question": "…"}',
    "mlm": '{"text": "… <mask> …"}',
    "embedding": '{"text": "…"}',
    "dual": '{"text": "…"} for a query or {"document": "…", ["context": "…"]}',
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "sequence": ("text", "pair"), "token": ("words",), "choice": ("prompt", "question", "options"),
    "span": ("context", "question"), "mlm": ("text",), "embedding": ("text",), "dual": ("text", "document", "context"),
}  # fmt: skip


def read_lines(file: Path | None) -> Iterator[str]:
    """The lines of the file or else of standard input, each as soon as it is there.

    Raises InputError where it cannot be read or is no UTF-8, naming the line, and where all lines are blank.
    """
    if file is None:
        yield from _texts_of(sys.stdin.buffer, "standard input")
        return
    try:
        with file.open("rb") as lines:
            yield from _texts_of(lines, str(file))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a file of text or JSON lines") from None


def check_file(head: Head, file: Path) -> None:
    """Raises InputError for the first line of a file that is no input, before anything is predicted."""
    for number, line in enumerate(read_lines(file), start=1):
        row_of(head, line, number, where=f"{file}:{number}")


def _texts_of(lines: BinaryIO, name: str) -> Iterator[str]:
    """Not text's own lines: those end at U+2028 and others, which are text."""
    some = False
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(
                f"{name}:{number}: byte {error.start} of the line is not UTF-8; convert the text to UTF-8"
            ) from None
        some = some or bool(text.strip())
        yield text
    if not some:
        raise InputError(f"{name}: empty; wanted a line of text or JSON for each example")


def row_of(head: Head, given: str | Mapping[str, Any], number: int, *, where: str) -> Row | None:
    """The row of one input, whose id is its "id" or its number; None of a blank line.

    Raises InputError that says where.
    """
    if isinstance(given, Mapping):
        return _from_mapping(head, given, str(number), where=where)
    if not isinstance(given, str):
        raise InputError(f"{where}: {str(given)[:60]!r} is neither a text nor a mapping; wanted {WANTED[head.kind]}")
    if not given.strip():
        return None
    if given.lstrip().startswith("{"):
        return _from_mapping(head, _json(head, given, where), str(number), where=where)
    name = str(number)
    match head.kind:
        case "sequence":
            first, _, second = given.partition("\t")
            return Classified(name, name, first, second or None, None)
        case "token":
            return Tagged(name, name, tuple(given.split()), None)
        case "mlm" | "embedding" | "dual":
            return _from_mapping(head, {"text": given}, name, where=where)
    raise InputError(f"{where}: a {head.kind} task wants JSON, {WANTED[head.kind]}, found {given[:60]!r}")


def _json(head: Head, line: str, where: str) -> Mapping[str, Any]:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}; wanted {WANTED[head.kind]}") from None


def _from_mapping(head: Head, fields: Mapping[str, Any], number: str, *, where: str) -> Row:
    known = (*KEYS[head.kind], "id")
    for key in fields:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}; wanted {WANTED[head.kind]}")
    try:
        return _from_fields(head, fields, str(fields.get("id", number)))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        found = json.dumps(dict(fields), ensure_ascii=False, default=str)[:60]
        raise InputError(f"{where}: {problem}; wanted {WANTED[head.kind]}, found {found!r}") from None


def _from_fields(head: Head, fields: Mapping[str, Any], name: str) -> Row:
    match head.kind:
        case "sequence":
            pair = fields.get("pair")
            return Classified(name, name, _text(fields["text"]), None if pair is None else _text(pair), None)
        case "token":
            return Tagged(name, name, _texts(fields["words"]), None)
        case "choice":
            return _choices(head, fields, name)
        case "span":
            return Question(name, name, _text(fields["context"]), _text(fields["question"]), None)
        case "mlm":
            if MASK not in _text(fields["text"]):
                raise ValueError(f"there is no {MASK} to fill")
            return Text(name, name, fields["text"])
        case "dual" if "document" in fields:
            if "text" in fields:
                raise ValueError("text and document: a line is a query or a document")
            context = fields.get("context")
            return Document(name, name, _text(fields["document"]), None if context is None else _text(context))
        case "dual":
            return Query(name, name, _text(fields["text"]), None)
    return Text(name, name, _text(fields["text"]))


def _choices(head: Head, fields: Mapping[str, Any], name: str) -> Choices:
    options = _texts(fields["options"])
    if len(options) != head.options:
        raise ValueError(f"{len(options)} options, {head.options} are wanted")
    question = _text(fields["question"]) if "question" in fields else ""
    return Choices(name, name, _text(fields["prompt"]), options, None, question)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{json.dumps(value, default=str)[:60]} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise TypeError(f"{json.dumps(value, default=str)[:60]} is no list of texts")
    return tuple(_text(item) for item in value)
