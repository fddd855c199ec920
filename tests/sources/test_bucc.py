"""A comparable corpus in two files and the pairs among them."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.bucc import read_bucc
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows

GERMAN = "de-1\tJa.\nde-2\tNein.\u2028Doch. \nde-3\tJa.\n"
ENGLISH = "en-1\tNo.\nen-2\tYes."
GOLD = "de-1\ten-2\nde-3\ten-2\n"


@pytest.fixture
def write(tmp_path):
    def written(*texts, folder="", part="training"):
        paths = [tmp_path / folder / f"de-en.{part}.{end}" for end in ("de", "en", "gold")][: len(texts)]
        for path, text in zip(paths, texts, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return paths

    return written


def test_both_sides_are_read_with_what_translates_what(write):
    assert [tuple(row) for row in read_bucc(*write(GERMAN, ENGLISH, GOLD))] == [
        ("de-1", "de-1", "Ja.", "source", ("en-2",)),
        ("de-2", "de-2", "Nein.\u2028Doch. ", "source", ()),
        ("de-3", "de-3", "Ja.", "source", ("en-2",)),
        ("en-1", "en-1", "No.", "target", ()),
        ("en-2", "en-2", "Yes.", "target", ()),
    ]


def test_without_gold_it_is_hidden_and_not_empty(write):
    assert {row.translations for row in read_bucc(*write(GERMAN, ENGLISH))} == {None}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (("de-1 Ja.\n", ENGLISH), r"de:1: an id and a sentence with one TAB between are wanted, found 1 columns"),
        (("de-1\tJa.\tNein.\n", ENGLISH), r"de:1: .* found 3 columns in 'de-1\\tJa\.\\tNein\.'"),
        ((GERMAN, "en-1\tNo.\nen-2\t \n"), r"en:2: an id and a sentence"),
        ((GERMAN, "en-1\tNo.\n\nen-2\tYes.\n"), r"en:2: an id and a sentence .* found 1 columns in ''"),
        ((GERMAN, "en-1\tNo.\nen-1\tYes.\n"), r"en:2: the id 'en-1' occurs twice"),
        ((GERMAN, ENGLISH, "de-1\n"), r"gold:1: two ids with one TAB between are wanted, found 1 columns"),
        ((GERMAN, ENGLISH, "de-1\ten-2\nde-9\ten-2\n"), r"gold:2: the id 'de-9' is not in .*training\.de; are the fil"),
        ((GERMAN, ENGLISH, "en-2\tde-1\n"), r"gold:1: the id 'en-2' is not in .*training\.de"),
        ((GERMAN, ENGLISH, GOLD + "de-1\ten-2\n"), r"gold:3: the pair de-1 en-2 occurs twice"),
        (("", ENGLISH), r"training\.de: the file is empty"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(write, texts, problem):
    with pytest.raises(InputError, match=problem):
        read_bucc(*write(*texts))


def test_the_original_archives_are_read_and_have_gold_in_both_splits(write, tmp_path):
    for part in ("training", "sample"):
        write(GERMAN, ENGLISH, GOLD, folder="bucc2018/de-en", part=part)
    for split in ("dev", "test"):
        assert len(rows(task("bucc2018"), split, "de", tmp_path)) == 5


def test_the_download_of_xtreme_hides_the_gold_of_the_test_split(write, tmp_path):
    write(GERMAN, ENGLISH, GOLD, folder="bucc2018", part="dev")
    write(GERMAN, ENGLISH, folder="bucc2018", part="test")
    assert rows(task("bucc2018"), "dev", "de", tmp_path)[0].translations == ("en-2",)
    assert rows(task("bucc2018"), "test", "de", tmp_path, labels=False)[0].translations is None
    with pytest.raises(InputError, match=r"row de-1 has no label, so bucc2018 can predict this file but neither train"):
        rows(task("bucc2018"), "test", "de", tmp_path)


def test_a_dev_split_without_gold_is_incomplete(write, tmp_path):
    write(GERMAN, ENGLISH, folder="bucc2018", part="dev")
    with pytest.raises(InputError, match=r"1 of bucc2018/de-en\.dev\.de and .* 0 of bucc2018/de-en\.dev\.gold"):
        rows(task("bucc2018"), "dev", "de", tmp_path)
