"""Mewsli-X's mentions and entities, in the release's layout and in XTREME-R's."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.mewslix import (
    read_mewslix_entities,
    read_mewslix_mentions,
    read_mewslix_pairs,
    read_mewslix_part,
)
from xlmr_flax.sources.rows import Document, Matched, Query

TEXT = "Erst das. Der {alte} Rhein\nfließt  dort. Ende."


def spans(*pairs):
    return [{"start": start, "end": end} for start, end in pairs]


def mention(name, word, entity="Q1", text=TEXT):
    start = text.index(word)
    span = {"start": start, "end": start + len(word), "text": word}
    return {"example_id": name, "mention_span": span, "entity_id": entity}


def context(lang="de", text=TEXT):
    breaks = spans((0, 9), (10, 40), (41, len(text)))
    return {"document_title": "t", "document_url": "u", "document_id": "d", "language": lang, "text": text,
            "sentence_spans": breaks}  # fmt: skip


ENTITY = {
    "entity_id": "Q1", "title": "Rhein", "description": "Ein Fluss.\nEr ist lang. Mehr.", "description_language": "de",
    "description_url": "u", "sentence_spans": spans((0, 10), (11, 23)),
}  # fmt: skip
PAIR = {"contextual_mention": {"context": context("en"), "mention": mention("m1", "Rhein")}, "entity": ENTITY}
NEWS = [
    {"context": context(), "mentions": [mention("m1", "Rhein"), mention("m2", "Ende", "Q2")]},
    {"context": context("ta"), "mentions": [mention("m3", "Ende", "Q3")]},
]
MARKED = "Rhein: Der (alte) { Rhein } fließt dort."


def jsonl(folder, *values, name="file.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


def test_a_pair_is_the_marked_sentence_and_the_sentences_of_the_description(tmp_path):
    assert read_mewslix_pairs(jsonl(tmp_path, PAIR)) == [
        Matched("m1", "m1", MARKED, "Ein Fluss. Er ist lang.", "Q1"),
    ]


def test_entities_are_documents_by_their_ids(tmp_path):
    other = ENTITY | {"entity_id": "Q2", "sentence_spans": []}
    assert read_mewslix_entities(jsonl(tmp_path, ENTITY, other)) == [
        Document("Q1", "Q1", "Ein Fluss. Er ist lang."), Document("Q2", "Q2", ""),
    ]  # fmt: skip


def test_mentions_of_one_language_are_picked_from_the_file_of_all(tmp_path):
    path = jsonl(tmp_path, *NEWS)
    assert read_mewslix_mentions(path, "de") == [
        Query("m1", "m1", MARKED, ("Q1",)), Query("m2", "m2", "Ende: { Ende } .", ("Q2",)),
    ]  # fmt: skip
    assert [row.id for row in read_mewslix_mentions(path, "ta")] == ["m3"]
    with pytest.raises(InputError, match=r"file\.jsonl: no mention in fa; its articles are in: de, ta"):
        read_mewslix_mentions(path, "fa")


def test_labels_come_from_the_file_beside_the_mentions(tmp_path):
    news = copy.deepcopy(NEWS[:1])
    for one in news[0]["mentions"]:
        del one["entity_id"]
    path, labels = jsonl(tmp_path, *news), tmp_path / "labels.json"
    labels.write_text(json.dumps({"m1": ["Q1 "], "m2": ["Q2"], "m9": ["Q9"]}))
    assert [row.relevant for row in read_mewslix_part(path, labels, "de")] == [("Q1",), ("Q2",)]
    assert [row.relevant for row in read_mewslix_mentions(path, "de")] == [None, None]
    labels.write_text(json.dumps({"m1": ["Q1"]}))
    with pytest.raises(InputError, match=r"file\.jsonl:1: mentions\[1\]: 'm2' is not in the file of labels"):
        read_mewslix_part(path, labels, "de")
    labels.write_text(json.dumps({"m1": ["Q7"], "m2": ["Q2"]}))
    with pytest.raises(InputError, match=r"mentions\[0\]: 'm1' is Q1 here and Q7 in its labels"):
        read_mewslix_part(jsonl(tmp_path, *NEWS), labels, "de")


@pytest.mark.parametrize("text", ["{", "[1]", '{"m1": []}', '{"m1": [" "]}', '{"m1": "Q1"}'])
def test_labels_of_another_shape_are_refused(tmp_path, text):
    labels = tmp_path / "labels.json"
    labels.write_text(text)
    with pytest.raises(InputError, match=r"labels\.json"):
        read_mewslix_part(jsonl(tmp_path, *NEWS), labels, "de")


def changed(value, path, new):
    """A copy with another value at one place."""
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


@pytest.mark.parametrize(
    ("path", "new", "told"),
    [
        (("context", "text"), "", "which is no part of a text of 0 code points; get-mewsli-x.sh restores the texts"),
        (("mentions", 0, "mention_span", "text"), "Main", "'Main' should stand at 21, found 'Rhein'"),
        (("mentions", 0, "mention_span", "end"), 99, "goes from 21 to 99"),
        (("context", "sentence_spans"), spans((0, 23), (23, 46)), "lies in no sentence"),
        (("context", "sentence_spans"), [[0, 23]], r"sentence_spans\[0\] is \[0, 23\], an object"),
        (("mentions",), {}, "'mentions' is {}, a list is wanted"),
        (("context",), None, "context is null, an object"),
        (("mentions", 0, "example_id"), 7, "'example_id' is 7, text is wanted"),
    ],
)
def test_mentions_that_are_wrong_are_refused_with_their_place(tmp_path, path, new, told):
    with pytest.raises(InputError, match=rf"file\.jsonl:1.*{told}"):
        read_mewslix_mentions(jsonl(tmp_path, changed(NEWS[0], path, new)), "de")


def test_a_pair_of_two_entities_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"file\.jsonl:1: m1 mentions Q1, but stands beside entity Q5"):
        read_mewslix_pairs(jsonl(tmp_path, changed(PAIR, ("entity", "entity_id"), "Q5")))


def places(value, path=()):
    """Every place in a nested value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield from places(inner, (*path, key))


@settings(max_examples=200)
@given(data=st.data())
def test_any_value_at_any_place_gives_rows_or_one_error_that_names_the_line(tmp_path_factory, data):
    read, value = data.draw(
        st.sampled_from(
            [(read_mewslix_pairs, PAIR), (read_mewslix_entities, ENTITY)]
            + [(lambda path: read_mewslix_mentions(path, "de"), NEWS[0])]
        )
    )
    place = data.draw(st.sampled_from([path for path in places(value) if path]))
    new = data.draw(st.sampled_from([None, True, 0, -1, 10**9, 1.5, "", "x", "\ud800", [], [1], {}, {"start": 0}]))
    path = tmp_path_factory.getbasetemp() / "damaged.jsonl"
    path.write_text(json.dumps(changed(value, place, new)) + "\n")
    try:
        rows, told = read(path), str(path)
    except InputError as problem:
        rows, told = [], str(problem)
    assert str(path) in told
    assert isinstance(rows, list)
