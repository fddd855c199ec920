"""Where a phase begins, or goes on: weights from its parent, from files or from nowhere, and what is said of them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from xlmr_flax.data.randomness import stream
from xlmr_flax.execute.context import Context
from xlmr_flax.graph.mixture import head_from
from xlmr_flax.graph.nodes import PhaseNode, folder_name
from xlmr_flax.model import hub, weights
from xlmr_flax.model.build import Model
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.checkpoint import Checkpoints, load_selected
from xlmr_flax.train.loop import Best
from xlmr_flax.train.mixture import abstract_state_of, initial_state_of
from xlmr_flax.train.processes import put
from xlmr_flax.train.state import State, abstract_params, initial_head, initial_params, parts_of, state_of

Models = Mapping[str, Model]


class Start(NamedTuple):
    """Where a phase begins or goes on."""

    state: State
    best: Best
    log: dict[str, Any] | None  # the row of the log that was under way


def start(node: PhaseNode, context: Context, models: Models, checkpoints: Checkpoints, *, seed: int) -> Start:
    """The newest checkpoint's state, or the first one: what is carried, fresh and dropped is said."""
    patience = node.phase.selection.patience if node.phase.selection else None
    like = abstract_state_of(models, node.phase.optim, context.mesh)
    restored = checkpoints.restore(parts_of(like))
    if restored is None:
        params = first_params(node, context, models, seed=seed)
        return Start(initial_state_of(models, node.phase.optim, context.mesh, params), Best(patience), None)
    context.say(f"{node.name}: continues at step {restored.step}")
    return Start(state_of(restored.parts), Best(patience, restored.progress["evaluations"]), restored.progress["log"])


def first_params(node: PhaseNode, context: Context, models: Models, *, seed: int) -> dict[str, Any]:
    """The weights that a phase starts from."""
    if node.parent:
        encoder, heads = _of_parent(node, node.parent, context, models, seed=seed)
    elif node.model.weights:
        encoder, heads = _of_files(node, context, models, seed=seed)
    else:
        encoder, heads = _of_nowhere(node, context, models, seed=seed)
    return {"encoder": encoder, "head": heads if node.mixed else heads[node.task]}


Drawn = tuple[Any, dict[str, Any]]  # the encoder, and heads by task


def _key(node: PhaseNode, seed: int, name: str = "") -> Any:
    """What fresh weights are drawn from: of a phase's runs all the same where it says so."""
    own = node.phase.init_seed
    return stream(seed if own is None else own, f"init {name}" if name else "init")


def _head_key(node: PhaseNode, name: str, seed: int) -> Any:
    """Several heads of one kind begin with weights of their own."""
    return _key(node, seed, name if node.mixed else "")


def _of_parent(node: PhaseNode, parent: PhaseNode, context: Context, models: Models, *, seed: int) -> Drawn:
    folder, encoder, heads = context.folders.of(parent) / "checkpoints", None, {}
    sources = {name: head_from(parent.tasks, name) if node.phase.keep_head else None for name in models}
    for name, model in models.items():
        like, source = abstract_params(model, context.mesh), sources[name]
        wanted = {"encoder": like["encoder"]} if encoder is None else {}
        if source is not None:
            wanted["head"] = {source: like["head"]} if parent.mixed else like["head"]
        found = load_selected(folder, wanted) if wanted else {}
        encoder = found.get("encoder", encoder)
        if source is None:
            heads[name] = initial_head(model, context.mesh, key=_head_key(node, name, seed))
        else:
            heads[name] = found["head"][source] if parent.mixed else found["head"]
    context.say(f"{node.name}: encoder carried from {folder_name(parent)} · {_told(node, parent, sources)}")
    return encoder, heads


def _told(node: PhaseNode, parent: PhaseNode, sources: Mapping[str, str | None]) -> str:
    """Which heads are carried, fresh and dropped: by their kind, and by task where there are several."""
    several = bool(node.mixed or parent.mixed)

    def name_of(name: str) -> str:
        return name if several else task(name).head.kind

    carried = [name_of(name) for name, source in sources.items() if source]
    fresh = [name_of(name) for name, source in sources.items() if not source]
    dropped = [name_of(name) for name in parent.tasks if name not in sources.values()]
    heads = (" head", " heads")
    told = [
        f"{', '.join(names)}{heads[len(names) > 1]} {what}"
        for names, what in ((carried, "carried"), (fresh, "fresh"))
        if names
    ]
    if dropped and not carried:
        told.append(f"dropped: its {', '.join(dropped)}{heads[len(dropped) > 1]}")
    elif dropped and several:
        told.append(f"dropped: {', '.join(dropped)}")
    return " · ".join(told)


def _of_files(node: PhaseNode, context: Context, models: Models, *, seed: int) -> Drawn:
    folder = hub.resolve(node.model.weights or "", revision=node.model.revision or "main")
    encoder, heads = None, {}
    for name, model in models.items():
        places = dict(weights.flat(abstract_params(model, context.mesh)))
        loaded = weights.load(
            folder,
            model,
            _head_key(node, name, seed),
            head=node.phase.keep_head,
            parts=("encoder", "head") if encoder is None else ("head",),
            put=lambda path, array, places=places: put(array, places[path].sharding),
        )
        encoder = loaded.params.get("encoder", encoder)
        heads[name] = loaded.params["head"]
        which = f"{node.name}, {name}" if node.mixed else node.name
        context.say(
            f"{which}: {len(loaded.carried)} arrays carried from {folder} · fresh: "
            f"{', '.join(loaded.fresh) or 'none'} · dropped: {', '.join(loaded.dropped) or 'none'}"
        )
    return encoder, heads


def _of_nowhere(node: PhaseNode, context: Context, models: Models, *, seed: int) -> Drawn:
    kinds = ", ".join(dict.fromkeys(model.spec.kind for model in models.values()))
    context.say(
        f"{node.name}: encoder and {kinds} head{'s' * bool(node.mixed)} fresh ({node.model.preset}, random weights)"
    )
    (first, model), *others = models.items()
    params = initial_params(model, context.mesh, key=_key(node, seed))
    heads = {name: initial_head(other, context.mesh, key=_head_key(node, name, seed)) for name, other in others}
    return params["encoder"], {first: params["head"], **heads}
