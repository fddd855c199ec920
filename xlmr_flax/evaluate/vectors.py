"""An encoder to use from Python: vectors of texts, and what they are made with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax.sharding import Mesh

from xlmr_flax.data.batches import evaluation_batches
from xlmr_flax.data.encode import encode_sentences
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.answers import batch_rows
from xlmr_flax.evaluate.retrieval import POOLINGS
from xlmr_flax.model.build import Model
from xlmr_flax.train.processes import fetch
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.step import make_embed_step

TEXTS_AT_ONCE = 4096


@dataclass(frozen=True)
class TextEncoder:
    """A trained encoder on the devices; `model`, `params` and `tokenizer` are there for code of your own."""

    model: Model = field(repr=False)
    params: Any = field(repr=False)
    tokenizer: Tokenizer
    length: int  # tokens; longer texts are cut at the end
    mesh: Mesh = field(repr=False)

    def vectors(self, texts: Sequence[str], *, layer: int | None = None, pooling: str = "mean") -> np.ndarray:
        """A float32 vector for each text as ND: hidden state `layer` (None: the middle one), pooled.

        `pooling` is "mean", over all tokens with <s> and </s>, or "cls", <s> alone. Layer 0 is the embeddings' output.
        """
        if isinstance(texts, str):
            raise InputError("vectors() takes a list of texts, and was given one text; put it in a list")
        if pooling not in POOLINGS:
            raise InputError(f"pooling={pooling!r}: wanted one of {', '.join(POOLINGS)}")
        layer = self.model.arch.num_hidden_layers // 2 if layer is None else layer
        step = make_embed_step(self.model, poolings=(POOLINGS[pooling],), layers=(layer,))
        found_ND = np.zeros((len(texts), self.model.arch.hidden_size), np.float32)
        rows = batch_rows(self.model.arch, self.length, self.mesh)
        for first in range(0, len(texts), TEXTS_AT_ONCE):
            encoded = encode_sentences(texts[first : first + TEXTS_AT_ONCE], self.tokenizer, self.length)
            for shown, batch in evaluation_batches(
                Examples("embedding", encoded, self.length, self.tokenizer.pad), rows=rows
            ):
                placed = place_batch(batch, self.mesh, lead=0)
                vectors_BSD = fetch(step(self.params, placed.tokens, placed.target.first_BS))[0, 0]
                found_ND[first + shown.units] = vectors_BSD[shown.row_N, shown.slot_N]
        return found_ND
