"""Any training batch by its number, as text: from a phase's folder and the cache, without data files or devices."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from xlmr_flax.config.schema import Phase
from xlmr_flax.data.batch import IGNORED, Batch
from xlmr_flax.data.cache import open_entry
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import masking_of
from xlmr_flax.data.mixture import Batches, steps_over, taken, training_batches
from xlmr_flax.data.packing import Layout
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.execute.recorded import AGAIN, phase_config
from xlmr_flax.execute.robust import recorded_switch
from xlmr_flax.execute.target import phase_folder
from xlmr_flax.execute.trained import heads_in, phase_of, recorded_tokenizer
from xlmr_flax.graph.folders import Folders
from xlmr_flax.storage.forms import Form, read
from xlmr_flax.storage.places import absolute, place
from xlmr_flax.tasks.task import Head


class MeshTold(Form):
    """The devices over which rows are laid."""

    data: int = Field(gt=0)
    fsdp: int = Field(gt=0)


class Host(Form):
    """Of a phase's host.json what its batches depend on."""

    mesh: MeshTold


class Taught(NamedTuple):
    """What a phase trains on, as its folder and the cache tell it."""

    folder: Path
    config: dict[str, Any]
    heads: dict[str, Head]
    tokenizer: Tokenizer
    batches: Batches
    steps: int


class Shown(NamedTuple):
    """One batch, its units one after the other."""

    head: Head
    examples: Examples
    tokenizer: Tokenizer
    items: np.ndarray
    batch: Batch
    layout: Layout
    ids: np.ndarray  # rows of all micro-batches × tokens
    sizes: np.ndarray
    labels: np.ndarray  # of spans: where the answer of each unit is


def show_batch(target: str, phase: str | None, step: int, folders: Folders) -> Iterator[str]:
    """Lines that tell what step `step` trains on; the first step is 1, as in train.jsonl."""
    taught = _taught(phase_folder(absolute(place(target)), phase, None), folders)
    if not 1 <= step <= taught.steps:
        raise InputError(f"--step {step}: {taught.folder.name} has the steps 1 to {taught.steps}")
    several = len(taught.heads) > 1
    task = (taught.batches.look(step - 1)[0] if several else None) or next(iter(taught.heads))
    train = taught.config["train"][task] if several else taught.config["train"]
    shown = _shown(taught, task, step)
    layout = shown.layout
    micro = f"{layout.parts} micro-batches of " if layout.parts > 1 else ""
    yield (
        f"{taught.folder.name}, step {step} of {taught.steps}: {len(shown.items)} examples of {task} {train}, "
        f"in {micro}{layout.rows // layout.parts} rows of {layout.length} tokens"
    )
    for number in range(len(shown.items)):
        yield ""
        yield from _item(shown, number)


def _taught(folder: Path, folders: Folders) -> Taught:
    if not (folder / "host.json").is_file():
        raise InputError(f"{folder}: nothing is trained here, or not yet, so there are no batches")
    config, host = phase_config(folder), read(folder / "host.json", Host, None, AGAIN)
    if not config.get("examples"):
        raise InputError(f"{folder}: trained by a version that did not record which examples it read")
    heads = heads_in(config)
    tokenizer = recorded_tokenizer(config, folder, dataclasses.replace(folders, runs=folder.parent.parent))
    parts = []
    for name, head in heads.items():
        phase = phase_of(config, name)
        entry = config["examples"][name] if len(heads) > 1 else config["examples"]
        masking = masking_of(tokenizer, phase.mask_rate) if head.kind == "mlm" else None
        examples = Examples(
            head.kind, open_entry(folders.cache, entry), phase.length, tokenizer.pad, head.units, masking
        )
        switch = recorded_switch(config, phase, tokenizer, folder)
        parts.append(taken(examples, phase, seed=config["seed"], switch=switch))
    phase = Phase.model_validate_json(json.dumps(config["phase"]))
    steps, shards = steps_over(phase, parts), host["mesh"]["data"] * host["mesh"]["fsdp"]
    batches = training_batches(phase, parts, seed=config["attempt_seed"], steps=steps, packed_over=shards)
    return Taught(folder, config, heads, tokenizer, batches, steps)


