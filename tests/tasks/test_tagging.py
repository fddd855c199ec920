"""Where the tasks with tags find their files, and labels that no one declared."""

import dataclasses

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Tagged
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import paths, rows
from xlmr_flax.tasks.labels import labelled_as, with_labels
from xlmr_flax.tasks.task import gold, scores

CCG = "The\tNP/N\ncat\tN\n\nIt\tNP\nsleeps\tS\\NP\n\nSo\tS/S\nit\tNP\n"


@pytest.fixture
def write(tmp_path):
    def written(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return written


def words(name, spec, lang, data, **more):
    return [row.words for row in rows(task(name), spec, lang, data, **more)]


def test_of_wikiann_the_archive_serves_where_xtremes_files_have_no_tags(write):
    data = write(**{"panx/train-en.tsv": "a\tO\n", "panx/test-en.tsv": "b\n", "panx/dev-en.tsv": "c\tI-LOC\n"})
    assert words("panx", "train", "en", data) == [("a",)]
    with pytest.raises(InputError, match=r"row 1 has no label, so panx can predict"):
        rows(task("panx"), "test", "en", data)
    assert words("panx", "test", "en", data, labels=False) == [("b",)]
    write(**{"panx/en/test": "en:b\tB-PER\n", "panx/en/train": "en:x\tO\n"})
    assert words("panx", "test", "en", data) == [("b",)]
    assert words("panx", "train", "en", data) == [("a",)]


def test_of_treebanks_the_release_serves_where_xtremes_files_have_no_tags(write):
    conllu = "1\tJa\t_\tINTJ\t_\t_\t0\troot\t_\t_\n\n"
    data = write(**{"udpos/test-de.tsv": "Ja\n", "udpos/dev-de.tsv": "Ja\tX\n"})
    assert paths(task("udpos"), "test", "de", data)[1] == [data / "udpos/test-de.tsv"]
    write(**{f"ud/UD_German-A/de_a-ud-{split}.conllu": conllu for split in ("dev", "test")})
    assert [row.tags for row in rows(task("udpos"), "test", "de", data)] == [("INTJ",)]
    assert [row.tags for row in rows(task("udpos"), "dev", "de", data)] == [("X",)]


@pytest.mark.parametrize("tag", ["B-MISC", "B", "PER", "o"])
def test_a_tag_that_is_no_entitys_is_refused(write, tag):
    data = write(**{"panx/en/train": f"en:a\t{tag}\n"})
    with pytest.raises(InputError, match=rf"panx/en/train: row 1: the tag {tag!r} is unknown, wanted: O, B-PER"):
        rows(task("panx"), "train", "en", data)


@pytest.mark.parametrize(("name", "number"), [("udpos", 38), ("panx", 48), ("ccg", 1)])
def test_the_languages_are_those_of_the_benchmark(name, number):
    assert len(set(task(name).langs)) == len(task(name).langs) == number


def test_labels_that_are_read_are_those_of_the_whole_training_split_sorted(write):
    data = write(**{"ccg/train.tsv": CCG, "ccg/dev.tsv": "Hm\tINTJ\n"})
    for spec in ("train", "train[:34%]"):
        found = with_labels(task("ccg"), spec, ("en",), data)
        assert found.head.labels == ("N", "NP", "NP/N", "S/S", "S\\NP")
    assert (found.name, found.metric, task("ccg").head.labels) == ("ccg", "accuracy", ())


def test_a_gold_label_outside_of_training_is_read_and_never_right(write):
    data = write(**{"ccg/train.tsv": CCG, "ccg/dev.tsv": "Hm\tINTJ\nit\tNP\n"})
    one = with_labels(task("ccg"), "train", ("en",), data)
    wanted = [gold(one, row) for row in rows(one, "dev", "en", data)]
    assert wanted == [("INTJ", "NP")]
    assert scores(one, wanted, [("NP", "NP")], "en") == {"accuracy": 0.5}


def test_a_single_label_is_none_to_learn(write):
    data = write(**{"ccg/train.tsv": "a\tN\nb\tN\n"})
    with pytest.raises(InputError, match=r"ccg: its train rows have no label but 'N'; at least two are wanted"):
        with_labels(task("ccg"), "train", ("en",), data)


def test_declared_labels_stay_and_need_no_file(tmp_path):
    assert with_labels(task("udpos"), "train", ("en",), tmp_path / "nowhere") is task("udpos")
    assert labelled_as(task("panx"), ("A", "B")) is task("panx")


def test_labels_of_classes_can_be_read_too(write):
    one = task("xnli")
    open_head = dataclasses.replace(one, head=dataclasses.replace(one.head, labels=(), labels_read=True))
    data = write(**{"xnli/train-en.tsv": "A\tB\tyes\nC\tD\tno\n"})
    assert with_labels(open_head, "train", ("en",), data).head.labels == ("no", "yes")


def test_a_row_without_tags_is_no_row_to_read_labels_from(write):
    data = write(**{"ccg/train.tsv": "a\nb\n"})
    with pytest.raises(InputError, match="has no label"):
        with_labels(task("ccg"), "train", ("en",), data)
    assert rows(task("ccg"), "train", "en", data, labels=False) == [Tagged("1", "1", ("a", "b"), None)]
