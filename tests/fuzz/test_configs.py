"""Configs, their overrides, and command lines, however wrong: a success, or a sentence and exit code 2."""

import io
import json
import tomllib
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"
long = pytest.param(4000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])

SMALL = """
name = "small"
seed = 1
note = "é"
recipe = "xtreme"
model = { preset = "tiny", compute = "float32", architecture.hidden_dropout_prob = 0.2 }
tokenizer.vocab_size = 120
text = { files = ["text/*.txt"], tasks = ["xnli"] }
mesh = { data = 1, fsdp = 1 }
save = { every_steps = 5, keep = 1 }
splits = [{ task = "xnli", train = "train[:90%]", select = "dev" }]
arms = [{ name = "main" }, { name = "direct", skip = ["middle"] }]
[world]
languages = ["x1", "x2"]
documents = 40
documents_by_language = [["x2", 5]]
nli = { train = 61, dev = 21, test = 17 }
[[phases]]
name = "first"
tasks = ["mlm"]
length = 16
batch_size = 16
steps = 12
optim = { peak_lr = 1e-3, clip_norm = "none" }
[[phases]]
name = "middle"
tasks = ["cosmosqa"]
parent = "first"
length = 32
epochs = 1.5
selection = { every_steps = 3, metric = "accuracy", patience = 2, max_examples = 5, langs = ["en"], also = "all_langs" }
[[phases]]
name = "joint"
tasks = ["mlm", "xnli"]
parent = "first"
length = 32
batch_size = 8
steps = 4
seed = 5
max_examples = 20
subset_seed = 1
retries = 2
mixture = { sampling = "capped", cap = 9, mlm_frac = 0.5, each = [{ task = "mlm", length = 16, batch_size = 4 }] }
robust = { noise = "uniform", noise_scale = 0.1, consistency = 1.0, dictionary = "words", switch_rate = 0.5 }
[[phases]]
name = "target"
tasks = ["xnli"]
parent = "middle"
length = 32
langs = ["en"]
average = { checkpoints = 2, every_steps = 3 }
init_seed = 3
[[averages]]
name = "mean"
phase = "target"
seeds = [1, 2]
[[evaluations]]
phase = "target"
tasks = ["xnli", "tatoeba"]
layers = [0, 1]
poolings = ["mean", "cls"]
length = 32
[[evaluations]]
phase = "joint"
tasks = ["xnli"]
perturb = { kinds = ["typos", "code_switch"], strengths = [0.1, 1.0], dictionary = "words", switch_to = ["x1"] }
[[evaluations]]
phase = "mean"
tasks = ["xnli"]
"""


