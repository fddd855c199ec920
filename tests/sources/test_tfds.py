"""Builders of TFDS, prepared on disk as array_record and read through `tfds.data_source`."""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow_datasets

from xlmr_flax.errors import InputError
from xlmr_flax.sources.converters import INFERENCE, pair, question, tagged, translations
from xlmr_flax.sources.rows import Answer, Classified
from xlmr_flax.sources.tfds import UNSOUND, read_array_record

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "releases.py")))
tf, kinds = files.tfds_features, files.kinds
SCHEMA = tf(premise=kinds.Text(), hypothesis=kinds.Text(), label=files.INFERENCE)
NLI = pair("premise", "hypothesis", INFERENCE)


def nli(count):
    return [{"premise": f"pé{n}", "hypothesis": f"h{n}", "label": n % 3} for n in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A builder with a configuration, whose split lies in three shards."""
    return files.prepare(tmp_path_factory.mktemp("data"), "toy/de", "1.0.0", SCHEMA, {"train": nli(20)}, shards=3)


def shards(folder):
    return sorted(folder.glob("*.array_record-*"))


def test_every_record_of_every_shard_is_read_once(folder):
    rows = [row for path in shards(folder) for row in read_array_record(path, NLI)]
    assert len(shards(folder)) == 3
    assert sorted(row.text for row in rows) == sorted(record["premise"] for record in nli(20))
    assert len({row.id for row in rows}) == 20
    assert {row.label for row in rows} == set(files.INFERENCE)
    assert rows[0].id == "0:1"


def test_a_builder_without_configurations_lies_a_folder_higher(tmp_path):
    made = files.prepare(tmp_path, "toy", "2.0.0", SCHEMA, {"validation_matched": nli(1)})
    (row,) = read_array_record(*shards(made), NLI)
    assert row == Classified("1", "1", "pé0", "h0", "entailment")


def test_answers_languages_and_tags_come_as_the_hubs(tmp_path):
    answers = {"text": ["b"], "answer_start": [2]}
    records = [{"id": "q", "title": "t", "context": "a b", "question": "?", "answers": answers}]
    made = files.prepare(tmp_path, "squads", "1.0.0", files.squad_features(), {"train": records})
    (row,) = read_array_record(*shards(made), question)
    assert row.answers == (Answer("b", 2),)
    words = tf(tokens=kinds.Sequence(kinds.Text()), tags=kinds.Sequence(kinds.ClassLabel(names=["O", "B-PER"])))
    made = files.prepare(tmp_path, "words", "1.0.0", words, {"test": [{"tokens": ["a", "b"], "tags": [1, 0]}]})
    (row,) = read_array_record(*shards(made), tagged("tokens", "tags", ()))
    assert row.tags == ("B-PER", "O")
    schema = tf(
        premise=kinds.Translation(["de", "en"]),
        hypothesis=kinds.TranslationVariableLanguages(["de", "en"]),
        label=files.INFERENCE,
    )
    record = {"premise": {"de": "a", "en": "b"}, "hypothesis": {"de": "c", "en": "d"}, "label": "neutral"}
    made = files.prepare(tmp_path, "langs", "1.0.0", schema, {"test": [record]})
    assert read_array_record(*shards(made), translations, "en")[0][2:] == ("b", "d", "neutral")
    assert read_array_record(*shards(made), translations, "de-en")[0][2:] == ("a", "d", "neutral")
    with pytest.raises(InputError, match="there is not one record in sw"):
        read_array_record(*shards(made), translations, "sw")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw[:100] + b"\xff" * 50 + raw[150:],
        lambda raw: raw[: 2**16] + b"\0" * (len(raw) - 2**16),
    ],
)
def test_a_damaged_file_is_named(tmp_path, damage):
    path = shards(files.prepare(tmp_path, "toy", "1.0.0", SCHEMA, {"train": nli(20)}))[0]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"toy-train.*TFDS cannot read it \(.*; prepare toy:1\.0\.0 again"):
        read_array_record(path, NLI)


def test_a_builder_without_its_schema_is_named(tmp_path):
    made = files.prepare(tmp_path, "toy", "1.0.0", SCHEMA, {"train": nli(2)})
    (made / "features.json").unlink()
    with pytest.raises(InputError, match=r"TFDS cannot read it .*; prepare toy:1\.0\.0 again"):
        read_array_record(shards(made)[0], NLI)


def test_a_file_out_of_its_place_is_refused(tmp_path, folder):
    moved = tmp_path / "toy-train.array_record-00000-of-00003"
    moved.write_bytes(shards(folder)[0].read_bytes())
    with pytest.raises(InputError, match=r"not where TFDS puts a file; wanted: tfds/BUILDER/CONFIG/VERSION/"):
        read_array_record(moved, NLI)


@pytest.mark.parametrize("builder", UNSOUND)
def test_unsound_builders_are_refused_with_the_reason(tmp_path, builder):
    path = tmp_path / f"tfds/{builder}/x/1.0.0/{builder}-test.array_record-00000-of-00001"
    with pytest.raises(InputError, match=rf"TFDS's {builder} is not used here: .*put .* into the data folder"):
        read_array_record(path, NLI)


@pytest.mark.parametrize(
    ("builder", "schema"),
    [
        ("snli", SCHEMA),
        ("anli/r1", tf(uid=kinds.Text(), context=kinds.Text(), hypothesis=kinds.Text(), label=["e", "n", "c"])),
        (
            "paws_x_wiki/de",
            tf(sentence1=kinds.Text(), sentence2=kinds.Text(), label=["different_meaning", "paraphrase"]),
        ),
        ("squad/v1.1", files.squad_features()),
        ("xquad/de", files.squad_features()),
        ("mlqa/de", files.squad_features()),
        ("tydi_qa/goldp", files.squad_features()),
    ],
)
def test_the_schemas_of_these_tests_are_those_of_tfds(tmp_path, builder, schema):
    theirs = tensorflow_datasets.builder(builder, data_dir=tmp_path).info.features
    assert theirs.to_json() == schema.to_json() or repr(theirs) == repr(schema)


def test_reading_needs_no_tensorflow(folder):
    code = (
        "import sys; from pathlib import Path; from xlmr_flax.sources.tfds import read_array_record as read;"
        f"print(len(read(Path({str(shards(folder)[0])!r}), lambda record: record)), 'tensorflow' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["7", "False"]
