"""Computes a graph's nodes on this machine, in order; whatever is done is passed over."""

import contextlib
import functools
from collections.abc import Iterable

from xlmr_flax.data.tokenizer import train_tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.execute.averages import average_runs
from xlmr_flax.execute.context import Context, told_when_full
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.execute.failures import Failures
from xlmr_flax.execute.phase import run_phase
from xlmr_flax.execute.preflight import preflight
from xlmr_flax.execute.pretrained import hand_over
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.nodes import EvalNode, Node, PhaseNode, TokenizerNode, WorldNode, folder_name, is_done
from xlmr_flax.graph.origins import also_sources_of, scored_files, sources_of
from xlmr_flax.graph.wanted import wanted
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.storage.holding import held
from xlmr_flax.storage.places import create, filled, json_text
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.fingerprints import text_fingerprints
from xlmr_flax.tasks.text import text_rows
from xlmr_flax.train import processes
from xlmr_flax.train.loop import Stop


def run_nodes(graph: Graph, context: Context, *, only: str | None = None, key: str | None = None) -> None:
    """Computes every node that is missing, or those that are asked for with what they need.

    Raises InputError before anything is written when files, weights or sizes are wrong; and at the end TrainingError,
    when nodes failed, after all that does not need them.
    """
    failures = Failures(context)
    nodes = wanted(graph, only=only, key=key)
    ground = [node for node in nodes if isinstance(node, WorldNode | TokenizerNode)]
    with processes.in_turn("checks before the run"):
        preflight(nodes, context)
    with Stop().listening() as stop:
        for node in ground:
            run_node(node, context.at(node), stop)
        if ground:  # now that they are there, the rest can be checked: not at hour six
            with processes.in_turn("checks of what was made"):
                preflight(nodes, context)
        processes.agree("data", functools.partial(data_files, nodes, context))
        for node in nodes:
            if node not in ground and not failures.block(node):
                with failures.kept(node):
                    run_node(node, context.at(node), stop)
    failures.tell()


@told_when_full
def run_node(node: Node, context: Context, stop: Stop) -> None:
    """Computes one node whose parents are done; waits where another run does."""
    name = folder_name(node)
    with contextlib.ExitStack() as stack:
        # One process of a run holds for all; and of what is done, what it was made from may have changed.
        if processes.is_writer() and not is_done(node, context.folders.runs):
            holder = context.folders.holder_of(node)
            stack.enter_context(held(holder, name, say=context.say, is_asked=lambda: stop.asked))
        processes.barrier(f"{name} is ours", processes.BUILD_SECONDS)
        _compute(node, context, stop)


def _compute(node: Node, context: Context, stop: Stop) -> None:
    match node:
        case WorldNode() | TokenizerNode():
            processes.by_writer(f"{folder_name(node)} made", functools.partial(_make_ground, node, context))
        case PhaseNode(untrained=True):
            hand_over(node, context)
        case PhaseNode() if node.averaged:
            average_runs(node, context)
        case PhaseNode():
            run_phase(node, context, stop)
        case EvalNode():
            run_evaluation(node, context, stop)


def data_files(nodes: Iterable[Node], context: Context) -> dict[str, str]:
    """The content hash of every file that the nodes read and that no other node has written."""
    found = {}
    for node in nodes:
        if isinstance(node, PhaseNode) and not node.world and node.trains:
            found |= sources_of(node, context.folders) | also_sources_of(node, context.folders)
        if isinstance(node, EvalNode) and not node.phase.world:
            for lang in node.langs:
                found |= scored_files(task(node.task), node, lang, context.folders.data_of(node.phase))
    return found


def _make_ground(node: WorldNode | TokenizerNode, context: Context) -> None:
    """Writes a world or trains a tokenizer, unless it is there."""
    folder = context.folders.of(node)
    if (folder / "DONE").is_file():
        return
    if isinstance(node, WorldNode):
        context.say(f"world: {', '.join(('en', *node.settings.languages))} → {folder}")
        with filled(folder) as new:
            write_world(node.settings, new)
        create(folder / "DONE", json_text({"key": node.key}))
        return
    data = context.folders.of(node.world) if node.world else context.folders.data
    found = text_rows(node.text, data)
    context.say(f"tokenizer: {node.vocab_size} words from {len(found):,} texts → {folder}")
    try:
        with filled(folder) as new:
            train_tokenizer((row.text for row in found), node.vocab_size, new)
    except InputError as error:
        raise InputError(f"tokenizer.vocab_size={node.vocab_size}: {error}") from None
    create(folder / "DONE", json_text({"key": node.key, "sources": text_fingerprints(node.text, data)}))
