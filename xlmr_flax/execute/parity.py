"""Whether an exported folder scores as the model that it was made of: measured at export, and told in its card."""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batch import (
    IGNORED,
    Batch,
    ChoiceTarget,
    DualTarget,
    MaskedTarget,
    SequenceTarget,
    SpanTarget,
    Tokens,
    TokenTarget,
)
from xlmr_flax.execute.trained import Trained
from xlmr_flax.model import weights
from xlmr_flax.model.decoding import Guesses
from xlmr_flax.model.export import class_name
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.processes import fetch, put
from xlmr_flax.train.sharding import row_shards
from xlmr_flax.train.state import abstract_params, place_batch
from xlmr_flax.train.step import make_predict_step, make_vector_step

LENGTH = 16
SEED = 0
# transformers' classes that load a head by themselves; what has no head of theirs is the encoder with its pooler.
AUTO = {
    "sequence": "AutoModelForSequenceClassification",
    "choice": "AutoModelForMultipleChoice",
    "token": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "mlm": "AutoModelForMaskedLM",
    "dual": "AutoModel",
}


class Parity(NamedTuple):
    """What was compared with what, in how many numbers, and the largest difference."""

    what: str
    numbers: int
    largest: float

    def __str__(self) -> str:
        return f"{self.what}: {self.numbers:,} numbers, largest difference {self.largest:.1e}"


def parity(folder: Path, trained: Trained, mesh: Mesh) -> list[Parity]:
    """The exported files read back by us, and by transformers where torch is installed, against the trained model.

    Random tokens in rows of different lengths; float32 on both sides, whatever the phase computed in.
    """
    arch, spec = trained.model.arch, trained.model.spec
    model = make_model(arch, spec, compute="float32", mesh=mesh)
    batch, ids_BL, real_BL = _probe(trained, row_shards(mesh))
    wanted = _outputs(model, trained.params, batch, mesh)
    places = dict(weights.flat(abstract_params(model, mesh)))
    back = weights.load(
        folder, model, jax.random.key(0), head=True, put=lambda path, array: put(array, places[path].sharding)
    )
    found = [_compared("read back by xlmr_flax", _outputs(model, back.params, batch, mesh), wanted, real_BL, spec.kind)]
    if importlib.util.find_spec("torch"):
        theirs = _of_transformers(folder, trained, ids_BL, real_BL)
        name = f"transformers' {class_name(arch, spec.kind)} ({AUTO[spec.kind]})"
        found.append(_compared(name, theirs, wanted, real_BL, spec.kind))
    return found


def _probe(trained: Trained, shards: int) -> tuple[Batch, np.ndarray, np.ndarray]:
    """Rows of random words, one unit each, and the head's question about them."""
    arch, spec = trained.model.arch, trained.model.spec
    rows = shards * 8 * (spec.size if spec.kind == "choice" else 2 if spec.kind == "dual" else 1)
    random = np.random.default_rng(SEED)
    length = min(LENGTH, arch.longest)
    size_B = random.integers(length // 2, length + 1, rows)
    real_BL = np.arange(length) < size_B[:, None]
    ids_BL = np.where(real_BL, random.integers(3, arch.vocab_size, (rows, length)), arch.pad_token_id).astype(np.int32)
    ids_BL[ids_BL == arch.pad_token_id] = np.where(real_BL, 3, arch.pad_token_id)[ids_BL == arch.pad_token_id]
    ids_BL[:, 0] = arch.bos_token_id
    ids_BL[np.arange(rows), size_B - 1] = arch.eos_token_id
    unit_BL = np.where(real_BL, np.arange(rows)[:, None], -1).astype(np.int32)
    position_BL = np.where(real_BL, np.arange(length), 0).astype(np.int32)
    return Batch(Tokens(ids_BL, unit_BL, position_BL), _target(spec.kind, spec.size, rows, length)), ids_BL, real_BL


def _target(kind: str, size: int, rows: int, length: int) -> Any:
    first_B1, one_B1 = np.zeros((rows, 1), np.int32), np.ones((rows, 1), np.float32)
    match kind:
        case "sequence":
            return SequenceTarget(first_B1, first_B1, one_B1)
        case "choice":
            place_EN = np.arange(rows, dtype=np.int32).reshape(-1, size)
            return ChoiceTarget(first_B1, place_EN, place_EN[:, 0] * 0, np.ones(len(place_EN), np.float32))
        case "token":
            return TokenTarget(np.full((rows, length), IGNORED, np.int32))
        case "span":
            return SpanTarget(first_B1, first_B1, first_B1, one_B1)
        case "mlm":
            masked_BG = np.tile(np.arange(length, dtype=np.int32), (rows, 1))
            return MaskedTarget(masked_BG, np.full_like(masked_BG, IGNORED))
    place_E2 = np.arange(rows, dtype=np.int32).reshape(-1, 2)
    return DualTarget(first_B1, place_E2, place_E2[:, 0], np.ones(len(place_E2), np.float32))


def _outputs(model: Any, params: Any, batch: Batch, mesh: Mesh) -> list[np.ndarray]:
    """What a model's head gives."""
    placed = place_batch(batch, mesh, lead=0)
    if model.spec.kind == "dual":
        return [fetch(make_vector_step(model)(params, placed.tokens, placed.target.first_BS))[:, 0]]
    given = make_predict_step(model)(params, placed.tokens, placed.target)
    if isinstance(given, Guesses):
        return [fetch(jax.jit(Guesses.logits)(given))[..., : model.arch.vocab_size]]
    if model.spec.kind == "span":
        return [fetch(side)[:, 0] for side in given]
    logits = fetch(given)
    return [logits[:, 0] if model.spec.kind == "sequence" else logits]


def _of_transformers(folder: Path, trained: Trained, ids_BL: np.ndarray, real_BL: np.ndarray) -> list[np.ndarray]:
    import torch
    import transformers

    spec = trained.model.spec
    transformers.utils.logging.disable_progress_bar()
    loaded = getattr(transformers, AUTO[spec.kind]).from_pretrained(folder, dtype=torch.float32).eval()
    shape = (-1, spec.size, ids_BL.shape[1]) if spec.kind == "choice" else ids_BL.shape
    with torch.no_grad():
        given = loaded(
            input_ids=torch.tensor(ids_BL.reshape(shape).astype(np.int64)),
            attention_mask=torch.tensor(real_BL.reshape(shape).astype(np.int64)),
        )
    if spec.kind == "span":
        return [given.start_logits.numpy(), given.end_logits.numpy()]
    if spec.kind == "dual":
        pooled = given.pooler_output
        return [(torch.nn.functional.normalize(pooled) if spec.similarity == "cosine" else pooled).numpy()]
    return [given.logits.numpy()]


def _compared(what: str, found: list[np.ndarray], wanted: list[np.ndarray], real_BL: np.ndarray, kind: str) -> Parity:
    """Of logits that stand at tokens, those of real ones."""
    chosen = real_BL if kind in ("token", "span", "mlm") else np.s_[:]
    pairs = [(one[chosen], other[chosen]) for one, other in zip(found, wanted, strict=True)]
    largest = max(float(np.abs(one.astype(np.float64) - other).max()) for one, other in pairs)
    return Parity(what, sum(one.size for one, _ in pairs), largest)
