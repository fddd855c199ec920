"""A study's nodes: computed once, passed over the second time, and a failed one stops only what needs it."""

import csv
import io
import json

import pytest
from rich.console import Console

from xlmr_flax.errors import InputError, Interrupted, TrainingError
from xlmr_flax.execute import local
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, PhaseNode, folder_name
from xlmr_flax.graph.study import open_config
from xlmr_flax.report.results import collect, experiment_folder, write_results
from xlmr_flax.storage.places import create, json_text, write_json

STUDY = """
name = "toy"
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 120 }
model = { preset = "tiny" }
world = { languages = ["x1"] }
[[phases]]
name = "middle"
tasks = ["xnli"]
length = 32
batch_size = 16
steps = 2
[[phases]]
name = "target"
parent = "middle"
tasks = ["pawsx"]
length = 32
batch_size = 16
steps = 2
[[evaluations]]
phase = "target"
tasks = ["pawsx"]
[axes]
seed = [0, 1]
"phases.middle.tasks" = [["xnli"], ["udpos"]]
"phases.middle" = ["keep", "skip"]
"""


class Toy:
    """A study whose nodes are written and not computed; which were, and under which experiment, is kept."""

    def __init__(self, tmp_path, monkeypatch):
        self.path = tmp_path / "toy.toml"
        self.path.write_text(STUDY, encoding="utf-8")
        self.folders = Folders(tmp_path / "runs", tmp_path / "data", tmp_path / "cache")
        self.done, self.broken = [], {}
        monkeypatch.setattr(local, "preflight", lambda nodes, context: None)
        monkeypatch.setattr(local, "_make_ground", self.ground)
        monkeypatch.setattr(local, "run_phase", self.phase)
        monkeypatch.setattr(local, "run_evaluation", self.evaluation)

    def ground(self, node, context):
        if not (context.folders.of(node) / "DONE").is_file():
            create(context.folders.of(node) / "DONE", "{}")

    def phase(self, node, context, stop):
        folder = context.folders.of(node)
        if (folder / "DONE").is_file():
            return
        assert node.phase in context.experiment.phases
        if error := self.broken.get((node.name, node.seed, node.task)):
            raise error
        self.done.append(node)
        create(folder / "DONE", json_text({"selection": "last step", "step": 2, "steps": 2}))

    def evaluation(self, node, context, stop):
        scored = {
            "scores": {"accuracy": 0.25 + 0.5 * node.phase.seed}, "n_scored": 4, "n_dataset": 4, "flags": ["flag"],
        }  # fmt: skip
        write_json(context.folders.of(node) / "scores.json", {"langs": dict.fromkeys(node.langs, scored)})

    def run(self, *overrides, **only):
        graph = open_config(self.path, overrides)
        self.console = Console(file=io.StringIO(), width=300)
        context = Context(graph.experiment, self.folders, self.console, graph=graph)
        before = len(self.done)
        run_nodes(graph, context, **only)
        return graph, self.done[before:]


@pytest.fixture
def toy(tmp_path, monkeypatch):
    return Toy(tmp_path, monkeypatch)


def names(nodes):
    return sorted((node.name, node.task, node.seed) for node in nodes)


def test_a_study_is_computed_once_and_nothing_the_second_time(toy):
    _, first = toy.run()
    assert names(first) == sorted(
        [("middle", task, seed) for task in ("xnli", "udpos") for seed in (0, 1)]
        + [("target", "pawsx", seed) for seed in (0, 1) for _ in range(3)]
    )
    assert toy.run()[1] == []


def test_a_new_value_computes_the_new_phases_only(toy):
    toy.run()
    _, new = toy.run('axes.phases.middle.tasks=[["xnli"],["udpos"],["cosmosqa"]]')
    assert names(new) == sorted(
        [("middle", "cosmosqa", 0), ("middle", "cosmosqa", 1), ("target", "pawsx", 0), ("target", "pawsx", 1)]
    )


def test_another_learning_rate_computes_the_phases_below_it_only(toy):
    toy.run()
    _, new = toy.run("phases.middle.optim.peak_lr=1e-3")
    assert names(new) == sorted(
        [("middle", task, seed) for task in ("xnli", "udpos") for seed in (0, 1)]
        + [("target", "pawsx", seed) for seed in (0, 1) for _ in range(2)]
    )
    assert names(toy.run("phases.target.optim.peak_lr=1e-3")[1]) == [("target", "pawsx", s) for s in (0, 0, 0, 1, 1, 1)]


