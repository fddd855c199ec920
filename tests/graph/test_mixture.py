"""Phases of several tasks: their members, shares and heads, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.config.schema import Phase
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.errors import InputError
from xlmr_flax.graph.build import build
from xlmr_flax.graph.mixture import head_for, head_from, members, rates, steps_of_mixture
from xlmr_flax.report.ahead import steps_known
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.task import texts


def phase(*tasks, mixture=None, **more):
    return Phase.model_validate(
        {"name": "joint", "tasks": tasks, "length": 32, "batch_size": 8, "steps": 10, "mixture": mixture or {}} | more
    )


def test_each_task_sees_a_phase_of_its_own():
    each = ({"task": "squad", "length": 64, "batch_size": 4},)
    whole = phase("xnli", "squad", "mlm", mixture={"each": each}, langs=("en", "de"), mask_rate=0.4)
    found = {one.tasks[0]: one for one in members(whole)}
    assert [(one.length, one.batch_size) for one in found.values()] == [(32, 8), (64, 4), (32, 8)]
    assert (found["xnli"].langs, found["mlm"].langs) == (("en", "de"), None)
    assert (found["xnli"].mask_rate, found["mlm"].mask_rate) == (0.15, 0.4)


def test_a_phase_of_one_task_is_its_only_member():
    assert members(phase("xnli")) == (phase("xnli"),)


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        ({}, (0.7, 0.2, 0.1)),
        ({"sampling": "capped", "cap": 100}, (1 / 3, 1 / 3, 1 / 3)),
        ({"sampling": "capped", "cap": 200}, (0.4, 0.4, 0.2)),
        ({"sampling": "temperature", "temperature": 1.0}, (0.7, 0.2, 0.1)),
        ({"sampling": "temperature", "temperature": 2.0}, (0.5229, 0.2795, 0.1976)),
        ({"sampling": "uniform"}, (1 / 3, 1 / 3, 1 / 3)),
        ({"sampling": "weights", "weights": (1.0, 1.0, 2.0)}, (0.25, 0.25, 0.5)),
        ({"mlm_frac": 0.4}, (7 / 9 * 0.6, 2 / 9 * 0.6, 0.4)),
        ({"sampling": "uniform", "mlm_frac": 0.4}, (0.3, 0.3, 0.4)),
    ],
)
def test_shares_are_what_the_sampling_says(mixture, expected):
    assert rates(phase("xnli", "squad", "mlm", mixture=mixture), (700, 200, 100)) == pytest.approx(expected, abs=1e-4)


@given(st.lists(st.integers(1, 10**9), min_size=3, max_size=3), st.sampled_from([None, 0.01, 0.5]))
def test_shares_come_to_the_whole(sizes, mlm_frac):
    assert sum(rates(phase("xnli", "squad", "mlm", mixture={"mlm_frac": mlm_frac}), tuple(sizes))) == pytest.approx(1)


def test_a_head_serves_its_own_task_and_those_with_the_same_labels():
    names = ("squad", "mnli", "xnli")
    assert [head_for(names, task(name)) for name in ("xnli", "snli", "xquad", "tatoeba", "pawsx")] == [
        "xnli", "mnli", "squad", "squad", None,
    ]  # fmt: skip
    assert [head_from(names, name) for name in ("xnli", "snli", "udpos")] == ["xnli", "mnli", None]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("phases.middle.tasks=['xnli', 'xnli']", "phases.middle.tasks: 'xnli' stands there 2 times"),
        ("phases.middle.tasks=['xnli', 'tatoeba']", "phases.middle.tasks: tatoeba is only scored"),
        ("phases.middle.tasks=['xnli', 'nope']", "phases.middle.tasks: no task is called 'nope'"),
        (
            "phases.middle.mixture.cap=5",
            "phases.middle.mixture.cap: only sampling='capped' reads it, and it is 'propor",
        ),
        ("phases.middle.mixture.sampling=temperature", "phases.middle.mixture.temperature: missing"),
        ("phases.middle.mixture={sampling='weights', weights=[1.0]}", "weights: 1 for 2 tasks; wanted one for each"),
        ("phases.middle.mixture={sampling='weights', weights=[1.0, 1.0], mlm_frac=0.1}", "mlm_frac: masked LM has its"),
        ("phases.middle.mixture.each=[{task='squadd'}]", "'squadd' is not among the tasks xnli, squad; did you mean"),
        ("phases.middle.mixture.each=[{task='squad'}, {task='squad'}]", "mixture.each: 'squad' stands there 2 times"),
        ("phases.tags.mixture.each=[{task='udpos'}]", "mixture.each: udpos is the phase's only task"),
        ("phases.middle.selection.metric=accuracy", "squad has no metric 'accuracy'; it has: f1, exact_match"),
        ("phases.middle.langs=['de']", "phases.middle.langs: squad has no language 'de'; it has: en"),
        ("phases.middle.mixture.each=[{task='squad', length=5}]", "each.squad.length=5: wanted at least 8 tokens"),
        ("phases.tags.keep_head=true", "phases.tags.keep_head: middle, its parent, has no head for udpos"),
        ("evaluations.1.tasks=['pawsx']", "those that phase middle trains on xnli, squad"),
    ],
)
def test_what_a_mixture_must_not_be_is_told(experiment, override, told):
    changed = ["phases.middle.tasks=['xnli', 'squad']", override]
    with pytest.raises(InputError) as error:
        build(experiment(*changed))
    assert told in str(error.value)


def test_a_mixture_is_evaluated_on_the_tasks_of_its_heads(experiment):
    found = build(
        experiment("phases.middle.tasks=['squad', 'xnli']", "evaluations.1.tasks=['xnli', 'xquad', 'tatoeba']")
    )
    assert {scored.node.task for scored in found.scored} == {"udpos", "xnli", "xquad", "tatoeba", "pawsx"}


def test_equal_mixtures_have_equal_keys_whatever_is_not_read(experiment):
    tasks = "phases.middle.tasks=['xnli', 'squad']"
    one, other = (build(experiment(tasks, f"phases.middle.{more}")) for more in ("mixture.mlm_frac=0.2", "length=48"))
    assert [node.key for node in one.nodes] == [node.key for node in other.nodes]
    each = "phases.middle.mixture.each=[{task='xnli', length=40}, {task='squad', length=40}]"
    one, other = (build(experiment(tasks, more)) for more in (each, "phases.middle.length=40"))
    assert [node.key for node in one.nodes] == [node.key for node in other.nodes]


@pytest.mark.parametrize(
    ("sampling", "one", "other"),
    [
        ("capped", "cap=10", "cap=20"),
        ("temperature", "temperature=2.0", "temperature=3.0"),
        ("weights", "weights=[1.0, 1.0]", "weights=[1.0, 2.0]"),
    ],
)
def test_what_a_sampling_reads_is_part_of_the_key(experiment, sampling, one, other):
    def key(read):
        mixture = f"phases.middle.mixture={{sampling='{sampling}', {read}}}"
        found = build(experiment("phases.middle.tasks=['xnli', 'squad']", mixture))
        return next(node.key for node in found.nodes if node.name == "middle")

    assert key(one) == key(one) != key(other)


@pytest.mark.parametrize(
    ("mixture", "settings", "steps"),
    [
        ({}, {"epochs": 2.0}, 375),  # (1000 + 400 + 100) × 2 / 8
        ({"each": ({"task": "squad", "batch_size": 4},)}, {"epochs": 2.0}, 475),  # its 400 take twice the steps
        ({"mlm_frac": 0.5}, {"epochs": 1.0}, 350),  # 1400 / 8 for the tasks, and as many beside them
        ({}, {"epochs": 0.01}, 2),
    ],
)
def test_epochs_are_as_many_steps_as_each_task_alone_would_take(mixture, settings, steps):
    found = phase("xnli", "squad", "mlm", mixture=mixture, **{"steps": None, **settings})
    assert steps_of_mixture(found, (1000, 400, 100)) == steps


def test_a_plan_knows_the_steps_of_a_mixture_in_a_generated_world(experiment):
    world = {"nli": {"train": 60, "dev": 4, "test": 4}, "paraphrase": {"train": 20, "dev": 4, "test": 4}}
    changes = ["phases.middle.tasks=['xnli', 'pawsx', 'mlm']", "phases.middle.mixture.mlm_frac=0.5"]
    tree = experiment(*changes, more={"world": world, "evaluations": []})
    known = {node.name: steps_known(node) for node in build(tree).nodes if node.kind == "phase"}
    assert known["middle"] == 2 * (60 + 20) * 2 // 8
    tree = experiment(changes[0], more={"world": world, "evaluations": []})
    assert (
        next(steps_known(node) for node in build(tree).nodes if node.name == "middle") is None
    )  # text has no size yet


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small world with translations."""
    sizes = {name: {"train": 4, "dev": 4, "test": 4} for name in (
        "nli", "paraphrase", "tagging", "questions", "mnli", "qqp", "hellaswag", "panx", "tydiqa")}  # fmt: skip
    for name in ("questions", "tydiqa"):  # of which a slice is taken, whole articles
        sizes[name] = {"train": 80, "dev": 0, "test": 4}
    settings = WorldSettings.model_validate({"languages": ("x1",), "documents": 20, "translated": True, **sizes})
    folder = tmp_path_factory.mktemp("world")
    write_world(settings, folder)
    return settings, folder


