"""The text of a file."""

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.text import read_text


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "file.txt"
        path.write_bytes(content)
        return path

    return written


def test_only_a_line_feed_ends_a_line(write):
    assert lines(write("a\u2028b\u0085c\x0cd\re\nf".encode())) == ["a\u2028b\u0085c\x0cd\re", "f"]


def test_carriage_returns_before_line_feeds_go(write):
    assert lines(write(b"one\r\ntwo\r\n")) == ["one", "two"]


def test_a_byte_order_mark_is_no_text(write):
    assert lines(write(b"\xef\xbb\xbfone\n")) == ["one"]


def test_invalid_utf8_is_named_by_line_and_byte(write):
    with pytest.raises(InputError, match=r"file\.txt:2: byte 6 of the file is 0xff, which is not UTF-8; convert"):
        lines(write(b"one\ntw\xffo\n"))


def test_nul_characters_are_refused(write):
    with pytest.raises(InputError, match=r"file\.txt:3: a NUL character, text is wanted"):
        lines(write(b"one\ntwo\nth\0ree\n"))


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(write, content):
    with pytest.raises(InputError, match=r"file\.txt: the file is empty, at least one row is wanted"):
        lines(write(content))


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.txt: cannot be read \(No such file or directory\)"):
        lines(tmp_path / "absent.txt")
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        lines(tmp_path)


def test_text_rows_count_the_lines_of_the_file_and_leave_blank_ones_out(write):
    rows = read_text(write(b"eins\n\n  \nzwei\n"))
    assert [(row.id, row.group, row.text) for row in rows] == [("1", "1", "eins"), ("4", "4", "zwei")]
