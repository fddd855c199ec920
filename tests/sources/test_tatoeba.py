"""Two files, line i beside line i."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.tatoeba import read_tatoeba, read_tatoeba_sorted
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows


@pytest.fixture
def write(tmp_path):
    def written(foreign, english):
        paths = tmp_path / "tatoeba.deu-eng.deu", tmp_path / "tatoeba.deu-eng.eng"
        for path, text in zip(paths, (foreign, english), strict=True):
            path.write_text(text, encoding="utf-8")
        return paths

    return written


def test_line_i_translates_line_i(write):
    rows = read_tatoeba(*write("Ja.\nNein.\u2028Doch.\n", "Yes.\nNo."))
    assert [tuple(row) for row in rows] == [("1", "1", "Ja.", "Yes."), ("2", "2", "Nein.\u2028Doch.", "No.")]


def test_files_of_unequal_length_are_refused(write):
    with pytest.raises(InputError, match=r"eng\.deu has 2 lines and .*eng\.eng has 1, equally many are wanted"):
        read_tatoeba(*write("Ja.\nNein.\n", "Yes.\n"))


@pytest.mark.parametrize(("foreign", "english", "where"), [("a\n \nc", "a\nb\nc", "deu:2"), ("a\nb", "\nb", "eng:1")])
def test_a_blank_line_is_refused(write, foreign, english, where):
    with pytest.raises(InputError, match=where + ": a blank line, a sentence is wanted"):
        read_tatoeba(*write(foreign, english))


def test_the_sorted_english_of_xtreme_hides_what_translates_what(write):
    rows = read_tatoeba_sorted(*write("Ja.\nNein.\n", "No.\nYes.\n"))
    assert [(row.id, row.text, row.side) for row in rows] == [
        ("source 1", "Ja.", "source"),
        ("source 2", "Nein.", "source"),
        ("target 1", "No.", "target"),
        ("target 2", "Yes.", "target"),
    ]
    assert {row.translations for row in rows} == {None}
    with pytest.raises(InputError, match=r"has 2 lines and .*eng\.eng has 1, equally many are wanted"):
        read_tatoeba_sorted(*write("Ja.\nNein.\n", "Yes.\n"))


def test_the_files_of_xtreme_are_found_where_those_of_laser_are_not(tmp_path):
    (tmp_path / "tatoeba").mkdir()
    for end, text in (("de", "Ja.\nNein.\n"), ("en", "No.\nYes.\n")):
        (tmp_path / "tatoeba" / f"de-en.{end}").write_text(text, encoding="utf-8")
    assert len(rows(task("tatoeba"), "test", "de", tmp_path, labels=False)) == 4
    with pytest.raises(InputError, match="tatoeba can predict this file but neither train on it nor score it"):
        rows(task("tatoeba"), "test", "de", tmp_path)
