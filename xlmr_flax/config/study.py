"""A study file: an experiment, and the axes along which it is run again and again."""

import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.config.load import (
    NONE,
    apply_override,
    did_you_mean,
    read_toml,
    resolve_paths,
    shown,
    table_at,
    toml_value,
)
from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import InputError, listed

QUESTIONS = ("table", "size", "scale", "robustness")
# What may become of a phase: trained, passed over, or passed over while its children train for its updates as well.
FATES = ("keep", "skip", "updates")
OWN = ("base", "axes", "exclude", "baseline", "question")  # the keys of a study that no experiment has
POINTS_MAX = 20_000


class Value(NamedTuple):
    """One value of an axis: what it is called, and what it sets at which dotted keys."""

    told: Any  # as the file has it, or its label
    settings: dict[str, Any]


class Axis(NamedTuple):
    """What is varied; named by the dotted key that it sets, or by a word when each value sets several."""

    name: str
    values: tuple[Value, ...]


class Study(NamedTuple):
    """A study file as it was written, not yet checked against the schema."""

    path: Path
    tree: dict[str, Any]  # the experiment beneath the axes
    axes: tuple[Axis, ...]
    exclude: tuple[dict[str, Any], ...]  # points that are not run: those with these values on these axes
    baseline: dict[str, Any]  # the values that the others are compared with
    question: str  # which form of report answers it

    @property
    def name(self) -> str:
        """What its folder is called by."""
        return str(self.tree.get("name"))

    def as_json(self) -> dict[str, Any]:
        """What is told of it in results."""
        return {
            "axes": {axis.name: [value.told for value in axis.values] for axis in self.axes},
            "exclude": list(self.exclude),
            "question": self.question,
        }

    def dump(self) -> dict[str, Any]:
        """All of it, for a run's folder; `loaded` makes an equal study of it."""
        axes = [{"name": axis.name, "values": [value._asdict() for value in axis.values]} for axis in self.axes]
        return {
            "path": str(self.path),
            "experiment": self.tree,
            "axes": axes,
            "exclude": list(self.exclude),
            "baseline": self.baseline,
            "question": self.question,
        }


def is_study(path: Path) -> bool:
    """Whether a config file has axes."""
    return "axes" in read_toml(path)


def read_study(path: Path, overrides: Sequence[str] = ()) -> Study:
    """Reads a study; `axes.NAME=[…]` on the command line replaces an axis, any other key changes the experiment.

    Raises InputError with everything that is wrong with the axes as they are written.
    """
    file = read_toml(path)
    tree = _experiment(file, path)
    raw = file["axes"]
    if not isinstance(raw, dict):
        raise InputError(f'{path}: axes={shown(raw)}: wanted a table, as in "seed" = [0, 1, 2] beneath [axes]')
    raw = dict(raw)
    for override in overrides:
        _override(raw, tree, override)
    resolve_paths(tree, Path.cwd())
    _arms_as_axis(raw, tree)
    problems: list[str] = []
    axes = [axis for name, values in raw.items() for axis in _axis(name, values, problems)]
    if not axes and not problems:
        problems.append("axes: names nothing to vary; leave [axes] out for a single experiment")
    problems += _overridden(axes, overrides)
    exclude, baseline, question = file.get("exclude", []), file.get("baseline"), file.get("question", "table")
    problems += _exclusions(exclude, axes)
    problems += _baseline(baseline, axes)
    if question not in QUESTIONS:
        problems.append(f"question={shown(question)}: wanted one of {', '.join(QUESTIONS)}")
    if (count := math.prod(len(axis.values) for axis in axes)) > POINTS_MAX:
        problems.append(f"axes: {count:,} combinations; at most {POINTS_MAX:,} are run as one study")
    if problems:
        raise listed([f"{path}: {problem}" for problem in problems])
    baseline = _first_without(axes) if baseline is None else baseline
    return Study(path, tree, tuple(axes), tuple(exclude), baseline, question)


def loaded(dump: dict[str, Any]) -> Study:
    """The study that `dump` kept."""
    axes = [Axis(axis["name"], tuple(Value(**value) for value in axis["values"])) for axis in dump["axes"]]
    return Study(
        Path(dump["path"]), dump["experiment"], tuple(axes), tuple(dump["exclude"]), dump["baseline"], dump["question"]
    )


def points(study: Study) -> Iterator[dict[str, Value]]:
    """Every combination of values that is not excluded, seed by seed."""
    order = sorted(study.axes, key=lambda axis: axis.name != "seed")
    for values in itertools.product(*(axis.values for axis in order)):
        point = dict(zip((axis.name for axis in order), values, strict=True))
        if not any(_matches(point, excluded) for excluded in study.exclude):
            yield {axis.name: point[axis.name] for axis in study.axes}


