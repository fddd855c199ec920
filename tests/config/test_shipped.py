"""The configs that come with the program, and what `init` lays down of them."""

import pytest

from xlmr_flax.config import shipped
from xlmr_flax.config.load import load
from xlmr_flax.errors import InputError
from xlmr_flax.graph.build import build


def test_starters_are_laid_at_the_top_of_a_new_folder_and_are_good_configs(tmp_path):
    written = shipped.lay(tmp_path / "a" / "b")
    assert [path.name for path in written] == ["demo.toml", "real_small.toml", "mnli_xnli.toml"]
    for path, name in zip(written, shipped.STARTERS, strict=True):
        assert build(load(path)).fingerprint == build(load(shipped.folder() / name)).fingerprint


def test_the_commands_that_a_starter_names_work_where_it_lies(tmp_path):
    for path in shipped.lay(tmp_path):
        assert "configs/demo.toml" not in path.read_text(encoding="utf-8")
        assert f"xlmr-flax run {path.name}" in path.read_text(encoding="utf-8")


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "demo.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"demo\.toml: is there already; name a new folder, or move it away"):
        shipped.lay(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.toml"]
    with pytest.raises(InputError, match=r"demo\.toml: is a file, wanted a folder"):
        shipped.lay(tmp_path / "demo.toml")
