"""Two files, line i beside line i."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.tatoeba import read_tatoeba


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
