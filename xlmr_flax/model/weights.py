"""One table between Hugging Face's names and ours, and the loading of weights by it."""

import enum
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy as np

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.errors import InputError, listed
from xlmr_flax.model.build import Model
from xlmr_flax.model.encoder import Tree
from xlmr_flax.model.stored import open_folder
from xlmr_flax.model.unpickle import Stored

PREFIX = "roberta."  # of everything but heads, unless the checkpoint is of XLMRobertaModel or XLMRobertaXLModel alone


class Form(enum.Enum):
    """How a module of theirs becomes one of ours."""

    TABLE = "V D ↔ V' D, its rows filled up with zeros where we keep more"
    NORM = "weight, bias ↔ scale, bias"
    LINEAR = "outputs × inputs ↔ input axis, then output axes"
    FROM_HEADS = "outputs × inputs ↔ two input axes (H K), then the output axis"
    VECTOR = "V ↔ V', filled up with zeros"


class Row(NamedTuple):
    """A module of ours, theirs, and how one becomes the other; {} stands for a layer's number."""

    ours: str
    theirs: str
    form: Form


BODY = (  # of an encoder, without its norms
    Row("encoder.embeddings.words", "embeddings.word_embeddings", Form.TABLE),
    Row("encoder.embeddings.positions", "embeddings.position_embeddings", Form.TABLE),
    Row("encoder.embeddings.types", "embeddings.token_type_embeddings", Form.TABLE),
    Row("encoder.layers.attention.query", "encoder.layer.{}.attention.self.query", Form.LINEAR),
    Row("encoder.layers.attention.key", "encoder.layer.{}.attention.self.key", Form.LINEAR),
    Row("encoder.layers.attention.value", "encoder.layer.{}.attention.self.value", Form.LINEAR),
    Row("encoder.layers.attention.out", "encoder.layer.{}.attention.output.dense", Form.FROM_HEADS),
    Row("encoder.layers.feed_forward.up", "encoder.layer.{}.intermediate.dense", Form.LINEAR),
    Row("encoder.layers.feed_forward.down", "encoder.layer.{}.output.dense", Form.LINEAR),
)

NORMS = {  # by Architecture.pre_norm
    False: (
        Row("encoder.embeddings.norm", "embeddings.LayerNorm", Form.NORM),
        Row("encoder.layers.attention.norm", "encoder.layer.{}.attention.output.LayerNorm", Form.NORM),
        Row("encoder.layers.feed_forward.norm", "encoder.layer.{}.output.LayerNorm", Form.NORM),
    ),
    True: (
        Row("encoder.layers.attention.norm", "encoder.layer.{}.attention.self_attn_layer_norm", Form.NORM),
        Row("encoder.layers.feed_forward.norm", "encoder.layer.{}.LayerNorm", Form.NORM),
        Row("encoder.norm", "encoder.LayerNorm", Form.NORM),
    ),
}

# Part of the pretrained model: read where present, whatever the task.
PRETRAINED_HEADS = {
    "choice": (Row("head.pooler", "pooler.dense", Form.LINEAR),),
    "dual": (Row("head.pooler", "pooler.dense", Form.LINEAR),),
    "mlm": (
        Row("head.dense", "lm_head.dense", Form.LINEAR),
        Row("head.norm", "lm_head.layer_norm", Form.NORM),
        Row("head.bias", "lm_head", Form.VECTOR),
    ),
}

# Of one task: fresh, unless this very head is asked for.
TASK_HEADS = {
    "sequence": (
        Row("head.dense", "classifier.dense", Form.LINEAR),
        Row("head.out", "classifier.out_proj", Form.LINEAR),
    ),
    "choice": (Row("head.out", "classifier", Form.LINEAR),),
    "token": (Row("head.out", "classifier", Form.LINEAR),),
    "span": (Row("head.out", "qa_outputs", Form.LINEAR),),
}

# What a checkpoint may hold and we may not need; anything else has to be explained.
KNOWN = re.compile(
    r"embeddings\.(position_ids|token_type_ids)"  # counters that old versions of transformers saved
    r"|pooler\.dense\.(weight|bias)"
    r"|lm_head\.(bias|(dense|layer_norm|decoder)\.(weight|bias))"
    r"|(classifier|classifier\.dense|classifier\.out_proj|qa_outputs)\.(weight|bias)"
)

FIELD_OF = {  # the field of config.json that sets a table's rows
    "encoder.embeddings.words": "vocab_size",
    "encoder.embeddings.positions": "max_position_embeddings",
    "encoder.embeddings.types": "type_vocab_size",
}


MOST_PROBLEMS = 8  # of another model's weights every tensor is wrong; the first ones say it


class Leaf(NamedTuple):
    """An array of ours, and the tensor that becomes it (one for each layer where there is a {})."""

    path: str
    name: str
    form: Form
    inputs: int  # leading axes of ours that are inputs; 0 for what is not a kernel


