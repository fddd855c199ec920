"""The mean of several runs of a phase, kept as a finished phase keeps its weights."""

import json

from xlmr_flax.execute.context import Context
from xlmr_flax.execute.recorded import phase_config
from xlmr_flax.execute.trained import heads_in, model_of
from xlmr_flax.graph.nodes import PhaseNode, folder_name
from xlmr_flax.storage.places import create, json_text, write_json
from xlmr_flax.train import processes
from xlmr_flax.train.average import mean_of
from xlmr_flax.train.checkpoint import load_selected, save_selected
from xlmr_flax.train.mixture import abstract_params_of


def average_runs(node: PhaseNode, context: Context) -> None:
    """Averages the weights of runs that are done, heads included, unless it is done."""
    folder, runs = context.folders.of(node), [context.folders.of(run) for run in node.averaged]
    if processes.of_writer(f"{node.key} is done", (folder / "DONE").is_file):
        return
    first = phase_config(runs[0])
    models = {name: model_of(first, name, context.mesh) for name in heads_in(first)}
    like = abstract_params_of(models, context.mesh)
    params = mean_of(load_selected(run / "checkpoints", like) for run in runs)
    names = [folder_name(run) for run in node.averaged]
    phase = node.phase.model_dump(mode="json")
    config = {**first, "key": node.key, "phase": phase, "seed": None, "averaged": names}
    del config["attempt_seed"]
    processes.writes(write_json, folder / "config.json", config)
    save_selected(folder / "checkpoints", params, {"step": 0})
    dones = [json.loads((run / "DONE").read_text(encoding="utf-8")) for run in runs]
    seeds = ", ".join(str(run.seed) for run in node.averaged)
    done = {
        "step": 0,
        "steps_run": 0,
        "steps": 0,
        "skipped_steps": 0,
        "selection": f"mean of {len(runs)} runs (seeds {seeds}), of each: {dones[0]['selection']}",
        "flags": list(dict.fromkeys(flag for one in dones for flag in one["flags"])),
    }
    processes.writes(create, folder / "DONE", json_text(done))
    context.say(f"{node.name}: mean of {', '.join(names)}")
