"""The scripts as commands of the program."""

import sys

import pytest

from xlmr_flax import cli
from xlmr_flax.errors import InputError
from xlmr_flax.launch import scripts


def launch(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", "launch", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_each_script_is_a_command_with_flags_and_help_of_its_own(monkeypatch, capfd):
    assert {path.stem for path in scripts.folder().glob("*.sh")} == {*scripts.SCRIPTS, "common", "worker"}
    for name in scripts.SCRIPTS:
        assert launch(monkeypatch, name, "--help") == 0
        assert capfd.readouterr().out.startswith(f"xlmr-flax launch {name} NAME ")
    assert launch(monkeypatch, "create", "pod", "--type", "v4-8", "--dry-run", "--", "--network=n") == 0
    assert capfd.readouterr().err.endswith("--runtime-version=tpu-ubuntu2204-base --network=n\n")
    assert launch(monkeypatch, "delete") == 2
    assert capfd.readouterr() == ("", "wanted the slice's NAME; see --help\n")


def test_without_bash_the_commands_say_so(monkeypatch, capfd):
    monkeypatch.setattr(scripts.shutil, "which", lambda name: None)
    assert launch(monkeypatch, "create") == InputError.exit_code
    assert "bash is not here" in capfd.readouterr().err