class Loaded(NamedTuple):
    """Parameters, and by our paths what came from the files and what is fresh; by their names what was left."""

    params: Tree
    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]


Put = Callable[[str, np.ndarray], Any]


def load(
    folder: Path,
    model: Model,
    key: jax.Array,
    *,
    head: bool = False,
    parts: Sequence[str] = ("encoder", "head"),
    put: Put | None = None,
) -> Loaded:
    """The weights of a folder as parameters of `model`, float32.

    The pooler and the masked-LM head are carried where the files have them. `head` asks for the task's own head too,
    and is for checkpoints of this very task. What is not carried is drawn from `key`. Arrays come one by one,
    each given to `put` with its path before the next is read, so that it may go to devices; by default it stays here.
    Of several tasks' heads each is read by itself: `parts` says what of the parameters is wanted.
    """
    put = put or (lambda path, array: array)
    tensors = _without_prefix(folder, open_folder(folder))
    wanted, fresh = _wanted(model, tensors, head)
    shapes = dict(flat(jax.eval_shape(model.init_params, key)))
    _check(folder, model.arch, wanted, shapes, tensors)
    shapes = {path: shape for path, shape in shapes.items() if path.split(".")[0] in parts}
    params: Tree = {part: {} for part in parts}
    drawn = dict(flat({"head": jax.jit(model.init_head)(key)})) if fresh else {}
    for path, shape in shapes.items():
        leaf = wanted.get(path)
        array = _assemble(leaf, shape.shape, model.arch, tensors) if leaf else np.asarray(drawn[path])
        plant(params, path, put(path, array))
    carried, fresh = (tuple(sorted(path for path in paths if path in shapes)) for paths in (wanted, fresh))
    return Loaded(params, carried, fresh, _dropped(model.arch, wanted, tensors))


def check(folder: Path, model: Model, *, head: bool = False) -> None:
    """Raises the InputError that `load` would raise for a tensor's name or shape, and reads no number."""
    tensors = _without_prefix(folder, open_folder(folder))
    shapes = dict(flat(jax.eval_shape(model.init_params, jax.random.key(0))))
    _check(folder, model.arch, _wanted(model, tensors, head)[0], shapes, tensors)


def leaves(rows: tuple[Row, ...]) -> Iterator[Leaf]:
    """The table, one line for each array."""
    for ours, theirs, form in rows:
        if form is Form.TABLE:
            yield Leaf(ours, f"{theirs}.weight", form, 0)
        elif form is Form.VECTOR:
            yield Leaf(ours, f"{theirs}.bias", form, 0)
        else:
            inputs = {Form.NORM: 0, Form.LINEAR: 1, Form.FROM_HEADS: 2}[form]
            yield Leaf(f"{ours}.{'scale' if form is Form.NORM else 'kernel'}", f"{theirs}.weight", form, inputs)
            yield Leaf(f"{ours}.bias", f"{theirs}.bias", form, 0)


def encoder_rows(arch: Architecture) -> tuple[Row, ...]:
    """All rows of an encoder."""
    return BODY + NORMS[arch.pre_norm]


def head_rows(kind: str) -> tuple[Row, ...]:
    """All rows of a head."""
    return PRETRAINED_HEADS.get(kind, ()) + TASK_HEADS.get(kind, ())


def names(leaf: Leaf, arch: Architecture) -> list[str]:
    """Their names of a leaf, without prefix: one, or one a layer."""
    return [leaf.name.format(i) for i in range(arch.num_hidden_layers)] if "{}" in leaf.name else [leaf.name]


def their_shape(leaf: Leaf, shape: tuple[int, ...], arch: Architecture) -> tuple[int, ...]:
    """The shape of one of their tensors, from the shape of ours without the layers' axis."""
    if leaf.inputs:
        return (math.prod(shape[leaf.inputs :]), math.prod(shape[: leaf.inputs]))
    if leaf.path == "encoder.embeddings.words" or leaf.form is Form.VECTOR:
        return (arch.vocab_size, *shape[1:])
    return shape if leaf.form is Form.TABLE else (math.prod(shape),)


def outward(leaf: Leaf, ours: np.ndarray, arch: Architecture) -> np.ndarray:
    """One of their tensors from ours (one layer's)."""
    theirs = their_shape(leaf, ours.shape, arch)
    return ours.reshape(theirs[::-1]).T if leaf.inputs else ours[: theirs[0]].reshape(theirs)


def inward(leaf: Leaf, theirs: Stored, ours: np.ndarray) -> None:
    """Reads one of their tensors into ours (one layer's); rows that theirs does not have stay as they are."""
    if leaf.form in (Form.TABLE, Form.VECTOR):
        start = 0
        for block in theirs.blocks():
            ours[start : start + len(block)] = _numbers(leaf, theirs, block)
            start += len(block)
    else:
        numbers = _numbers(leaf, theirs, theirs.read())
        ours[...] = (numbers.T if leaf.inputs else numbers).reshape(ours.shape)


