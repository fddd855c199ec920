"""A study becomes one graph: the phases of all of its points, equal ones once, and what each score belongs to."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.config.load import load, parsed
from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.study import (
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


class Run(NamedTuple):
    """Points that come to the same: what they score, and the values on which they agree, None on the other axes."""

    asked: Mapping[Asked, EvalNode]
    experiment: Experiment
    axes: Mapping[str, Any]


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

    Points that come to the same are one run: where an intermediate phase is passed over, its sizes make no difference.
    What an arm scores alike in several of its runs is one score, and says nothing of the axes on which these differ.
    """
    found = _points(study)
    runs = _runs(study, found)
    if not any(run.asked for run in runs):
        raise InputError(f"{study.path}: nothing is scored at any point; name evaluations of phases that are kept")
    experiments: dict[str, Experiment] = {}
    unshared = 0
    for run in runs:
        needed = in_order(run.asked.values())
        unshared += sum(isinstance(node, PhaseNode) for node in needed)
        for node in needed:
            experiments.setdefault(node.key, run.experiment)
    arms = _Arms(study, target_axes(study.axes, found[0].experiment), runs)
    scored = arms.scored()
    studied = Studied(study, arms.all(), experiments, len(found), len(runs), unshared)
    first = found[0].experiment.model_copy(update={"name": study.name})
    return Graph(first, tuple(in_order(one.node for one in scored)), scored, studied)


def _runs(study: Study, found: Sequence[Point]) -> list[Run]:
    """The points that score the same together, in the order of the first of each."""
    once: dict[str, PhaseNode] = {}
    same: dict[frozenset[Asked], list[Point]] = {}
    asked_by: dict[frozenset[Asked], dict[Asked, EvalNode]] = {}
    for point in found:
        scored = compiled(point.experiment, once).scored
        asked = {Asked(one.node.evaluation.phase, one.node.key, one.node.langs): one.node for one in scored}
        same.setdefault(frozenset(asked), []).append(point)
        asked_by.setdefault(frozenset(asked), asked)
    return [
        Run(asked_by[key], where[0].experiment, _common([_told(point) for point in where]))
        for key, where in same.items()
    ]


def _told(point: Point) -> dict[str, Any]:
    return {name: value.told for name, value in point.values.items()}


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
    if "arms" not in tree or _tables(tree, "arms"):  # else it is told
        arm = next(iter(_tables(tree, "arms")), {})
        added = {
            "skip": [name for name, fate in fates.items() if fate != "keep"],
            "updates": [name for name, fate in fates.items() if fate == "updates"],
        }
        given = {name: arm.get(name, []) for name in added}
        both = {name: [*old, *added[name]] if isinstance(old, list) else old for name, old in given.items()}
        tree["arms"] = [{**arm, "name": "main", **both}]
    experiment, wrong = parsed(tree, study.path)
    if experiment is not None:
        wrong = list(problems(experiment))
    return experiment, [*missing, *wrong]


def _follow(tree: dict[str, Any], values: Iterable[Value]) -> None:
    """An evaluation of a phase whose task an axis sets scores that task, unless the axis says what it scores.

    Retrieval, which scores any phase, stays.
    """
    settings = {key: setting for value in values for key, setting in value.settings.items()}
    for index, evaluation in enumerate(_tables(tree, "evaluations")):
        if f"evaluations.{index}.tasks" in settings:
            continue
        name = evaluation.get("phase")
        name = next((one.get("phase") for one in _tables(tree, "averages") if one.get("name") == name), name)
        trained = settings.get(f"phases.{name}.tasks")
        asked = evaluation.get("tasks")
        if isinstance(asked, list) and isinstance(trained, list) and all(map(_kind, trained)):
            retrieval = [name for name in asked if _kind(name) == "embedding"]
            if len(retrieval) < len(asked):
                scored = [name for name in trained if _kind(name) != "mlm"] or trained
                evaluation["tasks"] = list(dict.fromkeys([*scored, *retrieval]))


def _tables(tree: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of tables; none where it is anything else, which is told with the rest."""
    found = tree.get(name)
    right = isinstance(found, list) and all(isinstance(one, dict) for one in found)
    return found if right else []


def _kind(name: Any) -> str | None:
    return TASKS[name].head.kind if isinstance(name, str) and name in TASKS else None


class _Arms:
    """The arms of a study by what makes them: the values of all axes but the seeds and the targets."""

    def __init__(self, study: Study, targets: Sequence[str], runs: Sequence[Run]) -> None:
        self.study, self.runs = study, runs
        told_elsewhere = {"seed", *targets}
        named = [axis for axis in study.axes if axis.name not in told_elsewhere]
        self.axes = [axis for axis in named if len(axis.values) > 1] or named
        self.points = {self._place(run.axes): {axis.name: run.axes[axis.name] for axis in self.axes} for run in runs}
        self.names = {place: label(self.axes, point) for place, point in self.points.items()}
        if len(set(self.names.values())) < len(self.names):
            self.names = {place: long_label(self.axes, point) for place, point in self.points.items()}

    def scored(self) -> tuple[Scored, ...]:
        """Each score in each arm that it belongs to."""
        belongs: dict[tuple[str, Asked], tuple[EvalNode, list[Mapping[str, Any]]]] = {}
        for run in self.runs:
            for asked, node in run.asked.items():
                belongs.setdefault((self._place(run.axes), asked), (node, []))[1].append(run.axes)
        return tuple(Scored(self.names[place], node, _common(where)) for (place, _), (node, where) in belongs.items())

    def all(self) -> tuple[ArmOf, ...]:
        """The arms, each with the one that it is compared with."""
        return tuple(ArmOf(self.names[place], point, self._baseline(point)) for place, point in self.points.items())

    def _baseline(self, point: Mapping[str, Any]) -> str | None:
        """The arm with the baseline's values, and on the other axes the same or nothing that depends on them."""
        wanted = self.study.baseline
        if not wanted or all(point.get(name) == value for name, value in wanted.items()):
            return None
        others = [axis.name for axis in self.axes if axis.name not in wanted]
        for place, other in self.points.items():
            fits = all(other.get(name) == value for name, value in wanted.items())
            if fits and all(other[name] in (None, point[name]) for name in others):
                return self.names[place]
        return None

    def _place(self, point: Mapping[str, Any]) -> str:
        return repr([point[axis.name] for axis in self.axes])


def _common(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values on which all of these points agree; None on the other axes."""
    first = points[0]
    return {name: value if all(other[name] == value for other in points) else None for name, value in first.items()}
