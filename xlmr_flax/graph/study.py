"""A study becomes one graph: the phases of all of its points, equal ones once, and what each score belongs to."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.config.load import load, parsed
from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.study import (
    Axis,
    Study,
    Value,
    is_study,
    loaded,
    one_at_a_time,
    place_of,
    points,
    read_study,
    tree_of,
)
from xlmr_flax.errors import InputError, listed
from xlmr_flax.graph.build import ArmOf, Graph, Scored, Studied, build, compiled, in_order
from xlmr_flax.graph.check import problems
from xlmr_flax.graph.labels import label, long_label, target_axes
from xlmr_flax.graph.nodes import EvalNode, PhaseNode
from xlmr_flax.tasks.catalogue import TASKS


class Point(NamedTuple):
    """One combination of values: an experiment of one arm."""

    values: Mapping[str, Value]  # by axis
    experiment: Experiment


class Asked(NamedTuple):
    """What makes two scores the same, wherever they are asked for."""

    phase: str  # by the name that the evaluation gives it
    key: str
    langs: tuple[str, ...]


class Belongs(NamedTuple):
    """A score, and the points that ask for it."""

    node: EvalNode
    experiment: Experiment
    points: list[Point]


def open_config(path: Path, overrides: Sequence[str] = ()) -> Graph:
    """The graph of an experiment or of a study, by what the file is. Raises InputError with every problem."""
    if is_study(path):
        return build_study(read_study(path, overrides))
    return build(load(path, overrides))


def recorded(path: Path) -> Graph:
    """The graph of the config.json in a run's folder."""
    text = path.read_text(encoding="utf-8")
    kept = json.loads(text)
    return build_study(loaded(kept["study"])) if "study" in kept else build(Experiment.model_validate_json(text))


def build_study(study: Study) -> Graph:
    """Compiles a study into nodes; needs no data, no weights and no jax.

    Points that come to the same are one: where an intermediate phase is passed over, its sizes make no difference. What
    is scored alike at several points is one score, and says nothing of the axes on which these differ.
    """
    found = _points(study)
    once: dict[str, PhaseNode] = {}
    scores: dict[Asked, Belongs] = {}
    phases: dict[frozenset[Asked], int] = {}  # of each run that differs from the others
    for point in found:
        scored = compiled(point.experiment, once).scored
        asked = {Asked(one.node.evaluation.phase, one.node.key, one.node.langs): one.node for one in scored}
        for key, node in asked.items():
            scores.setdefault(key, Belongs(node, point.experiment, [])).points.append(point)
        if frozenset(asked) not in phases:
            phases[frozenset(asked)] = sum(isinstance(node, PhaseNode) for node in in_order(asked.values()))
    if not scores:
        raise InputError(f"{study.path}: nothing is scored at any point; name evaluations of phases that are kept")
    arms = _Arms(study, target_axes(study.axes, found[0].experiment), list(scores.values()))
    experiments: dict[str, Experiment] = {}
    for one in scores.values():
        for node in in_order([one.node]):
            experiments.setdefault(node.key, one.experiment)
    studied = Studied(study, arms.all(), experiments, len(found), len(phases), sum(phases.values()))
    first = found[0].experiment.model_copy(update={"name": study.name})
    return Graph(first, tuple(in_order(one.node for one in scores.values())), arms.scored(), studied)


def _points(study: Study) -> list[Point]:
    """Every point's experiment. Raises InputError with all problems, each once and where it is seen first."""
    told: dict[str, str] = {}
    for where, values in one_at_a_time(study):
        for problem in _experiment(study, values)[1]:
            told.setdefault(problem, _cause(values, problem) or where)
    found = []
    for values in points(study) if not told else ():
        experiment, wrong = _experiment(study, values)
        where = ", ".join(f"{name}={value.told}" for name, value in values.items())
        for problem in wrong:
            told.setdefault(problem, f"at {where}: ")
        if experiment:
            found.append(Point(values, experiment))
    if told:
        raise listed([f"{study.path}: {where}{problem}" for problem, where in told.items()])
    if not found:
        raise InputError(f"{study.path}: exclude leaves no combination of the axes' values, so that nothing would run")
    return found


