"""`plan`: an experiment's phases compiled for a slice that is not here, and what would make them fit or run faster."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from rich.console import Console

from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import InputError
from xlmr_flax.execute.measured import estimate_path
from xlmr_flax.execute.phase_programs import Work, eval_programs, train_programs, work
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import PhaseNode, key_of
from xlmr_flax.plan.chips import slice_name, slice_of
from xlmr_flax.plan.compiler import Compiler, bytes_a_device, compiler
from xlmr_flax.plan.figures import Program, phase_figures, program
from xlmr_flax.plan.search import REMATS, Ask, Layout, Outcome, layouts, search
from xlmr_flax.plan.table import print_outcomes, print_phases, print_programs
from xlmr_flax.report.ahead import Slice, hours_path
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import write_json
from xlmr_flax.train.state import abstract_state

Say = Callable[[str], None]


class Plan(NamedTuple):
    """What was found of an experiment on a slice."""

    compiler: Compiler
    programs: list[Program]
    phases: list[dict[str, Any]]
    told: list[str]  # sentences: what does not fit, and what would
    searched: dict[str, list[Outcome]]  # by phase, best first

    def as_json(self) -> dict[str, Any]:
        """The figures for scripts; None is unknown."""
        slice_ = self.compiler.slice_
        found = {
            "libtpu": self.compiler.version,
            "jax": jax.__version__,
            "topology": slice_.name,
            "chips": slice_.chips,
            "programs": [one.as_json() for one in self.programs],
            "phases": self.phases,
        }
        if self.searched:
            found["search"] = {phase: [_outcome(one) for one in outcomes] for phase, outcomes in self.searched.items()}
        return found

    def print(self, out: Console) -> None:
        """The figures for people."""
        slice_ = self.compiler.slice_
        several = f"{slice_.slices} slices of " if slice_.slices > 1 else ""
        out.print(
            f"{several}{slice_.name}, {slice_.chips} chips · libtpu {self.compiler.version} · "
            "times are the compiler's estimates, not a chip's clock",
            highlight=False,
        )
        for phase, outcomes in self.searched.items():
            print_outcomes(phase, outcomes, out)
        print_programs(self.programs, out)
        print_phases(self.phases, self.programs, out)
        for sentence in self.told:
            out.print(sentence, highlight=False, markup=False, soft_wrap=True)


def run_plan(
    graph: Graph,
    folders: Folders,
    *,
    topology: str,
    slices: int,
    phase: str | None,
    searching: bool,
    price: float | None,
    hlo: Path | None,
    say: Say,
) -> Plan:
    """Compiles all programs of the experiment's phases, or of one, for a slice."""
    nodes, tpu = phases(graph, phase), compiler(slice_of(topology, slices), local_of(folders.cache))
    if not searching:
        tpu.mesh(graph.experiment.mesh)  # refuses what does not fit the slice
    planner = _Planner(graph, folders, tpu, tpu.hbm_limit(), say)
    plan = Plan(tpu, [], [], [], {})
    for one in [work(node, folders) for node in nodes]:
        experiment = graph.experiment_of(one.node)
        planner = planner._replace(graph=graph._replace(experiment=experiment))
        planner.tell_lengths(one)
        if searching:
            planner.search(one, plan)
        else:
            planner.compile(one, plan)
        plan.phases.append(phase_figures(one.node.name, one.steps, plan.programs, chips=tpu.slice_.chips, price=price))
        if not searching and (hours := plan.phases[-1]["hours"]) is not None:
            on = Slice(slice_name(tpu.slice_), folders.cache)
            write_json(hours_path(_own(one.node), experiment, on), {"hours": hours, "steps": one.steps})
    if hlo:
        written(plan.programs, hlo)
    return plan


def phases(graph: Graph, only: str | None) -> list[PhaseNode]:
    """The experiment's phases, one of each name; of a study one of each that takes another time, with its tasks' names.

    Raises InputError that lists the names.
    """
    nodes: dict[str, PhaseNode] = {}
    for node in graph.nodes:
        if isinstance(node, PhaseNode) and node.trains:
            program = key_of(**node.program(graph.experiment_of(node))) if graph.studied else ""
            nodes.setdefault(f"{node.name} {program}", node)
    names = list(dict.fromkeys(node.name for node in nodes.values()))
    if only is not None and only not in names:
        raise InputError(f"--phase {only}: no such phase; {graph.experiment.name} has {', '.join(names)}")
    found = [node for node in nodes.values() if only in (None, node.name)]
    return _told_apart(found) if graph.studied else found


