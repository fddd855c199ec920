"""Pretrained weights before any training, as a phase of no steps: what retrieval is compared with."""

from xlmr_flax.data.randomness import stream
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.trained import head_spec, parameter_count, shape_of, tokenizer_entry, tokenizer_in, tokenizer_of
from xlmr_flax.graph.nodes import PhaseNode, folder_name
from xlmr_flax.model import hub, weights
from xlmr_flax.storage.places import create, json_text, write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train import processes
from xlmr_flax.train.checkpoint import save_selected
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.processes import put
from xlmr_flax.train.state import abstract_params


def hand_over(node: PhaseNode, context: Context) -> None:
    """Keeps a model's weights as a finished phase keeps its own, unless they are there."""
    folder, model = context.folders.of(node), node.model
    if processes.of_writer(f"{node.key} is done", (folder / "DONE").is_file):
        return
    tokenizer, declared = tokenizer_in(tokenizer_of(node, context.folders)), task(node.task)
    arch = shape_of(node, tokenizer)
    made = make_model(arch, head_spec(declared.head), compute=model.compute, mesh=context.mesh)
    like, source = (
        abstract_params(made, context.mesh),
        hub.resolve(model.weights or "", revision=model.revision or "main"),
    )
    places = dict(weights.flat(like))
    loaded = weights.load(
        source, made, stream(node.seed, "init"), put=lambda path, array: put(array, places[path].sharding)
    )
    context.say(f"{folder_name(node)}: {source} as it is, untrained")
    config = {
        "key": node.key,
        "task": node.task,
        "phase": node.phase.model_copy(update={"length": min(node.phase.length, arch.longest)}).model_dump(mode="json"),
        "seed": None,
        "parent": model.weights,
        "compute": model.compute,
        "architecture": arch.model_dump(mode="json"),
        "parameters": parameter_count(loaded.params),
        "head": {"kind": declared.head.kind, "labels": [], "options": None},
        "tokenizer": tokenizer_entry(node, context.folders, tokenizer),
        "sources": {},
        "releases": [],
    }
    processes.writes(write_json, folder / "config.json", config)
    save_selected(folder / "checkpoints", loaded.params, {"step": 0})
    done = {"step": 0, "steps_run": 0, "steps": 0, "skipped_steps": 0, "selection": "untrained", "flags": []}
    processes.writes(create, folder / "DONE", json_text(done))
