"""The three places of a run, and where in them each node's files lie."""

from dataclasses import dataclass
from pathlib import Path

from xlmr_flax.graph.nodes import Node, PhaseNode, folder_name


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