def _told_apart(nodes: Sequence[PhaseNode]) -> list[PhaseNode]:
    """Phases of one name by their tasks, and by a number where these are the same."""
    seen: Counter[str] = Counter()
    found = []
    for node in nodes:
        name = f"{node.name}: {'+'.join(node.tasks)}"
        seen[name] += 1
        found.append(_named(node, f"{name} ({seen[name]})" if seen[name] > 1 else name))
    return found


def _named(node: PhaseNode, name: str) -> PhaseNode:
    return dataclasses.replace(node, phase=node.phase.model_copy(update={"name": name}))


def _own(node: PhaseNode) -> PhaseNode:
    """The phase under the name that it has in its config, where no colon may stand."""
    return _named(node, node.name.partition(":")[0])


def written(found: list[Program], folder: Path) -> list[Path]:
    """Writes the optimised programs as text; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for one in found:
        if one.built.text is not None:
            task = f".{one.shape.task}" if one.shape.task else ""
            path = folder / f"{one.phase}{task}.{one.step}.{one.shape.rows}x{one.shape.length}.txt"
            path.write_text(one.built.text, encoding="utf-8")
            files.append(path)
    return files


class _Planner(NamedTuple):
    """One experiment on one slice."""

    graph: Graph
    folders: Folders
    compiler: Compiler
    limit: int  # a device's memory
    say: Say

    def tell_lengths(self, one: Work) -> None:
        """Says so where the lengths of the examples are not known."""
        for part in (part for part in one.parts if not part.real):
            of = f" of {part.node.task}" if one.node.mixed else ""
            self.say(
                f"{one.node.name}: no encoded examples{of} here, so every one counts as {part.node.phase.length} "
                "tokens; with the phase's files in the data folder and its tokenizer, their lengths are used"
            )

    def compile(self, one: Work, plan: Plan) -> None:
        """All programs of a phase as it is configured."""
        experiment = self.graph.experiment
        mesh, name = self.compiler.mesh(experiment.mesh), one.node.name
        found = [("train", *pair) for pair in train_programs(one, experiment, mesh)]
        found += [("eval", *pair) for pair in eval_programs(one, self.graph, self.folders, mesh)]
        for step, shape, lowered in found:
            self.say(f"{name}: {step} step{f' of {shape.task}' * bool(shape.task)}, {shape.rows} x {shape.length}")
            built = self.compiler.build(lowered)
            plan.programs.append(program(name, step, shape, built, self.compiler.slice_, self.limit))
        mine = [each for each in plan.programs if each.phase == name]
        self._keep(one.node, mesh, mine)
        plan.told.extend(self._crashed(each) for each in mine if each.built.fits is None)
        if large := [each for each in mine if each.built.fits is False]:
            plan.told.append(self._too_much(one, max(large, key=lambda each: each.built.hbm_bytes or 0)))

    def _keep(self, node: PhaseNode, mesh: Mesh, found: list[Program]) -> None:
        """Keeps the figures of a phase's training steps for a run of it on such a slice."""
        trained = [
            {
                "rows": each.shape.rows,
                "length": each.shape.length,
                "step_seconds": each.step_seconds,
                "hbm_bytes": each.built.hbm_bytes,
            }
            for each in found
            if each.step == "train"
        ]
        path = estimate_path(_own(node), self.graph.experiment, mesh, self.folders.cache)
        write_json(path, {"libtpu": self.compiler.version, "topology": self.compiler.slice_.name, "programs": trained})

    def search(self, one: Work, plan: Plan) -> None:
        """The fastest layout of a phase's most frequent training step."""
        phase, name = one.node.phase, one.node.name
        split = one.arch.num_attention_heads if one.arch.intermediate_size % one.arch.num_attention_heads == 0 else 1
        slice_ = self.compiler.slice_
        stages = layouts(
            slice_.devices,
            phase.batch_size,
            slices=slice_.slices,
            layers_split=split,
            accumulation=phase.accumulation,
            scan_layers=bool(self.graph.experiment.model.scan_layers),
        )
        ask = Ask(
            build=lambda layout, layers: self._trained(one.with_layers(layers), layout),
            least=functools.cache(lambda layout, layers: self._least(one.with_layers(layers), layout)),
            layers=one.arch.num_hidden_layers,
            limit=self.limit,
            say=self.say,
        )
        outcomes = search(stages, ask)
        plan.searched[name] = outcomes
        best = outcomes[0] if outcomes else None
        if best is None or not best.fits or best.whole is None:
            plan.told.append(f"{name}: nothing that was tried fits {self.compiler.slice_.name}; take more chips")
            return
        plan.programs.append(best.whole)
        plan.told.append(f"\nfastest for {name}:\n\n{best.layout.toml(name)}")

    def _least(self, one: Work, layout: Layout) -> int | None:
        """Bytes of a phase's training state on a device, and of its layers where they are gathered once and kept.

        None: the sizes do not split over the mesh.
        """
        changed, part = laid_out(self.graph.experiment, layout), one.parts[0]
        mesh = self.compiler.mesh(changed.mesh)
        model = part.trained(changed, mesh)
        try:
            state = abstract_state(model, one.node.phase.optim, mesh)
        except InputError:
            return None
        kept = bytes_a_device(state)
        if layout.fsdp > 1 and not layout.reshard_after_forward:
            weights = sum(leaf.size for leaf in jax.tree.leaves(state.params["encoder"]["layers"]))
            kept += weights * model.dtype.itemsize // layout.tensor
        return kept

    def _crashed(self, one: Program) -> str:
        return (
            f"{one.phase}: libtpu {self.compiler.version} crashed while it compiled the {one.step} step of "
            f"{one.shape.rows} x {one.shape.length}, whose figures are unknown; another version may not"
        )

    def _too_much(self, one: Work, large: Program) -> str:
        """One sentence: how much is over, and which single change makes it fit."""
        gib, chip = 2**30, self.compiler.slice_.chip
        over = ((large.built.hbm_bytes or 0) - self.limit) * chip.devices / gib
        told = (
            f"{one.node.name}: the {large.step} step of {large.shape.rows} x {large.shape.length} does not fit: "
            f"{over:.2f} GiB more than the {self.limit * chip.devices / gib:.2f} GiB of a chip"
        )
        if large.step == "train":
            for change, layout in self._changes(one):
                self.say(f"{one.node.name}: with {change}?")
                if self._trained(one, layout).built.fits:
                    return f"{told}; with {change} it fits"
        return f"{told}; no single change of remat, fsdp or accumulation makes it fit: try --search, or more chips"

    def _changes(self, one: Work) -> list[tuple[str, Layout]]:
        """Single changes of the configured layout, the cheapest to run first."""
        experiment, phase, devices = self.graph.experiment, one.node.phase, self.compiler.slice_.devices
        mesh = experiment.mesh
        now = layout_of(experiment, phase.accumulation)
        found = []
        for fsdp in (n for n in (2, 4, 8, 16, 32, 64, 128, 256) if n > mesh.fsdp):
            if devices // self.compiler.slice_.slices % (fsdp * mesh.tensor) == 0:
                found.append((f"mesh.fsdp={fsdp}", now._replace(fsdp=fsdp)))
        if mesh.fsdp > 1 and not now.reshard_after_forward:
            found.append(("mesh.reshard_after_forward=true", now._replace(reshard_after_forward=True)))
        more = REMATS[REMATS.index(now.remat) + 1 :]
        found += [(f"model.remat={remat}", now._replace(remat=remat)) for remat in more]
        for count in (n for n in (2, 4, 8, 16) if n > phase.accumulation):
            if phase.batch_size % count == 0 and (phase.batch_size // count) % (devices // mesh.tensor) == 0:
                found.append((f"phases.{phase.name}.accumulation={count}", now._replace(accumulation=count)))
        return found

    def _trained(self, one: Work, layout: Layout) -> Program:
        """A phase's most frequent training step in another layout, compiled."""
        changed = laid_out(self.graph.experiment, layout)
        mesh, work_ = self.compiler.mesh(changed.mesh), one.accumulating(layout.accumulation)
        shape, lowered = next(train_programs(work_, changed, mesh))
        built = self.compiler.build(lowered)
        return program(one.node.name, "train", shape, built, self.compiler.slice_, self.limit)


def layout_of(experiment: Experiment, accumulation: int) -> Layout:
    """How the experiment is laid out, on a TPU."""
    model, mesh = experiment.model, experiment.mesh
    return Layout(
        mesh.fsdp, mesh.tensor, model.remat, accumulation, bool(model.scan_layers), mesh.reshard_after_forward
    )


def laid_out(experiment: Experiment, layout: Layout) -> Experiment:
    """The experiment with another layout; accumulation is a phase's."""
    sizes = {"data": None, "fsdp": layout.fsdp, "tensor": layout.tensor}
    mesh = experiment.mesh.model_copy(update=sizes | {"reshard_after_forward": layout.reshard_after_forward})
    model = experiment.model.model_copy(update={"remat": layout.remat, "scan_layers": layout.scan_layers})
    return experiment.model_copy(update={"mesh": mesh, "model": model})


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        **one.layout._asdict(),
        "fits": one.fits,
        "extrapolated_step_seconds": one.seconds,
        "extrapolated_hbm_bytes": one.hbm_bytes,
        "step_seconds": one.whole.step_seconds if one.whole else None,
        "hbm_bytes": one.whole.built.hbm_bytes if one.whole else None,
    }
