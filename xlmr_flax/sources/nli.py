"""Inference as its authors publish it in JSON Lines: SNLI and MultiNLI in one form, ANLI in another."""

from pathlib import Path

from xlmr_flax.sources.jsonl import Record, records
from xlmr_flax.sources.rows import Classified, Excluded

LABELS = ("entailment", "neutral", "contradiction")
NO_MAJORITY = "the annotators agree on no label"
_LETTERS = ("e", "n", "c")


def read_nli(path: Path) -> list[Classified | Excluded]:
    """Fields `sentence1`, `sentence2` and, where there are labels, `gold_label`, of SNLI 1.0 and MultiNLI 1.0.

    Pairs labelled "-" are excluded, as everywhere: no three of their five annotators agree. A row's id is its line's
    number, from 1.
    """
    return [_pair(record) for record in records(path)]


def read_anli(*paths: Path) -> list[Classified]:
    """Fields `context`, `hypothesis` and, where there are labels, `label` e, n or c; one file for each round.

    A row's id is its line's number, from 1; of several rounds, after R and the round's number.
    """
    rows = []
    for round_, path in enumerate(paths, start=1):
        for record in records(path):
            name = record.line if len(paths) == 1 else f"R{round_}:{record.line}"
            letter = record.among("label", _LETTERS)
            label = None if letter is None else LABELS[letter]
            rows.append(Classified(name, name, record.text("context"), record.text("hypothesis"), label))
    return rows


def _pair(record: Record) -> Classified | Excluded:
    label = record.text("gold_label") if "gold_label" in record.fields else None
    if label == "-":
        return Excluded(record.line, record.line, NO_MAJORITY)
    return Classified(record.line, record.line, record.text("sentence1"), record.text("sentence2"), label)
