"""Which phase of a run a command takes."""

import json

import pytest

from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import InputError
from xlmr_flax.execute import target
from xlmr_flax.graph.build import build
from xlmr_flax.graph.nodes import folder_name
from xlmr_flax.report.results import collect, experiment_folder, write_results
from xlmr_flax.tasks.catalogue import task

TREE = {
    "name": "small",
    "model": {"preset": "tiny"},
    "tokenizer": {"path": "some/tokenizer"},
    "phases": [
        {"name": "middle", "tasks": ["xnli"], "length": 32, "batch_size": 8, "epochs": 1.0},
        {"name": "tags", "parent": "middle", "tasks": ["udpos"], "length": 32, "batch_size": 8, "epochs": 1.0},
        {"name": "extra", "parent": "middle", "tasks": ["pawsx"], "length": 32, "batch_size": 8, "epochs": 1.0},
    ],
    "arms": [{"name": "whole", "skip": ["extra"]}, {"name": "direct", "skip": ["middle"]}],
}


@pytest.fixture
def graph():
    return build(Experiment.model_validate_json(json.dumps(TREE)))


@pytest.fixture
def run_folder(graph, tmp_path):
    folder = experiment_folder(graph, tmp_path)
    write_results(collect(graph, tmp_path), graph, folder)
    return folder


def folders(graph):
    """Each phase's folder by its arm and name."""
    named = [node for node in graph.nodes if node.kind == "phase"]
    return {
        ("direct" if node.parent is None and node.name != "middle" else "whole", node.name): folder_name(node)
        for node in named
    }


def finish(run_folder, *names):
    for name in names:
        folder = run_folder.parent / name
        folder.mkdir(parents=True)
        node_task = {"middle": "xnli", "later": "xnli", "tags": "udpos", "extra": "pawsx"}[folder.name.split("-")[0]]
        (folder / "config.json").write_text(json.dumps({"task": node_task}), encoding="utf-8")
        (folder / "DONE").write_text("{}", encoding="utf-8")


def chosen(run_folder, name=None, wanted=None):
    found = target.phase_folder(run_folder, name, task(wanted) if wanted else None)
    return str(found.relative_to(run_folder.parent))


def test_the_last_phase_of_the_first_arm_stands_for_a_run(graph, run_folder):
    assert chosen(run_folder) == folders(graph)["whole", "tags"]


def test_a_name_means_the_first_arms_phase_where_it_has_one(graph, run_folder):
    assert chosen(run_folder, "tags") == folders(graph)["whole", "tags"]
    assert chosen(run_folder, "extra") == folders(graph)["direct", "extra"]


def test_a_name_that_no_phase_has_is_told(run_folder):
    with pytest.raises(
        InputError, match=r"no phase is called 'tag'; did you mean 'tags'\?; there are: middle, tags, extra$"
    ):
        chosen(run_folder, "tag")


def test_a_task_means_the_finished_phase_that_trained_it_or_has_its_head(graph, run_folder):
    names = folders(graph)
    finish(run_folder, names["whole", "middle"], names["direct", "extra"])
    assert chosen(run_folder, wanted="pawsx") == names["direct", "extra"]
    assert chosen(run_folder, wanted="mnli") == names["whole", "middle"]  # the same labels as XNLI's
    assert chosen(run_folder, wanted="tatoeba") == names["whole", "middle"]
    with pytest.raises(InputError, match=r"no phase of this run has the head that udpos needs; it trained xnli, pawsx"):
        chosen(run_folder, wanted="udpos")


def test_a_task_without_a_phase_takes_one_that_trained_on_its_rows(tmp_path):
    assert target._by_fit(tmp_path, {}, task("xquad")) == []
    trained = {tmp_path / name: [task(name)] for name in ("tydiqa", "udpos", "squad", "xquad")}
    names = [path.name for path in target._by_fit(tmp_path, trained, task("mlqa"))]
    assert names == ["squad", "xquad", "tydiqa"]
    assert [path.name for path in target._by_fit(tmp_path, trained, task("xquad"))] == ["xquad", "squad", "tydiqa"]


def test_a_task_takes_the_phase_on_which_the_run_evaluates_it(tmp_path):
    tree = TREE | {
        "phases": [*TREE["phases"], TREE["phases"][0] | {"name": "later", "parent": "extra"}],
        "evaluations": [
            {"phase": "later", "tasks": ["xnli"], "langs": ["de"], "length": 24},
            {"phase": "extra", "tasks": ["tatoeba"], "layers": [2]},
        ],
        "arms": [{"name": "whole"}],
    }
    graph = build(Experiment.model_validate_json(json.dumps(tree)))
    run_folder = experiment_folder(graph, tmp_path)
    write_results(collect(graph, tmp_path), graph, run_folder)
    by_name = {node.name: folder_name(node) for node in graph.nodes if node.kind == "phase"}
    finish(run_folder, *by_name.values())
    assert chosen(run_folder, wanted="xnli") == by_name["later"]
    assert chosen(run_folder, wanted="mnli") == by_name["middle"]
    assert chosen(run_folder, wanted="tatoeba") == by_name["extra"]
    request = target._request(str(run_folder), task("xnli"), None, None)
    assert (request.langs, request.evaluation.length) == (("de",), 24)
    assert target._request(str(run_folder), task("xnli"), ["sw"], None).langs == ("sw",)
    assert target._request(str(run_folder), task("xnli"), None, "xtreme").langs == task("xnli").langs
    assert target._request(str(run_folder), task("mnli"), None, "xtreme").langs == ("en",)
    assert target._request(str(tmp_path), task("xnli"), None, None).evaluation.length is None


def test_a_run_in_which_nothing_is_finished_is_told(run_folder):
    with pytest.raises(InputError, match=r"has the head that udpos needs; it trained nothing to the end"):
        chosen(run_folder, wanted="udpos")


def test_a_phases_own_folder_has_nothing_to_choose(graph, run_folder):
    finish(run_folder, folders(graph)["whole", "tags"])
    own = run_folder.parent / folders(graph)["whole", "tags"]
    assert target.phase_folder(own, None, None) == own
    with pytest.raises(InputError, match=r"this is one phase's folder, so --phase tags has nothing to choose from"):
        target.phase_folder(own, "tags", None)


@pytest.mark.parametrize("command", ["open", "export"])
def test_a_relative_target_is_made_absolute(graph, run_folder, monkeypatch, command):
    finish(run_folder, folders(graph)["whole", "tags"])
    monkeypatch.chdir(run_folder.parent)
    seen = []

    def load_trained(folder, folders, mesh, wanted=None):
        seen.append(folder)
        raise InputError("seen")

    monkeypatch.setattr(target, "load_trained", load_trained)
    opens = {
        "open": lambda: target.open_target(run_folder.name, task("udpos"), target.command_context(None, None)),
        "export": lambda: target.export_target(run_folder.name, run_folder.parent / "out", None, None, None),
    }
    with pytest.raises(InputError, match="seen"):
        opens[command]()
    assert seen == [run_folder.parent / folders(graph)["whole", "tags"]]
