"""What says whether a file is the same as it was."""

import hashlib
import os

from xlmr_flax.storage import contents
from xlmr_flax.storage.contents import file_fingerprints


def test_fingerprints_are_those_of_the_content(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"x" * 3_000_000)
    other.write_bytes(b"")
    assert file_fingerprints([one, other]) == {
        str(one): hashlib.sha256(b"x" * 3_000_000).hexdigest(),
        str(other): hashlib.sha256(b"").hexdigest(),
    }


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    path, read = tmp_path / "a.tsv", []
    path.write_text("one", encoding="utf-8")
    sha256 = contents.sha256_of
    monkeypatch.setattr(contents, "sha256_of", lambda path: (read.append(path), sha256(path))[1])
    monkeypatch.setattr(contents, "SETTLED_NS", 0)
    first = file_fingerprints([path])
    assert file_fingerprints([path]) == first
    assert len(read) == 1
    before = path.stat()
    path.write_text("two", encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # the time of its inode tells
    assert file_fingerprints([path]) != first
    assert len(read) == 2


def test_a_file_that_changed_just_now_is_read_each_time(tmp_path):
    path = tmp_path / "a.tsv"
    found = []
    for text in ("one", "two", "six"):  # within one tick of the clock, perhaps
        path.write_text(text, encoding="utf-8")
        found += [*file_fingerprints([path]).values()]
    assert found == [hashlib.sha256(text.encode()).hexdigest() for text in ("one", "two", "six")]
