"""From a task's files to encoded examples, through the cache."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.config.settings import what
from xlmr_flax.data.batches import Examples, Masking
from xlmr_flax.data.cache import cached, file_fingerprints
from xlmr_flax.data.encode import (
    Encoded,
    encode_choice,
    encode_sentences,
    encode_sequence,
    encode_span,
    encode_text,
    encode_token,
)
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.sources.rows import Row
from xlmr_flax.tasks.files import all_paths, rows
from xlmr_flax.tasks.task import Head, Task, identity
from xlmr_flax.tasks.text import text_parts, text_rows


def fingerprints(task: Task, spec: str, lang: str, data: Path) -> dict[str, str]:
    """The sha256 of each file that a split comes from, by its path under the data folder."""
    return _relative(all_paths(task, spec, lang, data), data)


def text_fingerprints(text: TextFiles, data: Path) -> dict[str, str]:
    """The same for the experiment's text."""
    return _relative([path for part in text_parts(text, data) for path in part.files], data)


def load_examples(
    task: Task, spec: str, lang: str, *, data: Path, tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """One split in one language; its files are read only when the cache does not have it."""
    key = {"rows": identity(task, spec, lang), "files": sorted(fingerprints(task, spec, lang, data).items())}
    encoded = _cached(
        cache, key, tokenizer, length, lambda: encode(task.head, rows(task, spec, lang, data), tokenizer, length)
    )
    return Examples(task.head.kind, encoded, length, tokenizer.pad, units_per_item=task.head.options or 1)


def load_text(
    text: TextFiles, *, data: Path, tokenizer: Tokenizer, length: int, mask_rate: float, cache: Path
) -> Examples:
    """The experiment's text, to be masked."""
    key = {"text": what(text), "files": sorted(text_fingerprints(text, data).items())}
    encoded = _cached(cache, key, tokenizer, length, lambda: encode_text(text_rows(text, data), tokenizer, length))
    specials = (tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk, tokenizer.mask)
    words = np.setdiff1d(np.arange(tokenizer.vocab_size), specials)
    return Examples("mlm", encoded, length, tokenizer.pad, masking=Masking(mask_rate, tokenizer.mask, words, specials))


def load_sentences(
    sentences: Sequence[str], *, key: Mapping[str, Any], tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """Single sentences, to be embedded."""
    encoded = _cached(cache, key, tokenizer, length, lambda: encode_sentences(sentences, tokenizer, length))
    return Examples("embedding", encoded, length, tokenizer.pad)


def encode(head: Head, found: Sequence[Row], tokenizer: Tokenizer, length: int) -> Encoded:
    """Rows as the head wants them."""
    match head.kind:
        case "sequence":
            return encode_sequence(found, head.labels, tokenizer, length)
        case "choice":
            return encode_choice(found, tokenizer, length)
        case "token":
            return encode_token(found, head.labels, tokenizer, length)
        case "span":
            return encode_span(found, tokenizer, length)
        case kind:
            raise ValueError(f"a {kind} head trains on no labelled rows")


def _cached(cache: Path, key: Mapping[str, Any], tokenizer: Tokenizer, length: int, build: Any) -> Encoded:
    return cached(cache, {**key, "tokenizer": tokenizer.fingerprint, "length": length}, build)


def _relative(files: Sequence[Path], data: Path) -> dict[str, str]:
    return {str(Path(path).relative_to(data)): digest for path, digest in file_fingerprints(files).items()}
