"""What every node needs to be computed: folders, devices, and where to speak."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from rich.console import Console

from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import TrainingError, no_room
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.nodes import Node, PhaseNode, TokenizerNode, folder_name
from xlmr_flax.model.hub import resolve
from xlmr_flax.train.sharding import make_mesh


@dataclass(frozen=True)
class Folders:
    """Where runs are written, data are read and encoded examples are kept: places as `storage` gives them."""

    runs: Path
    data: Path
    cache: Path

    def of(self, node: Node) -> Path:
        """A node's folder."""
        return self.runs / folder_name(node)

    def holder_of(self, node: Node) -> Path:
        """The file that names who computes a node."""
        return self.runs / ".holders" / f"{folder_name(node)}.json"

    def data_of(self, node: PhaseNode) -> Path:
        """The data folder, or the world that stands in its place."""
        return self.of(node.world) if node.world else self.data

    def tokenizer_of(self, node: PhaseNode) -> Path:
        """The folder of a phase's tokenizer: trained, given, or that of the weights."""
        if isinstance(node.tokenizer, TokenizerNode):
            return self.of(node.tokenizer)
        model = node.root.model
        return (
            resolve(node.tokenizer)
            if node.tokenizer
            else resolve(model.weights or "", revision=model.revision or "main")
        )


@dataclass(frozen=True)
class Context:
    """One run of an experiment on this machine."""

    experiment: Experiment
    folders: Folders
    console: Console
    profile: tuple[int, int] | None = None  # the first and the last step of each phase that a trace is wanted of
    graph: Graph | None = None  # of a study, whose nodes belong to several experiments

    def at(self, node: Node) -> "Context":
        """What a node is computed with, where each has an experiment of its own."""
        experiment = self.graph.experiment_of(node) if self.graph else self.experiment
        return self if experiment is self.experiment else dataclasses.replace(self, experiment=experiment)

    @cached_property
    def mesh(self) -> Mesh:
        """All devices, as the experiment lays them out."""
        return make_mesh(self.experiment.mesh)

    def say(self, text: str) -> None:
        """One line to whoever watches."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


def told_when_full(compute: Callable[..., None]) -> Callable[..., None]:
    """A node's computation, which raises TrainingError when the disk is full; what is there stays and is used."""

    @functools.wraps(compute)
    def told(node: Node, context: Context, *rest: Any) -> None:
        try:
            compute(node, context, *rest)
        except (OSError, ValueError) as error:
            if not no_room(error):
                raise
            raise TrainingError(
                f"{context.folders.of(node)}: no room is left on the disk; make some, and run the same command again: "
                "what is saved is whole, and used"
            ) from error

    return told
