"""Whether a run has nothing left to do: known without jax, so that its table is there at once."""

from collections.abc import Iterable

from xlmr_flax.errors import InputError
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, Node, PhaseNode, is_done, read_scores
from xlmr_flax.graph.origins import also_sources_of, check_scored, check_sources, sources_of
from xlmr_flax.storage.places import names_in

SELECTED = "selected"  # begins the name of all that a finished phase keeps of its checkpoints


def is_finished(nodes: Iterable[Node], folders: Folders) -> bool:
    """Whether all is computed and tidied, from files that are still what they were.

    Where it is not, whoever computes the nodes says why.
    """
    nodes = list(nodes)
    if not all(is_done(node, folders.runs) for node in nodes):
        return False
    try:
        for node in nodes:
            _check_unchanged(node, folders)
    except InputError:
        return False
    return all(_is_tidy(node, folders) for node in nodes if isinstance(node, PhaseNode))


def _check_unchanged(node: Node, folders: Folders) -> None:
    match node:
        case PhaseNode() if node.trains:
            check_sources(folders.of(node), sources_of(node, folders), also_sources_of(node, folders))
        case EvalNode():
            check_scored(node, read_scores(folders.of(node)), folders)


def _is_tidy(node: PhaseNode, folders: Folders) -> bool:
    """Whether no checkpoint to go on from is left, as after a kill that came when DONE was written."""
    return all(name.startswith(SELECTED) for name in names_in(folders.of(node) / "checkpoints"))
