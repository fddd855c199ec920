"""What the pages and the README show can be typed: every command is one, every TOML block holds settings that exist."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer
from pydantic import BaseModel

from xlmr_flax.cli import app
from xlmr_flax.config.schema import Experiment
from xlmr_flax.launch.scripts import SCRIPTS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
OF_A_STUDY = {"base", "axes", "question"}
NUMBERED = re.compile(r"^#+ .*$", re.MULTILINE)


def blocks(path, language):
    """The fenced blocks of a language, each with its line."""
    text = path.read_text(encoding="utf-8")
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def commands():
    """Every xlmr-flax command that a page shows, alone or in a pipe, with its place."""
    for path in PAGES:
        for first, block in blocks(path, "sh"):
            for number, line in enumerate(block.replace("\\\n", "  ").splitlines(), start=first + 1):
                for part in re.split(r"(?<!\S)(?:\||&&)(?!\S)", re.sub(r"(?<!\S)#.*", "", line)):
                    words = shlex.split(part)
                    if words and words[0].endswith("xlmr-flax"):
                        yield pytest.param(words[1:], id=f"{path.name}:{number}")


def parsed(words):
    """Takes the words as the program would, and runs nothing. Raises what the program would tell."""
    command, path = typer.main.get_command(app), "xlmr-flax"
    context = None
    words = words[: words.index("<")] if "<" in words else words
    words = words[: words.index(">")] if ">" in words else words
    words = [word.replace("gs://", "") for word in words]  # whose libraries need not be here
    while getattr(command, "commands", None):
        name, *words = words
        if command.name == "launch" and name in SCRIPTS:
            return
        context, path = command.make_context(path, [], parent=context, resilient_parsing=True), f"{path} {name}"
        assert name in command.commands, f"{path}: no such command"
        command = command.commands[name]
    if not words:
        return  # the command is spoken of, not typed
    command.make_context(path, words, parent=context)


@pytest.mark.parametrize("words", list(commands()))
def test_every_command_that_a_page_shows_is_one(words):
    parsed(words)


def test_a_command_that_is_none_would_be_seen():
    for words in (["runn", "x.toml"], ["run", "x.toml", "--sedd", "1"], ["predict", "RUN"]):
        with pytest.raises((AssertionError, typer._click.exceptions.UsageError)):
            parsed(words)


def model_in(annotation):
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(model_in, get_args(annotation)) if found is not None), None)


def unknown(tree, model, place=""):
    """The dotted keys of a table that its schema does not have; a table of tables may go by their names."""
    for key, value in tree.items():
        if key not in model.model_fields:
            inner = model if isinstance(value, dict) and place else None  # [phases.NAME]
            if inner is None:
                yield f"{place}{key}"
            else:
                yield from unknown(value, inner, f"{place}{key}.")
            continue
        inner = model_in(model.model_fields[key].annotation)
        for one in value if isinstance(value, list) else [value]:
            if inner and isinstance(one, dict):
                yield from unknown(one, inner, f"{place}{key}.")


@pytest.mark.parametrize(
    ("place", "block"),
    [
        pytest.param(f"{path.name}:{line}", block, id=f"{path.name}:{line}")
        for path in PAGES
        for line, block in blocks(path, "toml")
    ],
)
def test_every_toml_block_holds_settings_that_exist(place, block):
    tree = tomllib.loads(block)
    assert tree
    assert list(unknown({k: v for k, v in tree.items() if k not in OF_A_STUDY}, Experiment)) == [], place


def test_a_setting_that_is_none_would_be_seen():
    assert list(unknown({"sead": 1, "phases": [{"optim": {"lr": 1}}]}, Experiment)) == ["sead", "phases.optim.lr"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_and_config_that_a_page_names_is_there(path):
    text = path.read_text(encoding="utf-8")
    linked = [name for name in re.findall(r"\]\(([^)#]+)", text) if "://" not in name]
    missing = [name for name in linked if not (path.parent / name).exists()]
    missing += [name for name in re.findall(r"\bconfigs/[\w/]+\.toml\b", text) if not (ROOT / name).exists()]
    assert missing == []


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE))
    assert named - {"config.md", "commands.md"} == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_every_lock_file_pins_what_the_project_asks_for():
    def named(line):
        return re.split(r"[\[=<>!; ]", line)[0].lower().replace("_", "-")

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    asked = {named(one) for one in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]}
    for name in ("dev.txt", "dev-3.12.txt", "dev-3.13.txt"):
        lines = [line for line in (ROOT / "lock" / name).read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
        assert all("==" in line for line in lines), name
        assert asked - {named(line) for line in lines} == set(), name