def one_at_a_time(study: Study) -> Iterator[tuple[str, dict[str, Value]]]:
    """Each value of each axis beside the first ones of all others, and where it stands; first of all, the first ones.

    What is wrong with a value is found so without all combinations.
    """
    first = {axis.name: axis.values[0] for axis in study.axes}
    yield "", first
    for axis in study.axes:
        for value in axis.values[1:]:
            yield place_of(axis.name, value), first | {axis.name: value}


def place_of(name: str, value: Value) -> str:
    """Where a value stands, to begin an error with."""
    return f"axes.{name}={shown(value.told)}: "


class AtPoint(NamedTuple):
    """The experiment at a point, as plain values."""

    tree: dict[str, Any]
    fates: dict[str, str]  # what becomes of phases
    problems: list[str]  # keys that there are not


def tree_of(study: Study, point: Mapping[str, Value]) -> AtPoint:
    """The experiment with a point's values in it."""
    tree, fates, problems = copy.deepcopy(study.tree), {}, []
    for value in point.values():
        for key, setting in value.settings.items():
            try:
                if _is_phase(key):
                    fates[key.split(".")[1]] = _fate(tree, key, setting)
                elif key == "arms":
                    tree["arms"] = [_arm(tree, setting)]
                else:
                    _set(tree, key, setting)
            except InputError as error:
                problems.append(str(error))
    resolve_paths(tree, study.path.parent)
    return AtPoint(tree, fates, problems)


def _experiment(file: dict[str, Any], path: Path) -> dict[str, Any]:
    """The file's own tables, laid over those of its base."""
    own = {key: value for key, value in file.items() if key not in OWN}
    resolve_paths(own, path.parent)
    base = file.get("base")
    if base is None:
        return own
    if not isinstance(base, str):
        raise InputError(f"{path}: base={shown(base)}: wanted the path of an experiment's TOML file")
    where = path.parent / base
    if not where.is_file():
        near = did_you_mean(where.name, [other.name for other in where.parent.glob("*.toml")])
        raise InputError(f"{path}: base={shown(base)}: no such file {where}{near}; it is relative to the study's file")
    beneath = read_toml(where)
    if "axes" in beneath:
        raise InputError(f"{path}: base={shown(base)}: is a study itself; wanted an experiment")
    resolve_paths(beneath, where.parent)
    return {**beneath, **own}


