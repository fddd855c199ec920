"""Whether a report is still on the results that a run has now; asked at the end of each run, so it imports little."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from xlmr_flax import __version__

FORM = 1  # of a report's results.json: raise it when a field changes its meaning or goes
NAME = "results.json"


def said_of(folder: Path) -> list[str]:
    """What the report in a run's folder says first; it is written where it is not on the run's results.

    A run without evaluations has nothing to report.
    """
    if not json.loads((folder / NAME).read_text(encoding="utf-8"))["rows"]:
        return []
    said = still_said(folder, folder / "report")
    if said is None:
        from xlmr_flax.report.write import write_report

        said = write_report([folder], folder / "report").headline
    return said


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
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        same = before["of"] == of([folder]) and before["written_by"] == f"xlmr_flax {__version__}"
        return before["headline"] if same and before["form"] == FORM else None
    except (ValueError, KeyError, TypeError):  # no report any more: it is written again
        return None
