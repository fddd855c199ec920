"""The names that Python code uses: they import nothing heavy, and say what a user can mend."""

import inspect
import subprocess
import sys

import pytest

import xlmr_flax
from xlmr_flax import api
from xlmr_flax.config.load import load
from xlmr_flax.config.shipped import folder
from xlmr_flax.errors import InputError

NAMES = ("load_config", "run", "evaluate", "predict", "load_encoder", "export")


def test_the_package_has_six_names_each_explained():
    assert set(xlmr_flax.__all__) == {"__version__", *NAMES}
    assert set(dir(xlmr_flax)) == set(xlmr_flax.__all__)
    for name in NAMES:
        function = getattr(xlmr_flax, name)
        assert function is getattr(api, name)
        assert inspect.getdoc(function)
    with pytest.raises(AttributeError, match="module 'xlmr_flax' has no attribute 'runn'"):
        _ = xlmr_flax.runn


def test_a_room_of_the_same_name_does_not_take_a_functions_place():
    code = "import xlmr_flax.evaluate.files, xlmr_flax; assert callable(xlmr_flax.evaluate), xlmr_flax.evaluate"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_importing_the_package_and_reading_a_config_import_no_jax():
    code = "import sys, xlmr_flax; xlmr_flax.load_config(sys.argv[1]); print(*sys.modules)"
    words = [sys.executable, "-c", code, str(folder() / "demo.toml")]
    loaded = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert "xlmr_flax.api" in loaded
    assert not {"jax", "grain", "transformers", "tokenizers", "flax"} & loaded


def test_a_config_is_loaded_checked_with_its_overrides():
    path = folder() / "demo.toml"
    assert xlmr_flax.load_config(path, ["seed=7"]) == load(path, ["seed=7"])
    with pytest.raises(InputError, match="parent"):
        xlmr_flax.load_config(path, ["phases.tagging.parent=nobody"])


def test_a_loaded_config_takes_no_overrides():
    config = xlmr_flax.load_config(folder() / "demo.toml")
    with pytest.raises(InputError, match="overrides change a file's settings; a config that is loaded is changed by"):
        xlmr_flax.run(config, ["seed=1"])


def test_folders_are_those_given_or_those_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLMR_FLAX_DATA", str(tmp_path / "elsewhere"))
    found = api.folders_of("mine", None, None)
    assert found == (type(found))(tmp_path / "mine", tmp_path / "elsewhere", tmp_path / "cache")
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"--cache cache: is a file, wanted a folder"):
        api.folders_of(None, None, None)
