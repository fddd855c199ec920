"""Data flows down only: a module imports its own room and those above it; the upper rooms need no heavy library."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xlmr_flax

PACKAGE = Path(xlmr_flax.__file__).parent
LIGHT = ("errors", "storage", "config", "metrics", "sources", "tasks", "graph", "report")
ROOMS = (*LIGHT, "data", "model", "train", "evaluate", "plan", "launch", "execute", "api", "cli")
HEAVY = (
    "jax", "jaxlib", "flax", "optax", "orbax", "grain", "transformers", "tokenizers", "sentencepiece", "safetensors",
    "huggingface_hub", "datasets", "tensorflow_datasets", "pyarrow", "pandas", "tensorboardX", "torch",
    "matplotlib", "scipy", "jinja2",
)  # fmt: skip
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def dotted(path):
    return ".".join(("xlmr_flax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def room(module):
    """The room of a dotted module; what stands in the package itself (its version) belongs to none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def imported(path):
    """Every module of ours that a file imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "xlmr_flax")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import hides its room"
            if node.module == "xlmr_flax":
                yield from (f"xlmr_flax.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("xlmr_flax."):
                yield node.module


def below(own, found):
    """What of `found` stands below the room `own`."""
    return [module for module in found if room(module) and ROOMS.index(room(module)) > ROOMS.index(own)]


def test_every_module_stands_in_a_room():
    assert {room(dotted(path)) for path in MODULES} - {None} <= set(ROOMS)
    assert [path for path in MODULES if room(dotted(path)) is None] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_what_stands_above_it(path):
    assert below(room(dotted(path)), imported(path)) == []


def test_the_order_is_seen_to_be_broken(tmp_path):
    (tmp_path / "a.py").write_text("def f():\n    from xlmr_flax.train.step import State\n", encoding="utf-8")
    assert below("data", imported(tmp_path / "a.py")) == ["xlmr_flax.train.step"]
    assert below("execute", imported(tmp_path / "a.py")) == []


@pytest.fixture(scope="module")
def loaded():
    """The modules that a fresh Python has after importing all upper rooms, and after the command line alone."""

    def after(modules):
        code = "\n".join([*(f"import {module}" for module in modules), "import sys", "print(*sys.modules)"])
        return set(
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        )

    light = [dotted(path) for path in MODULES if room(dotted(path)) in LIGHT]
    return {"light": after(light), "cli": after(["xlmr_flax.cli"]), "train": after(["xlmr_flax.train.sharding"])}


@pytest.mark.parametrize("library", HEAVY)
@pytest.mark.parametrize("what", ["light", "cli"])
def test_the_upper_rooms_and_the_command_line_import_nothing_heavy(loaded, what, library):
    assert library not in loaded[what]


def test_a_heavy_library_would_be_seen(loaded):
    assert {"jax", "xlmr_flax.train.sharding"} <= loaded["train"]
    assert {"xlmr_flax.graph.build", "xlmr_flax.report.table", "xlmr_flax.tasks.catalogue"} <= loaded["light"]


def test_importing_a_module_does_nothing():
    """No call stands by itself at a module's top but what completes a definition that stands there."""
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                completes = ast.unparse(node.value.func).rsplit(".", 1)[-1]
                assert completes in ("add_typer", "defvjp"), f"{path}:{node.lineno}: {ast.unparse(node)}"
