"""Predictions as XTREME's scorer reads them: `<task>/test-<lang>.{tsv,json,jsonl}`, in the order of its test files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlmr_flax.metrics.squad_v2 import Guess, answer_of
from xlmr_flax.sources.rows import Aligned, Choices, Mined, Query, Question, Row, Tagged
from xlmr_flax.storage.places import write
from xlmr_flax.train.processes import writes


def write_predictions(folder: Path, lang: str, rows: Sequence[Row], found: Sequence[Any]) -> Path:
    """One file for one language.

    `found` is what was predicted for each row, in their order: a label word, an option's number, tags, an answer or a
    `Guess`, the number of a translation's row, the ids of documents with the best first; for mined sentences it is the
    pairs of ids instead, or, of English ones that are sorted, the numbers of their translations.
    """
    suffix, text = _file(rows, found)
    path = folder / f"test-{lang}.{suffix}"
    writes(write, path, text)
    return path


def _file(rows: Sequence[Row], found: Sequence[Any]) -> tuple[str, str]:
    """The file's suffix and its text."""
    match rows[0]:
        case Tagged():
            # A blank line more than between two sentences is an empty sentence to the scorer.
            return "tsv", "\n".join("".join(f"{tag}\n" for tag in tags) for tags in found)
        case Question():
            answers = (answer_of(one) if isinstance(one, Guess) else one for one in found)
            return "json", _by_id(rows, list(answers))
        case Query():
            return "json", _by_id(rows, [list(documents) for documents in found])
        case Choices():
            pairs = zip(rows, found, strict=True)
            return "jsonl", _lines(json.dumps({"id": row.id, "label": int(label)}) for row, label in pairs)
        case Mined():
            return "tsv", _lines("\t".join(one) if isinstance(one, tuple) else one for one in found)
        case Aligned():
            return "tsv", _lines(found[number] for number in english_order(rows))
    return "tsv", _lines(found)


def english_order(rows: Sequence[Aligned]) -> list[int]:
    """The rows by their English text, equal ones as they stand: how XTREME's download writes Tatoeba's English file."""
    return sorted(range(len(rows)), key=lambda number: rows[number].target.strip())


def _by_id(rows: Sequence[Row], found: Sequence[Any]) -> str:
    values = {row.id: value for row, value in zip(rows, found, strict=True)}
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def _lines(values: Any) -> str:
    return "".join(f"{value}\n" for value in values)
