"""What --only and --phase ask of a graph, and a plan of no more than that."""

import io

import pytest
from rich.console import Console

from xlmr_flax.errors import InputError
from xlmr_flax.graph.nodes import EvalNode
from xlmr_flax.graph.study import open_config
from xlmr_flax.graph.wanted import wanted
from xlmr_flax.report.ahead import print_ahead

STUDY = """
name = "toy"
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 120 }
model = { preset = "tiny" }
phases = [
    { name = "middle", tasks = ["xnli"], length = 32, batch_size = 16, steps = 2 },
    { name = "target", parent = "middle", tasks = ["pawsx"], length = 32, batch_size = 16, steps = 3 },
]
evaluations = [{ phase = "middle", tasks = ["tatoeba"] }, { phase = "target", tasks = ["pawsx"] }]
[axes]
"phases.target.optim.peak_lr" = [1e-5, 2e-5]
"phases.middle.steps" = [2, 4]
"""


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "toy.toml").write_text(STUDY, encoding="utf-8")
    return open_config(tmp_path / "toy.toml")


def test_parts_are_found_by_the_name_of_each_arm_that_they_stand_in(graph):
    shared = [node for node in graph.nodes if isinstance(node, EvalNode) and node.task == "tatoeba"]
    arms = [one.arm for one in graph.scored if one.node.key == shared[0].key]
    assert len(shared) == 2 < len(graph.studied.arms)
    for arm in arms:
        assert shared[0] in wanted(graph, only=arm, key=None)
    assert len(
        {node.key for arm in {one.arm for one in graph.scored} for node in wanted(graph, only=arm, key=None)}
    ) == (len(graph.nodes))


def test_what_is_asked_for_comes_with_what_it_needs_and_in_order(graph):
    found = wanted(graph, only="target", key=None)
    assert {node.name for node in found} == {"unigram", "middle", "target"}
    assert found == [node for node in graph.nodes if node in found]
    assert wanted(graph, only=None, key=None) == list(graph.nodes)
    with pytest.raises(InputError, match=r"--only tagret: matches none of .*middle.*target"):
        wanted(graph, only="tagret", key=None)


def test_a_plan_of_some_parts_counts_these_alone(graph, tmp_path):
    out = Console(file=io.StringIO(), width=200)
    print_ahead(graph._replace(nodes=tuple(wanted(graph, only="middle", key=None))), tmp_path, out)
    told = out.file.getvalue()
    assert "target" not in told
    assert "3 of the study's 13 parts, as it was asked for" in told
    assert "without sharing" not in told