def toml(value):
    """A value as TOML writes it in one line; null is a word."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(str(key))} = {toml(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case str():
            return json.dumps(value).replace("\\u0000", "\\u0001\\u0000")
        case None:
            return '"none"'
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
    return str(value)


def document(tree):
    return "".join(f"{json.dumps(str(key))} = {toml(value)}\n" for key, value in tree.items())


STUDY = f"""
question = "size"
baseline = {{ "phases.middle" = "skip" }}
exclude = [{{ seed = 1, target = "b" }}]
{SMALL}
[axes]
seed = [0, 1]
"phases.middle" = ["keep", "skip", "updates"]
"phases.middle.max_examples" = [2, "all"]
[axes.target]
a = {{ "phases.target.tasks" = ["xnli"], "phases.target.steps" = 3 }}
b = {{ "phases.target.tasks" = ["pawsx"], "evaluations.0.tasks" = ["pawsx", "tatoeba"] }}
"""
TEXTS = [SMALL, STUDY, *(path.read_text(encoding="utf-8") for path in sorted(CONFIGS.glob("*.toml")))]


def test_the_small_config_is_right(tmp_path, ended):
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "again.toml").write_text(document(tomllib.loads(SMALL)), encoding="utf-8")
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "written.toml").write_text(document(tomllib.loads(STUDY)), encoding="utf-8")
    names = ("small", "again", "study", "written")
    assert ended("check", *(str(tmp_path / f"{name}.toml") for name in names)) == 0


@pytest.mark.parametrize("cases", [60, long])
def test_damaged_configs(fuzz, ended, damage, tmp_path, cases):
    def case(draw):
        path = tmp_path / "x.toml"
        path.write_bytes(damage(draw.choice(TEXTS).encode(), draw))
        return ended("check", str(path))

    fuzz.each(cases, case)


@pytest.mark.parametrize("cases", [90, long])
def test_configs_of_other_types(fuzz, ended, retype, tmp_path, monkeypatch, cases):
    monkeypatch.chdir(tmp_path)
    trees = [tomllib.loads(text) for text in TEXTS]

    def case(draw):
        tree = retype(draw.choice(trees), draw)
        Path("x.toml").write_text(document(tree) if isinstance(tree, dict) else toml(tree), encoding="utf-8")
        return ended(*draw.choice((["check", "x.toml"], ["run", "x.toml", "--dry"])))

    fuzz.each(cases, case)
    assert [path.name for path in tmp_path.iterdir()] == ["x.toml"]


KEYS = (
    "seed", "name", "phases.target.optim.peak_lr", "phases.first.steps", "phases.0.length", "phases.nobody.length",
    "phases", "phases.target", "evaluations.0.langs", "evaluations.9.langs", "model.weights", "tokenizer.path",
    "model.architecture.hidden_size", "world.languages", "world", "splits.xnli.train", "arms.direct.skip", "", ".",
    "a.", "..", "mesh.fsdp", "text.files", "seed.x", "name.x.y", "phases.target.tasks.0", "recipe", "note",
    "averages.mean.seeds", "averages.mean.phase", "phases.middle.selection.also", "phases.target.average",
    "phases.joint.mixture.sampling", "phases.joint.mixture.weights", "phases.joint.mixture.each", "phases.joint.robust",
    "phases.joint.robust.noise", "phases.joint.mixture.each.mlm.length", "evaluations.1.perturb",
    "evaluations.1.perturb.kinds", "evaluations.1.perturb.strengths", "world.nli.train", "axes.seed", "axes",
    "axes.target", "axes.nobody", "axes.phases.middle", "axes.", "question",
)  # fmt: skip
VALUES = (
    "", "1", "-1", "x", "none", "1e999", "nan", "inf", "true", "[", "[]", "['xnli']", "{}", "{a=1}", "'", '"', "1\n2",
    "[" * 5000, "9" * 5000, "2020-01-01", "12:00:00", "\udcff", "a\0b", "./x", "~/x", "~nobody/x", "/", "x" * 5000, "=",
    "[[[]]]", "{a={b={}}}", "0x_", "10" * 40, "['de', 'de']", "[{name='a', tasks=['xnli'], length=8, batch_size=8}]",
)  # fmt: skip


@pytest.mark.parametrize("cases", [90, long])
def test_overrides(fuzz, ended, damage, tmp_path, monkeypatch, cases):
    monkeypatch.chdir(tmp_path)

    def case(draw):
        Path("x.toml").write_text(draw.choice((SMALL, STUDY)), encoding="utf-8")
        words = [f"{draw.choice(KEYS)}={draw.choice(VALUES)}" for _ in range(draw.choice((1, 1, 2, 3)))]
        if draw.random() < 0.3:
            words = [damage(word.encode("utf-8", "surrogateescape"), draw).decode("utf-8", "surrogateescape")
                     for word in words]  # fmt: skip
        return ended("run", "x.toml", "--dry", *(word for word in words if not word.startswith("-")))

    fuzz.each(cases, case)


WORDS = (
    "run", "check", "tasks", "eval", "score", "predict", "export", "data", "show", "fetch", "miniworld", "x.toml",
    "absent.toml", ".", "folder", "x.toml/x", "file", "--dry", "--phase", "--only", "*", "--runs", "--data", "--cache",
    "--tasks", "xnli", "xnli,tatoeba", "xnil", "--langs", "de", "de,xx", ",", "--version", "xtreme", "xtreme-r",
    "--json", "--sane", "--submission", "--task", "--help", "--out", "--from", "", "-", "--", "-x", "seed=1", "seed=x",
    "=", "a=b", "é", "x" * 5000, "\udcff", "1", "none", "documents=1", "documents=x", "languages=5", "nli={train=-1}",
)  # fmt: skip


@pytest.mark.parametrize("cases", [90, long])
def test_command_lines(fuzz, ended, listed, tmp_path, monkeypatch, cases):
    import xlmr_flax.execute.local as local

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "run_nodes", lambda *_, **__: None)  # what a right command line would compute
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    Path("folder").mkdir()
    Path("file").write_text("", encoding="utf-8")
    Path("x.toml").write_text(SMALL, encoding="utf-8")
    commands = ("run", "check", "eval", "score", "predict", "export", "data", "data check", "data fetch", "tasks")

    def case(draw):
        before = listed(tmp_path)
        words = draw.choice((*commands, draw.choice(WORDS))).split() + draw.choices(WORDS, k=draw.randrange(6))
        if "miniworld" in words or (words[:1] == ["run"] and "--dry" not in words):
            words.insert(1, "--dry")
        code = ended(*words)
        if code:
            assert listed(tmp_path) == before, words
        return code

    fuzz.each(cases, case)
