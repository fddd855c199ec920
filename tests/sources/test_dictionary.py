"""Dictionaries in MUSE's layout."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.dictionary import files_of, read_dictionary, read_pairs


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "en-de.txt").write_text("the der\nthe die\ndog Hund\n\nto\tzu Hause\nthe der\n", encoding="utf-8")
    (tmp_path / "en-fr.txt").write_text("dog\u00a0chien\r\n", encoding="utf-8")
    (tmp_path / "de-en.txt").write_text("Hund dog\n", encoding="utf-8")
    (tmp_path / "en-de.0-5000.txt").write_text("part of it\n", encoding="utf-8")
    (tmp_path / "readme.txt").write_text("not one of them\n", encoding="utf-8")
    return tmp_path


def test_every_translation_of_a_word_is_read_once_and_in_order(folder):
    assert read_pairs(folder / "en-de.txt") == {"the": ("der", "die"), "dog": ("Hund",), "to": ("zu Hause",)}


def test_a_languages_files_are_found_by_their_names(folder):
    assert [path.name for path in files_of(folder, "en")] == ["en-de.txt", "en-fr.txt"]
    assert [path.name for path in files_of(folder, "en", ("fr",))] == ["en-fr.txt"]
    assert files_of(folder, "sw") == []


def test_languages_stand_side_by_side_in_one_dictionary(folder):
    assert read_dictionary(files_of(folder, "en"))["dog"] == (("Hund",), ("chien",))


@pytest.mark.parametrize("line", ["dog", "dog Hund Hunde", "dog\tHund\tdog", "\tHund"])
def test_a_line_that_is_no_pair_is_told_with_its_number(tmp_path, line):
    (tmp_path / "en-de.txt").write_text(f"the der\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"en-de\.txt:2: \d columns, wanted 2"):
        read_pairs(tmp_path / "en-de.txt")
