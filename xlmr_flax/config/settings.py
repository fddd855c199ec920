"""What every table of a config has in common: strict, frozen, and each field either *what* or *how*."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A table of a config; unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def how(default: Any = ..., **constraints: Any) -> Any:
    """A field that says how a phase is computed and not what: it is left out of every key."""
    return Field(default, json_schema_extra={"how": True}, **constraints)


def what(settings: BaseModel) -> dict[str, Any]:
    """The fields of `settings` that decide its result, as plain JSON values."""
    fields = type(settings).model_fields
    return {name: _plain(getattr(settings, name)) for name, field in fields.items() if not is_how(field)}


def is_how(field: Any) -> bool:
    """Whether a pydantic field was declared with `how`."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("how"))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return what(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
