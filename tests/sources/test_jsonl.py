"""JSON Lines, and every reader of them, on rows that do not fit."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.commonsense import (
    read_commonsenseqa,
    read_copa,
    read_copa_test,
    read_hellaswag,
    read_socialiqa,
)
from xlmr_flax.sources.jsonl import records
from xlmr_flax.sources.nli import read_anli, read_nli
from xlmr_flax.sources.translated import read_translated_choices, read_translated_pairs

NLI = {"sentence1": "A", "sentence2": "B", "gold_label": "neutral"}
ANLI = {"context": "A", "hypothesis": "B", "label": "e"}
HELLASWAG = {"ctx_a": "a", "ctx_b": "b", "endings": ["a", "b", "c", "d"], "label": 1, "source_id": "s"}
LETTERED = [{"label": letter, "text": "t"} for letter in "ABCDE"]
COMMONSENSE = {"question": {"stem": "s", "choices": LETTERED}, "answerKey": "A"}
SOCIAL = {"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "B"}
COPA = {"premise": "p", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}
OWN_PAIR = {"text": "a", "pair": "b", "label": "neutral"}
OWN_CHOICE = {"prompt": "a", "options": ["a", "b"], "label": 1}
READERS = {
    read_nli: NLI, read_anli: ANLI, read_hellaswag: HELLASWAG, read_commonsenseqa: COMMONSENSE, read_socialiqa: SOCIAL,
    read_copa: COPA, read_copa_test: COPA, read_translated_pairs: OWN_PAIR, read_translated_choices: OWN_CHOICE,
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def write(tmp_path):
    def written(*rows):
        path = tmp_path / "file.jsonl"
        text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
        path.write_bytes(text.encode())
        return path

    return written


def test_a_row_is_an_object_with_the_number_of_its_line(write):
    first, second = records(write({"a": "ä"}, {"b": 1}))
    assert (first.line, first.text("a"), second.line, second.number("b"), second.number("c")) == (
        "1",
        "ä",
        "2",
        1,
        None,
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"file\.jsonl:2: not JSON \(.*\); one object a line is wanted"),
        ("[" * 100_000, r"file\.jsonl:2: not JSON"),
        ("", r"file\.jsonl:2: not JSON"),
        ("[1]", r"file\.jsonl:2: \[1\] instead of an object with fields"),
        ('"x"', r'file\.jsonl:2: "x" instead of an object'),
        ({"b": "x"}, r"file\.jsonl:2: no field 'a'; there are: b"),
        ({"a": 1}, r"file\.jsonl:2: 'a' is 1, text is wanted"),
        ({"a": None}, r"file\.jsonl:2: 'a' is null, text is wanted"),
        ({"a": ["x"]}, r"file\.jsonl:2: 'a' is \[\"x\"\], text is wanted"),
        (r'{"a": "\ud83d"}', r"file\.jsonl:2: 'a' holds half a character \(.*\); text is wanted"),
    ],
)
def test_a_row_that_does_not_fit_is_named(write, row, message):
    path = write({"a": "x"}, row, {"a": "x"})
    with pytest.raises(InputError, match=message):
        [record.text("a") for record in records(path)]


@pytest.mark.parametrize(
    ("reader", "change", "message"),
    [
        (read_nli, {"gold_label": 3}, "'gold_label' is 3, text is wanted"),
        (read_nli, {"sentence2": None}, "'sentence2' is null, text is wanted"),
        (read_anli, {"label": "x"}, "'label' is \"x\", wanted: e, n, c"),
        (read_hellaswag, {"endings": "a"}, "'endings' is \"a\", a list of texts is wanted"),
        (read_hellaswag, {"endings": ["a", 1]}, "'endings' is 1, text is wanted"),
        (read_hellaswag, {"label": "1"}, "'label' is \"1\", a whole number is wanted"),
        (read_hellaswag, {"label": True}, "'label' is true, a whole number is wanted"),
        (read_commonsenseqa, {"question": "s"}, "'question' is not an object with a stem and choices"),
        (read_commonsenseqa, {"question": {"stem": "s", "choices": LETTERED[:4]}}, "'choices' is not a list of 5"),
        (read_commonsenseqa, {"question": {"stem": "s", "choices": [*LETTERED[:4], 1]}}, "choice E is not an object"),
        (
            read_commonsenseqa,
            {"question": {"stem": "s", "choices": LETTERED[::-1]}},
            "choice A is labelled 'E'; put them in order",
        ),
        (read_commonsenseqa, {"answerKey": "F"}, "'answerKey' is \"F\", wanted: A, B, C, D, E"),
        (read_socialiqa, {"correct": "D"}, "'correct' is \"D\", wanted: A, B, C"),
        (read_copa, {"question": "why"}, "'question' is \"why\", wanted: cause, effect"),
        (read_copa, {"label": 1.0}, "'label' is 1.0, a whole number is wanted"),
        (read_translated_pairs, {"label": 1}, "'label' is 1, text is wanted"),
        (read_translated_choices, {"options": {}}, "'options' is {}, a list of texts is wanted"),
    ],
)
def test_fields_that_do_not_fit_are_named(write, reader, change, message):
    whole = READERS[reader]
    assert len(reader(write(whole))) == 1
    with pytest.raises(InputError) as told:
        reader(write(whole, {**whole, **change}))
    assert "file.jsonl:2: " in str(told.value)
    assert message in str(told.value)


def outcome(reader, path):
    """The rows, or what is said instead; any other exception fails the test."""
    try:
        return reader(path), ""
    except InputError as error:
        return [], str(error)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@settings(max_examples=40)
@given(data=st.data())
def test_json_of_any_shape_gives_a_row_or_one_error_that_names_it(reader, data, tmp_path_factory):
    whole = READERS[reader]
    changed = dict(whole)
    for field in data.draw(st.lists(st.sampled_from(sorted(whole)), max_size=2)):
        changed[field] = data.draw(JSON)
    if data.draw(st.booleans()):
        changed.pop(data.draw(st.sampled_from(sorted(whole))), None)
    path = tmp_path_factory.mktemp("any") / "file.jsonl"
    path.write_text(json.dumps(whole) + "\n" + json.dumps(changed) + "\n", encoding="utf-8")
    rows, problem = outcome(reader, path)
    assert len(rows) == 2 or f"{path}:2: " in problem


def test_labels_may_be_hidden(write):
    for reader, whole in READERS.items():
        label = next(name for name in ("gold_label", "label", "answerKey", "correct") if name in whole)
        (row,) = reader(write({name: value for name, value in whole.items() if name != label}))
        assert row.label is None, reader
