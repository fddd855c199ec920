"""Computes a graph's nodes on this machine, in order; whatever is done is passed over."""

import fnmatch
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.data.examples import text_fingerprints
from xlmr_flax.data.tokenizer import train_tokenizer
from xlmr_flax.errors import InputError, listed
from xlmr_flax.execute.context import Context, write_json
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.execute.phase import run_phase
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.nodes import EvalNode, Node, PhaseNode, TokenizerNode, WorldNode
from xlmr_flax.model import hub
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.text import text_rows
from xlmr_flax.train.loop import Stop


def run_nodes(graph: Graph, context: Context, *, only: str | None = None, key: str | None = None) -> None:
    """Computes every node that is missing, or those that are asked for with what they need.

    Raises InputError before anything is written when files, weights or sizes are wrong.
    """
    nodes = wanted(graph, only=only, key=key)
    preflight(nodes, context)
    with Stop().listening() as stop:
        for node in nodes:
            run_node(node, context, stop)


def wanted(graph: Graph, *, only: str | None, key: str | None) -> list[Node]:
    """The nodes of a key or of a pattern on names, each after what it needs; all of them when neither is given."""
    if key is not None:
        node = graph.find(key)
        if node is None:
            known = ", ".join(f"{node.name}-{node.key}" for node in graph.nodes)
            raise InputError(f"--phase {key}: no node has this key; there are: {known}")
        chosen = [node]
    elif only is not None:
        chosen = [node for node in graph.nodes if fnmatch.fnmatch(node.name, only)]
        if not chosen:
            raise InputError(f"--only {only}: matches none of {', '.join(sorted({node.name for node in graph.nodes}))}")
    else:
        return list(graph.nodes)
    needed = {node.key for node in _with_parents(chosen)}
    return [node for node in graph.nodes if node.key in needed]


def run_node(node: Node, context: Context, stop: Stop) -> None:
    """Computes one node whose parents are done."""
    folder = context.folders.of(node)
    match node:
        case WorldNode():
            if not (folder / "DONE").is_file():
                context.say(f"world: {', '.join(('en', *node.settings.languages))} → {folder}")
                write_world(node.settings, folder)
                write_json(folder / "DONE", {"key": node.key})
        case TokenizerNode():
            if not (folder / "DONE").is_file():
                data = context.folders.of(node.world) if node.world else context.folders.data
                found = text_rows(node.text, data)
                context.say(f"tokenizer: {node.vocab_size} words from {len(found):,} texts → {folder}")
                train_tokenizer((row.text for row in found), node.vocab_size, folder)
                write_json(folder / "DONE", {"key": node.key, "sources": text_fingerprints(node.text, data)})
        case PhaseNode():
            run_phase(node, context, stop)
        case EvalNode():
            run_evaluation(node, context)


def preflight(nodes: Iterable[Node], context: Context) -> None:
    """Reads every file that will be needed and is there already; names all that is wrong with them at once."""
    problems = []
    for check in dict.fromkeys(_checks(nodes)):
        try:
            check.run(context.folders.data)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise listed(list(dict.fromkeys(problems)))


class _Rows(NamedTuple):
    task: str
    spec: str
    lang: str

    def run(self, data: Path) -> None:
        rows(task(self.task), self.spec, self.lang, data)


class _Text(NamedTuple):
    text: TextFiles

    def run(self, data: Path) -> None:
        text_rows(self.text, data)


class _Weights(NamedTuple):
    weights: str
    revision: str

    def run(self, data: Path) -> None:
        hub.architecture(hub.resolve(self.weights, revision=self.revision))


def _checks(nodes: Iterable[Node]) -> Iterator[_Rows | _Text | _Weights]:
    for node in nodes:
        if isinstance(node, PhaseNode) and node.root.model.weights:
            yield _Weights(node.root.model.weights, node.root.model.revision or "main")
        if isinstance(node, PhaseNode) and not node.world:
            if node.text:
                yield _Text(node.text)
            else:
                yield from (
                    _Rows(node.task, spec, task(node.task).train_lang) for spec in (node.train, node.select) if spec
                )
        if isinstance(node, TokenizerNode) and not node.world:
            yield _Text(node.text)
        if isinstance(node, EvalNode) and not node.phase.world:
            yield from (_Rows(node.task, node.split, lang) for lang in node.langs)


def _with_parents(nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _with_parents(node.parents)
