"""Every task that is declared."""

import dataclasses
import json
import pickle
import subprocess
import sys

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.tasks.catalogue import TASKS, named, task
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import declared, identity

WITH_FILES = [one for one in TASKS.values() if one.files]


def name(one):
    return one.name


def test_a_task_is_found_by_its_name():
    assert task("xquad") is TASKS["xquad"]


@pytest.mark.parametrize(("wrong", "right"), [("xnil", "xnli"), ("udpso", "udpos"), ("cosmos_qa", "cosmosqa")])
def test_a_misspelt_name_meets_the_right_one(wrong, right):
    with pytest.raises(InputError, match=f"no task '{wrong}'; did you mean '{right}'\\? The tasks are xnli, "):
        task(wrong)


def test_a_name_like_no_other_meets_the_list():
    with pytest.raises(InputError, match=r"there is no task 'qqqq'\. The tasks are xnli, .*mlm"):
        task("qqqq")


def test_a_name_twice_is_a_mistake_in_the_catalogue():
    with pytest.raises(InputError, match="two tasks are called 'mlm'"):
        named((TASKS["mlm"], dataclasses.replace(TASKS["mlm"], langs=("en",))))


@pytest.mark.parametrize("one", WITH_FILES, ids=name)
def test_the_default_splits_exist(one):
    for spec, lang in ((one.train, one.train_lang), (one.select, one.train_lang), *((one.test, x) for x in one.langs)):
        if spec is not None:
            assert declared(one, spec, lang).split in one.splits
    assert one.unlabelled <= set(one.splits)


@pytest.mark.parametrize("one", WITH_FILES, ids=name)
def test_training_selection_and_test_share_no_row(one):
    parts = [parse(spec) for spec in (one.train, one.select, one.test) if spec]
    for number, part in enumerate(parts):
        for other in parts[:number]:
            assert part.split != other.split or part.stop <= other.start or other.stop <= part.start


def test_a_task_without_selection_is_one_of_the_two_that_can_have_none():
    assert {one.name for one in TASKS.values() if one.select is None} == {"tatoeba", "mlm"}


@pytest.mark.parametrize(
    ("one", "count"), [("xnli", 15), ("pawsx", 7), ("udpos", 38), ("xquad", 12), ("tatoeba", 41), ("squad", 1)]
)
def test_the_languages_are_as_many_as_xtreme_and_xtreme_r_list(one, count):
    assert len(set(TASKS[one].langs)) == len(TASKS[one].langs) == count


def test_upos_has_seventeen_tags():
    assert len(set(TASKS["udpos"].head.labels)) == len(TASKS["udpos"].head.labels) == 17


@pytest.mark.parametrize("one", WITH_FILES, ids=name)
def test_an_identity_is_json_and_needs_no_files(one):
    spec = one.train or one.test
    found = identity(one, spec, "en")
    assert json.loads(json.dumps(found)) == found
    assert found["task"] == one.name


def test_identities_are_equal_exactly_for_equal_rows():
    same = identity(TASKS["udpos"], "dev[:90%]", "de")
    assert same == identity(TASKS["udpos"], "dev[0%:90%]", "de")
    others = [
        identity(TASKS["udpos"], "dev[:91%]", "de"),
        identity(TASKS["udpos"], "test[:90%]", "de"),
        identity(TASKS["udpos"], "dev[:90%]", "fr"),
        identity(TASKS["xnli"], "dev[:90%]", "de"),
        identity(TASKS["xnli_hypothesis"], "dev[:90%]", "de"),
    ]
    assert len({json.dumps(one) for one in [same, *others]}) == 6


def test_an_identity_names_every_source_with_its_reader():
    assert identity(TASKS["tatoeba"], "test", "de")["sources"] == [
        {
            "reader": "read_tatoeba",
            "patterns": ["tatoeba/tatoeba.deu-eng.deu", "tatoeba/tatoeba.deu-eng.eng"],
        },
        {"reader": "read_hub", "patterns": ["hub/google/xtreme/tatoeba.deu/validation-*.parquet"]},
        {"reader": "read_tatoeba_sorted", "patterns": ["tatoeba/de-en.de", "tatoeba/de-en.en"]},
    ]
    assert identity(TASKS["tatoeba"], "test", "{lang}")["sources"][0]["patterns"][1] == "tatoeba/tatoeba.{lang}-eng.eng"
    assert [source["reader"] for source in identity(TASKS["udpos"], "test", "de")["sources"]] == [
        "read_conllu",
        "read_hub",
        "read_tagged",
    ]


@pytest.mark.parametrize("one", TASKS.values(), ids=name)
def test_a_task_goes_to_another_process_and_back(one):
    assert pickle.loads(pickle.dumps(one)).name == one.name


def test_the_catalogue_needs_none_of_the_slow_packages():
    slow = "{'jax', 'numpy', 'transformers', 'datasets', 'grain', 'tokenizers', 'torch'}"
    code = f"import sys, xlmr_flax.tasks.catalogue, xlmr_flax.tasks.files; sys.exit(str({slow} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
