"""What a run will come to, said before anything is computed: phases, steps, disk."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError
from rich import box
from rich.console import Console
from rich.table import Table

from xlmr_flax.config.architecture import XLMR_VOCABULARY, Architecture
from xlmr_flax.config.schema import Experiment, Model, Phase
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.check import architecture
from xlmr_flax.graph.mixture import steps_of_mixture
from xlmr_flax.graph.nodes import PhaseNode, TokenizerNode, folder_name, is_done, key_of
from xlmr_flax.graph.told import told_examples
from xlmr_flax.storage.places import look

BYTES = 4  # of a parameter; Adam's two moments take as much again each
# The released XLM-Rs by the shapes that they have (model cards of facebook on the hub).
RELEASED: Mapping[str, str] = {
    "xlm-roberta-base": "base", "xlm-roberta-large": "large", "xlm-roberta-xl": "xl", "xlm-roberta-xxl": "xxl",
}  # fmt: skip
ALL = "all"
XL_VOCABULARY = 250_880  # of XL and XXL


class Slice(NamedTuple):
    """Where hours are asked for, and where `plan` has left what it found."""

    name: str
    cache: Path


class Ahead(NamedTuple):
    """The phases of one name."""

    name: str
    count: int
    done: int
    steps: int  # of those that are missing, where they are known
    unknown: int  # missing ones whose steps the data decide, which are not looked at
    weights: int | None  # bytes that all of them keep in the end
    working: int | None  # bytes that the largest has beside, while it runs
    hours: float = 0.0  # of the missing ones that `plan` has estimated
    without_hours: int = 0  # missing ones that it has not


def print_ahead(graph: Graph, runs: Path, out: Console, on: Slice | None = None) -> None:
    """Phases by name with what they need, what is shared, and in a study how many runs there are.

    With a slice, the hours that `plan` has estimated for it: unknown where it has not.
    """
    found = ahead(graph, runs, on)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("phase")
    for column in ("phases", "done", "steps to run", "weights kept", "and while one runs"):
        table.add_column(column, justify="right")
    if on:
        table.add_column(f"hours on {on.name}", justify="right")
    for one in [*found, _together(found)] if len(found) > 1 else found:
        if one.name == ALL:
            table.add_section()
        cells = (one.name, f"{one.count:,}", f"{one.done:,}", _steps(one), _size(one.weights))
        table.add_row(*cells, "" if one.name == ALL else _size(one.working), *([_hours(one)] if on else []))
    out.print(table)
    if on and any(one.without_hours for one in found):
        told = f"xlmr-flax plan CONFIG --topology {on.name}"
        out.print(f"hours are known of what was planned: {told}, with the data there", highlight=False, soft_wrap=True)
    for line in (*_told(graph), *_shared(graph)):
        out.print(line, highlight=False, soft_wrap=True)


def _together(found: Sequence[Ahead]) -> Ahead:
    """All phases as one line."""
    weights = [one.weights for one in found]
    return Ahead(
        ALL,
        sum(one.count for one in found),
        sum(one.done for one in found),
        sum(one.steps for one in found),
        sum(one.unknown for one in found),
        None if None in weights else sum(one or 0 for one in weights),
        None,
        sum(one.hours for one in found),
        sum(one.without_hours for one in found),
    )


def hours_path(node: PhaseNode, experiment: Experiment, on: Slice) -> Path:
    """Where `plan` leaves the hours of phases like this one on a slice."""
    named = key_of(slice=on.name, **node.program(experiment))
    return on.cache / "plans" / f"{node.tasks[0]}-{named}.hours.json"


def ahead(graph: Graph, runs: Path, on: Slice | None = None) -> list[Ahead]:
    """The phases by their names, in the order of the graph."""
    by_name: dict[str, list[PhaseNode]] = {}
    for node in graph.nodes:
        if isinstance(node, PhaseNode):
            by_name.setdefault(node.name, []).append(node)
    return [_of(graph, name, nodes, runs, on) for name, nodes in by_name.items()]


def _of(graph: Graph, name: str, nodes: Sequence[PhaseNode], runs: Path, on: Slice | None) -> Ahead:
    missing = [node for node in nodes if not is_done(node, runs)]
    steps = [steps_known(node) for node in missing]
    sizes = [None if (size := parameters(node)) is None else size * (1 + node.keeps_also) for node in nodes]
    kept = [_working(graph, node) for node in missing]
    hours = [_hours_of(graph, node, on) for node in missing] if on else []
    return Ahead(
        name,
        len(nodes),
        len(nodes) - len(missing),
        sum(one or 0 for one in steps),
        sum(one is None for one in steps),
        None if None in sizes else BYTES * sum(one or 0 for one in sizes),
        None if None in kept else max((one or 0 for one in kept), default=0),
        sum(one or 0.0 for one in hours),
        sum(one is None for one in hours),
    )


def _hours_of(graph: Graph, node: PhaseNode, on: Slice) -> float | None:
    """What `plan` found, where it could."""
    if not node.trains:
        return 0.0
    seen = look(hours_path(node, graph.experiment_of(node), on))
    return json.loads(seen.content)["hours"] if seen else None


def _working(graph: Graph, node: PhaseNode) -> int | None:
    """The checkpoints of a running phase, with optimizer state: the newest ones, and those that it may hand over."""
    size, phase = parameters(node), node.phase
    if not node.trains:
        return 0
    handed_over = phase.average.checkpoints if phase.average else bool(phase.selection) + node.keeps_also
    checkpoints = graph.experiment_of(node).save.keep + handed_over
    return None if size is None else 3 * BYTES * size * checkpoints


def steps_known(node: PhaseNode) -> int | None:
    """The steps of a phase where no data are needed to know them: set, or of so many examples of a generated world."""
    if not node.trains:
        return 0
    added = [steps_known(one) for one in node.stands_for]
    own = _own_steps(node)
    return None if own is None or None in added else own + sum(one or 0 for one in added)


def _own_steps(node: PhaseNode) -> int | None:
    """Its steps without those of phases that it stands for."""
    phase = node.phase
    if phase.steps:
        return phase.steps
    sizes = [_taken(part, phase) for part in node.members]
    if None in sizes or phase.epochs is None:
        return None
    if node.mixed:
        return steps_of_mixture(phase, tuple(size or 0 for size in sizes))
    return max(1, math.ceil((sizes[0] or 0) * phase.epochs / phase.batch_size))


def _taken(part: PhaseNode, phase: Phase) -> int | None:
    """How many examples a task of a phase takes; text counts nothing where masked LM has a share of its own."""
    if part.text:
        return 0 if len(phase.tasks) > 1 and phase.mixture.mlm_frac else None
    examples = told_examples(part.world.settings, part.task, part.train) if part.world else None
    return None if examples is None else int(min(examples * len(part.langs), phase.max_examples or math.inf))


def parameters(node: PhaseNode) -> int | None:
    """The parameters of a phase's encoder; None where the shape of its weights is not known without them."""
    vocabulary = node.tokenizer.vocab_size if isinstance(node.tokenizer, TokenizerNode) else None
    arch = _shape(node.root.model, vocabulary)
    if arch is None:
        return None
    width, inner = arch.hidden_size, arch.intermediate_size
    embedded = (arch.vocab_size + arch.max_position_embeddings + arch.type_vocab_size + 2) * width
    layer = 4 * (width * width + width) + 2 * width * inner + inner + width + 4 * width
    return embedded + arch.num_hidden_layers * layer


