"""Prediction files, byte for byte as XTREME's scorer reads them."""

import json

import pytest

from xlmr_flax.evaluate.files import write_predictions
from xlmr_flax.sources.rows import Choices, Classified, Question, Tagged

ROWS = {
    "sequence": [Classified("a", "a", "one", None, None), Classified("b", "b", "two", None, None)],
    "token": [Tagged("a", "a", ("x", "y"), None), Tagged("b", "b", ("z",), None)],
    "span": [Question("q2", "g", "c", "?", ()), Question("q1", "g", "c", "?", ())],
    "choice": [Choices("a", "a", "p", ("1", "2"), None), Choices("b", "b", "p", ("1", "2"), None)],
    "embedding": [None, None],
}


@pytest.mark.parametrize(
    ("kind", "found", "name", "text"),
    [
        ("sequence", ["neutral", "entailment"], "test-de.tsv", "neutral\nentailment\n"),
        ("token", [("NOUN", "VERB"), ("X",)], "test-de.tsv", "NOUN\nVERB\n\nX\n"),
        ("span", ["Größe", ""], "test-de.json", '{\n "q2": "Größe",\n "q1": ""\n}\n'),
        ("choice", [1, 0], "test-de.jsonl", '{"id": "a", "label": 1}\n{"id": "b", "label": 0}\n'),
        ("embedding", [3, 0], "test-de.tsv", "3\n0\n"),
    ],
)
def test_a_file_holds_the_predictions_in_the_order_of_the_rows(kind, found, name, text, tmp_path):
    path = write_predictions(tmp_path / "new" / "folder", kind, "de", ROWS[kind], found)
    assert path == tmp_path / "new" / "folder" / name
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("kind", ["span", "choice"])
def test_as_many_predictions_as_rows_are_wanted(kind, tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path, kind, "de", ROWS[kind], [0])


def test_answers_come_back_as_they_were(tmp_path):
    found = ['with "quotes"\nand lines', "敏捷"]
    path = write_predictions(tmp_path, "span", "zh", ROWS["span"], found)
    assert json.loads(path.read_text(encoding="utf-8")) == dict(zip(("q2", "q1"), found, strict=True))