def test_a_failed_phase_stops_what_needs_it_and_nothing_else(toy):
    toy.broken = {("middle", 0, "xnli"): TrainingError("middle: the loss is nan")}
    with pytest.raises(
        TrainingError, match=r"the loss is nan\nnot computed, for want of that: .*phases/target-"
    ) as caught:
        toy.run()
    assert caught.value.exit_code == 3
    assert len(toy.done) == 10 - 2  # the phase and the one that starts from it
    assert "failed, and what does not need it goes on: middle: the loss is nan" in toy.console.file.getvalue()
    toy.broken = {}
    assert names(toy.run()[1]) == [("middle", "xnli", 0), ("target", "pawsx", 0)]


def test_all_failures_are_named_at_the_end_and_an_unexpected_one_keeps_its_traceback(toy):
    toy.broken = {("middle", 0, "xnli"): ValueError("odd"), ("middle", 1, "udpos"): TrainingError("no loss")}
    with pytest.raises(TrainingError) as caught:
        toy.run()
    assert "2 of the parts failed" in str(caught.value)
    assert "ValueError: odd" in str(caught.value)
    assert "- phases/middle-" in str(caught.value)
    assert "Traceback" in toy.console.file.getvalue()


def test_bad_input_alone_is_no_failed_training(toy):
    toy.broken = {("middle", 0, "xnli"): InputError("a file changed")}
    with pytest.raises(InputError, match="a file changed"):
        toy.run()
    assert len(toy.done) == 8


def test_an_interruption_ends_a_study_at_once(toy):
    toy.broken = {("middle", 0, "xnli"): Interrupted("stopped")}
    with pytest.raises(Interrupted):
        toy.run()
    assert toy.done == []


def test_one_node_is_computed_with_what_it_needs(toy):
    graph = open_config(toy.path)
    wanted = next(node for node in graph.nodes if isinstance(node, PhaseNode) and node.parent and node.seed == 1)
    assert [node.key for node in toy.run(key=wanted.key)[1]] == [wanted.parent.key, wanted.key]


def test_only_narrows_a_study_by_phases_or_by_arms(toy):
    assert {node.name for node in toy.run(only="middle")[1]} == {"middle"}
    assert names(toy.run(only="no *")[1]) == [("target", "pawsx", 0), ("target", "pawsx", 1)]
    with pytest.raises(InputError, match=r"--only nothing: matches none of .*no middle.*target"):
        toy.run(only="nothing")


def test_results_say_where_in_the_study_each_row_stands(toy, tmp_path):
    graph, _ = toy.run()
    results = collect(graph, toy.folders.runs)
    assert results["study"]["baseline"] == "no middle"
    assert results["study"]["question"] == "table"
    assert results["study"]["axes"]["seed"] == [0, 1]
    assert {
        "arm": "xnli",
        "axes": {"phases.middle.tasks": ["xnli"], "phases.middle": "keep"},
        "baseline": "no middle",
    } in (results["study"]["arms"])
    rows = [row for row in results["rows"] if row["lang"] == "x1"]
    assert len(rows) == 2 * 3
    assert rows[0]["axes"] == {"seed": 0, "phases.middle.tasks": ["xnli"], "phases.middle": "keep"}
    (skipped,) = (row for row in rows if row["arm"] == "no middle" and row["seed"] == 1)
    assert skipped["axes"] == {"seed": 1, "phases.middle.tasks": None, "phases.middle": "skip"}
    assert [entry["mean_of_others"] for entry in results["summary"]] == [0.5, 0.5, 0.5]  # the medians of 0.25 and 0.75
    write_results(results, graph, experiment_folder(graph, tmp_path))
    (folder,) = tmp_path.glob("toy-*")
    with (folder / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["phases.middle"] for row in table][:2] == ["keep", "keep"]
    nodes = json.loads((folder / "nodes.json").read_text())
    assert [node["folder"] for node in nodes] == [folder_name(node) for node in graph.nodes]
    assert sum(isinstance(node, EvalNode) for node in graph.nodes) == 6


def test_retrieval_without_any_phase_scores_the_pretrained_weights(tmp_path):
    path = tmp_path / "weights.toml"
    path.write_text(
        """
        name = "retrieval"
        recipe = "xtreme"
        model = { weights = "FacebookAI/xlm-roberta-base" }
        phases = [{ name = "middle", tasks = ["mnli"] }]
        evaluations = [{ phase = "middle", tasks = ["tatoeba", "bucc2018"] }]
        [axes]
        seed = [0, 1]
        "phases.middle" = ["keep", "skip"]
        """,
        encoding="utf-8",
    )
    graph = open_config(path)
    untrained = [one for one in graph.scored if one.node.phase.untrained]
    assert [(one.arm, one.node.task, one.axes["seed"]) for one in untrained] == [
        ("no middle", "tatoeba", None), ("no middle", "bucc2018", None),
    ]  # fmt: skip
    assert len({one.node.phase.key for one in untrained}) == 1
