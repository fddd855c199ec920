"""A phase's config.json as commands on the trained model read it: whole, or told with what is wrong."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Phase
from xlmr_flax.errors import InputError
from xlmr_flax.model.heads import Kind
from xlmr_flax.storage.forms import Form, read
from xlmr_flax.storage.places import place
from xlmr_flax.tasks.catalogue import task

AGAIN = "put the file back as it was, or remove the phase's folder and run its experiment again"


def _task(name: str) -> str:
    return task(name).name


def _place(name: str) -> str:
    place(name)
    return name


Named = Annotated[str, AfterValidator(_task)]


class HeadTold(Form):
    """A head."""

    kind: Kind
    labels: list[str]
    options: Annotated[int, Field(gt=1)] | None


class TokenizerTold(Form):
    """Where a tokenizer is."""

    folder: Annotated[str, AfterValidator(_place)]
    name: str | None = None  # older phases have none
    revision: str | None = None
    fingerprint: str


class Tasks(Form):
    """What a phase trained on."""

    task: Named | None = None
    tasks: list[Named] | None = Field(None, min_length=2)

    @model_validator(mode="after")
    def _has_one(self) -> "Tasks":
        if not (self.task or self.tasks):
            raise ValueError("neither task nor tasks")
        return self


class PhaseConfig(Tasks):
    """What a phase is; of several tasks what each has is by task."""

    phase: Phase
    seed: int | None
    attempt_seed: int = 0
    compute: Literal["bfloat16", "float32"]
    architecture: Architecture
    head: HeadTold | None = None
    heads: dict[str, HeadTold] | None = None
    tokenizer: TokenizerTold
    sources: dict[str, str] = Field(default_factory=dict)
    train: str | dict[str, str] | None = None
    examples: str | dict[str, str] | None = None
    dictionaries: dict[str, list[str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _tasks_have_heads(self) -> "PhaseConfig":
        names = [self.task] if self.tasks is None else self.tasks
        heads = self.heads if self.tasks is not None else {self.task: self.head}
        if list(heads or ()) != names or None in (heads or {}).values() or self.phase.tasks != tuple(names):
            raise ValueError(f"tasks {names}, heads {list(heads or ())} and phase.tasks {self.phase.tasks} differ")
        return self


def phase_config(folder: Path) -> dict[str, Any]:
    """A phase's config.json. Raises InputError where there is none, or one that is no phase's any more."""
    return _read(folder / "config.json", PhaseConfig)


def phase_tasks(folder: Path) -> list[str]:
    """The tasks that a phase trained on, whatever else its config.json lacks. Raises InputError in the same way."""
    config = _read(folder / "config.json", Tasks)
    return config.get("tasks") or [config["task"]]


def _read(path: Path, form: type[Form]) -> dict[str, Any]:
    found = read(path, form, None, AGAIN)
    if found is None:
        raise InputError(f"{path}: is not there; {AGAIN}")
    return found
