"""Experiments as trees of plain values, with changes at dotted keys."""

import json

import pytest

from xlmr_flax.config.load import apply_override
from xlmr_flax.config.schema import Experiment

SIZES = {"train": 8, "dev": 4, "test": 4}

BASE = {
    "name": "base",
    "model": {"preset": "tiny"},
    "tokenizer": {"vocab_size": 300},
    "text": {"files": ["text/*.txt"]},
    "phases": [
        {"name": "pretrain", "tasks": ["mlm"], "length": 32, "batch_size": 8, "steps": 10},
        {
            "name": "middle", "parent": "pretrain", "tasks": ["xnli"], "length": 48, "batch_size": 8, "epochs": 2.0,
            "selection": {"every_steps": 5},
        },
        {"name": "tags", "parent": "middle", "tasks": ["udpos"], "length": 32, "batch_size": 8, "epochs": 1.0},
        {"name": "side", "parent": "pretrain", "tasks": ["pawsx"], "length": 32, "batch_size": 8, "epochs": 1.0},
    ],
    "evaluations": [
        {"phase": "tags", "tasks": ["udpos"]},
        {"phase": "middle", "tasks": ["tatoeba"]},
        {"phase": "side", "tasks": ["pawsx"]},
    ],
}  # fmt: skip
PLAIN = ("pretrain", "middle", "tags", "side", "eval udpos", "eval tatoeba", "eval pawsx")


@pytest.fixture
def experiment():
    """The base experiment (or another tree), changed at dotted keys; values are TOML or bare strings."""

    def make(*overrides, tree=BASE, more=None):
        changed = json.loads(json.dumps({**tree, **(more or {})}))
        for override in overrides:
            apply_override(changed, override)
        return Experiment.model_validate_json(json.dumps(changed))

    return make
