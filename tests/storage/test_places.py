"""Files on this machine: whole or not there, created once, exchanged only for what was seen."""

import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from xlmr_flax import cli
from xlmr_flax.errors import InputError
from xlmr_flax.storage import bucket
from xlmr_flax.storage.places import (
    copy,
    create,
    exchange,
    filled,
    is_remote,
    look,
    names_in,
    place,
    remove,
    upload,
    write,
)


def test_a_file_is_written_over_and_nothing_else_is_left(tmp_path):
    for text in ("one", "two"):
        write(tmp_path / "a" / "b.json", text)
    assert (tmp_path / "a" / "b.json").read_text(encoding="utf-8") == "two"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    write(tmp_path / "file", "old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write(tmp_path / "folder", "a folder stands there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_is_there_is_not_created_again(tmp_path):
    assert create(tmp_path / "DONE", "first").content == b"first"
    assert create(tmp_path / "DONE", "second") is None
    assert look(tmp_path / "DONE").content == b"first"


def test_without_hard_links_a_file_is_created_once_as_well(tmp_path, monkeypatch):
    def link(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr("os.link", link)
    assert create(tmp_path / "DONE", "first")
    assert create(tmp_path / "DONE", "second") is None
    assert (tmp_path / "DONE").read_text(encoding="utf-8") == "first"


def _creates(path, number):
    return create(path, f"{number}" * 10_000) is not None


def test_of_many_that_create_a_file_one_does_and_it_is_whole(tmp_path):
    with ThreadPool(4) as pool:
        created = pool.starmap(_creates, [(tmp_path / "one", number % 10) for number in range(40)])
    assert sum(created) == 1
    assert (tmp_path / "one").read_text(encoding="utf-8") == f"{created.index(True) % 10}" * 10_000


def test_only_what_was_seen_is_exchanged(tmp_path):
    path = tmp_path / "holder"
    first = create(path, "first")
    second = exchange(path, first, "second")
    assert exchange(path, first, "third") is None
    assert look(path).content == b"second"
    assert exchange(path, first, None) is None
    assert exchange(path, second, None) is not None
    assert not path.exists()
    assert exchange(path, second, "again") is None


def _exchanges(path, seen, number):
    return exchange(path, seen, f"{number}") is not None


def test_of_many_that_exchange_the_same_one_does(tmp_path):
    path = tmp_path / "holder"
    seen = create(path, "stale")
    with ThreadPool(4) as pool:
        done = pool.starmap(_exchanges, [(path, seen, number) for number in range(40)])
    assert sum(done) == 1
    assert path.read_text(encoding="utf-8") == f"{done.index(True)}"


def test_a_folder_is_copied_with_its_last_file_last(tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr("xlmr_flax.storage.places.copy", lambda file, to: (order.append(file.name), copy(file, to)))
    for name in ("a", "manifest", "sub/z"):
        write(tmp_path / "from" / name, name)
    upload(tmp_path / "from", tmp_path / "to", last="manifest")
    assert order == ["a", "z", "manifest"]
    assert (tmp_path / "to" / "sub" / "z").read_text(encoding="utf-8") == "sub/z"
    remove(tmp_path / "to")
    remove(tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_a_folder_here_is_filled_where_it_is(tmp_path):
    with filled(tmp_path) as new:
        assert new == tmp_path


def test_names_here_are_paths_and_a_bucket_needs_a_name():
    assert place("runs/a") == Path("runs/a")
    assert is_remote("gs://bucket/runs")
    assert not is_remote("gs/bucket")


def test_without_the_libraries_a_bucket_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"^gs://b/runs: gs:// needs: pip install 'xlmr-flax\[gcs\]'"):
        bucket.path("gs://b/runs")


def test_a_bucket_without_its_libraries_ends_a_command_with_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", "run", "configs/demo.toml", "--dry", "--runs", "gs://b/runs"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capsys.readouterr()
    assert (end.value.code, told.out) == (2, "")
    assert told.err.startswith("gs://b/runs: gs:// needs: pip install 'xlmr-flax[gcs]'")
    assert told.err.count("\n") == 1


def test_a_name_that_no_file_system_takes_is_told():
    with pytest.raises(InputError, match="give another name") as told:
        place("x" * 5000)
    assert len(str(told.value)) < 200


def test_what_lies_directly_in_a_folder_has_a_name(tmp_path):
    assert names_in(tmp_path / "nowhere") == set()
    for name in ("a", "b/c", "b/d/e"):
        write(tmp_path / name, "")
    assert names_in(tmp_path) == {"a", "b"}
