"""JSON files that must have a form: what is in them is checked where they are read, and told with the file's name."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from xlmr_flax.errors import InputError

SHOWN = 80  # letters of a value in an error


class Form(BaseModel):
    """Of a file's fields those that are read; others may be there."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


def read(path: Path, form: type[BaseModel] | TypeAdapter, absent: Any, again: str) -> Any:
    """A JSON file in this form; `absent` where there is none. `again` is what to do about one in another form.

    Raises InputError that names the file and the first place that is wrong.
    """
    if not path.is_file():
        return absent
    try:
        return parsed(path.read_bytes(), form)
    except ValueError as error:
        raise InputError(f"{path}: {error}; {again}") from error


def parsed(content: bytes | str, form: type[BaseModel] | TypeAdapter) -> Any:
    """JSON in this form, with what else it has. Raises ValueError that says in a few words what is wrong with it."""
    check = form.validate_json if isinstance(form, TypeAdapter) else form.model_validate_json
    try:
        check(content)  # stricter than Python's own: half characters, depths
        return json.loads(content, parse_float=_finite, parse_constant=_no_number)
    except ValidationError as error:
        first = error.errors()[0]
        place, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "json_invalid":
            message = f"not JSON: {message.removeprefix('Invalid JSON: ')}"
        told = f"{place}={str(first['input'])[:SHOWN]}: {message}" if place else message
        raise ValueError(told) from error


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")
