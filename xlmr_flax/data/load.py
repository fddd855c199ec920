"""From a task's files to encoded examples, through the cache."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.config.settings import what
from xlmr_flax.data.cache import cached, entry
from xlmr_flax.data.encode import (
    Encoded,
    encode_choice,
    encode_sentences,
    encode_sequence,
    encode_span,
    encode_text,
    encode_token,
)
from xlmr_flax.data.encode_dual import encode_documents, encode_dual
from xlmr_flax.data.encoded import named, together
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.masking import Masking
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.sources.rows import Document, Row
from xlmr_flax.tasks.files import found
from xlmr_flax.tasks.fingerprints import fingerprints, text_fingerprints
from xlmr_flax.tasks.task import Head, Task, identity
from xlmr_flax.tasks.text import text_found


def load_examples(
    task: Task, spec: str, lang: str, *, data: Path, tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """One split in one language; its files are read only when the cache does not have it."""

    def build() -> Encoded:
        split = found(task, spec, lang, data)
        encoded = named(encode(task.head, split.rows, tokenizer, length), (row.id for row in split.rows), lang)
        return encoded._replace(counts=encoded.counts | split.counts)

    key = _whole(_key_of(task, spec, [lang], data), tokenizer, length)
    encoded = cached(cache, key, build)
    return Examples(task.head.kind, encoded, length, tokenizer.pad, units_per_item=task.head.units, entry=entry(key))


def load_languages(
    task: Task, spec: str, langs: Sequence[str], *, data: Path, tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """One split in several languages: the rows of the first, then those of the second, and so on."""
    parts = [
        load_examples(task, spec, lang, data=data, tokenizer=tokenizer, length=length, cache=cache) for lang in langs
    ]
    if len(parts) == 1:
        return parts[0]
    # Kept as one more entry, so that a training run maps one file and holds none of it in memory.
    key = _whole(_key_of(task, spec, langs, data), tokenizer, length)
    encoded = cached(cache, key, lambda: together([part.encoded for part in parts]))
    return dataclasses.replace(parts[0], encoded=encoded, entry=entry(key))


def encoded_rows(head: Head, rows: Sequence[Row], tokenizer: Tokenizer, length: int) -> Examples:
    """Rows that no cache keeps: they come from outside, or without labels."""
    encoded = encode(head, rows, tokenizer, length)
    return Examples(head.kind, encoded, length, tokenizer.pad, units_per_item=head.units)


def load_text(
    text: TextFiles, *, data: Path, tokenizer: Tokenizer, length: int, mask_rate: float, cache: Path
) -> Examples:
    """The experiment's text, to be masked."""
    key = _whole({"text": what(text), "files": sorted(text_fingerprints(text, data).items())}, tokenizer, length)

    def build() -> Encoded:
        whole = text_found(text, data)
        encoded = named(encode_text(whole.rows, tokenizer, length), (row.id for row in whole.rows), "")
        return encoded._replace(counts=encoded.counts | whole.counts)

    masking = masking_of(tokenizer, mask_rate)
    return Examples("mlm", cached(cache, key, build), length, tokenizer.pad, masking=masking, entry=entry(key))


def masking_of(tokenizer: Tokenizer, mask_rate: float) -> Masking:
    """How a phase hides a tokenizer's words."""
    specials = (tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk, tokenizer.mask)
    words = np.setdiff1d(np.arange(tokenizer.vocab_size), specials)
    return Masking(mask_rate, tokenizer.mask, words, specials)


def load_sentences(
    sentences: Sequence[str], *, key: Mapping[str, Any], tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """Single sentences, to be embedded."""
    build = partial(encode_sentences, sentences, tokenizer, length)
    return _to_embed(build, key, tokenizer, length, cache)


def load_documents(
    documents: Sequence[Document], *, key: Mapping[str, Any], tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    """Documents with what surrounds them, to be embedded."""
    build = partial(encode_documents, documents, tokenizer, length)
    return _to_embed(build, key, tokenizer, length, cache)


def _to_embed(
    build: Callable[[], Encoded], key: Mapping[str, Any], tokenizer: Tokenizer, length: int, cache: Path
) -> Examples:
    return Examples("embedding", cached(cache, _whole(key, tokenizer, length), build), length, tokenizer.pad)


def encode(head: Head, found: Sequence[Row], tokenizer: Tokenizer, length: int) -> Encoded:
    """Rows as the head wants them."""
    match head.kind:
        case "sequence":
            return encode_sequence(found, head.labels, tokenizer, length)
        case "choice":
            return encode_choice(found, tokenizer, length)
        case "token":
            return encode_token(found, head.labels, tokenizer, length, others=head.labels_read)
        case "span":
            return encode_span(found, tokenizer, length)
        case "dual":
            return encode_dual(found, tokenizer, length)
        case kind:
            raise ValueError(f"a {kind} head trains on no labelled rows")


def _key_of(task: Task, spec: str, langs: Sequence[str], data: Path) -> dict[str, Any]:
    named = [identity(task, spec, lang) for lang in langs]
    files = {path: digest for lang in langs for path, digest in fingerprints(task, spec, lang, data).items()}
    key = {"rows": named[0] if len(named) == 1 else named, "files": sorted(files.items())}
    return key | ({"labels": task.head.labels} if task.head.labels_read else {})


def _whole(key: Mapping[str, Any], tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    return {**key, "tokenizer": tokenizer.fingerprint, "length": length}
