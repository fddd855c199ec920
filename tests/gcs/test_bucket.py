"""Our verbs in a bucket, through the libraries' own clients."""

import json
import threading

import numpy as np
import pytest

from xlmr_flax.data.cache import cached
from xlmr_flax.data.encoded import Encoded
from xlmr_flax.errors import InputError
from xlmr_flax.storage import bucket, holding
from xlmr_flax.storage.copies import copy_of, files_in, local_of, name_in
from xlmr_flax.storage.holding import held
from xlmr_flax.storage.places import create, exchange, filled, look, place, remove, upload, write

pytestmark = pytest.mark.gcs


def test_a_file_is_written_read_and_seen_by_the_path_as_well(folder):
    write(folder / "a" / "b.json", "one")
    write(folder / "a" / "b.json", "two ä")
    assert look(folder / "a" / "b.json").content.decode() == "two ä"
    assert (folder / "a" / "b.json").read_text(encoding="utf-8") == "two ä"
    assert (folder / "a" / "b.json").is_file()
    assert [path.name for path in (folder / "a").iterdir()] == ["b.json"]
    assert look(folder / "a" / "c.json") is None
    assert not (folder / "DONE").is_file()
    write(folder / "DONE", "")
    assert (folder / "DONE").is_file()  # no listing is remembered


def test_of_many_that_create_a_file_one_does(folder):
    created = []
    threads = [
        threading.Thread(target=lambda n=n: created.append((n, create(folder / "DONE", f"{n}")))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = [n for n, seen in created if seen is not None]
    assert look(folder / "DONE").content.decode() == f"{winner}"


def test_only_what_was_seen_is_exchanged(folder):
    path = folder / "holder.json"
    first = create(path, "first")
    assert look(path) == first
    second = exchange(path, first, "second")
    assert exchange(path, first, "third") is None
    assert exchange(path, first, None) is None
    assert look(path).content == b"second"
    assert exchange(path, second, None) is not None
    assert look(path) is None
    assert exchange(path, second, "again") is None


def test_a_lost_answer_to_a_write_is_not_taken_for_another_s(folder):
    path = folder / "holder.json"
    first = create(path, "mine")
    assert create(path, "mine") == first  # the client asked again after it had been written
    assert create(path, "another") is None


def test_a_run_that_is_gone_is_replaced_in_a_bucket(folder, monkeypatch):
    said, path = [], folder / ".holders" / "a.json"
    monkeypatch.setattr(holding, "BEAT_SECS", 0.05)
    record = holding._me() | {"machine": "elsewhere", "host": "tpu-1", "beat": 0.0}
    create(path, json.dumps(record))
    with held(path, "phases/a", say=said.append, is_asked=lambda: False):
        first = look(path)
        while look(path) == first:
            pass
        assert json.loads(look(path).content)["token"] == json.loads(first.content)["token"]
    assert look(path) is None
    assert "was held by host tpu-1" in said[0]


def test_folders_go_there_and_come_back_and_go(folder, tmp_path):
    for name in ("a", "sub/b", "manifest"):
        write(tmp_path / "from" / name, name)
    upload(tmp_path / "from", folder / "x", last="manifest")
    assert [one.name for one in bucket.objects(folder / "x")] == ["a", "manifest", "sub/b"]
    here = copy_of(folder / "x")
    assert here == local_of(folder / "x")
    assert (here / "sub" / "b").read_text(encoding="utf-8") == "sub/b"
    remove(folder / "x" / "sub")
    remove(folder / "x" / "sub")
    assert not (copy_of(folder / "x") / "sub" / "b").exists()
    with filled(folder / "y") as new:
        write(new / "one", "1")
    assert (folder / "y" / "one").read_text(encoding="utf-8") == "1"


def test_files_are_copied_when_they_are_new_and_never_believed_when_they_were_touched(folder, monkeypatch):
    for lang in ("de", "en"):
        write(folder / "xnli" / f"test-{lang}.tsv", lang)
    copied, download = [], bucket.download
    monkeypatch.setattr(bucket, "download", lambda *a: (copied.append(a[0].name), download(*a))[1])
    found = files_in(folder, "xnli/test-*.tsv")
    assert [name_in(folder, path) for path in found] == ["xnli/test-de.tsv", "xnli/test-en.tsv"]
    assert [path.read_text(encoding="utf-8") for path in found] == ["de", "en"]
    assert files_in(folder, "xnli/test-d?.tsv") == found[:1]
    assert sorted(copied) == ["test-de.tsv", "test-en.tsv"]
    write(folder / "xnli" / "test-de.tsv", "ed")
    found[1].write_text("ne", encoding="utf-8")
    assert [path.read_text(encoding="utf-8") for path in files_in(folder, "xnli/*")] == ["ed", "en"]
    assert len(copied) == 4
    assert files_in(folder, "nothing/*") == []


def test_many_may_copy_one_folder_at_once(folder):
    for number in range(6):
        write(folder / "tokenizer" / f"{number}.json", f"{number}" * 1000)
    failed = []

    def copies():
        try:
            here = copy_of(folder / "tokenizer")
            assert sorted(path.name for path in here.iterdir()) == [f"{number}.json" for number in range(6)]
        except (AssertionError, OSError) as error:
            failed.append(error)

    threads = [threading.Thread(target=copies) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_is_encoded_is_shared_through_a_bucket(folder, tmp_path, monkeypatch):
    whole = Encoded(
        np.arange(12, dtype=np.int32), np.array([0, 5, 12], np.int64), np.array([0, 1], np.int32),
        np.array([1, -1], np.int32), np.zeros((0, 2), np.int32), {"rows": 2},
    )  # fmt: skip
    cached(folder, {"task": "xnli"}, lambda: whole)
    (manifest,) = [one for one in bucket.objects(folder) if one.name.endswith("manifest.json")]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))

    def never():
        raise AssertionError("encoded a second time")

    found = cached(folder, {"task": "xnli"}, never)
    assert isinstance(found.ids, np.memmap)
    np.testing.assert_array_equal(found.ids, whole.ids)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a third"))
    write(folder / manifest.name.replace("manifest.json", "ids.npy"), "damaged")
    np.testing.assert_array_equal(cached(folder, {"task": "xnli"}, lambda: whole).ids, whole.ids)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a fourth"))
    np.testing.assert_array_equal(cached(folder, {"task": "xnli"}, never).ids, whole.ids)


def test_a_bucket_that_is_not_there_is_a_sentence(folder):
    bucket.check(folder)
    with pytest.raises(InputError, match=r"^gs://nowhere/runs: there is no such bucket$"):
        bucket.check(place("gs://nowhere/runs"))
    with pytest.raises(InputError, match=r"^gs://: wanted gs://BUCKET/FOLDER$"):
        place("gs://")
