"""Training data that a machine translated: published in TAB-separated files, or the user's own in JSON Lines.

Published files are known to have malformed rows, and any machine may translate a text to nothing: such rows are
excluded and counted. A row's id is its line's number, from 1.

The user's JSON Lines. Pairs: {"text": "…", "pair": "…", "label": "neutral"}. Choices: {"prompt": "…", "options": ["…",
"…"], "label": 0}, and "question", which ends the prompt, where there is one. "id" may stand there and is not read.
"""

from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.sources.jsonl import records
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Choices, Classified, Excluded
from xlmr_flax.sources.tsv import COLUMNS, table
from xlmr_flax.sources.xnli import SPELT

EMPTY = "a text is translated to nothing"
LABEL = "a label that does not exist"
_NOTHING = ("", "NS")  # PAWS-X's translators wrote NS for no sentence
_NLI = ("entailment", "neutral", "contradiction")
_PARAPHRASE = ("0", "1")

Cells = Sequence[str | None]


def read_xnli_translated(path: Path) -> list[Classified | Excluded]:
    """`multinli.train.LANG.tsv` of XNLI-MT-1.0: `premise`, `hypo` and `label` under a header; no quoting."""
    return [_pair(line, cells, _NLI) for line, cells in table(path, ("premise", "hypo", "label"))]


def read_pawsx_translated(path: Path) -> list[Classified | Excluded]:
    """`translated_train.tsv` of PAWS-X: `sentence1`, `sentence2` and `label` under a header; no quoting."""
    return [_pair(line, cells, _PARAPHRASE) for line, cells in table(path, ("sentence1", "sentence2", "label"))]


def read_xtreme_xnli(path: Path) -> list[Classified | Excluded]:
    """`en-LANG-translated.tsv` of XTREME's translate-train: English pair, translated pair, label; no header.

    Read without quoting, as TFDS's xtreme_xnli does.
    """
    return _fifth_is_label(path, _NLI)


def read_xtreme_pawsx(path: Path) -> list[Classified | Excluded]:
    """The same for PAWS-X."""
    return _fifth_is_label(path, _PARAPHRASE)


def read_translated_pairs(path: Path) -> list[Classified | Excluded]:
    """The user's `text`, `pair` and, where there are labels, `label`."""
    rows: list[Classified | Excluded] = []
    for record in records(path):
        first, second = record.text("text"), record.text("pair")
        label = record.text("label") if "label" in record.fields else None
        whole = first.strip() and second.strip()
        row = Classified(record.line, record.line, first, second, label)
        rows.append(row if whole else Excluded(record.line, record.line, EMPTY))
    return rows


def read_translated_choices(path: Path) -> list[Choices | Excluded]:
    """The user's `prompt`, `options` and, where they are there, `question` and `label`."""
    rows: list[Choices | Excluded] = []
    for record in records(path):
        prompt, options = record.text("prompt"), record.texts("options")
        question = record.text("question") if "question" in record.fields else ""
        whole = (prompt + question).strip() and all(option.strip() for option in options)
        row = Choices(record.line, record.line, prompt, options, record.number("label"), question)
        rows.append(row if whole else Excluded(record.line, record.line, EMPTY))
    return rows


def _fifth_is_label(path: Path, labels: Sequence[str]) -> list[Classified | Excluded]:
    rows = ((str(number), line.split("\t")) for number, line in enumerate(lines(path), start=1))
    return [_pair(line, cells[2:] if len(cells) == 5 else None, labels) for line, cells in rows]


def _pair(line: str, cells: Cells | None, labels: Sequence[str]) -> Classified | Excluded:
    if cells is None:
        return Excluded(line, line, COLUMNS)
    first, second, label = (str(cell).strip() for cell in cells)
    label = SPELT.get(label, label)
    if first in _NOTHING or second in _NOTHING:
        return Excluded(line, line, EMPTY)
    return Classified(line, line, first, second, label) if label in labels else Excluded(line, line, LABEL)
