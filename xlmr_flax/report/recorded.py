"""What a report reads of run folders, and the form that it must have."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from xlmr_flax.report.results import TOLD
from xlmr_flax.storage.forms import Form

Count = Annotated[int, Field(ge=0, lt=2**53)]
Name = Annotated[str, Field(pattern=r"^[\w .@+-]{1,100}$")]  # part of a file's name
Axis = None | bool | Annotated[int, Field(gt=-(2**53), lt=2**53)] | float | str | list[Any] | dict[str, Any]


class Perturbation(Form):
    """How texts were made worse."""

    kind: Name
    strength: float = Field(gt=0, le=1)


class Row(Form):
    """A score."""

    arm: str
    asked_phase: Name
    phase: str
    task: Name
    setting: str
    lang: Name
    metric: Name
    score: float = Field(ge=0, le=1)
    n_scored: Count
    n_dataset: Count
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None
    phase_key: str
    eval_key: Name | None = None  # older runs have none
    selection: str
    flags: list[str]
    axes: dict[str, Axis] | None = None
    perturbation: Perturbation | None = None


class StudyArm(Form):
    """An arm of a study."""

    arm: str
    axes: dict[str, Axis] = Field(default_factory=dict)
    baseline: str | None = None


class Study(Form):
    """What a study asks."""

    question: Literal["table", "size", "scale", "robustness"] = "table"
    baseline: str | None = None
    arms: tuple[StudyArm, ...] = ()


class Results(Form):
    """results.json of a run."""

    experiment: str
    fingerprint: str = ""
    rows: list[Row]
    study: Study | None = None


class Arm(Form):
    """An arm of an experiment."""

    name: str
    skip: tuple[str, ...] = ()


class Config(Form):
    """config.json of a run."""

    arms: tuple[Arm, ...] = ()


class Node(Form):
    """A line of nodes.json."""

    kind: str
    folder: str = Field(pattern=r"^\w+/[\w.-]{1,200}$")


Nodes = TypeAdapter(list[Node])


class Trained(Form):
    """A phase's settings."""

    name: str = ""
    tasks: tuple[str, ...] = ()
    batch_size: Count | None = None
    max_examples: Count | None = None
    steps: Count | None = None


class Counts(Form):
    """What was counted of the examples; of several tasks it is by task."""

    rows: Count | None = None


class Tokenizer(Form):
    """Where a phase's tokenizer comes from."""

    name: str | None = None


class Phase(Form):
    """config.json of a phase."""

    phase: Trained = Trained()
    task: str = ""
    seed: Count | None = None
    parent: str | None = None
    counts: Counts = Counts()
    sources: dict[str, str] = Field(default_factory=dict)
    also_sources: dict[str, str] = Field(default_factory=dict)  # of languages that select beside
    tokenizer: Tokenizer | None = None


class Host(Form):
    """host.json of a phase."""

    devices: str = ""
    versions: dict[str, str] = Field(default_factory=dict)


class Done(Form):
    """DONE of a phase."""

    steps_run: Count | None = None
    selection: str = ""
    flags: tuple[str, ...] = ()


class LogRow(Form):
    """A line of train.jsonl."""

    step: Count
    examples_per_second: float | None = Field(None, ge=0)


class Setting(Form):
    """What was scored in one setting of a sweep."""

    scores: dict[str, float]
    layer: Count = 0
    pooling: str | None = None  # of a layer one of TOLD; else in words, of a head that has one way alone
    told: str = ""

    @model_validator(mode="after")
    def _layers_are_pooled(self) -> "Setting":
        if "layer" in self.model_fields_set and self.pooling not in TOLD:
            raise ValueError(f"a layer with pooling {self.pooling!r}, wanted one of {', '.join(TOLD)}")
        return self


class Language(Form):
    """What was scored in a language: its scores, or those of each setting."""

    scores: dict[str, float] | None = None
    settings: tuple[Setting, ...] = ()

    @model_validator(mode="after")
    def _has_scores(self) -> "Language":
        if self.scores is None and not self.settings:
            raise ValueError("no scores")
        return self


class Scores(Form):
    """scores.json of an evaluation."""

    langs: dict[str, Language]
