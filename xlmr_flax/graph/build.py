"""A config becomes a graph: nodes in an order in which they can be computed, equal ones once."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from xlmr_flax.config.schema import Arm, Experiment, Perturb, Phase
from xlmr_flax.config.settings import what
from xlmr_flax.config.study import Study
from xlmr_flax.errors import listed
from xlmr_flax.graph.check import problems
from xlmr_flax.graph.line import nearest, passed
from xlmr_flax.graph.mixture import members
from xlmr_flax.graph.nodes import (
    EvalNode,
    Node,
    Perturbation,
    PhaseNode,
    TokenizerNode,
    WorldNode,
    key_of,
    mean_of_runs,
    pretrained,
)
from xlmr_flax.graph.splits import comes_in, specs
from xlmr_flax.tasks.catalogue import task


class Scored(NamedTuple):
    """One evaluation as a table shows it: equal nodes may stand in several arms."""

    arm: str
    node: EvalNode
    axes: Mapping[str, Any] | None = None  # where it stands in a study; None for what it does not depend on


class ArmOf(NamedTuple):
    """What is compared in a study: a point without its seed and its target."""

    name: str
    axes: Mapping[str, Any]
    baseline: str | None  # the arm that it is compared with


class Studied(NamedTuple):
    """What a graph has beside its nodes where it is that of a study."""

    study: Study
    arms: tuple[ArmOf, ...]
    experiments: Mapping[str, Experiment]  # what each node was asked for by, by its key
    combinations: int  # of the axes' values, less those excluded
    runs: int  # that differ among them
    unshared: int  # phases that these would train one by one

    @property
    def baseline(self) -> str | None:
        """The one arm that all others are compared with."""
        found = {arm.baseline for arm in self.arms} - {None}
        return found.pop() if len(found) == 1 else None


class Graph(NamedTuple):
    """Everything that an experiment computes, or a study."""

    experiment: Experiment  # of a study: the one at its first point
    nodes: tuple[Node, ...]  # parents before children
    scored: tuple[Scored, ...]
    studied: Studied | None = None

    @property
    def fingerprint(self) -> str:
        """Stands for the whole experiment in its folder's name."""
        if self.studied is None:
            return key_of(experiment=what(self.experiment))
        scores = [[one.arm, one.axes, one.node.evaluation.phase, one.node.key, one.node.langs] for one in self.scored]
        return key_of(study=self.studied.study.as_json(), scores=scores)

    def experiment_of(self, node: Node) -> Experiment:
        """The experiment that a node belongs to: what says how it is computed."""
        return self.studied.experiments.get(node.key, self.experiment) if self.studied else self.experiment


def build(experiment: Experiment) -> Graph:
    """Compiles a config into nodes; needs no data, no weights and no jax.

    Raises InputError that lists every problem of names, parents, languages, splits and sizes.
    """
    found = problems(experiment)
    if found:
        raise listed([f"{experiment.name}: {problem}" for problem in found])
    return compiled(experiment, {})


def compiled(experiment: Experiment, once: dict[str, PhaseNode]) -> Graph:
    """The graph of an experiment without problems; phases that are in `once` are those, new ones go into it."""
    scored: list[Scored] = []
    roots: list[Node] = []
    for arm in experiment.arms:
        phases = _phases(experiment, arm, once)
        roots += phases.values()
        mine: dict[tuple[str, str], EvalNode] = {}
        for node in _evaluations(experiment, arm, phases):
            place = (node.evaluation.phase, node.key)
            mine[place] = _with_langs(mine.get(place, node), node.langs)
        scored += (Scored(arm.name, node) for node in mine.values())
        roots += mine.values()
    return Graph(experiment, tuple(in_order(roots)), tuple(scored))


