"""What a run comes to, told before it: phases, steps, disk, and hours where they were planned."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from xlmr_flax.graph.nodes import PhaseNode, folder_name
from xlmr_flax.graph.study import open_config
from xlmr_flax.report.ahead import Slice, ahead, hours_path, parameters, print_ahead, steps_known
from xlmr_flax.storage.places import create, write_json

STUDIES = Path(__file__).parents[2] / "configs" / "studies"
STUDY = """
name = "toy"
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 300 }
model = { preset = "tiny" }
world = { languages = ["x1", "x2"] }
phases = [
    { name = "pretrain", tasks = ["mlm"], length = 32, batch_size = 16, epochs = 2 },
    { name = "middle", parent = "pretrain", tasks = ["xnli"], length = 32, batch_size = 32, epochs = 2 },
    { name = "target", parent = "middle", tasks = ["pawsx"], length = 32, batch_size = 32, steps = 7 },
]
evaluations = [{ phase = "target", tasks = ["pawsx"] }]
[axes]
seed = [0, 1]
"phases.middle.max_examples" = [100, "all"]
"phases.middle" = ["keep", "skip", "updates"]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(STUDY, encoding="utf-8")
    return open_config(path)


def told(graph, runs, on=None):
    console = Console(file=io.StringIO(), width=200)
    print_ahead(graph, runs, console, on)
    return [line.split() for line in console.file.getvalue().splitlines()], console.file.getvalue()


def phases(graph, name):
    return [node for node in graph.nodes if isinstance(node, PhaseNode) and node.name == name]


def test_steps_are_known_where_no_data_are_needed_for_them(study):
    (pretrain, *_), (few, *_) = phases(study, "pretrain"), phases(study, "middle")
    assert steps_known(pretrain) is None  # the texts of a world are not counted
    assert steps_known(few) == 7  # 100 examples twice, 32 at a time
    assert {steps_known(node) for node in phases(study, "middle")} == {7, 250}  # of all 4,000
    longer = [node for node in phases(study, "target") if node.stands_for]
    assert {steps_known(node) for node in longer} == {7 + 7, 7 + 250}


def test_every_name_has_its_line_and_what_is_done_is_no_more_to_run(study, tmp_path):
    before, _ = told(study, tmp_path)
    assert ["pretrain", "2", "0", "unknown", "248", "kB", "743", "kB"] in before
    assert ["middle", "4", "0", "514", "495", "kB", "743", "kB"] in before
    for node in phases(study, "middle")[:2]:
        create(tmp_path / folder_name(node) / "DONE", "{}")
    after, text = told(study, tmp_path)
    assert ["middle", "4", "2", "257", "495", "kB", "743", "kB"] in after
    assert (
        "10 runs: 2 seed × 2 phases.middle.max_examples × 3 phases.middle; 2 of the combinations come to the same"
        in text
    )
    assert "16 phases; 24 without sharing" in text
    assert "2 phases are trained once for several that start there; 5 start from phases/pretrain-" in text


def test_the_released_models_are_as_large_as_they_are():
    def size(weights):
        tree = {"name": "x", "model": {"weights": weights}}
        tree |= {"phases": [{"name": "a", "tasks": ["xnli"], "length": 128, "batch_size": 8, "steps": 1}]}
        tree |= {"evaluations": [{"phase": "a", "tasks": ["xnli"]}]}
        from xlmr_flax.config.schema import Experiment
        from xlmr_flax.graph.build import build

        (node,) = (one for one in build(Experiment.model_validate_json(json.dumps(tree))).nodes if one.kind == "phase")
        return parameters(node)

    # transformers counts 278,043,648 and 559,890,432, with poolers of 590,592 and 1,049,600
    assert size("FacebookAI/xlm-roberta-base") == 278_043_648 - 590_592
    assert size("xlm-roberta-large") == 559_890_432 - 1_049_600
    assert size("somebody/their-model") is None


def test_hours_are_those_that_were_planned_and_else_unknown(study, tmp_path):
    on = Slice("v5e:2x4", tmp_path / "cache")
    lines, text = told(study, tmp_path, on)
    assert all(line[-1] == "unknown" for line in lines if line and line[0] in ("pretrain", "middle", "target", "all"))
    assert "xlmr-flax plan CONFIG --topology v5e:2x4" in text
    for node in phases(study, "middle"):  # those of other seeds and parents take as long
        write_json(hours_path(node, study.experiment_of(node), on), {"hours": 0.75, "steps": 7})
    assert len(list((tmp_path / "cache" / "plans").iterdir())) == 2
    lines, _ = told(study, tmp_path, on)
    (middle,) = (line for line in lines if line and line[0] == "middle")
    assert middle[-1] == "3.0"
    assert [one.hours for one in ahead(study, tmp_path, on)] == [0.0, 3.0, 0.0]
    other = Slice("v5e:4x4", tmp_path / "cache")
    assert {one.without_hours for one in ahead(study, tmp_path, other) if one.name == "middle"} == {4}


def test_weights_that_are_scored_as_they_are_need_no_checkpoints_beside_them(tmp_path):
    found = {one.name: one for one in ahead(open_config(STUDIES / "paper.toml"), tmp_path)}
    assert (found["pretrained"].steps, found["pretrained"].working) == (0, 0)
    assert found["intermediate"].working > found["intermediate"].weights / 66
