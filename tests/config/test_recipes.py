"""Recipes: every task that can be trained has a row in each, or a reason for none, and every row is a valid phase."""

import re
from pathlib import Path

import pytest

from xlmr_flax.config.load import load, merged, read_recipe
from xlmr_flax.config.schema import Phase
from xlmr_flax.errors import InputError
from xlmr_flax.graph.mixture import members
from xlmr_flax.tasks.catalogue import TASKS

RECIPES = Path(__file__).parents[2] / "configs" / "recipes"
PUBLISHED = ("jiant", "paper", "xtreme")
NAMES = (*PUBLISHED, "mini")
ROLES = ("intermediate", "target")
TRAINED = sorted(name for name, task in TASKS.items() if task.train or name == "mlm")


def rows(recipe: str) -> dict:
    return {name: row for name, row in read_recipe(recipe).items() if name not in ("without", "mixture")}


def phase(row: dict, role: str) -> Phase:
    table = merged({key: value for key, value in row.items() if key not in ROLES}, row.get(role, {}))
    return Phase.model_validate({"name": role, "tasks": ("x",), **table})


def test_all_recipes_are_tested():
    assert sorted(path.stem for path in RECIPES.glob("*.toml")) == sorted(NAMES)


@pytest.mark.parametrize("recipe", NAMES)
def test_every_task_that_can_be_trained_has_a_row_or_a_reason_for_none(recipe):
    reasons = read_recipe(recipe)["without"]
    assert sorted([*rows(recipe), *reasons]) == TRAINED
    assert all(isinstance(reason, str) and len(reason.split()) > 3 for reason in reasons.values())


@pytest.mark.parametrize("recipe", NAMES)
@pytest.mark.parametrize("role", ROLES)
def test_every_row_is_a_whole_phase_in_either_role(recipe, role):
    for name, row in rows(recipe).items():
        found = phase(row, role)
        assert found.epochs, name
        assert found.steps is None, name
        assert found.optim.model_fields_set >= {"peak_lr"}, name


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_every_row_tells_its_source_or_that_it_is_unverified(recipe):
    text = (RECIPES / f"{recipe}.toml").read_text(encoding="utf-8")
    headers = re.findall(r"^\[([\w.]+)\](?:  # (.*))?$", text, re.MULTILINE)
    assert len(headers) > 20
    for name, source in headers:
        assert name == "without" or re.match(r"\d\.\d|UNVERIFIED", source), f"[{name}]"
    assert len(headers) == len(re.findall(r"^\[", text, re.MULTILINE))


