"""Records of the Hub and of TFDS with values of wrong types, and damaged files: rows, or one error that names both."""

import random
import re

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources import converters
from xlmr_flax.sources.hub import read_parquet
from xlmr_flax.sources.records import Record, converted
from xlmr_flax.sources.rows import Excluded
from xlmr_flax.sources.tfds import read_array_record

PAIR = {"premise": "Ä", "hypothesis": "B", "label": "neutral"}
SQUAD = {
    "id": "english-1",
    "title": "T",
    "context": "Ä kam. B ging.",
    "question": "Wer?",
    "answers": {"text": ["Ä"], "answer_start": [0]},
}
COPA = {"premise": "Ä", "choice1": "a", "choice2": "b", "question": "cause", "label": 1}
HELLASWAG = {"ctx_a": "Ä", "ctx_b": "er", "endings": list("abcd"), "label": "2", "source_id": "activitynet~v_1"}
COSMOSQA = {"id": "1", "context": "Ä", "question": "Wo?", **{f"answer{n}": "a" for n in range(4)}, "label": 3}
COMMONSENSE = {
    "id": "1",
    "question": "Wo?",
    "choices": {"label": list("ABCDE"), "text": list("abcde")},
    "answerKey": "B",
}
SOCIAL = {"context": "Ä", "question": "Wo?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "2"}
XNLI = {
    "premise": {"de": "Ä", "en": "A"},
    "hypothesis": {"language": ["de", "en"], "translation": ["B", "b"]},
    "label": "neutral",
}
pair = converters.pair("premise", "hypothesis", converters.INFERENCE)

CASES = {
    "pair": (pair, PAIR),
    "translated pair": (converters.translated(pair), PAIR),
    "agreed pair": (converters.agreed_pair, PAIR),
    "hypothesis": (converters.hypothesis_of(pair), PAIR),
    "translations": (converters.translations, XNLI),
    "cosmosqa": (converters.cosmosqa, COSMOSQA),
    "hellaswag": (converters.hellaswag, HELLASWAG),
    "hellaswag ctx": (converters.hellaswag_ctx, {**HELLASWAG, "context": "Ä kam. er"}),
    "commonsenseqa": (converters.commonsenseqa, COMMONSENSE),
    "socialiqa": (converters.socialiqa, SOCIAL),
    "copa": (converters.copa, COPA),
    "tagged": (converters.tagged("tokens", "tags", ("X", "Y")), {"tokens": ["Ä", "b"], "tags": ["X", "1"]}),
    "question": (converters.question, SQUAD),
    "question or none": (converters.question_or_none, SQUAD),
    "translated question": (converters.translated_question, SQUAD),
    "tydiqa": (converters.tydiqa, SQUAD),
    "sentences": (converters.sentences, {"source_sentence": "Ä", "target_sentence": "a"}),
}
LANGS = {"translations": "de", "tydiqa": "en"}
every_case = pytest.mark.parametrize("name", CASES)
STRANGE = (None, True, -1, 7, 10**30, 2.5, "", " ", "\ud83d", "\0", "zzz", b"\xff", [], {}, [[]], [None], {"a": 1})


def outcome(read):
    """The rows, or what is said instead; any other exception fails the test."""
    try:
        return read(), None
    except InputError as error:
        return [], str(error)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "part-00000-of-00001.parquet"


def places(value, place=()):
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(below for key, one in inside for below in places(one, (*place, key)))]


def changed(value, place, new):
    """The record with another value in a place, or, where `new` is `changed`, with none there."""
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1 and new is changed:
        del copy[place[0]]
    else:
        copy[place[0]] = changed(copy[place[0]], place[1:], new)
    return copy


def name_of(convert):
    """Of the function, or of the one that made it."""
    return getattr(convert, "func", convert).__name__.removeprefix("_")


def test_every_converter_is_here():
    named = {
        name for name, value in vars(converters).items() if getattr(value, "__module__", "") == converters.__name__
    }
    public = {name.removesuffix("_of") for name in named if not name.startswith("_")}
    assert {name_of(convert) for convert, _ in CASES.values()} == public - {"joined"}  # which converts a word


@every_case
def test_a_whole_record_is_a_row(path, name):
    convert, values = CASES[name]
    (row,) = converted([Record(path, "1", values, LANGS.get(name, ""))], convert)
    assert not isinstance(row, Excluded)


@every_case
def test_a_value_of_another_type_or_missing_is_a_row_or_an_error_with_file_and_record(path, name):
    convert, values = CASES[name]
    draw = random.Random(name)
    for place in places(values)[1:]:
        for new in (changed, *draw.sample(STRANGE, 9)):
            record = Record(path, "2:17", changed(values, place, new), LANGS.get(name, ""))
            rows, problem = outcome(lambda record=record: converted([record], convert))
            elsewhere = name in LANGS and place[-1] in ("id", "de", "language", 0, "premise")
            assert problem or len(rows) == 1 or elsewhere, (place, new)
            assert not problem or f"{path}: record 2:17" in problem, (place, new)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("parquet") / "train-00000-of-00001.parquet"
    rows = [{**PAIR, "premise": f"Ä{number} {number * 7919}"} for number in range(300)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert len(read_parquet(path, pair)) == 300
    return path


def test_a_parquet_file_that_is_cut_anywhere_is_refused(parquet, path):
    content = parquet.read_bytes()
    for part in (0, 1, 4, len(content) // 2, len(content) - 8, len(content) - 1):
        path.write_bytes(content[:part])
        with pytest.raises(InputError, match=re.escape(str(path))):
            read_parquet(path, pair)


def test_flipped_bytes_in_a_parquet_file_give_rows_or_one_error(parquet, path):
    content, draw = parquet.read_bytes(), random.Random(0)
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(draw.randint(1, 4)):
            damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        rows, problem = outcome(lambda: read_parquet(path, pair))
        assert (str(path) in problem) if problem else len(rows) == 300


@pytest.mark.parametrize("content", [b"", b"PAR1", b"premise\thypothesis\n", b"\xff" * 100])
def test_other_files_under_a_parquet_files_name_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_parquet(path, pair)


def test_a_parquet_file_without_a_column_is_refused_with_it(parquet, path):
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.parquet.read_table(parquet).drop_columns(["label"]), path)
    with pytest.raises(
        InputError, match=f"{re.escape(str(path))}: record 1: there is no label, only premise, hypothesis"
    ):
        read_parquet(path, pair)


@pytest.mark.parametrize(
    "name",
    [
        "anli-train.array_record-00000-of-00001",
        "tfds/anli/r1/0.1.0/anli-train.array_record-00000-of-00001",
        "tfds/xtreme_pos/xtreme_pos_ta/1.0.0/xtreme_pos-train.array_record-00000-of-00001",
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff" * 100])
def test_array_records_that_are_none_or_stand_elsewhere_are_refused(tmp_path, name, content):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        read_array_record(path, pair)
