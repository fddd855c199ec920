"""Nodes of a graph: equal ones once, parents first, and what an arm skips."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.graph.build import build, languages
from xlmr_flax.graph.nodes import EvalNode, PhaseNode, TokenizerNode, WorldNode, folder_name, is_done

ARMS = {"arms": [{"name": "whole"}, {"name": "direct", "skip": ["middle"]}]}


def phases(graph):
    return [node for node in graph.nodes if isinstance(node, PhaseNode)]


def evals(graph):
    return [node for node in graph.nodes if isinstance(node, EvalNode)]


def test_a_phase_that_two_arms_share_is_computed_once(experiment):
    found = phases(build(experiment(more=ARMS)))
    assert sorted(node.name for node in found) == ["middle", "pretrain", "side", "tags", "tags"]
    assert len({node.key for node in found}) == 5


def test_the_children_of_a_skipped_phase_take_its_parent(experiment):
    whole, direct = (node for node in phases(build(experiment(more=ARMS))) if node.name == "tags")
    assert (whole.parent.name, direct.parent.name) == ("middle", "pretrain")


def test_skipping_reaches_past_several_phases(experiment):
    more = {"arms": [{"name": "scratch", "skip": ["middle", "pretrain"]}]}
    tags = next(node for node in phases(build(experiment(more=more))) if node.name == "tags")
    assert tags.parent is None
    assert tags.root is tags


def test_retrieval_of_a_skipped_phase_is_scored_on_the_one_before(experiment):
    graph = build(experiment(more=ARMS))
    by_arm = {scored.arm: scored.node for scored in graph.scored if scored.node.task == "tatoeba"}
    assert (by_arm["whole"].phase.name, by_arm["direct"].phase.name) == ("middle", "pretrain")
    assert by_arm["direct"].evaluation.phase == "middle"


def test_what_needs_a_head_is_not_scored_where_its_phase_is_skipped(experiment):
    graph = build(experiment(more={"arms": [{"name": "a"}, {"name": "b", "skip": ["side"]}]}))
    assert [scored.arm for scored in graph.scored if scored.node.task == "pawsx"] == ["a"]


def test_retrieval_where_nothing_is_left_to_score_is_left_out(experiment):
    more = {"arms": [{"name": "a", "skip": ["middle", "pretrain"]}]}
    assert not [scored for scored in build(experiment(more=more)).scored if scored.node.task == "tatoeba"]


def test_evaluations_that_differ_in_languages_only_are_one_node(experiment):
    two = [{"phase": "tags", "tasks": ["udpos"], "langs": langs} for langs in (["de", "fr"], ["fr", "zh"])]
    graph = build(experiment(more={"evaluations": two}))
    assert [node.langs for node in evals(graph)] == [("de", "fr", "zh")]
    assert [scored.node.langs for scored in graph.scored] == [("de", "fr", "zh")]


def test_evaluations_of_two_arms_on_one_phase_are_one_node_scored_twice(experiment):
    graph = build(experiment(more=ARMS))
    twice = [scored for scored in graph.scored if scored.node.task == "pawsx"]
    assert [scored.arm for scored in twice] == ["whole", "direct"]
    assert len({scored.node.key for scored in twice}) == 1
    assert sum(node.task == "pawsx" for node in evals(graph)) == 1


def test_an_evaluation_that_falls_back_to_a_phase_adds_its_languages_there(experiment):
    rows = [
        {"phase": phase, "tasks": ["tatoeba"], "langs": [lang]}
        for phase, lang in (("pretrain", "de"), ("middle", "fr"))
    ]
    graph = build(experiment(more={"evaluations": rows, "arms": [{"name": "direct", "skip": ["middle"]}]}))
    assert [node.langs for node in evals(graph)] == [("de", "fr")]
    assert [scored.node.langs for scored in graph.scored] == [("de",), ("fr",)]


def test_layers_make_nodes_of_their_own_for_retrieval_only(experiment):
    rows = [{"phase": "middle", "tasks": ["xnli", "tatoeba"], "layers": [layer]} for layer in (1, 2)]
    graph = build(
        experiment("splits=[{task='xnli', test='dev[50%:]', select='dev[:50%]'}]", more={"evaluations": rows})
    )
    assert sorted(node.task for node in evals(graph)) == ["tatoeba", "tatoeba", "xnli"]


@pytest.mark.parametrize("world", [None, {"nli": {"train": 9, "dev": 3, "test": 3}}])
def test_parents_stand_before_children(experiment, world):
    nodes = build(experiment(more={**ARMS, **({"world": world} if world else {})})).nodes
    places = {node.key: place for place, node in enumerate(nodes)}
    assert len(places) == len(nodes)
    assert all(places[parent.key] < places[node.key] for node in nodes for parent in node.parents)
    assert isinstance(nodes[0], WorldNode if world else TokenizerNode)
    assert sum(isinstance(node, TokenizerNode) for node in nodes) == 1


def test_a_phase_may_be_written_before_its_parent(experiment):
    tree = experiment().model_dump(mode="json", exclude_none=True)
    graph = build(experiment(more={"phases": tree["phases"][::-1]}))
    assert {node.key for node in graph.nodes} == {node.key for node in build(experiment()).nodes}
    assert [node.name for node in phases(graph)].index("pretrain") == 0


def test_equal_phases_of_two_names_are_one_folder_for_their_children_too(experiment):
    tree = experiment().model_dump(mode="json", exclude_none=True)
    twin = [
        {**tree["phases"][1], "name": "twin"},
        {**tree["phases"][2], "name": "child", "parent": "twin", "length": 16},
    ]
    graph = build(experiment(more={"phases": tree["phases"] + twin}))
    found = phases(graph)
    assert sorted(node.name for node in found) == ["child", "middle", "pretrain", "side", "tags"]
    folders = {folder_name(node) for node in graph.nodes}
    assert {folder_name(parent) for node in graph.nodes for parent in node.parents} <= folders


def test_a_graph_is_the_same_every_time(experiment):
    assert build(experiment(more=ARMS)) == build(experiment(more=ARMS))
    assert build(experiment(more=ARMS)).fingerprint == build(experiment(more=ARMS)).fingerprint


def test_phases_take_the_splits_of_the_experiment_or_of_the_task(experiment):
    middle = phases(build(experiment("splits=[{task='xnli', train='train[:50%]'}]")))[1]
    assert (middle.train, middle.select) == ("train[:50%]", "dev")
    tags = phases(build(experiment()))[2]
    assert (tags.train, tags.select) == ("train", None)  # nothing is selected, so no split of it is in the key


def test_languages_are_those_asked_for_the_worlds_or_the_tasks(experiment):
    world = experiment("world.languages=['x2', 'x1']")
    assert languages(experiment(), "pawsx", None) == ("de", "en", "es", "fr", "ja", "ko", "zh")
    assert languages(world, "pawsx", None) == ("en", "x2", "x1")
    assert languages(world, "tatoeba", None) == ("x2", "x1")
    assert languages(world, "squad", None) == ("en",)
    assert languages(world, "pawsx", ("x1",)) == ("x1",)


def test_done_is_a_file_and_of_an_evaluation_all_its_languages(experiment, tmp_path):
    graph = build(experiment())
    phase, scored = phases(graph)[0], evals(graph)[0]
    folder = tmp_path / folder_name(phase)
    assert not is_done(phase, tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    assert not is_done(phase, tmp_path)
    (folder / "DONE").write_text("{}", encoding="utf-8")
    assert is_done(phase, tmp_path)
    scores = tmp_path / folder_name(scored) / "scores.json"
    scores.parent.mkdir(parents=True)
    langs = {lang: {} for lang in scored.langs}
    scores.write_text(json.dumps({"langs": langs}), encoding="utf-8")
    assert is_done(scored, tmp_path)
    langs.pop("zh")
    scores.write_text(json.dumps({"langs": langs}), encoding="utf-8")
    assert not is_done(scored, tmp_path)


def test_folders_are_named_by_kind_name_and_key(experiment):
    names = [folder_name(node) for node in build(experiment("world.seed=1")).nodes]
    kinds = {name.split("/")[0] for name in names}
    assert kinds == {"worlds", "tokenizers", "phases", "evals"}
    assert all(name.rsplit("-", 1)[1].isalnum() and len(name.rsplit("-", 1)[1]) == 12 for name in names)


def test_all_problems_stand_in_one_error_with_the_experiments_name(experiment):
    with pytest.raises(InputError, match=r"- base: phases\.side\.tasks: no task.*\n- base: phases\.tags.*neither"):
        build(experiment("phases.side.tasks=['paws']",
                         more={"phases": broken(experiment)}))  # fmt: skip


def broken(experiment):
    tree = experiment().model_dump(mode="json", exclude_none=True)["phases"]
    del tree[2]["epochs"]
    return [tree[0], tree[1], tree[3], tree[2]]
