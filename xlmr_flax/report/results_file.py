"""A report's results.json, whose form is that of results.schema.json beside this file."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xlmr_flax import __version__
from xlmr_flax.report.bootstrap import LEVEL
from xlmr_flax.report.cells import Table
from xlmr_flax.report.compare import Compared
from xlmr_flax.report.fresh import FORM, of
from xlmr_flax.report.load import Loaded


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
        "baselines": dict(loaded.baselines),
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
        "rows": [{name: value for name, value in row.items() if name not in ("run", "own_arm")} for row in loaded.rows],
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


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
