"""A tiny experiment of two arms with every kind of head, run once on a mesh of eight devices for all tests here."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from xlmr_flax.config.schema import Experiment
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.graph.build import Graph, build
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import PhaseNode
from xlmr_flax.report.results import collect

# Sizes that divide by nothing. Rows are so short that nearly all are full: few lengths to compile.
WORLD = {
    "languages": ["x1", "x2"], "documents": 60,
    "nli": {"train": 61, "dev": 21, "test": 17}, "paraphrase": {"train": 5, "dev": 5, "test": 5},
    "tagging": {"train": 53, "dev": 13, "test": 19}, "questions": {"train": 121, "dev": 7, "test": 11},
    "choice": {"train": 43, "dev": 9, "test": 0}, "retrieval_pairs": 23,
}  # fmt: skip


def phase(name: str, task: str, *, parent: str | None = None, length: int = 16, steps: int = 2, **more: Any) -> dict:
    settings = {"name": name, "tasks": [task], "parent": parent, "length": length, "batch_size": 16, "steps": steps}
    return settings | {"optim": {"peak_lr": 1e-3}} | more


EXPERIMENT = {
    "name": "small", "seed": 3, "world": WORLD, "text": {"files": ["text/*.txt"]}, "tokenizer": {"vocab_size": 120},
    "model": {"preset": "tiny", "compute": "float32"}, "mesh": {"data": 2, "fsdp": 2, "tensor": 2},
    "save": {"every_steps": 4},
    "phases": [
        phase("pretrain", "mlm"),
        phase("choice", "cosmosqa", parent="pretrain", length=32),
        phase("nli", "xnli", parent="choice", steps=13, selection={"every_steps": 5, "max_examples": 19}),
        phase("probe", "xnli_hypothesis", parent="nli", keep_head=True),
        phase("tags", "udpos", parent="choice", max_examples=31),
        phase("spans", "xquad", parent="choice", length=64),
    ],
    "evaluations": [
        {"phase": "choice", "tasks": ["tatoeba"], "layers": [1]},
        {"phase": "choice", "tasks": ["cosmosqa"], "langs": ["en"]},
        {"phase": "nli", "tasks": ["xnli"]},
        {"phase": "tags", "tasks": ["udpos"]},
        {"phase": "spans", "tasks": ["xquad"]},
    ],
    "arms": [{"name": "choice"}, {"name": "direct", "skip": ["choice"]}],
}  # fmt: skip


class Lab(NamedTuple):
    """An experiment and where it runs."""

    graph: Graph
    context: Context

    @classmethod
    def of(cls, root: Path, **changes: Any) -> "Lab":
        """The experiment with other values under its top-level keys."""
        experiment = Experiment.model_validate_json(json.dumps(EXPERIMENT | changes))
        folders = Folders(root / "runs", root / "data", root / "cache")
        return cls(build(experiment), Context(experiment, folders, Console(file=io.StringIO(), width=300)))

    def phase(self, name: str) -> PhaseNode:
        """The first arm's phase of this name."""
        return next(node for node in self.graph.nodes if isinstance(node, PhaseNode) and node.name == name)

    def folder(self, name: str) -> Path:
        return self.context.folders.of(self.phase(name))

    def said(self) -> str:
        """Everything that has been told so far."""
        return self.context.console.file.getvalue()


@pytest.fixture(scope="session")
def experiment() -> dict[str, Any]:
    return EXPERIMENT


@pytest.fixture(scope="session")
def open_lab() -> Callable[..., Lab]:
    return Lab.of


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The whole experiment, computed; tests must leave it as it is."""
    lab = Lab.of(tmp_path_factory.mktemp("lab"))
    run_nodes(lab.graph, lab.context)
    return lab


@pytest.fixture(scope="session")
def results(lab: Lab) -> dict[str, Any]:
    return collect(lab.graph, lab.context.folders.runs)
