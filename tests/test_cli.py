"""The program as a user starts it: what it prints where, how fast, and with which exit code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xlmr_flax import cli
from xlmr_flax.cli import run
from xlmr_flax.errors import InputError, Interrupted, TrainingError

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(sys.executable).with_name("xlmr-flax")
COMMANDS = (
    "",
    "run",
    "check",
    "tasks",
    "plan",
    "eval",
    "score",
    "predict",
    "export",
    "report",
    "init",
    "data",
    "data check",
    "data fetch",
    "data show",
    "data miniworld",
    "launch",
    "launch gke",
    "doctor",
)


def start(*words, cwd=ROOT, **options):
    """Runs the program with none of the tests' settings of jax."""
    own = ("XLA_FLAGS", "JAX_", "HF_HUB_OFFLINE", "XLMR_FLAX_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"COLUMNS": "100"}
    return subprocess.run([PROGRAM, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    done = start(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    assert f"Usage: xlmr-flax {command}".strip() in " ".join(done.stdout.split())
    described = [line for line in done.stdout.splitlines() if line.startswith(("│ *", "│  ", "│ -"))]
    assert described


def test_every_argument_and_option_has_a_help_text():
    import typer

    def walk(command, path):
        yield from ((f"{path} {each.name}", each) for each in command.params if each.name != "help")
        for name, inner in getattr(command, "commands", {}).items():
            assert inner.help, f"{path} {name}"
            yield from walk(inner, f"{path} {name}")

    found = dict(walk(typer.main.get_command(cli.app), "xlmr-flax"))
    assert len(found) > 25
    assert [name for name, each in found.items() if not each.help] == []


@pytest.mark.parametrize(
    "words", [["--help"], ["check", "configs/demo.toml"], ["run", "configs/demo.toml", "--dry"], ["tasks"]]
)
def test_what_answers_at_once_imports_no_jax(words):
    code = f"import sys; sys.argv = ['xlmr-flax', *{words!r}]\nfrom xlmr_flax.cli import main\n"
    code += "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"jax", "grain", "transformers", "tokenizers", "flax"} & set(done.stderr.split())
    assert "xlmr_flax.cli" in done.stderr.split()


def test_check_prints_one_line_a_file_on_stdout():
    files = ["configs/demo.toml", "configs/real_small.toml", "configs/xlmr_large/mnli_xnli.toml"]
    done = start("check", *files)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "configs/demo.toml: ok, 9 phases, 10 evaluations",
        "configs/real_small.toml: ok, 5 phases, 5 evaluations",
        "configs/xlmr_large/mnli_xnli.toml: ok, 2 phases, 2 evaluations",
    ]


def test_check_tells_every_problem_of_every_file_on_stderr(tmp_path):
    (tmp_path / "bad.toml").write_text("name = 'bad'\nsead = 1\n", encoding="utf-8")
    done = start("check", "configs/demo.toml", str(tmp_path / "bad.toml"), "absent.toml")
    assert done.returncode == 2
    assert done.stdout == "configs/demo.toml: ok, 9 phases, 10 evaluations\n"
    assert "bad.toml: sead: unknown key; did you mean 'seed'?" in done.stderr
    assert "bad.toml: phases: missing" in done.stderr
    assert "absent.toml: no such config file" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_applies_overrides_to_all_files():
    done = start("check", "configs/demo.toml", "phases.tagging.optim.peak_lrr=1")
    assert done.returncode == 2
    assert "phases.tagging.optim.peak_lrr: unknown key; did you mean 'peak_lr'?" in done.stderr
    assert start("check", "seed=1").stderr == "check: wanted at least one config file\n"


def test_a_dry_run_lists_what_is_missing_and_writes_nothing(tmp_path):
    done = start("run", str(ROOT / "configs/demo.toml"), "--dry", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    nodes, _, told = done.stdout.partition("\n  ")
    lines = [line for line in nodes.splitlines()[1:] if line.strip()]
    assert len(lines) == 21  # a world, a tokenizer, 9 phases, 10 evaluations
    assert all(line.rstrip().endswith("missing") for line in lines)
    assert re.search(r"pretrain +1 +0 +5,000 +839 kB", told)
    assert re.search(r"all +9 +0 +8,064 +8 MB", told)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_lists_no_more_than_it_is_asked_for(tmp_path):
    done = start("run", str(ROOT / "configs/demo.toml"), "--dry", "--only", "pretrain", cwd=tmp_path)
    nodes, _, _ = done.stdout.partition("\n  ")
    assert [line.split()[0].partition("/")[0] for line in nodes.splitlines()[1:] if line.strip()] == [
        "worlds", "tokenizers", "phases",
    ]  # fmt: skip
    odd = start("run", str(ROOT / "configs/demo.toml"), "--dry", "--only", "pertrain", cwd=tmp_path)
    assert (odd.returncode, odd.stdout) == (2, "")
    assert odd.stderr.startswith("--only pertrain: matches none of ")


def test_a_dry_run_tells_which_of_two_models_is_scored_and_how_else_it_departs(tmp_path):
    changes = ["phases.intermediate.selection={every_steps=100, also='all_langs'}", "evaluations.0.length=24"]
    done = start("run", str(ROOT / "configs/demo.toml"), "--dry", *changes, cwd=tmp_path)
    told = re.findall(r"^evals/xnli-\w+ \((.+)\) ", done.stdout, re.MULTILINE)
    assert told == ["length 24", "length 24, selected in all languages"]


def test_a_world_is_written_and_not_over_another(tmp_path):
    sizes = [f"{name}={{train=4, dev=2, test={0 if name == 'choice' else 2}}}"
             for name in ("nli", "paraphrase", "tagging", "questions", "choice")]  # fmt: skip
    words = ["documents=5", "retrieval_pairs=4", 'languages=["x1"]', *sizes]
    done = start("data", "miniworld", "world", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "world\n", "")
    assert json.loads((tmp_path / "world" / "world.json").read_text(encoding="utf-8"))["settings"]["documents"] == 5
    again = start("data", "miniworld", "world", *words, cwd=tmp_path)
    assert (again.returncode, again.stderr) == (2, "world: there is something already; name a new folder\n")
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert start("data", "miniworld", "file", cwd=tmp_path).stderr.startswith("file: there is something already")
    odd = start("data", "miniworld", "other", "documnts=5", cwd=tmp_path)
    assert odd.returncode == 2
    assert "documnts: unknown key; did you mean 'documents'?" in odd.stderr
    assert not (tmp_path / "other").exists()


def test_tasks_are_listed_with_the_source_of_their_files():
    done = start("tasks")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^xnli +sequence \(3\) +ar bg de", done.stdout, re.MULTILINE)
    assert "rajpurkar.github.io/SQuAD-explorer" in done.stdout


def test_folders_of_predictions_are_scored_in_percent_with_four_decimals(tmp_path):
    for side, text in (("predictions", "1\n0\n1\n"), ("labels", "1\n1\n1\n")):
        (tmp_path / side / "pawsx").mkdir(parents=True)
        for lang in ("de", "en", "es", "fr", "ja", "ko", "zh"):
            (tmp_path / side / "pawsx" / f"test-{lang}.tsv").write_text(text, encoding="utf-8")
    done = start("score", "predictions", "labels", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split()[:5] == ["pawsx", "accuracy", "66.6667", "de", "66.6667"]
    found = json.loads(start("score", "predictions", "labels", "--json", cwd=tmp_path).stdout)
    assert (f"{found['tasks']['pawsx']['score']:.4f}", found["all"]) == ("66.6667", None)
    odd = start("score", "predictions", "absent", cwd=tmp_path)
    assert (odd.returncode, odd.stdout) == (2, "")
    assert odd.stderr == "absent: not a folder; wanted one with TASK/test-LANG files in XTREME's layout\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "predictions"], "Missing argument"),
        (["eval", "some", "--tasks", "xnli", "--langs", "de", "--version", "xtreme"], "both name languages; give one"),
        (["run"], "Missing argument"),
        (["runn", "configs/demo.toml"], "No such command"),
        (["run", "configs/demo.toml", "--sedd", "1"], "No such option"),
        (["run", "configs/demo.toml", "--profile", "3:2"], "--profile 3:2: wanted A:B, the first and the last step"),
        (["eval", "some/target"], "Missing option '--tasks'"),
        (["predict", "some/target"], "Missing option '--task'"),
        (["export", "some/target"], "Missing argument"),
    ],
)
def test_a_wrong_use_of_a_command_ends_with_2(words, message):
    done = start(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["", "3", "0:4", "4:3", "1:2:3", "a:b", "1:-2", " 1:2"])
def test_steps_to_trace_that_are_none_are_refused(text):
    with pytest.raises(InputError, match=f"--profile {text}: wanted A:B"):
        run._steps(text)


def test_steps_to_trace_are_a_first_and_a_last_one():
    assert run._steps("10:12") == (10, 12)


def test_an_error_of_the_user_is_a_sentence_without_a_traceback(tmp_path):
    done = start("run", "absent.toml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "absent.toml: no such config file; xlmr-flax init FOLDER writes some to start from\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("bad"), 2), (TrainingError("bad"), 3), (Interrupted("bad"), 75)],
    ids=["2", "3", "75"],
)
def test_our_errors_have_their_exit_codes(monkeypatch, capsys, error, code):
    def app():
        raise error

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == code
    assert capsys.readouterr() == ("", "bad\n")


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    def app():
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_file_where_a_folder_is_wanted_is_told(tmp_path):
    (tmp_path / "runs").write_text("", encoding="utf-8")
    done = start("run", str(ROOT / "configs/demo.toml"), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "--runs runs: is a file, wanted a folder, or a name for a new one\n")


@pytest.mark.parametrize("option", ["--runs", "--data", "--cache"])
def test_a_folder_whose_name_no_file_system_takes_is_told(monkeypatch, capsys, option):
    name = "x" * 5000
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", "predict", "./absent", "--task", "xnli", option, name])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert (end.value.code, capsys.readouterr().err) == (
        2,
        f"'{name[:80]}…': cannot be a file or folder here (File name too long); give another name\n",
    )