@pytest.mark.parametrize(
    ("recipe", "task", "role", "expected"),
    [  # learning rate, epochs, length, batch; of the sources, written down a second time
        ("xtreme", "xnli", "target", (3e-5, 5, 128, 32)),
        ("xtreme", "pawsx", "target", (2e-5, 5, 128, 32)),
        ("xtreme", "udpos", "target", (2e-5, 10, 128, 32)),
        ("xtreme", "panx", "target", (2e-5, 10, 128, 32)),
        ("xtreme", "squad", "target", (3e-5, 3, 384, 32)),
        ("xtreme", "mlqa", "target", (3e-5, 3, 384, 32)),
        ("xtreme", "tydiqa", "target", (3e-5, 3, 384, 32)),
        ("xtreme", "socialiqa", "intermediate", (3e-5, 5, 128, 32)),
        ("xtreme", "xcopa", "target", (3e-5, 5, 128, 32)),
        ("xtreme", "mewslix", "target", (1e-5, 2, 64, 32)),
        ("xtreme", "lareqa", "target", (2e-5, 3, 256, 16)),
        ("jiant", "xnli", "target", (1e-5, 2, 256, 32)),
        ("jiant", "mnli", "target", (1e-5, 2, 256, 32)),
        ("jiant", "pawsx", "target", (1e-5, 5, 256, 32)),
        ("jiant", "panx", "target", (1e-5, 10, 256, 32)),
        ("jiant", "squad", "target", (1e-5, 2, 384, 16)),
        ("jiant", "mlqa", "target", (1e-5, 2, 384, 16)),
        ("jiant", "tydiqa", "target", (1e-5, 2, 384, 16)),
        ("paper", "anli_plus", "intermediate", (2e-5, 2, 256, 24)),
        ("paper", "mnli", "intermediate", (2e-5, 2, 256, 24)),
        ("paper", "ccg", "intermediate", (2e-5, 15, 256, 24)),
        ("paper", "commonsenseqa", "intermediate", (1e-5, 10, 256, 4)),
        ("paper", "cosmosqa", "intermediate", (1e-5, 15, 256, 4)),
        ("paper", "hellaswag", "intermediate", (1e-5, 7, 256, 24)),
        ("paper", "qqp", "intermediate", (1e-5, 3, 256, 24)),
        ("paper", "squad", "intermediate", (1e-5, 3, 384, 8)),
        ("paper", "mlm", "intermediate", (2e-5, 10, 256, 8)),
        ("paper", "xnli", "target", (1e-5, 2, 256, 4)),
        ("paper", "pawsx", "target", (1e-5, 5, 256, 32)),
        ("paper", "tydiqa", "target", (2e-5, 2, 384, 16)),
        ("paper", "panx", "target", (2e-5, 10, 256, 32)),
    ],
)
def test_a_row_says_what_its_source_says(recipe, task, role, expected):
    found = phase(rows(recipe)[task], role)
    assert (found.optim.peak_lr, found.epochs, found.length, found.batch_size) == expected


@pytest.mark.parametrize("task", ["xnli", "pawsx", "udpos", "panx", "xcopa", "lareqa", "mewslix"])
def test_xtremes_scripts_warm_nothing_up_and_decay_no_weight_but_for_questions(task):
    found = phase(rows("xtreme")[task], "target").optim
    assert (found.warmup_frac, found.weight_decay) == (0.0, 0.0)
    squad = phase(rows("xtreme")["squad"], "target").optim
    assert (squad.warmup_frac, squad.weight_decay) == (0.06, 1e-4)


def loaded(tmp_path: Path, phase: str, recipe: str = "paper") -> Phase:
    path = tmp_path / "config.toml"
    path.write_text(f'name = "x"\nrecipe = "{recipe}"\n[[phases]]\nname = "joint"\n{phase}', encoding="utf-8")
    return load(path).phases[0]


def sizes(phase: Phase) -> dict[str, tuple[int, int]]:
    return {one.tasks[0]: (one.length, one.batch_size) for one in members(phase)}


def test_a_recipe_gives_each_task_of_a_mixture_its_own_length_and_batch(tmp_path):
    found = loaded(tmp_path, 'tasks = ["mlm", "squad", "mnli"]')
    assert sizes(found) == {"mlm": (256, 8), "squad": (384, 8), "mnli": (256, 24)}
    assert (found.epochs, found.optim.peak_lr, found.selection.every_steps) == (3, 1e-5, 1000)


def test_what_the_file_says_of_a_mixture_replaces_the_recipe(tmp_path):
    text = 'tasks = ["squad", "mnli"]\nlength = 64\n[[phases.mixture.each]]\ntask = "squad"\nbatch_size = 6'
    assert sizes(loaded(tmp_path, text)) == {"squad": (64, 6), "mnli": (64, 24)}


def test_without_a_row_for_mixtures_the_first_labelled_task_gives_what_they_share(tmp_path):
    found = loaded(tmp_path, 'tasks = ["mlm", "pawsx", "xnli"]', "jiant")
    assert (found.epochs, found.selection.every_steps) == (5, 1000)


@pytest.mark.parametrize("each", ["3", "[3]", "{task = 'squad'}"])
def test_a_spoilt_table_of_a_mixture_is_told_by_the_schema(tmp_path, each):
    with pytest.raises(InputError, match=r"phases.joint.mixture.each"):
        loaded(tmp_path, f'tasks = ["squad", "mnli"]\nmixture = {{ each = {each} }}')
