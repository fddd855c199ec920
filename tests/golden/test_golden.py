"""Every command's help and the errors of a first hour, as a user reads them: a change is reviewed as a diff.

XLMR_FLAX_GOLDEN=write pytest tests/golden writes them anew; read what has changed before you commit it.
"""

import os
import re
from pathlib import Path

import pytest
import typer
from typer import rich_utils

from xlmr_flax import cli
from xlmr_flax.errors import InputError

HERE = Path(__file__).resolve().parent
WRITES = os.environ.get("XLMR_FLAX_GOLDEN") == "write"


def agree(name, text):
    """Compares with the golden file, or writes it."""
    path = HERE / f"{name}.txt"
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip() + "\n"
    if WRITES:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def started(tmp_path, monkeypatch, capsys):
    """Runs the program in this process, in an empty folder; gives its exit code and what it printed."""

    def start(*words):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["xlmr-flax", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    for name in [name for name in os.environ if name.startswith("XLMR_FLAX_") and name != "XLMR_FLAX_GOLDEN"]:
        monkeypatch.delenv(name)
    for name, value in (("COLUMNS", "100"), ("TERMINAL_WIDTH", "100"), ("NO_COLOR", "1"), ("HF_HUB_OFFLINE", "1")):
        monkeypatch.setenv(name, value)
    return start


def commands(command, path=()):
    """The words of every command that explains itself; launch's scripts have help of their own."""
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        if inner.add_help_option:
            yield from commands(inner, (*path, name))


@pytest.mark.parametrize("words", sorted(set(commands(typer.main.get_command(cli.app)))), ids=" ".join)
def test_every_command_explains_itself(started, monkeypatch, words):
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 100)
    code, out, err = started(*words, "--help")
    assert (code, err) == (0, "")
    out = re.sub(r"Usage: .*?xlmr-flax", "Usage: xlmr-flax", out)
    # where the line is broken depends on what the program was started as
    agree("-".join(("help", *words)), re.sub(r"(Usage: .*?) *\n {20,}(?=\S)", r"\1 ", out))


CONFIG = """
name = "small"
[text]
files = ["text/*.txt"]
[tokenizer]
vocab_size = 200
[model]
preset = "tiny"
[[phases]]
name = "pretrain"
tasks = ["mlm"]
length = 16
batch_size = 16
steps = 2
[[phases]]
name = "target"
parent = "pretrain"
tasks = ["xnli"]
length = 16
batch_size = 16
steps = 2
[[evaluations]]
phase = "target"
tasks = ["xnli"]
langs = ["en", "sw"]
"""
WEIGHTS = ("tokenizer={}", 'model.weights="FacebookAI/xlm-roberta-large"', "model.preset=none")

# What is wrong in a first hour, and what is typed.
MISTAKES = {
    "a config that is not there": ("run", "demo.toml"),
    "a setting that does not exist": ("check", "small.toml", "phases.target.optim.peak_lrr=1e-5", "sead=1"),
    "a task that does not exist": ("check", "small.toml", 'phases.target.tasks=["xnil"]'),
    "a phase that does not exist": ("check", "small.toml", "phases.target.parent=pretrian"),
    "no data": ("run", "small.toml"),
    "no weights, and no network": ("run", "small.toml", *WEIGHTS),
    "no network to fetch data": ("data", "fetch", "xnli", "--langs", "sw"),
    "a wrong folder to predict with": ("predict", "./nowhere", "--task", "xnli"),
    "a wrong folder to export": ("export", "text", "out"),
    "a wrong folder to report on": ("report", "text"),
    "a mesh that does not fit": ("run", "small.toml", "mesh.fsdp=3"),
    "a file where runs are to be": ("run", "small.toml", "--runs", "small.toml"),
    "configs that are there already": ("init", "started"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_of_a_first_hour_reads_well(started, tmp_path, what):
    (tmp_path / "small.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "text").mkdir()
    (tmp_path / "started").mkdir()
    (tmp_path / "started" / "demo.toml").write_text("", encoding="utf-8")
    code, _, err = started(*MISTAKES[what])
    err = err.replace(str(tmp_path), "/home/me").replace(str(Path.home()), "~")
    assert code == 2, err
    assert "Traceback" not in err
    agree(f"error-{what.replace(' ', '-').replace(',', '')}", f"$ xlmr-flax {' '.join(MISTAKES[what])}\n{err}")


def test_no_tpu_where_chips_are_reads_well(tmp_path, monkeypatch):
    from xlmr_flax.execute import devices

    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "accel0").write_text("", encoding="utf-8")
    for name in ("JAX_PLATFORMS", "JAX_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices.socket, "gethostname", lambda: "worker-0")
    with pytest.raises(InputError) as caught:
        devices.check_devices(tmp_path)
    agree("error-no-tpu", str(caught.value))


def test_no_libtpu_and_an_old_one_read_well(tmp_path, monkeypatch):
    import jax

    from xlmr_flax.plan import compiler
    from xlmr_flax.plan.chips import slice_of

    def unknown(**request):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: Invalid TPU external name: tpu7x")

    monkeypatch.setattr(compiler.topologies, "get_topology_desc", unknown)
    with pytest.raises(InputError) as caught:
        compiler.Compiler("0.0.20", slice_of("v5e:2x4"), tmp_path).devices()
    agree("error-an-old-libtpu", str(caught.value))
    monkeypatch.setattr(compiler.platform, "system", lambda: "Linux")
    monkeypatch.setattr(compiler.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(compiler.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        compiler.compiler(slice_of("v5e:2x4"), tmp_path)
    agree("error-no-libtpu", str(caught.value))


def test_no_permission_on_a_bucket_reads_well():
    exceptions = pytest.importorskip("google.api_core.exceptions")
    from xlmr_flax.storage import bucket

    with pytest.raises(InputError) as caught, bucket._told("gs://my-bucket/runs"):
        raise exceptions.Forbidden("me@example.org does not have storage.objects.create access")
    agree("error-no-permission-on-a-bucket", str(caught.value))
