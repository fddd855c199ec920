"""What an experiment may ask a generated world for."""

import pytest

from xlmr_flax.config.world import WITHOUT, Sizes, WorldSettings
from xlmr_flax.graph import check, told
from xlmr_flax.tasks.catalogue import TASKS
from xlmr_flax.tasks.task import Task

FAMILIES = [name for name, field in WorldSettings.model_fields.items() if field.annotation is Sizes]
SIZES = {"train": 9, "dev": 3, "test": 3}
EVERYTHING = {
    name: {split: count * (split not in WITHOUT.get(name, ((), ""))[0]) for split, count in SIZES.items()}
    for name in FAMILIES
} | {"languages": ["x1"], "lareqa": 5, "translated": True}
WITH_FILES = [name for name, one in TASKS.items() if one.files or one.members]


def phase(name: str, **more) -> dict:
    return {"name": "only", "tasks": [name], "length": 96, "batch_size": 8, "steps": 1} | more


def problems(experiment, world: dict, phases: list[dict], evaluations: list[dict]) -> list[str]:
    more = {"world": world, "phases": phases, "evaluations": evaluations}
    return list(told.world_problems(experiment(more=more)))


def asking(name: str, langs: list[str] | None = None) -> tuple[list[dict], list[dict]]:
    """A phase that trains the task and selects on it where it can, and an evaluation of it."""
    declared: Task = TASKS[name]
    more = {"langs": langs} if langs else {}
    if declared.select and declared.head.kind != "embedding":
        more["selection"] = {"every_steps": 5}
    phases = [phase(name, **more)] if declared.train else [phase("xnli")]
    return phases, [{"phase": "only", "tasks": [name]}]


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_world_of_everything_tells_every_task(experiment, name):
    assert problems(experiment, EVERYTHING, *asking(name)) == []


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_world_of_nothing_is_told_what_each_task_wants(experiment, name):
    nothing = {family: dict.fromkeys(SIZES, 0) for family in FAMILIES} | {"languages": ["x1"], "retrieval_pairs": 0}
    phases, evaluations = asking(name)
    found = problems(experiment, nothing, phases, evaluations)
    readers = {"phases.only", "evaluations.0"} if TASKS[name].train else {"evaluations.0"}
    assert readers <= {problem.split(": ")[1].split(" reads")[0] for problem in found if "=0: " in problem}


@pytest.mark.parametrize("name", [*told.TRANSLATED, *told.TRANSLATED_WHOLE])
def test_translations_are_there_only_where_they_are_asked_for(experiment, name):
    world = EVERYTHING | {"translated": False}
    assert problems(experiment, EVERYTHING, *asking(name, ["en", "x1"])) == []
    found = problems(experiment, world, *asking(name, ["en", "x1"]))
    said = f"world.translated=false: phases.only reads {name} in x1; set it to true"
    assert said in found
    english = problems(experiment, world, asking(name)[0], [])
    assert english == []


def test_a_task_that_no_world_tells_is_named(experiment, monkeypatch):
    monkeypatch.delitem(told.FAMILIES, "qqp")
    [first, *_] = problems(experiment, EVERYTHING, *asking("qqp"))
    assert first.startswith("phases.only: a generated world does not tell qqp; it tells xnli, ")


def test_the_members_of_a_task_are_asked_for_one_by_one(experiment):
    world = EVERYTHING | {"snli": dict.fromkeys(SIZES, 0)}
    assert problems(experiment, world, [phase("anli_plus")], []) == [
        "world.snli.train=0: phases.only reads train of snli; ask for at least one"
    ]


def test_mining_asks_for_the_split_that_its_threshold_comes_from(experiment):
    world = EVERYTHING | {"bucc2018": {"train": 0, "dev": 0, "test": 3}}
    assert problems(experiment, world, *asking("bucc2018")) == [
        "world.bucc2018.dev=0: evaluations.0 reads dev of bucc2018; ask for at least one"
    ]


def test_the_check_of_an_experiment_asks_the_world(experiment):
    world = EVERYTHING | {"qqp": dict.fromkeys(SIZES, 0)}
    more = {"world": world, "phases": [phase("qqp")], "evaluations": []}
    assert check.problems(experiment(more=more)) == [
        "world.qqp.train=0: phases.only reads train[:98%] of qqp; ask for at least one"
    ]