def _override(raw: dict[str, Any], tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not key.startswith("axes."):
        apply_override(tree, override)
        return
    name = key.removeprefix("axes.")
    if not equals or name not in raw:
        known = ", ".join(raw) or "none"
        raise InputError(f"{override!r}: no axis is called {name!r}{did_you_mean(name, raw)}; there are: {known}")
    value = toml_value(text)
    if isinstance(raw[name], dict):  # of labels, some are chosen
        chosen = value if isinstance(value, list) else [value]
        for label in chosen:
            if not isinstance(label, str) or label not in raw[name]:
                near = did_you_mean(str(label), raw[name])
                raise InputError(f"{key}: no value is called {label!r}{near}; there are: {', '.join(raw[name])}")
        value = {label: raw[name][label] for label in chosen}
    raw[name] = value


def _arms_as_axis(raw: dict[str, Any], tree: dict[str, Any]) -> None:
    """An experiment with several arms is run in each: they are an axis that stands before the others."""
    arms = tree.get("arms")
    if "arms" not in raw and isinstance(arms, list) and len(arms) > 1:
        rest = dict(raw)
        raw.clear()
        raw["arms"] = [arm.get("name") if isinstance(arm, dict) else arm for arm in arms]
        raw.update(rest)


def _axis(name: str, values: Any, problems: list[str]) -> list[Axis]:
    """One axis, or a problem."""
    key = f"axes.{name}"
    if isinstance(values, dict) and name in Experiment.model_fields:
        inner = ".".join([name, *_first_keys(values)])
        problems.append(f'{key}: a dotted key is one name here; write it in quotes: "{inner}" = [...]')
        return []
    if not isinstance(values, list | dict):
        problems.append(f"{key}={shown(values)}: wanted a list of values, or a table of named ones")
        return []
    if not values:
        problems.append(f"{key}: has no values, so that nothing would be run; name at least one")
        return []
    if isinstance(values, list):
        doubled = [value for index, value in enumerate(values) if value in values[:index]]
        problems += [f"{key}={shown(value)}: stands there twice" for value in doubled]
        problems += [f"{key}: unknown key{near}" for near in _unknown_root(name)]
        return [Axis(name, tuple(Value(value, {name: _meant(name, value)}) for value in values))]
    found = []
    for label, settings in values.items():
        if not isinstance(settings, dict):
            problems.append(f'{key}.{label}={shown(settings)}: wanted a table of settings, as in {{ "seed" = 1 }}')
            continue
        nested = [inner for inner in settings if "." not in inner and isinstance(settings[inner], dict)]
        problems += [
            f'{key}.{label}.{inner}: a dotted key is one name here; write it in quotes: "{inner}.…"' for inner in nested
        ]
        problems += [f"{key}.{label}.{inner}: unknown key{near}" for inner in settings for near in _unknown_root(inner)]
        found.append(Value(label, {inner: _meant(inner, value) for inner, value in settings.items()}))
    return [Axis(name, tuple(found))]


def _first_keys(tree: Any) -> Iterator[str]:
    while isinstance(tree, dict) and tree:
        key = next(iter(tree))
        yield key
        tree = tree[key]


def _unknown_root(key: str) -> list[str]:
    root = key.split(".")[0]
    known = list(Experiment.model_fields)
    return [] if root in known else [f"{did_you_mean(root, known)}; known here: {', '.join(known)}"]


def _meant(key: str, value: Any) -> Any:
    """A number of examples may be "all", which a setting says by having none."""
    return NONE if value == "all" and key.endswith(".max_examples") else value


def _overridden(axes: Sequence[Axis], overrides: Sequence[str]) -> Iterator[str]:
    varied = {key: axis.name for axis in axes for value in axis.values for key in value.settings}
    for key in (override.partition("=")[0] for override in overrides):
        if key in varied:
            yield f"{key}: the axis {varied[key]} sets it; choose among its values: axes.{varied[key]}=[…]"


def _exclusions(exclude: Any, axes: Sequence[Axis]) -> Iterator[str]:
    if not isinstance(exclude, list) or not all(isinstance(one, dict) and one for one in exclude):
        yield f"exclude={shown(exclude)}: wanted a list of tables, axis to value"
        return
    for index, one in enumerate(exclude):
        yield from _values(f"exclude.{index}", one, axes)


def _baseline(baseline: Any, axes: Sequence[Axis]) -> Iterator[str]:
    if baseline is not None and not isinstance(baseline, dict):
        yield f"baseline={shown(baseline)}: wanted a table, axis to value"
    elif baseline:
        yield from _values("baseline", baseline, axes)


def _values(key: str, chosen: dict[str, Any], axes: Sequence[Axis]) -> Iterator[str]:
    """Axes that there are not, and values that an axis does not have."""
    by_name = {axis.name: axis for axis in axes}
    for name, value in chosen.items():
        if name not in by_name:
            yield f"{key}.{name}: no such axis{did_you_mean(name, by_name)}; there are: {', '.join(by_name)}"
            continue
        known = [one.told for one in by_name[name].values]
        if value not in known:
            near = did_you_mean(str(value), map(str, known))
            yield f"{key}.{name}={shown(value)}: the axis has no such value{near}; it has: {', '.join(map(str, known))}"


def _first_without(axes: Sequence[Axis]) -> dict[str, Any]:
    """What a study is compared with where it does not say: the first value that passes over a phase."""
    for axis in axes:
        for value in axis.values:
            if any(_is_phase(key) and setting == "skip" for key, setting in value.settings.items()):
                return {axis.name: value.told}
    return {}


def _matches(point: dict[str, Value], chosen: dict[str, Any]) -> bool:
    return all(point[name].told == value for name, value in chosen.items())


def _is_phase(key: str) -> bool:
    return key.startswith("phases.") and key.count(".") == 1


def _fate(tree: dict[str, Any], key: str, value: Any) -> str:
    table_at(tree, [*key.split("."), "name"])  # refuses a phase that there is not
    if value not in FATES:
        raise InputError(f"{key}={shown(value)}: wanted one of {', '.join(FATES)}")
    return value


def _arm(tree: dict[str, Any], name: Any) -> dict[str, Any]:
    arms = [arm for arm in tree.get("arms", []) if isinstance(arm, dict)]
    names = [str(arm.get("name")) for arm in arms]
    if name not in names:
        near = did_you_mean(str(name), names)
        raise InputError(f"arms={shown(name)}: no such arm{near}; there are: {', '.join(names) or 'none'}")
    return arms[names.index(name)]


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key; epochs replace steps and steps epochs, as they do over a recipe."""
    parts = key.split(".")
    place, last = table_at(tree, parts), parts[-1]
    if parts[0] == "phases" and last in ("steps", "epochs"):
        place.pop("epochs" if last == "steps" else "steps", None)
    place[last] = copy.deepcopy(value)
