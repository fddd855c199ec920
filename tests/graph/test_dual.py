"""What a config may ask of a dual head, and what becomes part of its keys."""

import re

import pytest

from xlmr_flax.graph import check
from xlmr_flax.graph.build import build

TREE = {
    "name": "dual", "model": {"preset": "tiny"}, "tokenizer": {"vocab_size": 300}, "text": {"files": ["text/*.txt"]},
    "phases": [
        {"name": "find", "tasks": ["lareqa"], "length": 32, "batch_size": 8, "steps": 10,
         "selection": {"every_steps": 5}},
        {"name": "other", "tasks": ["xnli"], "length": 32, "batch_size": 8, "steps": 10},
    ],
    "evaluations": [{"phase": "find", "tasks": ["lareqa", "mewslix"]}],
}  # fmt: skip


def keys(graph):
    return {node.name: node.key for node in graph.nodes}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("phases.find.batch_size=1", "phases.find.batch_size=1: a query of lareqa finds its document among those of"),
        ("phases.other.scale=5.0", "phases.other.scale: xnli compares no vectors; it is for lareqa, mewslix"),
        ("phases.other.similarity=dot", "phases.other.similarity: xnli compares no vectors"),
        ("phases.find.selection.metric=map", "lareqa has no metric 'map'; did you mean 'map@20'?; it has: map@20"),
        ("evaluations=[{phase='other', tasks=['lareqa']}]", "lareqa needs another head than the one that phase other"),
        ("evaluations=[{phase='find', tasks=['lareqa'], langs=['bn']}]", "lareqa has no language 'bn'"),
    ],
)
def test_what_a_dual_head_cannot_do_is_said(experiment, change, told):
    assert re.search(re.escape(told), "\n".join(check.problems(experiment(change, tree=TREE))))


def test_a_dual_head_trains_and_is_scored_in_the_languages_of_its_tasks(experiment):
    graph = build(experiment(tree=TREE))
    langs = {node.name: len(node.langs) for node in graph.nodes if node.kind == "eval"}
    assert langs == {"lareqa": 11, "mewslix": 11}


@pytest.mark.parametrize("change", ["phases.find.scale=5.0", "phases.find.similarity=dot"])
def test_how_vectors_are_compared_is_part_of_the_key_of_a_dual_phase_alone(experiment, change):
    before, after = keys(build(experiment(tree=TREE))), keys(build(experiment(change, tree=TREE)))
    assert {name for name in before if before[name] != after[name]} == {"find", "lareqa", "mewslix"}
