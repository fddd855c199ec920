"""What is asked for of a graph: all of it, one node, or those of some names, each with what it needs."""

import fnmatch
from collections.abc import Iterable

from xlmr_flax.errors import InputError
from xlmr_flax.graph.build import Graph
from xlmr_flax.graph.nodes import Node


def wanted(graph: Graph, *, only: str | None, key: str | None) -> list[Node]:
    """The nodes of a key or of a pattern on names, each after what it needs; all of them when neither is given."""
    if key is not None:
        chosen = [node for node in graph.nodes if node.key.startswith(key) or f"{node.name}-{node.key}" == key]
        if len(chosen) != 1:
            found = "several nodes have keys that begin so" if chosen else "no node has this key; there are"
            known = ", ".join(f"{node.name}-{node.key}" for node in chosen or graph.nodes)
            raise InputError(f"--phase {key}: {found}: {known}")
    elif only is not None:
        names: dict[str, set[str]] = {node.key: {node.name} for node in graph.nodes}
        for one in graph.scored if graph.studied else ():
            names[one.node.key].add(one.arm)
        chosen = [node for node in graph.nodes if fnmatch.filter(names[node.key], only)]
        if not chosen:
            known = sorted(set().union(*names.values()))
            raise InputError(f"--only {only}: matches none of {', '.join(known)}")
    else:
        return list(graph.nodes)
    needed = {node.key for node in _with_parents(chosen)}
    return [node for node in graph.nodes if node.key in needed]


def _with_parents(nodes: Iterable[Node]) -> Iterable[Node]:
    for node in nodes:
        yield node
        yield from _with_parents(node.parents)
