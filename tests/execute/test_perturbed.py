"""Evaluations on worse inputs: every example is scored, and rows say what was done to them."""

import dataclasses
import json

import pytest

from xlmr_flax.config.schema import Experiment
from xlmr_flax.errors import InputError
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.execute.preflight import preflight
from xlmr_flax.graph.build import Scored, build
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, folder_name
from xlmr_flax.graph.origins import scored_files
from xlmr_flax.report.results import rows_of, summary
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.loop import Stop

PERTURB = {"kinds": ["typos", "diacritics", "code_switch"], "strengths": [0.5], "dictionary": "dictionaries"}


@pytest.fixture
def worse(lab, tmp_path):
    """The graph of the experiment with perturbed evaluations of two phases, and a runs folder of their own."""
    tree = lab.graph.experiment.model_dump(mode="json")
    tree["evaluations"] = [
        {"phase": "nli", "tasks": ["xnli"], "langs": ["en", "x1"], "perturb": PERTURB},
        {"phase": "spans", "tasks": ["xquad"], "langs": ["x1"], "perturb": {**PERTURB, "kinds": ["code_switch"]}},
    ]
    tree["arms"] = [{"name": "choice"}]
    experiment = Experiment.model_validate_json(json.dumps(tree))
    runs = tmp_path / "runs"
    runs.mkdir()
    for part in ("phases", "worlds", "tokenizers"):
        (runs / part).symlink_to(lab.context.folders.runs / part)
    folders = Folders(runs, lab.context.folders.data, lab.context.folders.cache)
    return build(experiment), Context(experiment, folders, lab.context.console)


def test_perturbed_examples_are_all_scored_and_their_rows_say_how(worse, lab):
    graph, context = worse
    nodes = [node for node in graph.nodes if isinstance(node, EvalNode)]
    assert len(nodes) == 4 + 2
    chosen = [node for node in nodes if node.perturbation is None or node.perturbation.kind != "typos"]
    for node in chosen:
        run_evaluation(node, context, Stop())
    rows = [row for node in chosen for row in rows_of(Scored("choice", node), context.folders.runs)]
    assert all(row["n_scored"] == row["n_dataset"] > 0 for row in rows)
    told = {(row["task"], row["lang"], row.get("perturbation", {}).get("kind"), row["setting"]) for row in rows}
    assert told == {
        ("xnli", "en", None, ""), ("xnli", "x1", None, ""), ("xquad", "x1", None, ""),
        ("xnli", "en", "diacritics", "diacritics 50 %"), ("xnli", "x1", "diacritics", "diacritics 50 %"),
        ("xnli", "en", "code_switch", "code-switch 50 %"), ("xnli", "x1", "code_switch", "code-switch 50 %"),
        ("xquad", "x1", "code_switch", "code-switch 50 %"),
    }  # fmt: skip
    # Neither English nor x1's Greek letters have marks here, and the clean figures are then the perturbed ones.
    clean = {(row["lang"], row["metric"]): row["score"] for row in rows if row["setting"] == ""}
    for row in (row for row in rows if row.get("perturbation", {}).get("kind") == "diacritics"):
        assert "unchanged by diacritics: these texts have none" in row["flags"]
        assert row["score"] == clean[row["lang"], row["metric"]]
    assert not any(flag.startswith("unchanged") for row in rows if "code" in row["setting"] for flag in row["flags"])
    assert len(summary(rows)) == len({(row["task"], row["setting"], row["metric"]) for row in rows})
    folders = {folder_name(node) for node in chosen}
    assert len(folders) == len(chosen)
    assert all(any((context.folders.runs / one / "predictions").iterdir()) for one in folders)


def test_the_dictionary_is_among_the_files_that_scores_come_from(worse):
    graph, context = worse
    node = graph.nodes[-1]  # xquad, switched
    found = scored_files(task(node.task), node, "x1", context.folders.data_of(node.phase))
    assert {name for name in found if name.startswith("dictionary ")} == {
        "dictionary x1-en.txt",
        "dictionary x1-x2.txt",
    }


def test_a_dictionary_that_is_not_there_is_told_before_anything_is_computed(worse):
    graph, context = worse
    node = next(node for node in graph.nodes if isinstance(node, EvalNode) and node.task == "xquad")
    lost = dataclasses.replace(node, perturbation=graph.nodes[-1].perturbation._replace(dictionary="lost"))
    with pytest.raises(InputError, match=r"lost: no dictionary of x1: wanted a folder with files such as x1-xx\.txt"):
        preflight([lost], context)
