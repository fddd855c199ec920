"""A report's results.json, whose form is that of results.schema.json beside this file."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xlmr_flax import __version__
from xlmr_flax.report.bootstrap import LEVEL
from xlmr_flax.report.cells import Table
from xlmr_flax.report.compare import Compared
from xlmr_flax.report.load import Loaded

FORM = 1  # raise it when a field changes its meaning or goes
NAME = "results.json"


def results_json(
    loaded: Loaded,
    *,
    headline: Sequence[str],
    compared: Mapping[str | None, Sequence[Compared]],
    tables: Sequence[Table],
    draws: int,
    provenance: Mapping[str, Any],
    sizes: Sequence[Mapping[str, Any]],
) -> str:
    """The whole of it as text; `compared` by the protocol of selection, None where there is one only."""
    value = {
        "form": FORM,
        "name": loaded.name,
        "written_by": f"xlmr_flax {__version__}",
        "of": of(run.folder for run in loaded.runs),
        "question": loaded.question,
        "baseline": loaded.baseline,
        "arms": loaded.arms,
        "headline": list(headline),
        "draws": draws,
        "comparisons": [_comparison(one, chosen) for chosen, found in compared.items() for one in found],
        "sizes": list(sizes),
        "tables": [
            {
                "name": table.name,
                "title": table.title,
                "columns": list(table.columns),
                "rows": [[cell.text if cell.value is None else cell.value for cell in row] for row in table.rows],
                "notes": list(table.notes),
            }
            for table in tables
        ],
        "provenance": provenance,
        "rows": [{name: value for name, value in row.items() if name != "run"} for row in loaded.rows],
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def of(folders: Iterable[Path]) -> list[dict[str, str]]:
    """Which results a report is on."""
    return [
        {"folder": folder.name, "sha256": hashlib.sha256((folder / NAME).read_bytes()).hexdigest()}
        for folder in folders
    ]


def still_said(folder: Path, out: Path) -> list[str] | None:
    """The headline of the report in `out`, if it is on the results that `folder` has now, and of this version."""
    path = out / NAME
    if not path.is_file():
        return None
    before = json.loads(path.read_text(encoding="utf-8"))
    same = before.get("of") == of([folder]) and before.get("written_by") == f"xlmr_flax {__version__}"
    return before["headline"] if same and before.get("form") == FORM else None


def _comparison(one: Compared, chosen: str | None) -> dict[str, Any]:
    column = one.column._asdict() if one.column else dict.fromkeys(("task", "asked_phase", "setting", "metric"))
    return {
        "arm": one.arm,
        **column,
        "over": one.over,
        "langs": list(one.langs),
        "selection": chosen,
        "baseline": one.baseline,
        "difference": one.found.value,
        "low": one.found.low,
        "high": one.found.high,
        "level": 1 - LEVEL,
        "p": one.found.p,
        "p_corrected": one.p,
        "comparisons": one.comparisons,
        "excludes_zero": one.excludes_zero,
        "seeds": one.found.seeds,
        "drawn": one.found.drawn,
        "degenerate": one.degenerate,
        "note": one.note,
    }