def _shown(taught: Taught, task: str, step: int) -> Shown:
    _, examples, items = taught.batches.look(step - 1)
    own, made = taught.batches.made(step - 1)  # with words of other languages they are not the phase's examples
    batch, layout = taught.batches(step - 1), taught.batches.laid(step - 1)
    ids = batch.tokens.ids_BL
    start, units, label = made.encoded.start, made.units(own), made.encoded.label
    sizes, rows = start[units + 1] - start[units], ids.reshape(-1, ids.shape[-1])
    labels = label[own] if made.kind == "span" else label
    return Shown(taught.heads[task], examples, taught.tokenizer, items, batch, layout, rows, sizes, labels)


def _item(shown: Shown, number: int) -> Iterator[str]:
    examples, per = shown.examples, shown.examples.units_per_item
    item = int(shown.items[number])
    name = " ".join(filter(None, examples.name(item)))
    told = [f"{number + 1:>3}  {name}", *_part_of(examples, item), *_label(shown, number)]
    if per == 1:
        told += _place(shown, number, item)
    yield "  ·  ".join(told)
    for unit in range(number * per, number * per + per):
        if per > 1:
            place = "  ·  ".join(_place(shown, unit, item * per + unit - number * per))
            yield f"     {_unit_name(shown.head, unit - number * per)}  ·  {place}"
        yield f"     {_decoded(shown, _ids(shown, unit))}"
    yield from (f"     {line}" for line in _taught_by(shown, number))


def _unit_name(head: Head, place: int) -> str:
    return ("query", "document")[place] if head.kind == "dual" else f"option {place + 1}"


def _part_of(examples: Examples, item: int) -> Iterator[str]:
    """Where an example was cut into several items: which of them this is."""
    rows = examples.encoded.example
    first, last = (int(np.searchsorted(rows, rows[item * examples.units_per_item], side)) for side in ("left", "right"))
    if last - first > examples.units_per_item:
        yield f"part {item - first + 1} of {last - first}"


def _place(shown: Shown, unit: int, encoded: int) -> Iterator[str]:
    layout = shown.layout
    part, row = divmod(int(layout.row_N[unit]), layout.rows // layout.parts)
    first = int(layout.offset_N[unit])
    micro = f"micro-batch {part + 1}, " if layout.parts > 1 else ""
    yield f"{micro}row {row + 1}, tokens {first + 1} to {first + int(shown.sizes[unit])}"
    if shown.examples.encoded.cut[encoded]:
        yield "truncated"


def _label(shown: Shown, number: int) -> Iterator[str]:
    """The label of a whole example."""
    if shown.head.kind in ("sequence", "choice"):
        label = int(shown.examples.encoded.label[shown.items[number]])
        yield shown.head.labels[label] if shown.head.kind == "sequence" else f"option {label + 1} is right"


def _taught_by(shown: Shown, unit: int) -> Iterator[str]:
    """The labels of what lies in a unit."""
    ids, row, first = _ids(shown, unit), int(shown.layout.row_N[unit]), int(shown.layout.offset_N[unit])
    match shown.head.kind:
        case "token":
            label = shown.batch.target.label_BL.reshape(len(shown.ids), -1)[row, first : first + len(ids)]
            begins = [*np.flatnonzero(label != IGNORED).tolist(), len(ids) - 1]
            words = [_decoded(shown, ids[a:b]) for a, b in itertools.pairwise(begins)]
            yield " ".join(f"{word}/{shown.head.labels[label[at]]}" for word, at in zip(words, begins, strict=False))
        case "span":
            start, end = shown.labels[unit]
            yield f"answer: {_decoded(shown, ids[start : end + 1])}" if start else "no answer in this window"
        case "mlm":
            places, words = (x.reshape(len(shown.ids), -1)[row] for x in shown.batch.target)
            mine = (words != IGNORED) & (places >= first) & (places < first + len(ids))
            yield f"hidden: {', '.join(_decoded(shown, words[at : at + 1]) for at in np.flatnonzero(mine))}"


def _ids(shown: Shown, unit: int) -> np.ndarray:
    first = int(shown.layout.offset_N[unit])
    return shown.ids[shown.layout.row_N[unit], first : first + int(shown.sizes[unit])]


def _decoded(shown: Shown, ids: np.ndarray) -> str:
    return shown.tokenizer.backend.decode(ids.tolist(), skip_special_tokens=False)
