"""Predictions as XTREME's scorer reads them: `<task>/test-<lang>.{tsv,json,jsonl}`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlmr_flax.sources.rows import Row

SUFFIX = {"sequence": "tsv", "token": "tsv", "span": "json", "choice": "jsonl", "embedding": "tsv"}


def write_predictions(folder: Path, kind: str, lang: str, rows: Sequence[Row], found: Sequence[Any]) -> Path:
    """One file for one language, in the order of its rows."""
    path = folder / f"test-{lang}.{SUFFIX[kind]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(kind, rows, found), encoding="utf-8")
    return path


def _text(kind: str, rows: Sequence[Row], found: Sequence[Any]) -> str:
    match kind:
        case "token":
            return "\n".join("".join(f"{tag}\n" for tag in tags) for tags in found)
        case "span":
            answers = {row.id: answer for row, answer in zip(rows, found, strict=True)}
            return json.dumps(answers, ensure_ascii=False, indent=1) + "\n"
        case "choice":
            lines = (json.dumps({"id": row.id, "label": label}) for row, label in zip(rows, found, strict=True))
            return "".join(f"{line}\n" for line in lines)
    return "".join(f"{value}\n" for value in found)
