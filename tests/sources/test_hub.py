"""Parquet files in the hub's form, read through `datasets`."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet
import pytest
from datasets import List
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.converters import (
    INFERENCE,
    commonsenseqa,
    copa,
    cosmosqa,
    pair,
    question,
    question_or_none,
    sentences,
    tagged,
    translated_question,
    tydiqa,
)
from xlmr_flax.sources.hub import parquet_count, read_parquet
from xlmr_flax.sources.records import Record, shard_prefix
from xlmr_flax.sources.rows import Classified, Excluded

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "releases.py")))
SCHEMA = files.hub_features(premise=files.TEXT, hypothesis=files.TEXT, label=files.INFERENCE)
NLI = pair("premise", "hypothesis", INFERENCE)


def nli(count):
    return [{"premise": f"p{n}", "hypothesis": f"h{n}", "label": n % 3} for n in range(count)]


def record(**values):
    return Record(Path("f.parquet"), "7", values)


def test_classes_are_called_as_the_files_own_schema_calls_them(tmp_path):
    turned = files.hub_features(premise=files.TEXT, hypothesis=files.TEXT, label=files.INFERENCE[::-1])
    rows = read_parquet(files.write_parquet(tmp_path / "a.parquet", turned, nli(3)), NLI)
    assert [row.label for row in rows] == ["contradiction", "neutral", "entailment"]
    assert rows[0] == Classified("1", "1", "p0", "h0", "contradiction")


def test_classes_without_a_schema_are_called_by_number(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(nli(3)), path)
    assert [row.label for row in read_parquet(path, NLI)] == files.INFERENCE


def test_every_record_is_read_once_in_order(tmp_path):
    rows = read_parquet(files.write_parquet(tmp_path / "a.parquet", SCHEMA, nli(2501)), NLI)
    assert [row.id for row in rows] == [str(n) for n in range(1, 2502)]
    assert parquet_count(tmp_path / "a.parquet") == 2501


def test_shards_number_their_records_apart(tmp_path):
    rows = read_parquet(files.write_parquet(tmp_path / "train-00001-of-00002.parquet", SCHEMA, nli(2)), NLI)
    assert [row.id for row in rows] == ["1:1", "1:2"]
    assert shard_prefix("train-00000-of-00001.parquet") == shard_prefix("train.parquet") == ""


def test_a_file_in_a_folder_of_odd_name_is_read(tmp_path):
    path = files.write_parquet(tmp_path / "[odd] *name?/a.parquet", SCHEMA, nli(1))
    assert len(read_parquet(path, NLI)) == 1


def test_nothing_is_left_in_the_cache_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    read_parquet(files.write_parquet(tmp_path / "a.parquet", SCHEMA, nli(1)), NLI)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: b"version https://git-lfs.github.com/spec/v1\n",
        lambda raw: b"\0" * len(raw),
        lambda raw: raw[:4] + b"\xff" * 60 + raw[64:],
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    path = files.write_parquet(tmp_path / "a.parquet", SCHEMA, nli(50))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"a\.parquet: not a whole Parquet file \(.*fetch it again"):
        read_parquet(path, NLI)


def test_a_file_without_records_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(nli(1)).slice(0, 0), path)
    with pytest.raises(InputError, match=r"a\.parquet: there is not one record, at least one is wanted"):
        read_parquet(path, NLI)


def test_a_language_that_is_not_there_is_named(tmp_path):
    answers = {"text": ["a"], "answer_start": [0]}
    schema = files.hub_features(id=files.TEXT, context=files.TEXT, question=files.TEXT, answers=files.ANSWERS)
    records = [{"id": "korean-1", "context": "a", "question": "q", "answers": answers}]
    path = files.write_parquet(tmp_path / "a.parquet", schema, records)
    with pytest.raises(InputError, match=r"there is not one record in fi, at least one is wanted"):
        read_parquet(path, tydiqa, "fi")
    assert len(read_parquet(path, tydiqa, "ko")) == 1


def asked(context="It is a hat.", text=("a hat",), start=(6,), **more):
    answers = {"text": list(text), "answer_start": list(start)}
    return record(id="q", context=context, question="What?", answers=answers, **more)


CHOICE = {"context": "c", "question": "q", "id": "1", "label": 1} | {f"answer{n}": "a" for n in range(4)}


@pytest.mark.parametrize(
    ("convert", "found", "message"),
    [
        (NLI, record(premise="a", label=0), "there is no hypothesis, only premise, label; is this the right data set"),
        (NLI, record(premise="a", hypothesis=None, label=0), "hypothesis is null, text is wanted"),
        (
            NLI,
            record(premise="a\0", hypothesis="b", label=0),
            r"premise holds U\+0000, which is no character of a text",
        ),
        (NLI, record(premise="a", hypothesis="b", label=0.5), r"label is 0\.5, a label is wanted"),
        (NLI, record(premise="a", hypothesis="b", label=True), "label is true, a label is wanted"),
        (
            question,
            asked(start=(5,)),
            r"the answer to question 'q' should stand at offset 5: found ' a ha', wanted 'a hat'",
        ),
        (question, asked(start=(-6,)), r"should stand at offset -6"),
        (question, asked(start=(6, 7)), "1 answers and 2 offsets, equally many are wanted"),
        (question, asked(start=("6",)), 'answer_start holds "6", whole numbers are wanted'),
        (question, asked(context=" "), "the context or the question is blank"),
        (question, record(id="q", context="c", question="q", answers=[]), r"answers is \[\], a record is wanted"),
        (tydiqa, asked(), "the id is 'q', wanted the name of a language, a hyphen"),
        (tagged("w", "t", ()), record(w=["a"], t=[]), "1 words and 0 tags, equally many are wanted"),
        (tagged("w", "t", ()), record(w=[], t=[]), "0 words and 0 tags, equally many are wanted, and some"),
        (tagged("w", "t", ()), record(w="ab", t=[0, 1]), 'w is "ab", a list is wanted'),
        (cosmosqa, record(**CHOICE | {"label": "B"}), "label is 'B', a number from 0 is wanted"),
        (
            copa,
            record(premise="p", choice1="a", choice2="b", question="why", label=0),
            "question is 'why', wanted: cause",
        ),
        (
            commonsenseqa,
            record(question="q", choices={"label": ["A"], "text": ["a"]}, answerKey="B"),
            "answerKey is 'B', wanted: A",
        ),
        (sentences, record(source_sentence="\n", target_sentence="b"), "a blank sentence, which translates nothing"),
    ],
)
def test_a_wrong_record_is_named_with_its_file_and_number(convert, found, message):
    with pytest.raises(InputError, match=r"^f\.parquet: record 7(\.answers)?: .*" + message):
        convert(found)


def test_answers_may_be_hidden_or_none():
    assert question(asked(text=(), start=())).answers is None
    assert question(asked(text=("",), start=(0,))).answers is None
    assert question_or_none(asked(text=(), start=())).answers == ()
    assert question(asked()).group == "It is a hat."
    assert question(asked(title="Hats")).group == "Hats"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (asked(start=(5,)), "an answer that does not stand at its offset"),
        (asked(text=(" ",), start=(2,)), "a blank answer, or none"),
        (asked(text=(), start=()), "a blank answer, or none"),
        (asked(context=""), "a blank context or question"),
    ],
)
def test_a_machines_lost_answer_is_excluded(found, reason):
    assert translated_question(found) == Excluded("q", found.values.get("title", found.values["context"]), reason)


def test_labels_that_are_hidden_are_none():
    for label in (-1, None, "", "-"):
        assert NLI(record(premise="a", hypothesis="b", label=label)).label is None
    assert tagged("w", "t", ())(record(w=["a", "b"], t=[-1, -1])).tags is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)


@settings(max_examples=20)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_any_text_survives(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("any") / "a.parquet"
    schema = files.hub_features(tokens=List(files.TEXT), tags=List(files.TEXT))
    files.write_parquet(path, schema, [{"tokens": list(pair), "tags": ["X", "Y"]} for pair in pairs])
    rows = read_parquet(path, tagged("tokens", "tags", (), str))
    assert [row.words for row in rows] == pairs


def test_records_that_the_footer_counts_and_nobody_reads_are_missed(tmp_path, monkeypatch):
    path = files.write_parquet(tmp_path / "a.parquet", SCHEMA, nli(2))
    monkeypatch.setattr("xlmr_flax.sources.hub.parquet_count", lambda _: 3)
    with pytest.raises(InputError, match=r"a\.parquet: 2 records were read, its footer counts 3; fetch it again"):
        read_parquet(path, NLI)
