"""A first hour with the installed wheel, in an empty folder: init, check, plan, run, report, predict, export."""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = runpy.run_path(str(ROOT / "tests" / "small.py"))["SMALL"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder that holds what the wheel installs, and nothing of the checkout."""
    built, folder = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(built), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = built.glob("*.whl")
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(folder),
        wheel,
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.long
def test_a_first_hour_with_the_installed_wheel(installed, tmp_path):
    own = ("XLA_FLAGS", "JAX_", "XLMR_FLAX_", "COLUMNS")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    env |= {"PYTHONPATH": str(installed), "JAX_PLATFORMS": "cpu", "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}

    def start(*words, code=0, **options):
        done = subprocess.run(
            [installed / "bin" / "xlmr-flax", *words], cwd=tmp_path, env=env, capture_output=True, text=True,
            timeout=600, check=False, **options,
        )  # fmt: skip
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    where = "import xlmr_flax; print(xlmr_flax.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert Path(found.stdout.strip()).is_relative_to(installed)

    assert start("init", ".").stdout.split() == ["demo.toml", "real_small.toml", "mnli_xnli.toml"]
    checked = start("check", "demo.toml", "real_small.toml", "mnli_xnli.toml").stdout.splitlines()
    assert [line.partition(", ")[0] for line in checked] == [
        "demo.toml: ok",
        "real_small.toml: ok",
        "mnli_xnli.toml: ok",
    ]
    if importlib.util.find_spec("libtpu") is None:
        assert "libtpu" in start("plan", "demo.toml", *SMALL, code=2).stderr
    done = start("run", "demo.toml", *SMALL)
    run = done.stdout.splitlines()[-1]
    assert json.loads((tmp_path / run / "results.json").read_text(encoding="utf-8"))["rows"]
    assert start("run", "demo.toml", *SMALL).stdout == done.stdout
    start("report", run, "--out", "report")
    assert (tmp_path / "report" / "index.html").is_file()
    answers = start("predict", run, "--task", "udpos", input="one two three\nfour\n").stdout.splitlines()
    assert [len(json.loads(line)["tags"]) for line in answers] == [3, 1]
    assert start("export", run, "exported").stdout == "exported\n"
    assert "read back by xlmr_flax" in (tmp_path / "exported" / "README.md").read_text(encoding="utf-8")
    again = start("predict", "exported", "--task", "udpos", input="one two three\nfour\n").stdout.splitlines()
    assert again == answers