def _numbers(leaf: Leaf, theirs: Stored, block: np.ndarray) -> np.ndarray:
    if block.dtype != ml_dtypes.bfloat16 and not np.issubdtype(block.dtype, np.floating):
        raise InputError(
            f"{theirs.file}: tensor {leaf.name} holds {block.dtype}, where floating point was expected; "
            "export the weights as float32"
        )
    return block


def flat(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested dict with their dotted paths."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def plant(tree: Tree, path: str, leaf: Any) -> None:
    """Sets the leaf of a dotted path."""
    *above, last = path.split(".")
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = leaf


def _without_prefix(folder: Path, tensors: dict[str, Stored]) -> dict[str, Stored]:
    """Names as those of XLMRobertaModel alone."""
    bare: dict[str, Stored] = {}
    for name, stored in tensors.items():
        short = name.removeprefix(PREFIX)
        if short in bare:
            raise InputError(f"{folder}: holds both {short} and {PREFIX}{short}; one of them has to go")
        bare[short] = stored
    if "lm_head.bias" not in bare and "lm_head.decoder.bias" in bare:  # one tensor under two names, saved under either
        bare["lm_head.bias"] = bare.pop("lm_head.decoder.bias")
    return bare


def _wanted(model: Model, tensors: dict[str, Stored], head: bool) -> tuple[dict[str, Leaf], set[str]]:
    """The leaves to read by path, and the paths of those that are fresh."""
    rows = encoder_rows(model.arch)
    pretrained, task = (table.get(model.spec.kind, ()) for table in (PRETRAINED_HEADS, TASK_HEADS))
    if head or any(leaf.name in tensors for leaf in leaves(pretrained)):
        rows += pretrained
    if head:
        rows += task
    wanted = {leaf.path: leaf for leaf in leaves(rows)}
    return wanted, {leaf.path for leaf in leaves(head_rows(model.spec.kind))} - set(wanted)


def _check(
    folder: Path, arch: Architecture, wanted: dict[str, Leaf], shapes: dict[str, Any], tensors: dict[str, Stored]
) -> None:
    """Every problem with the files at once: missing, of another shape, unknown."""
    problems, needed = [], set()
    for path, leaf in wanted.items():
        ours = shapes[path].shape[1:] if "{}" in leaf.name else shapes[path].shape
        shape = their_shape(leaf, ours, arch)
        field = FIELD_OF.get(path)
        why = f"config.json's {field}={getattr(arch, field)}" if field else "config.json and this head"
        for name in names(leaf, arch):
            needed.add(name)
            if name not in tensors:
                problems.append(f"{folder}: tensor {name} is missing; it becomes {path} {shape}")
            elif tensors[name].shape != shape:
                problems.append(
                    f"{tensors[name].file}: tensor {name} has shape {tensors[name].shape}, but {why} asks for {shape}"
                )
    for name in sorted(set(tensors) - needed):
        if not KNOWN.fullmatch(name):
            problems.append(
                f"{tensors[name].file}: tensor {name} has no place in an XLM-R of {arch.num_hidden_layers} layers; "
                "is config.json another model's?"
            )
    if len(problems) > MOST_PROBLEMS:
        problems[MOST_PROBLEMS:] = [f"{folder}: and {len(problems) - MOST_PROBLEMS} more of the kind"]
    if problems:
        raise listed(problems)


def _assemble(leaf: Leaf, shape: tuple[int, ...], arch: Architecture, tensors: dict[str, Stored]) -> np.ndarray:
    """One of our arrays; at no time are there more than it and one block of theirs."""
    array = np.zeros(shape, np.float32)
    layers = array if "{}" in leaf.name else array[None]
    for part, name in zip(layers, names(leaf, arch), strict=True):
        inward(leaf, tensors[name], part)
    return array


def _dropped(arch: Architecture, wanted: dict[str, Leaf], tensors: dict[str, Stored]) -> tuple[str, ...]:
    """What of the files is not used; a decoder of its own is worth a word, because ours is the word table."""
    used = {name for leaf in wanted.values() for name in names(leaf, arch)}
    dropped = sorted(set(tensors) - used)
    decoder, words = tensors.get("lm_head.decoder.weight"), tensors["embeddings.word_embeddings.weight"]
    if decoder and "head.bias" in wanted and not _equal(decoder, words):
        at = dropped.index("lm_head.decoder.weight")
        dropped[at] += " (differs from the word table, which decodes here as in transformers)"
    return tuple(dropped)


def _equal(one: Stored, two: Stored) -> bool:
    pairs = zip(one.blocks(), two.blocks(), strict=False)
    return one.shape == two.shape and all(np.array_equal(a, b) for a, b in pairs)
