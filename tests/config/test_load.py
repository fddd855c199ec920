"""From TOML, recipes and overrides to one experiment, or to all of its problems."""

import json
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from xlmr_flax.config.load import load, load_world, read_recipe, toml_value
from xlmr_flax.config.schema import Experiment, Optim
from xlmr_flax.errors import InputError
from xlmr_flax.model.hub import resolve

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def refused(path, *overrides):
    with pytest.raises(InputError) as caught:
        load(path, overrides)
    return str(caught.value)


def test_a_misspelt_key_is_told_with_its_place_and_its_likeliest_meaning(config):
    found = refused(config(), "phases.target.optim.peak_lrr=1e-5")
    assert re.search(
        r"small\.toml: phases\.target\.optim\.peak_lrr: unknown key; did you mean 'peak_lr'\?; known here: .*b1", found
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed='1'", r"seed='1': input should be a valid integer"),
        ("seed=1.0", r"seed=1\.0: input should be a valid integer"),
        ("seed=true", r"seed=True: input should be a valid integer"),
        ("seed=-1", r"seed=-1: input should be greater than or equal to 0"),
        ("phases.target.length=ten", r"phases\.target\.length='ten': input should be a valid integer"),
        ("phases.target.optim=5", r"phases\.target\.optim=5: "),
        ("phases.target.optim.peak_lr=fast", r"phases\.target\.optim\.peak_lr='fast': input should be a valid number"),
        ("phases.target.optim.peak_lr=inf", r"peak_lr=inf: input should be a finite number"),
        ("phases.target.optim.warmup_frac=1", r"warmup_frac=1: input should be less than 1"),
        ("phases.target.tasks=pawsx", r"phases\.target\.tasks='pawsx': input should be a valid array"),
        ("phases.target.tasks=[]", r"phases\.target\.tasks=\[\]: tuple should have at least 1 item"),
        ("phases.target.keep_head=1", r"phases\.target\.keep_head=1: input should be a valid boolean"),
        ("model.preset=huge", r"model\.preset='huge': input should be 'tiny', 'mini', 'base', 'large', 'xl' or 'xxl'"),
        ("name=a b", r"name='a b': string should match pattern"),
        ("evaluations.0.langs=[]", r"evaluations\.0\.langs=\[\]: tuple should have at least 1 item"),
        ("world.languages=['de']", r"world=.*: languages: 'de' is no invented language"),
        ("phases=3", r"phases=3: input should be a valid array"),
        ("phases=[3]", r"phases\.0=3: input should be an object"),
        ("phases=[]", r"phases=\[\]: tuple should have at least 1 item"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_was_found(config, override, message):
    assert re.search(message, refused(config(), override))


@pytest.mark.parametrize(
    "override", ["phases=3", "phases=[3]", "phases.target.parent=['a']", "phases.target.tasks=[3]"]
)
def test_a_recipe_leaves_wrong_types_to_the_schema(config, override):
    assert re.search(r"small\.toml: phases.*: input should be", refused(config(), "recipe=xtreme", override))


def test_a_missing_key_is_named_and_a_recipe_is_suggested(config):
    text = 'name = "a"\n[model]\npreset = "tiny"\n[[phases]]\nname = "target"\ntasks = ["xnli"]\nbatch_size = 8\n'
    assert re.search(r'phases\.target\.length: missing; set it, or choose a recipe .*"xtreme"', refused(config(text)))


def test_every_problem_is_told_at_once(config):
    found = refused(config(), "sed=1", "model.preset=huge", "phases.intermediate.length=-1", "phases.target.nam=x")
    assert [line.split(": ")[1].split("=")[0] for line in found.splitlines()] == [
        "model.preset", "phases.intermediate.length", "phases.target.nam", "sed",
    ]  # fmt: skip
    assert all(line.startswith("- ") for line in found.splitlines())


def test_a_recipe_that_does_not_exist_is_told_with_the_other_problems(config):
    found = refused(config(RECIPE), "recipe=xtrem", "seed=x")
    assert "recipe='xtrem': no such recipe; did you mean 'xtreme'?; there are: jiant, mini, paper, xtreme" in found
    assert "seed='x'" in found
    assert "length: missing" not in found  # the right recipe would have it


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name = \nseed = 1", r"small\.toml: not valid TOML: .*line 1"),
        (b'name = "caf\xe9"', r"small\.toml: not UTF-8 at byte 11; save it as UTF-8"),
        (b"", r"small\.toml: name: missing"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, message):
    (tmp_path / "small.toml").write_bytes(content)
    assert re.search(message, refused(tmp_path / "small.toml"))


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    assert re.search(r"absent\.toml: no such config file; xlmr-flax init FOLDER", refused(tmp_path / "absent.toml"))
    assert re.search(r": is a folder, wanted a TOML file", refused(tmp_path))


def test_an_override_goes_by_the_dotted_key_and_by_the_name_in_a_list(config):
    found = load(config(), ["seed=7", "phases.target.optim.peak_lr=1e-5", "phases.0.length=40", "mesh.fsdp=2"])
    assert (found.seed, found.phases[1].optim.peak_lr, found.phases[0].length, found.mesh.fsdp) == (7, 1e-5, 40, 2)


def test_an_override_makes_the_table_that_is_not_there(config):
    assert load(config(), ["phases.target.selection.every_steps=5"]).phases[1].selection.every_steps == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("1e-5", 1e-5), ("true", True), ("[1, 2]", [1, 2]), ('["de"]', ["de"]), ('"1"', "1"),
        ("{ a = 1 }", {"a": 1}), ("large", "large"), ("no", "no"), ("", ""), ("a=b", "a=b"), ("./x y", "./x y"),
    ],
)  # fmt: skip
def test_an_overrides_value_is_toml_or_else_a_bare_string(text, value):
    assert toml_value(text) == value


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", r"'seed': wanted key=value, as in phases\.target\.optim\.peak_lr=1e-5"),
        ("=1", r"'=1': wanted key=value"),
        ("phases.targt.length=3", r"phases\.targt: no such table; did you mean 'target'\?; there are: interm"),
        ("phases.2.length=3", r"phases\.2: no such table; there are: intermediate, target"),
        ("phases.length=3", r"phases\.length: phases is a list; name one of its tables, as in phases\.target\.length"),
        ("name.first=a", r"name\.first: name='small' is no table"),
        ("name.first.second=a", r"name\.first: name='small' is no table"),
        ("text.files.0=a", r"text\.files\.0: text\.files is a list"),
        ("text.files.0.x=a", r"text\.files\.0\.x: text\.files\.0='text/\*\.txt' is no table"),
        ("text.files.7.x=a", r"text\.files\.7: no such table; there are: 0"),
    ],
)  # fmt: skip
def test_a_bad_override_is_told(config, override, message):
    assert re.search(message, refused(config(), override))


