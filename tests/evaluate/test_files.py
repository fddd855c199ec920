"""Prediction files, byte for byte as XTREME's scorer reads them."""

import json

import pytest

from xlmr_flax.evaluate.files import english_order, write_predictions
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.sources.rows import Aligned, Choices, Classified, Mined, Query, Question, Tagged

ROWS = {
    "sequence": [Classified("a", "a", "one", None, None), Classified("b", "b", "two", None, None)],
    "token": [Tagged("a", "a", ("x", "y"), None), Tagged("b", "b", ("z",), None)],
    "span": [Question("q2", "g", "c", "?", None), Question("q1", "g", "c", "?", None)],
    "choice": [Choices("a", "a", "p", ("1", "2"), None), Choices("b", "b", "p", ("1", "2"), None)],
    "aligned": [Aligned(str(n), "g", "x", english) for n, english in enumerate(["Yes.", " No.", "Yes.", "Maybe."])],
    "mined": [Mined("de-1", "g", "x", "source", None), Mined("en-1", "g", "y", "target", None)],
    "query": [Query("m2", "g", "x", None), Query("m1", "g", "y", None)],
}


@pytest.mark.parametrize(
    ("kind", "found", "name", "text"),
    [
        ("sequence", ["neutral", "entailment"], "test-de.tsv", "neutral\nentailment\n"),
        ("token", [("NOUN", "VERB"), ("X",)], "test-de.tsv", "NOUN\nVERB\n\nX\n"),
        ("span", ["Größe", ""], "test-de.json", '{\n "q2": "Größe",\n "q1": ""\n}\n'),
        ("span", [Guess("a", 1.0), Guess("b", 0.0)], "test-de.json", '{\n "q2": "",\n "q1": "b"\n}\n'),
        ("choice", [1, 0], "test-de.jsonl", '{"id": "a", "label": 1}\n{"id": "b", "label": 0}\n'),
        ("mined", [("de-1", "en-7"), ("de-2", "en-1")], "test-de.tsv", "de-1\ten-7\nde-2\ten-1\n"),
        ("mined", [], "test-de.tsv", ""),
        ("mined", [3, 0], "test-de.tsv", "3\n0\n"),
        (
            "query",
            [("Q1", "Q2"), ["Q3"]],
            "test-de.json",
            '{\n "m2": [\n  "Q1",\n  "Q2"\n ],\n "m1": [\n  "Q3"\n ]\n}\n',
        ),
    ],
)
def test_a_file_holds_the_predictions_in_the_order_of_the_rows(kind, found, name, text, tmp_path):
    path = write_predictions(tmp_path / "new" / "folder", "de", ROWS[kind], found)
    assert path == tmp_path / "new" / "folder" / name
    assert path.read_text(encoding="utf-8") == text


def test_translations_are_in_the_order_of_the_sorted_english_lines(tmp_path):
    # As XTREME's download sorts them: without the space around them, and equal ones as they stood.
    assert english_order(ROWS["aligned"]) == [3, 1, 0, 2]
    path = write_predictions(tmp_path, "de", ROWS["aligned"], [10, 11, 12, 13])
    assert path.read_text(encoding="utf-8") == "13\n11\n10\n12\n"


@pytest.mark.parametrize(("kind", "found"), [("span", ["a"]), ("choice", [0]), ("query", [["Q1"]])])
def test_as_many_predictions_as_rows_are_wanted(kind, found, tmp_path):
    with pytest.raises(ValueError, match="zip"):
        write_predictions(tmp_path, "de", ROWS[kind], found)


def test_answers_come_back_as_they_were(tmp_path):
    found = ['with "quotes"\nand lines', "敏捷"]
    path = write_predictions(tmp_path, "zh", ROWS["span"], found)
    assert json.loads(path.read_text(encoding="utf-8")) == dict(zip(("q2", "q1"), found, strict=True))
