"""What every table of a config has in common: strict, frozen, and each field either *what* or *how*."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """A table of a config; unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def how(default: Any = ..., **constraints: Any) -> Any:
    """A field that says how a phase is computed and not what: it is left out of every key."""
    return Field(default, json_schema_extra={"how": True}, **constraints)


def later(default: Any, **constraints: Any) -> Any:
    """A field that came after keys had been given out: left out of them while it keeps its default."""
    return Field(default, json_schema_extra={"later": True}, **constraints)


def what(settings: BaseModel) -> dict[str, Any]:
    """The fields of `settings` that decide its result, as plain JSON values."""
    fields = {name: (field, getattr(settings, name)) for name, field in type(settings).model_fields.items()}
    return {
        name: _plain(value)
        for name, (field, value) in fields.items()
        if not is_how(field) and not (_marked(field, "later") and value == field.default)
    }


def is_how(field: Any) -> bool:
    """Whether a pydantic field was declared with `how`."""
    return _marked(field, "how")


def _marked(field: Any, mark: str) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get(mark))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return what(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