@pytest.mark.parametrize("name", ["xnli_translate", "pawsx_translate", "mnli_translated", "qqp_translated",
                                  "hellaswag_translated", "squad_translate", "tydiqa_translate"])  # fmt: skip
def test_a_phase_trains_in_another_language_where_the_tasks_rows_come_in_it(experiment, world, name):
    settings, folder = world
    more = {"world": settings.model_dump(mode="json"), "evaluations": []}
    tree = experiment(f"phases.side.tasks=['{name}']", "phases.side.langs=['x1']", more=more)
    node = next(node for node in build(tree).nodes if node.name == "side")
    assert node.langs == ("x1",)
    found = rows(task(name), node.train, "x1", folder)
    english = rows(task(name), node.train, "en", folder)
    assert min(len(found), len(english)) > 0
    assert texts(found[0]) != texts(english[0])


@pytest.mark.parametrize("name", ["mnli", "qqp", "hellaswag", "squad"])
def test_a_task_whose_training_rows_come_in_english_alone_says_so(experiment, world, name):
    tree = experiment(
        f"phases.side.tasks=['{name}']",
        "phases.side.langs=['x1']",
        more={"world": world[0].model_dump(mode="json"), "evaluations": []},
    )
    with pytest.raises(InputError, match=rf"phases.side.langs: {name} train\S* comes in en only, not in x1"):
        build(tree)


@pytest.mark.parametrize("name", ["xnli", "pawsx"])
def test_training_rows_that_could_be_there_and_are_not_are_named_by_their_file(world, name):
    with pytest.raises(InputError, match=rf"{name}.*train-x1"):
        rows(task(name), "train", "x1", world[1])
