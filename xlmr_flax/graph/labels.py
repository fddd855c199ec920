"""What the arms of a study are called: the values that make them, in words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.study import Axis, Value

FATES = {"skip": "no {}", "updates": "no {}, its updates"}


def target_axes(axes: Sequence[Axis], experiment: Experiment) -> list[str]:
    """The axes that choose what is scored: the task tells them apart, so no arm is called by them."""
    parents = {phase.parent for phase in experiment.phases}
    last = [f"phases.{phase.name}.tasks" for phase in experiment.phases if phase.name not in parents]
    return [axis.name for axis in axes if _chooses_targets(axis, last)]


def _chooses_targets(axis: Axis, last: Sequence[str]) -> bool:
    """Whether each value sets the task of a phase that hands nothing on, and none scores what another does."""
    seen: set[str] = set()
    for value in axis.values:
        names = set(_scored(value))
        if not any(key in value.settings for key in last) or names & seen:
            return False
        seen |= names
    return True


def _scored(value: Value) -> Iterator[str]:
    asked = {key: names for key, names in value.settings.items() if key.endswith(".tasks") and isinstance(names, list)}
    evaluations = [names for key, names in asked.items() if key.startswith("evaluations.")]
    for names in evaluations or asked.values():
        yield from map(str, names)


def label(axes: Sequence[Axis], point: Mapping[str, Any]) -> str:
    """The values of these axes at a point, in a few words; what nothing depends on there is left out."""
    mine = [axis for axis in axes if point[axis.name] is not None]
    parts = [part for axis in mine if (part := _part(axis, point[axis.name], [other.name for other in axes]))]
    kept = [axis.name.split(".")[1] for axis in mine if point[axis.name] == "keep" and _sets(axis) == axis.name]
    return " · ".join(parts) or " · ".join(f"with {name}" for name in kept) or "all"


def long_label(axes: Sequence[Axis], point: Mapping[str, Any]) -> str:
    """The same with each axis named, for where the short ones are alike."""
    return " · ".join(f"{axis.name}={point[axis.name]}" for axis in axes if point[axis.name] is not None) or "all"


def _sets(axis: Axis) -> str:
    """The dotted key that an axis sets, or nothing where its values have names."""
    return axis.name if all(list(value.settings) == [axis.name] for value in axis.values) else ""


def _part(axis: Axis, value: Any, names: Sequence[str]) -> str:
    key = _sets(axis)
    parts = key.split(".")
    if not key or key == "arms":
        return str(value)
    if len(parts) == 2 and parts[0] == "phases":
        return FATES.get(value, "").format(parts[1])
    if parts[-1] in ("tasks", "langs") and isinstance(value, list):
        return "+".join(map(str, value))
    if key in ("model.weights", "model.preset"):
        return str(value).rstrip("/").split("/")[-1]
    told = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    alone = sum(name.split(".")[-1] == parts[-1] for name in names) == 1
    if parts[-1] == "max_examples" and alone:
        return f"{told} examples"
    return f"{parts[-1] if alone else key} {told}"