def _cause(values: Mapping[str, Value], problem: str) -> str:
    """The value that set what a problem is about."""
    for name, value in values.items():
        if any(re.match(rf"{re.escape(key)}\b", problem) or problem.startswith(_table(key)) for key in value.settings):
            return place_of(name, value)
    return ""


def _table(key: str) -> str:
    """How a problem begins with a dotted key whose table there is not."""
    return f"{key.rpartition('.')[0]}: no such table"


def _experiment(study: Study, values: Mapping[str, Value]) -> tuple[Experiment | None, list[str]]:
    """The experiment at a point, or what is wrong with it."""
    tree, fates, missing = tree_of(study, values)
    _follow(tree, values.values())
    arm = next((arm for arm in tree.get("arms") or () if isinstance(arm, dict)), {})
    skip = [*arm.get("skip", ()), *(name for name, fate in fates.items() if fate != "keep")]
    updates = [*arm.get("updates", ()), *(name for name, fate in fates.items() if fate == "updates")]
    tree["arms"] = [{"name": "main", "skip": skip, "updates": updates}]
    experiment, wrong = parsed(tree, study.path)
    if experiment is not None:
        wrong = list(problems(experiment))
    return experiment, [*missing, *wrong]


def _follow(tree: dict[str, Any], values: Iterable[Value]) -> None:
    """An evaluation of a phase whose task an axis sets scores that task, unless the axis says what it scores.

    Retrieval, which scores any phase, stays.
    """
    settings = {key: setting for value in values for key, setting in value.settings.items()}
    for index, evaluation in enumerate(tree.get("evaluations", ())):
        if not isinstance(evaluation, dict) or f"evaluations.{index}.tasks" in settings:
            continue
        trained = settings.get(f"phases.{evaluation.get('phase')}.tasks")
        asked = evaluation.get("tasks")
        if isinstance(asked, list) and isinstance(trained, list) and all(map(_kind, trained)):
            retrieval = [name for name in asked if _kind(name) == "embedding"]
            if len(retrieval) < len(asked):
                scored = [name for name in trained if _kind(name) != "mlm"] or trained
                evaluation["tasks"] = list(dict.fromkeys([*scored, *retrieval]))


def _kind(name: Any) -> str | None:
    return TASKS[name].head.kind if isinstance(name, str) and name in TASKS else None


class _Arms:
    """The arms of a study by what makes them."""

    def __init__(self, study: Study, targets: Sequence[str], scores: Sequence[Belongs]) -> None:
        self.study, self.found = study, scores
        self.axes = [axis for axis in study.axes if axis.name != "seed" and axis.name not in targets]
        self.points = [_common(study.axes, one.points) for one in scores]
        short = {self._place(point): label(self.axes, point) for point in self.points}
        alike = len(set(short.values())) < len(short)
        self.names = {
            self._place(point): long_label(self.axes, point) if alike else short[self._place(point)]
            for point in self.points
        }

    def scored(self) -> tuple[Scored, ...]:
        """Each score with its arm."""
        pairs = zip(self.found, self.points, strict=True)
        return tuple(Scored(self.names[self._place(point)], one.node, point) for one, point in pairs)

    def all(self) -> tuple[ArmOf, ...]:
        """The arms, each with the one that it is compared with."""
        points = {self._place(point): {axis.name: point[axis.name] for axis in self.axes} for point in self.points}
        return tuple(ArmOf(self.names[place], point, self._baseline(point)) for place, point in points.items())

    def _baseline(self, point: Mapping[str, Any]) -> str | None:
        """The arm with the baseline's values, and on the other axes the same or nothing that depends on them."""
        wanted = self.study.baseline
        if not wanted or all(point.get(name) == value for name, value in wanted.items()):
            return None
        for other in self.points:
            fits = all(other[name] == value for name, value in wanted.items())
            if fits and all(
                other[axis.name] in (None, point[axis.name]) for axis in self.axes if axis.name not in wanted
            ):
                return self.names[self._place(other)]
        return None

    def _place(self, point: Mapping[str, Any]) -> str:
        return repr([point[axis.name] for axis in self.axes])


def _common(axes: Sequence[Axis], where: Sequence[Point]) -> dict[str, Any]:
    """The values on which all of these points agree; None on the other axes."""
    found = {}
    for axis in axes:
        first = where[0].values[axis.name].told
        found[axis.name] = first if all(point.values[axis.name].told == first for point in where) else None
    return found
