"""Unlabelled rows for `predict` from lines of text or JSON."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xlmr_flax.config.load import did_you_mean
from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Classified, Question, Row, Tagged
from xlmr_flax.tasks.task import Head

# What a line of JSON holds for each kind of head; the keys in brackets may be left out.
WANTED: Mapping[str, str] = {
    "sequence": '{"text": "…", ["pair": "…"]}',
    "token": '{"words": ["…", …]}',
    "choice": '{"prompt": "…", ["question": "…"], "options": ["…", …]}',
    "span": '{"context": "…", "question": "…"}',
}
KEYS: Mapping[str, tuple[str, ...]] = {
    "sequence": ("text", "pair"), "token": ("words",), "choice": ("prompt", "question", "options"),
    "span": ("context", "question"),
}  # fmt: skip


def read_rows(head: Head, file: Path | None) -> Iterator[Row]:
    """A row for each line that is not blank, of the file or else of standard input; its id is its "id" or its number.

    Raises InputError that names the line.
    """
    name = str(file) if file else "standard input"
    try:
        data = file.read_bytes() if file else sys.stdin.buffer.read()
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: byte {error.start} is not UTF-8; convert the text to UTF-8") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}); name a file of text or JSON lines") from None
    if not text.strip():
        raise InputError(f"{name}: empty; wanted a line of text or JSON for each example")
    # Not splitlines: that parts a line at U+2028 and others, which are text.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _row(head, line.removesuffix("\r"), str(number), where=f"{name}:{number}")


def _row(head: Head, line: str, number: str, *, where: str) -> Row:
    if line.lstrip().startswith("{"):
        return _from_json(head, line, number, where=where)
    match head.kind:
        case "sequence":
            first, _, second = line.partition("\t")
            return Classified(number, number, first, second or None, None)
        case "token":
            return Tagged(number, number, tuple(line.split()), None)
    raise InputError(f"{where}: a {head.kind} task wants JSON, {WANTED[head.kind]}, found {line[:60]!r}")


def _from_json(head: Head, line: str, number: str, *, where: str) -> Row:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}; wanted {WANTED[head.kind]}") from None
    known = (*KEYS[head.kind], "id")
    for key in fields:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}{did_you_mean(key, known)}; wanted {WANTED[head.kind]}")
    try:
        return _from_fields(head, fields, str(fields.get("id", number)))
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{where}: {problem}; wanted {WANTED[head.kind]}, found {line[:60]!r}") from None


def _from_fields(head: Head, fields: Mapping[str, Any], name: str) -> Row:
    match head.kind:
        case "sequence":
            pair = fields.get("pair")
            return Classified(name, name, _text(fields["text"]), None if pair is None else _text(pair), None)
        case "token":
            return Tagged(name, name, _texts(fields["words"]), None)
        case "choice":
            options = _texts(fields["options"])
            if len(options) != head.options:
                raise ValueError(f"{len(options)} options, {head.options} are wanted")
            question = _text(fields["question"]) if "question" in fields else ""
            return Choices(name, name, _text(fields["prompt"]), options, None, question)
    return Question(name, name, _text(fields["context"]), _text(fields["question"]), None)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TypeError(f"{json.dumps(value)[:60]} is no text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise TypeError(f"{json.dumps(value)[:60]} is no list of texts")
    return tuple(_text(item) for item in value)
