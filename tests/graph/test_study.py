"""Studies as graphs: what is shared, what is the same, what arms are called, and every error before anything starts."""

import json

import pytest

from xlmr_flax.config.study import read_study
from xlmr_flax.errors import InputError
from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.graph.study import build_study, open_config, recorded
from xlmr_flax.storage.places import write_json

WORLD = """
name = "base"
text = { files = ["text/*.txt"] }
tokenizer = { vocab_size = 300 }
model = { preset = "tiny" }
[world]
languages = ["x1", "x2"]
[[phases]]
name = "pretrain"
tasks = ["mlm"]
length = 32
batch_size = 8
steps = 10
[[phases]]
name = "middle"
parent = "pretrain"
tasks = ["xnli"]
length = 32
batch_size = 8
epochs = 2
[[phases]]
name = "target"
parent = "middle"
tasks = ["pawsx"]
length = 32
batch_size = 8
epochs = 1
[[evaluations]]
phase = "target"
tasks = ["pawsx"]
[[evaluations]]
phase = "middle"
tasks = ["tatoeba"]
"""
AXES = """
name = "study"
base = "base.toml"
[axes]
seed = [0, 1]
"phases.middle.tasks" = [["xnli"], ["cosmosqa"], ["udpos"]]
"phases.target.tasks" = [["pawsx"], ["udpos"], ["xquad"]]
"phases.middle" = ["keep", "skip"]
"""


@pytest.fixture
def study(tmp_path):
    """Builds the graph of a study file, on the base experiment."""

    def make(text=AXES, *overrides):
        (tmp_path / "base.toml").write_text(WORLD, encoding="utf-8")
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        return open_config(tmp_path / "study.toml", overrides)

    return make


def phases(graph, name=None):
    return [node for node in graph.nodes if isinstance(node, PhaseNode) and name in (None, node.name)]


def keys(graph):
    return {node.key for node in graph.nodes}


def problems_of(study, text, *overrides):
    with pytest.raises(InputError) as caught:
        study(text, *overrides)
    return str(caught.value)


def test_equal_phases_are_computed_once(study):
    graph = study()
    assert [len(phases(graph, name)) for name in ("pretrain", "middle", "target")] == [2, 6, 24]
    assert (graph.studied.combinations, graph.studied.runs) == (36, 24)  # without middle, its three tasks are one
    assert graph.studied.unshared == 18 * 3 + 6 * 2


def test_what_a_skipped_phase_would_have_been_makes_no_arm(study):
    graph = study()
    assert [arm.name for arm in graph.studied.arms] == ["xnli", "no middle", "cosmosqa", "udpos"]
    skipped = [one for one in graph.scored if one.arm == "no middle" and one.node.task == "udpos"]
    assert [one.axes for one in skipped] == [
        {"seed": seed, "phases.middle.tasks": None, "phases.target.tasks": ["udpos"], "phases.middle": "skip"}
        for seed in (0, 1)
    ]
    assert {arm.name: arm.baseline for arm in graph.studied.arms} == {
        "xnli": "no middle", "cosmosqa": "no middle", "udpos": "no middle", "no middle": None,
    }  # fmt: skip
    assert graph.studied.baseline == "no middle"


def test_an_evaluation_scores_the_task_that_an_axis_trains(study):
    found = {(one.node.phase.task, one.node.task) for one in study().scored if one.node.task != "tatoeba"}
    assert found == {("pawsx", "pawsx"), ("udpos", "udpos"), ("xquad", "xquad")}


def test_retrieval_stays_as_it_is_asked_for_and_belongs_to_no_target(study):
    found = [one for one in study().scored if one.node.task == "tatoeba"]
    assert len(found) == 2 * (3 + 1)
    assert {one.axes["phases.target.tasks"] for one in found} == {None}
    assert [one.node.phase.name for one in found if one.arm == "no middle"] == ["pretrain", "pretrain"]


def test_a_new_value_brings_new_phases_and_leaves_the_others(study):
    before, after = study(), study(AXES.replace('["udpos"]]\n"phases.target', '["udpos"], ["xquad"]]\n"phases.target'))
    assert keys(before) < keys(after)
    new = [node for node in phases(after) if node.key not in keys(before)]
    assert sorted(node.name for node in new) == ["middle"] * 2 + ["target"] * 6
    assert before.fingerprint != after.fingerprint