def _shape(model: Model, vocabulary: int | None) -> Architecture | None:
    """The shape of a preset, of a released model, or of a folder's config.json."""
    if not model.weights:
        return architecture(model, vocabulary or XLMR_VOCABULARY)
    released = RELEASED.get(model.weights.rstrip("/").split("/")[-1])
    if released:
        size = XL_VOCABULARY if released.startswith("x") else XLMR_VOCABULARY
        return architecture(Model(preset=released), size)
    try:
        told = json.loads((Path(model.weights) / "config.json").read_text(encoding="utf-8"))
        return Architecture.model_validate({name: told[name] for name in Architecture.model_fields if name in told})
    except (OSError, ValueError, TypeError, ValidationError):
        return None  # told by the run, which needs them


def _told(graph: Graph) -> Iterable[str]:
    studied = graph.studied
    if studied is None:
        return
    if len(graph.nodes) < len(studied.experiments):
        yield f"{len(graph.nodes):,} of the study's {len(studied.experiments):,} parts, as it was asked for"
        return
    sizes = " × ".join(f"{len(axis.values)} {axis.name}" for axis in studied.study.axes)
    phases = sum(isinstance(node, PhaseNode) for node in graph.nodes)
    alike = studied.combinations - studied.runs
    dropped = math.prod(len(axis.values) for axis in studied.study.axes) - studied.combinations
    yield (
        f"{studied.runs:,} runs: {sizes}"
        + (f"; {alike:,} of the combinations come to the same as others" if alike else "")
        + (f"; {dropped:,} are excluded" if dropped else "")
    )
    yield f"{phases:,} phases; {studied.unshared:,} without sharing"


def _shared(graph: Graph) -> Iterable[str]:
    """How many phases serve several others, and which serves most."""
    children: dict[str, set[str]] = {}
    for node in graph.nodes:
        if isinstance(node, PhaseNode) and node.parent and not node.averaged:
            children.setdefault(folder_name(node.parent), set()).add(node.key)
    shared = {name: len(keys) for name, keys in children.items() if len(keys) > 1}
    if shared:
        most = max(shared, key=lambda name: shared[name])
        others = f"{len(shared):,} phases are" if len(shared) > 1 else "one phase is"
        yield f"{others} trained once for several that start there; {shared[most]:,} start from {most}"


def _steps(one: Ahead) -> str:
    if not one.unknown:
        return f"{one.steps:,}"
    return f"{one.steps:,} + those of {one.unknown:,} phases, unknown" if one.steps else "unknown"


def _hours(one: Ahead) -> str:
    if not one.without_hours:
        return f"{one.hours:,.1f}"
    return f"{one.hours:,.1f} + those of {one.without_hours:,} phases, unknown" if one.hours else "unknown"


def _size(size: int | None) -> str:
    if size is None:
        return "unknown"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size = size / 1000
    return f"{size:,.1f} TB"
