"""The schema as a whole: every field is read by the program, is typed, and can be hashed."""

import ast
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

import xlmr_flax
from xlmr_flax.config.schema import Experiment, Shape
from xlmr_flax.config.settings import how, is_how, what
from xlmr_flax.config.world import WorldSettings

PACKAGE = Path(xlmr_flax.__file__).parent


def tables(schema):
    """A table of settings and all tables within it, each once."""
    found = {schema: None}
    for field in schema.model_fields.values():
        for inner in models_in(field.annotation):
            found |= tables(inner)
    return found


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def accesses(path):
    """What a module reads by name: attributes, and words that stand alone (getattr, columns of a table)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


FIELDS = sorted({(table.__name__, name) for table in tables(Experiment) for name in table.model_fields})


@pytest.fixture(scope="module")
def read():
    return {name for path in PACKAGE.rglob("*.py") for name in accesses(path)}


@pytest.mark.parametrize(("table", "name"), FIELDS, ids=[".".join(field) for field in FIELDS])
def test_a_field_of_the_schema_is_read_somewhere(read, table, name):
    assert name in read


def test_a_field_that_nothing_reads_is_found(read):
    assert "peak_lrr" not in read
    assert ("Optim", "peak_lr") in FIELDS
    assert ("Sizes", "train") in FIELDS


@pytest.mark.parametrize("table", tables(Experiment), ids=lambda table: table.__name__)
def test_every_table_is_strict_frozen_and_closed(table):
    config = table.model_config
    assert (config["frozen"], config["strict"], config["extra"]) == (True, True, "forbid")
    assert config["allow_inf_nan"] is False


@pytest.mark.parametrize("table", [Shape, WorldSettings], ids=lambda table: table.__name__)
def test_defaults_are_hashable(table):
    assert hash(table()) == hash(table())


def test_how_fields_are_left_out_and_what_fields_stay_plain():
    class Inner(Experiment.__base__):
        a: tuple[int, ...] = (1, 2)
        b: int = how(3)

    class Outer(Experiment.__base__):
        inner: Inner = Inner()
        many: tuple[Inner, ...] = (Inner(),)
        hidden: Inner = how(Inner())

    assert what(Outer()) == {"inner": {"a": [1, 2]}, "many": [{"a": [1, 2]}]}
    assert is_how(Outer.model_fields["hidden"])
    assert not is_how(Outer.model_fields["many"])