def test_another_learning_rate_changes_the_phases_below_it_and_no_others(study):
    before, after = study(), study(AXES, "phases.middle.optim.peak_lr=7e-4")
    changed = keys(before) - keys(after)
    below = [
        node
        for node in before.nodes
        if any(line.name == "middle" for line in lines(node))
    ]  # fmt: skip
    assert changed == {node.key for node in below}
    assert len(keys(before)) == len(keys(after))


def lines(node):
    """A phase and all that it comes from, or those of an evaluation's phase."""
    node = node.phase if node.kind == "eval" else node
    while isinstance(node, PhaseNode):
        yield node
        node = node.parent


def test_a_phase_with_a_seed_of_its_own_is_shared_by_all_seeds(study):
    graph = study(AXES, "phases.pretrain.seed=0")
    assert [len(phases(graph, name)) for name in ("pretrain", "middle", "target")] == [1, 6, 24]
    plain = study(AXES, "axes.seed=[0]")
    assert {node.key for node in phases(plain)} <= keys(graph)  # the same phase as that of the seed it has
    retrieval = [one.axes["seed"] for one in graph.scored if (one.arm, one.node.task) == ("no middle", "tatoeba")]
    assert retrieval == [None]


def test_named_values_set_several_keys(study):
    text = """
    name = "named"
    base = "base.toml"
    [axes]
    seed = [3]
    [axes.intermediate]
    none = { "phases.middle" = "skip" }
    inference = { "phases.middle.tasks" = ["xnli"], "phases.middle.optim.peak_lr" = 1e-3 }
    choice = { "phases.middle.tasks" = ["cosmosqa"] }
    """
    graph = study(text)
    assert [arm.name for arm in graph.studied.arms] == ["none", "inference", "choice"]
    assert [node.phase.optim.peak_lr for node in phases(graph, "middle")] == [1e-3, 2e-5]
    assert graph.studied.baseline == "none"
    chosen = study(text, 'axes.intermediate=["none"]')
    assert [arm.name for arm in chosen.studied.arms] == ["none"]


def test_the_control_trains_for_the_updates_of_the_phase_that_it_skips(study):
    text = AXES.replace('"phases.middle" = ["keep", "skip"]', '"phases.middle" = ["keep", "skip", "updates"]')
    graph = study(text)
    assert "no middle, its updates" not in [arm.name for arm in graph.studied.arms]  # three tasks, three numbers
    assert [arm.name for arm in graph.studied.arms if "updates" in arm.name] == [
        f"{task} · no middle, its updates" for task in ("xnli", "cosmosqa", "udpos")
    ]
    longer = [node for node in phases(graph, "target") if node.stands_for]
    assert {node.parent.name for node in longer} == {"pretrain"}
    assert {node.stands_for[0].task for node in longer} == {"xnli", "cosmosqa", "udpos"}
    faster = study(text, "phases.middle.optim.peak_lr=1e-3")  # no matter for how many updates there are
    assert {node.key for node in longer} <= keys(faster)
    more = study(text, "phases.middle.epochs=3")
    assert not {node.key for node in longer} & keys(more)


def test_sizes_are_told_in_the_arms_and_all_means_every_example(study):
    text = AXES.replace(
        '"phases.middle.tasks" = [["xnli"], ["cosmosqa"], ["udpos"]]', '"phases.middle.max_examples" = [1000, "all"]'
    )
    graph = study(text)
    assert [arm.name for arm in graph.studied.arms] == ["1,000 examples", "no middle", "all examples"]
    assert {node.phase.max_examples for node in phases(graph, "middle")} == {1000, None}


def test_arms_of_the_base_become_an_axis(study, tmp_path):
    text = """
    name = "armed"
    base = "base.toml"
    arms = [{ name = "full" }, { name = "direct", skip = ["middle"] }]
    [axes]
    seed = [0]
    """
    graph = study(text)
    assert [arm.name for arm in graph.studied.arms] == ["full", "direct"]


