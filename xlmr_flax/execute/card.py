"""The model card of an exported folder: where the model comes from, how to load it, and what was compared."""

import importlib.util
import json
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xlmr_flax import __version__
from xlmr_flax.execute.parity import AUTO, Parity
from xlmr_flax.execute.trained import Trained

# What each head's outputs mean, where the class does not say it.
MEANING = {
    "choice": "Options compete: softmax over an example's options.",
    "token": "A word's tag is that of its first sub-word.",
    "span": "The first token, <s>, stands for no answer.",
}
COMPARED = {
    "cosine": "pooler_output divided by its length; vectors are compared by inner product",
    "dot": "pooler_output; vectors are compared by inner product",
}


def card(source: Path, trained: Trained, measured: Sequence[Parity]) -> str:
    """README.md for a phase's exported model."""
    line = list(_line(source))
    parts = [
        _front(line[-1]),
        f"# {line[0]['phase']['name']}: {_tasks(line[0])}\n",
        f"Trained and exported by xlmr_flax {__version__}.\n",
        "## Training\n",
        *(_phase(one) for one in reversed(line)),
        "\n## Loading\n",
        _loading(trained),
        "\n## Parity\n",
        _parity(measured),
    ]
    return "\n".join(parts) + "\n"


def _line(source: Path) -> Iterator[dict[str, Any]]:
    """The records of a phase and of those before it, the last one first."""
    folder: Path | None = source
    while folder is not None and (folder / "config.json").is_file():
        recorded = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        done = folder / "DONE"
        yield recorded | {"done": json.loads(done.read_text(encoding="utf-8")) if done.is_file() else {}}
        parent = recorded.get("parent")
        folder = source.parents[1] / parent if isinstance(parent, str) and parent.startswith("phases/") else None


def _front(first: dict[str, Any]) -> str:
    """What the hub reads."""
    parent = first.get("parent")
    base = [f"base_model: {parent}"] if isinstance(parent, str) and parent.count("/") == 1 else []
    return "\n".join(["---", "library_name: transformers", *base, "tags: [xlmr_flax]", "---\n"])


def _tasks(recorded: dict[str, Any]) -> str:
    return ", ".join(recorded["phase"]["tasks"])


def _phase(recorded: dict[str, Any]) -> str:
    phase, done = recorded["phase"], recorded["done"]
    told = f"- `{phase['name']}` on {_tasks(recorded)}: step {done.get('step', '?')} of {done.get('steps', '?')}"
    seed = "" if recorded["seed"] is None else f", seed {recorded['seed']}"
    told += f" ({done.get('selection', '?')}){seed}, key {recorded['key']}"
    return told + (f"; {'; '.join(done['flags'])}" if done.get("flags") else "")


def _loading(trained: Trained) -> str:
    spec = trained.model.spec
    told = [
        "```python",
        f"from transformers import {AUTO[spec.kind]}, AutoTokenizer",
        "",
        f'model = {AUTO[spec.kind]}.from_pretrained("FOLDER").eval()',
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        "```\n",
    ]
    if spec.kind == "dual":
        told.append(f"A query's or a document's vector is {COMPARED[spec.similarity]}.")
    else:
        told.append(MEANING.get(spec.kind, ""))
        told.append(
            "`AutoModel` loads the encoder alone" + ("." if spec.kind == "choice" else ", with a fresh pooler.")
        )
    told.append(f"It was trained on at most {trained.length} tokens.")
    return "\n".join(filter(None, told))


def _parity(measured: Sequence[Parity]) -> str:
    told = [
        "Measured when this folder was written, on random tokens in rows of different lengths, in float32, against the "
        "trained model in xlmr_flax:\n",
        *(f"- {one}" for one in measured),
    ]
    if importlib.util.find_spec("torch"):
        told.append(f"\ntransformers {version('transformers')}, torch {version('torch')}.")
    else:
        told.append(
            "\ntransformers' own class was not run here: torch is not installed. The parity tests of xlmr_flax compare "
            "every head with it."
        )
    return "\n".join(told)
