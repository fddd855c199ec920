"""The studies in configs/studies: each runs as it stands, has a small twin, and says how many phases it computes."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.graph.study import open_config

ROOT = Path(__file__).parents[2]
STUDIES = ROOT / "configs" / "studies"
NAMES = (
    "model_scale", "multitask_xtreme_r", "paper", "qa_robustness", "reasoning", "size_pawsx", "size_xtreme",
)  # fmt: skip
NINE = {"anli_plus", "mnli", "qqp", "squad", "squad_v2", "hellaswag", "ccg", "cosmosqa", "commonsenseqa"}
XTREME = {"xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba"}
XTREME_R = {"xnli", "xcopa", "udpos", "panx", "xquad", "mlqa", "tydiqa", "lareqa", "mewslix", "tatoeba"}


@functools.cache
def graph(name):
    return open_config(STUDIES / f"{name}.toml")


def header(name):
    lines = (STUDIES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return " ".join(line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")])


def phases(found):
    return [node for node in found.nodes if isinstance(node, PhaseNode)]


def test_every_study_has_its_twin():
    assert sorted(path.stem for path in STUDIES.glob("*.toml")) == sorted([*NAMES, *(f"{name}_mini" for name in NAMES)])


@pytest.mark.parametrize("name", NAMES)
def test_a_study_and_its_twin_ask_the_same_question_and_have_one_baseline(name):
    whole, twin = graph(name), graph(f"{name}_mini")
    assert whole.studied.study.question == twin.studied.study.question
    assert (whole.studied.study.name, twin.studied.study.name) == (name, f"{name}_mini")
    assert set(twin.studied.study.baseline) == set(whole.studied.study.baseline)
    assert any(arm.baseline for arm in twin.studied.arms)
    assert f"xlmr-flax run configs/studies/{name}.toml --data FOLDER" in header(name)
    assert f"xlmr-flax run configs/studies/{name}_mini.toml" in header(f"{name}_mini")
    assert "v5e:2x4" in header(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_twins_share_one_world_one_tokenizer_and_one_pretrained_model(name):
    mini = open_config(ROOT / "configs" / "mini.toml")
    (pretrained,) = (node for node in phases(mini) if node.name == "pretrain")
    found = graph(f"{name}_mini")
    assert pretrained.key in {node.key for node in found.nodes}
    assert [node.kind for node in found.nodes].count("world") == 1
    assert sum(node.name == "pretrain" for node in phases(found)) == (3 if name == "model_scale" else 1)


def test_the_paper_says_how_many_phases_it_has_with_sharing_and_without():
    found = graph("paper")
    told = re.search(r"([\d,]+) phases, ([\d,]+) without sharing", header("paper"))
    assert told, header("paper")
    assert tuple(int(number.replace(",", "")) for number in told.groups()) == (481, 828)
    assert (len(phases(found)), found.studied.unshared) == (481, 828)
    trained = [node for node in phases(found) if node.name == "intermediate"]
    assert len(trained) == 3 * (9 + 1 + 9 + 3)  # each once for all targets
    assert len([node for node in phases(found) if node.name == "target"]) == 3 * 6 * (22 + 1)


def test_the_paper_has_its_nine_intermediates_and_its_nine_targets():
    found = graph("paper")
    (axis,) = (axis for axis in found.studied.study.axes if axis.name == "intermediate")
    alone = {value.settings["phases.intermediate.tasks"][0] for value in axis.values[1:10]}
    assert alone == NINE
    assert {one.node.task for one in found.scored} == XTREME
    untrained = [one for one in found.scored if one.node.phase.untrained]
    assert {(one.arm, one.node.task) for one in untrained} == {("none", "tatoeba"), ("none", "bucc2018")}
    assert found.studied.baseline == "none"


def test_all_targets_of_xtreme_and_of_xtreme_r_are_scored():
    assert {one.node.task for one in graph("size_xtreme").scored} == XTREME
    assert {one.node.task for one in graph("multitask_xtreme_r").scored} == XTREME_R


def test_reasoning_is_scored_in_other_languages_than_english():
    for name in ("reasoning", "reasoning_mini"):
        assert "en" not in {lang for one in graph(name).scored for lang in one.node.langs}


def test_the_arms_of_the_multitask_study_have_equal_updates():
    for name, updates in (("multitask_xtreme_r", 30_000), ("multitask_xtreme_r_mini", 600)):
        found = graph(name)
        for one in found.scored:
            line, node = [], one.node.phase
            while node:
                line.append(node)
                node = node.parent
            before = sum(node.phase.steps or 0 for node in line if node.name in ("first", "intermediate"))
            before += sum(other.phase.steps for node in line for other in node.stands_for)
            assert before == (
                0 if one.arm == "none" or (one.node.task == "tatoeba" and "none" in one.arm) else updates
            ), one.arm


def test_sizes_have_five_seeds_where_a_test_is_wanted():
    for name in ("size_pawsx", "size_xtreme", "reasoning", "qa_robustness", "multitask_xtreme_r", "size_pawsx_mini"):
        (axis,) = (axis for axis in graph(name).studied.study.axes if axis.name == "seed")
        assert len(axis.values) >= 5, name


def test_a_dry_run_of_the_paper_loads_no_heavy_library(tmp_path):
    heavy = ("jax", "flax", "torch", "grain", "transformers")
    code = (
        "import sys; from xlmr_flax.cli import app\n"
        f"sys.argv = ['xlmr-flax', 'run', {str(STUDIES / 'paper.toml')!r}, '--dry']\n"
        "try:\n    app()\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "414 runs: 3 seed × 6 target × 23 intermediate" in done.stdout
    assert "481 phases; 828 without sharing" in done.stdout
    assert "unknown" in done.stdout  # steps, of data that nobody has looked at
    assert list(tmp_path.iterdir()) == []