def test_an_axis_of_one_value_names_no_arm(study):
    graph = study(AXES, 'axes.phases.middle.tasks=[["xnli"]]')
    assert [arm.name for arm in graph.studied.arms] == ["with middle", "no middle"]
    assert graph.studied.baseline == "no middle"


@pytest.mark.parametrize("table", ["arms = 3", "evaluations = 3", "arms = [{ name = 'a', skip = 3 }]", "phases = [3]"])
def test_odd_tables_of_an_experiment_are_told_as_elsewhere(study, table):
    with pytest.raises(InputError, match=table.split()[0]):
        study(AXES.replace("[axes]", f"{table}\n[axes]"))


def test_what_is_excluded_is_not_run(study):
    graph = study(
        AXES.replace("[axes]", 'exclude = [{ "phases.middle.tasks" = ["udpos"], "phases.middle" = "keep" }]\n[axes]')
    )
    assert "udpos" not in [arm.name for arm in graph.studied.arms]
    assert graph.studied.combinations == 30


def test_labels_that_would_be_alike_are_written_out(study):
    text = """
    name = "alike"
    base = "base.toml"
    [axes]
    "phases.middle.tasks" = [["xnli"], ["udpos"]]
    "phases.pretrain.tasks" = [["mlm"]]
    "phases.middle.optim.peak_lr" = [1e-3, 1e-4]
    "phases.target.optim.peak_lr" = [1e-3, 1e-4]
    """
    names = [arm.name for arm in study(text).studied.arms if "target" in arm.name]
    assert len(names) == len(set(names)) == 8
    assert any("phases.middle.optim.peak_lr 0.001 · phases.target.optim.peak_lr 0.0001" in name for name in names)


def test_a_study_is_the_same_when_it_is_read_back(study, tmp_path):
    graph = study(AXES, "phases.middle.optim.peak_lr=7e-4")
    write_json(tmp_path / "config.json", {"study": graph.studied.study.dump()})
    again = recorded(tmp_path / "config.json")
    assert again.fingerprint == graph.fingerprint
    assert [node.key for node in again.nodes] == [node.key for node in graph.nodes]
    assert json.loads((tmp_path / "config.json").read_text())["study"]["question"] == "table"


def test_each_node_knows_the_experiment_that_it_is_computed_by(study):
    graph = study()
    for node in phases(graph):
        mine = graph.experiment_of(node)
        assert node.phase in mine.phases
        assert mine.seed == node.seed


def test_the_first_seed_is_whole_before_the_second_begins(study):
    seeds = [one.axes["seed"] for one in study().scored]
    assert seeds == sorted(seeds)


WRONG = """
name = "wrong"
base = "base.toml"
question = "tabel"
baseline = { "phases.midle" = "skip" }
exclude = [{ seed = 7 }]
[axes]
seed = [0, 0]
sed = [1]
"phases.target.length" = []
phases.target.steps = [1, 2]
"""


def test_everything_that_is_wrong_with_the_axes_is_told_at_once(study):
    told = problems_of(study, WRONG)
    for part in (
        "axes.seed=0: stands there twice",
        "axes.sed: unknown key; did you mean 'seed'?",
        "axes.phases.target.length: has no values, so that nothing would be run",
        'axes.phases: a dotted key is one name here; write it in quotes: "phases.target.steps"',
        "exclude.0.seed=7: the axis has no such value",
        "baseline.phases.midle: no such axis",
        "question='tabel': wanted one of table, size, scale, robustness",
    ):
        assert part in told


WRONG_VALUES = """
name = "wrong"
base = "base.toml"
[axes]
"phases.midle.max_examples" = [1000]
"phases.middle.max_exampels" = [1000, 10]
"phases.middle.optim.peak_lr" = [1e-5, "high"]
"phases.target" = ["keep", "skp"]
"phases.middle.tasks" = [["xnli"], ["tatoeba"], ["xnly"]]
"phases.target.tasks" = [["pawsx"], ["panx"], "udpos"]
"""


