"""What every node needs to be computed: folders, devices, and where to speak."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jax.sharding import Mesh
from rich.console import Console

from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import TrainingError, no_room
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import Node
from xlmr_flax.train.sharding import make_mesh


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