def test_none_switches_a_setting_off_and_only_one_that_may_be_off(config):
    path = config(more='[[arms]]\nname = "none"\n')
    found = load(path, ["phases.target.optim.clip_norm=none", "phases.target.parent=none", "note=none"])
    assert (found.phases[1].optim.clip_norm, found.phases[1].parent, found.note) == (None, None, None)
    assert found.arms[0].name == "none"
    assert "seed='none': input should be a valid integer" in refused(path, "seed=none")


RECIPE = """
name = "a"
recipe = "xtreme"
[model]
weights = "FacebookAI/xlm-roberta-large"
[[phases]]
name = "one"
tasks = ["mnli"]
[[phases]]
name = "two"
parent = "one"
tasks = ["xnli"]
optim = { b2 = 0.9 }
"""


def test_precedence_is_schema_recipe_file_command_line(config):
    path = config(RECIPE.replace("optim =", "batch_size = 64\noptim ="))
    two = load(path).phases[1]
    assert two.optim.b1 == Optim().b1 == 0.9  # schema
    assert (two.length, two.epochs, two.optim.peak_lr, two.optim.warmup_frac) == (128, 5, 3e-5, 0.0)  # recipe
    assert (two.batch_size, two.optim.b2) == (64, 0.9)  # file
    two = load(path, ["phases.two.batch_size=8", "phases.two.optim.peak_lr=1e-5"]).phases[1]
    assert (two.batch_size, two.optim.peak_lr, two.optim.b2, two.length) == (8, 1e-5, 0.9, 128)


def test_steps_in_the_file_replace_the_recipes_epochs(config):
    two = load(config(RECIPE), ["phases.two.steps=10"]).phases[1]
    assert (two.steps, two.epochs) == (10, None)


def test_a_recipes_selection_can_be_switched_off(config):
    assert load(config(RECIPE)).phases[1].selection.every_steps == 100
    assert load(config(RECIPE), ["phases.two.selection=none"]).phases[1].selection is None


def test_a_mean_of_checkpoints_in_the_file_replaces_the_recipes_selection(config):
    two = load(config(RECIPE), ["phases.two.average={checkpoints=3, every_steps=50}"]).phases[1]
    assert (two.average.checkpoints, two.selection) == (3, None)
    kept = load(config(RECIPE), ["phases.two.average=none"]).phases[1]
    assert (kept.average, kept.selection.every_steps) == (None, 100)


def test_a_recipe_knows_the_role_of_a_phase(config):
    text = RECIPE.replace("xtreme", "jiant").replace('["xnli"]', '["mnli"]')
    one, two = load(config(text)).phases
    assert (one.batch_size, one.optim.peak_lr, one.length) == (24, 2e-5, 256)
    assert (two.batch_size, two.optim.peak_lr, two.length) == (32, 1e-5, 256)


@pytest.mark.parametrize("name", ["xtreme", "jiant"])
@pytest.mark.parametrize("task", ["xnli", "mnli", "pawsx", "udpos", "squad", "xquad", "cosmosqa"])
def test_a_recipe_sets_everything_that_a_phase_of_its_tasks_needs(config, name, task):
    text = RECIPE.replace("xtreme", name).replace('["mnli"]', f'["{task}"]').replace('["xnli"]', f'["{task}"]')
    for phase in load(config(text)).phases:
        assert phase.epochs
        assert phase.length
        assert phase.batch_size