def languages(experiment: Experiment, name: str, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The languages of an evaluation: those asked for, or all of the world's or of the task's."""
    if asked is not None:
        return asked
    if experiment.world is None:
        told = task(name).langs
    else:
        # English is every pair's other side in retrieval, never a row of its own.
        told = (() if task(name).head.kind == "embedding" else ("en",)) + experiment.world.languages
    spec = specs(experiment, task(name))["test"]
    return tuple(lang for lang in told if spec is None or comes_in(task(name), spec, lang))


def _phases(experiment: Experiment, arm: Arm, once: dict[str, PhaseNode]) -> dict[str, PhaseNode]:
    """An arm's phases by name; equal ones are the same node, under the name that came first, and so the same folder."""
    by_name = {phase.name: phase for phase in experiment.phases}
    nodes: dict[str, PhaseNode] = {}

    def node(name: str) -> PhaseNode:
        if name not in nodes:
            parent = nearest(by_name, by_name[name].parent, arm.skip)
            new = _phase_node(experiment, by_name[name], node(parent) if parent else None)
            above = [other for other in passed(by_name, by_name[name].parent, arm.skip) if other in arm.updates]
            if above:
                stood_for = tuple(_phase_node(experiment, by_name[other], None) for other in above)
                new = dataclasses.replace(new, stands_for=stood_for)
            nodes[name] = _shared(once, new)
        return nodes[name]

    found = {phase.name: node(phase.name) for phase in experiment.phases if phase.name not in arm.skip}
    for average in experiment.averages:
        if average.phase not in arm.skip:
            runs = _runs(experiment, by_name[average.phase], found[average.phase], average.seeds)
            found[average.name] = _shared(once, mean_of_runs(average.name, tuple(_shared(once, run) for run in runs)))
    return found


def _runs(experiment: Experiment, phase: Phase, like: PhaseNode, seeds: Iterable[int]) -> Iterable[PhaseNode]:
    """A phase with each of these seeds."""
    for seed in seeds:
        own = _phase_node(experiment, phase.model_copy(update={"seed": seed}), like.parent)
        yield dataclasses.replace(own, stands_for=like.stands_for)


def _shared(once: dict[str, PhaseNode], new: PhaseNode) -> PhaseNode:
    """The node that was the first of its kind; one that keeps more than its weights is scored more often."""
    return once.setdefault(f"{new.key} and more" if new.keeps_also else new.key, new)


def _phase_node(experiment: Experiment, phase: Phase, parent: PhaseNode | None) -> PhaseNode:
    world = WorldNode(experiment.world) if experiment.world else None
    tokenizer: TokenizerNode | str | None = experiment.tokenizer.path
    if experiment.tokenizer.vocab_size:
        tokenizer = TokenizerNode(experiment.tokenizer.vocab_size, experiment.text, world)

    def of(one: Phase) -> PhaseNode:
        split, masked_lm = specs(experiment, task(one.tasks[0])), task(one.tasks[0]).head.kind == "mlm"
        return PhaseNode(
            phase=one,
            seed=experiment.seed if phase.seed is None else phase.seed,
            model=experiment.model,
            parent=parent,
            tokenizer=tokenizer,
            world=world,
            text=experiment.text if masked_lm else None,
            train="text" if masked_lm else split["train"] or "train",
            select=split["select"] if one.selection else None,
        )

    parts = tuple(of(one) for one in members(phase))
    if len(parts) == 1:
        return parts[0]
    text = experiment.text if any(part.text for part in parts) else None
    return dataclasses.replace(parts[0], phase=phase, text=text, train="", select=None, mixed=parts)


def _evaluations(experiment: Experiment, arm: Arm, phases: dict[str, PhaseNode]) -> Iterable[EvalNode]:
    by_name = {phase.name: phase for phase in experiment.phases}
    of_mean = {average.name: average.phase for average in experiment.averages}
    for evaluation in experiment.evaluations:
        for name in evaluation.tasks:
            # Retrieval needs no head, so where its phase is skipped the one before it is scored instead: that is what
            # the skipped phase is compared with.
            retrieval = task(name).head.kind == "embedding"
            own = of_mean.get(evaluation.phase, evaluation.phase)
            phase = nearest(by_name, own, arm.skip) if retrieval and own in arm.skip else evaluation.phase
            if phase in phases:
                node = phases[phase]
            elif phase is None and experiment.model.weights:  # the first phase is skipped: before it stand the weights
                node = pretrained(_phase_node(experiment, by_name[own], None))
            else:
                continue
            langs = languages(experiment, name, evaluation.langs)
            split = specs(experiment, task(name))
            select = split["select"] if retrieval else None
            clean = EvalNode(node, name, split["test"] or "test", langs, evaluation, select)
            for also in (False, True) if node.keeps_also else (False,):
                for perturbation in (None, *_perturbations(evaluation.perturb)):
                    yield dataclasses.replace(clean, perturbation=perturbation, also=also)


def _perturbations(perturb: Perturb | None) -> Iterable[Perturbation]:
    for kind in perturb.kinds if perturb else ():
        switch = (perturb.dictionary, perturb.switch_to) if kind == "code_switch" else (None, None)
        for strength in perturb.strengths:
            yield Perturbation(kind, strength, perturb.seed, *switch)


def in_order(roots: Iterable[Node]) -> list[Node]:
    """The nodes with all that they need, each after what it needs and equal ones once."""
    done: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for parent in node.parents:
            visit(parent)
        twin = done.get(node.key)
        if isinstance(twin, EvalNode) and isinstance(node, EvalNode):
            node = _with_langs(twin, node.langs)
        if not (isinstance(twin, PhaseNode) and twin.keeps_also):
            done[node.key] = node

    for root in roots:
        visit(root)
    return list(done.values())


def _with_langs(node: EvalNode, langs: tuple[str, ...]) -> EvalNode:
    return dataclasses.replace(node, langs=tuple(dict.fromkeys(node.langs + langs)))