def test_every_wrong_value_is_told_with_its_axis_before_anything_starts(study):
    told = problems_of(study, WRONG_VALUES)
    for part in (
        "axes.phases.midle.max_examples=1000: phases.midle: no such table; did you mean 'middle'?",
        "axes.phases.middle.max_exampels=1000: phases.middle.max_exampels: unknown key; did you mean 'max_examples'?",
        "axes.phases.middle.optim.peak_lr='high': phases.middle.optim.peak_lr='high': input should be a valid number",
        "axes.phases.target='skp': phases.target='skp': wanted one of keep, skip",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (('["cosmosqa"]', '["tatoeba"]'), r"axes.phases.middle.tasks=\['tatoeba'\]: .* it trains nothing"),
        (('["cosmosqa"]', '["xnly"]'), r"no task is called 'xnly'; did you mean 'xnli'"),
        (('["xquad"]]', '["hellaswag"]]'), r"axes.phases.target.tasks=\['hellaswag'\]: world.hellaswag.train=0"),
        (('["xquad"]]', '["mlm"]]'), r"axes.phases.target.tasks=\['mlm'\]: evaluations.0.tasks: mlm .* no split"),
        (('["xquad"]]', '"udpos"]'), r"axes.phases.target.tasks='udpos': phases.target.tasks='udpos': input should be"),
        (('"base.toml"', '"bas.toml"'), r"base='bas.toml': no such file .*did you mean 'base.toml'"),
        (('"base.toml"', '"study.toml"'), r"base='study.toml': is a study itself"),
        (("[0, 1]", "1"), r"axes.seed=1: wanted a list of values"),
        (('["keep", "skip"]', "[]"), r"axes.phases.middle: has no values"),
        (("[axes]", "exclude = [{ seed = 0 }, { seed = 1 }]\n[axes]"), r"exclude leaves no combination"),
        (("[axes]", "evaluations = []\n[axes]"), r"nothing is scored at any point"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_run_is_refused(study, changes, wanted):
    with pytest.raises(InputError, match=wanted):
        study(AXES.replace(*changes))


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("seed=3", r"seed: the axis seed sets it; choose among its values: axes.seed="),
        ("axes.sed=[3]", r"no axis is called 'sed'; did you mean 'seed'"),
        ("axes.more=[{a=1}]", r"axes.more: no value is called \{'a': 1\}; there are: one"),
    ],
)
def test_an_override_that_an_axis_would_hide_is_refused(study, override, wanted):
    with pytest.raises(InputError, match=wanted):
        study(AXES + '[axes.more]\none = { "phases.target.epochs" = 2 }\n', override)


def test_a_recipe_goes_with_the_task_that_the_axis_picks(tmp_path):
    (tmp_path / "study.toml").write_text(
        """
        name = "recipes"
        recipe = "xtreme"
        model = { weights = "FacebookAI/xlm-roberta-large" }
        [[phases]]
        name = "target"
        tasks = ["xnli"]
        [[evaluations]]
        phase = "target"
        tasks = ["xnli"]
        [axes]
        "phases.target.tasks" = [["xnli"], ["udpos"], ["xquad"]]
        "phases.target.steps" = [100]
        """,
        encoding="utf-8",
    )
    found = {node.task: node.phase for node in phases(open_config(tmp_path / "study.toml"))}
    assert {name: (phase.length, phase.optim.peak_lr) for name, phase in found.items()} == {
        "xnli": (128, 3e-5), "udpos": (128, 2e-5), "xquad": (384, 3e-5),
    }  # fmt: skip
    assert {(phase.steps, phase.epochs) for phase in found.values()} == {(100, None)}  # in the recipe's stead


def test_the_weights_of_a_study_are_found_beside_its_file(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "study.toml").write_text(
        """
        name = "scale"
        recipe = "xtreme"
        phases = [{ name = "target", tasks = ["xnli"] }]
        evaluations = [{ phase = "target", tasks = ["xnli"] }]
        [axes]
        "model.weights" = ["./weights", "FacebookAI/xlm-roberta-base"]
        """,
        encoding="utf-8",
    )
    graph = build_study(read_study(tmp_path / "study.toml"))
    assert [node.model.weights for node in phases(graph)] == [str(tmp_path / "weights"), "FacebookAI/xlm-roberta-base"]
    assert [arm.name for arm in graph.studied.arms] == ["weights", "xlm-roberta-base"]