@pytest.mark.parametrize(
    ("recipe", "task", "expected"),
    [  # protocol of XTREME's scripts and of jiant's
        ("xtreme", "xnli", (3e-5, 5, 128, 32)),
        ("xtreme", "pawsx", (2e-5, 5, 128, 32)),
        ("xtreme", "udpos", (2e-5, 10, 128, 32)),
        ("xtreme", "squad", (3e-5, 3, 384, 32)),
        ("jiant", "xnli", (1e-5, 2, 256, 32)),
        ("jiant", "pawsx", (1e-5, 5, 256, 32)),
        ("jiant", "udpos", (1e-5, 10, 256, 32)),
        ("jiant", "xquad", (1e-5, 2, 384, 16)),
    ],
)
def test_a_recipe_says_what_its_source_says(recipe, task, expected):
    row = read_recipe(recipe)[task]
    assert (row["optim"]["peak_lr"], row["epochs"], row["length"], row["batch_size"]) == expected


def test_paths_are_relative_to_what_names_them(config, tmp_path, monkeypatch):
    for folder in ("beside/weights", "here/weights"):
        (tmp_path / folder).mkdir(parents=True)
    path = tmp_path / "beside" / "a.toml"
    path.write_text(RECIPE.replace("FacebookAI/xlm-roberta-large", "./weights"), encoding="utf-8")
    monkeypatch.chdir(tmp_path / "here")
    assert load(path).model.weights == str(tmp_path / "beside" / "weights")
    assert load(path, ["model.weights=./weights"]).model.weights == str(tmp_path / "here" / "weights")
    assert load(path, ["model.weights=weights"]).model.weights == str(tmp_path / "here" / "weights")
    assert load(path, ["model.weights=FacebookAI/xlm-v-base"]).model.weights == "FacebookAI/xlm-v-base"


@pytest.mark.parametrize(
    "path",
    sorted(path for path in CONFIGS.rglob("*.toml") if path.parent.name not in ("recipes", "studies")),
    ids=lambda path: path.stem,
)
def test_the_dump_of_every_shipped_config_reloads_equal(path):
    found = load(path)
    again = Experiment.model_validate_json(found.model_dump_json())
    assert again == found
    assert hash(again) == hash(found)
    assert again.model_dump_json() == found.model_dump_json()


def test_nothing_can_be_changed_after_loading(config):
    found = load(config())
    with pytest.raises(ValidationError, match="frozen"):
        found.seed = 2
    with pytest.raises(ValidationError, match="frozen"):
        found.phases[0].optim.peak_lr = 1.0


def test_a_worlds_settings_come_from_words():
    assert load_world(["documents=20", 'languages=["x1"]', "nli.train=3", "nli.dev=1", "nli.test=1"]).documents == 20
    with pytest.raises(InputError, match=r"documnts: unknown key; did you mean 'documents'\?") as caught:
        load_world(["documnts=3", "seed=x"])
    assert "seed='x': input should be a valid integer" in str(caught.value)


def test_all_configs_go_into_the_wheel(tmp_path):
    import zipfile

    from hatchling.builders.wheel import WheelBuilder

    wheel = next(iter(WheelBuilder(str(CONFIGS.parent)).build(directory=str(tmp_path), versions=["standard"])))
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if "/configs/" in name}
    assert packed == {f"xlmr_flax/configs/{path.relative_to(CONFIGS)}" for path in CONFIGS.rglob("*.toml")}
    assert "xlmr_flax/configs/recipes/xtreme.toml" in packed


def test_the_dump_is_plain_json(config):
    assert json.loads(load(config()).model_dump_json())["phases"][0]["name"] == "intermediate"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("[" * 3000, "not valid TOML: maximum recursion depth"),
        ("9" * 5000, "not valid TOML: Exceeds the limit"),
        ("0x" + "f" * 5000, "a value that no setting takes: Exceeds the limit"),
    ],
    ids=["deep", "long", "hexadecimal"],
)
def test_values_without_end_are_told(config, value, message):
    assert message in refused(config(more=f"\n[save]\nkeep = {value}\n"))
    assert "small.toml: " in refused(config(), f"save.keep={value}")
    assert "a value that no setting takes" in refused(config(), f"{'a.' * 3000}b=1")


@pytest.mark.parametrize("name", ["./a\0b", "a\0b", "x" * 5000, "./" + "x" * 5000], ids=["nul", "bare", "long", "both"])
def test_a_name_that_no_file_system_takes_is_no_folder_of_weights(config, name):
    experiment = load(config(), [f"model.weights={json.dumps(name)}"])
    with pytest.raises(InputError, match="weights="):
        resolve(experiment.model.weights)


def test_a_config_whose_name_no_file_system_takes_is_told(config):
    path = config()
    assert "cannot be read (File name too long)" in refused(path.parent / ("x" * 5000))
    assert "cannot be read (Not a directory)" in refused(path / "small.toml")
