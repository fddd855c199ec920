import json
import multiprocessing
import re

import numpy as np
import pytest

from xlmr_flax.data.cache import cached
from xlmr_flax.data.encode import encode_sequence, encode_span, encode_text
from xlmr_flax.data.encoded import Encoded
from xlmr_flax.sources.rows import Answer, Classified, Question, Text

KEY = {"task": "xnli", "language": "zh", "files": {"a.tsv": "00ff"}, "length": 32}


def small(first=0):
    ids = np.arange(first, first + 12, dtype=np.int32)
    return Encoded(
        ids,
        np.array([0, 5, 12], np.int64),
        np.array([0, 1], np.int32),
        np.array([1, -1], np.int32),
        np.zeros((0, 2), np.int32),
        {"rows": 2, "units": 2},
    )


def never():
    raise AssertionError("encoded a second time")


def assert_equal(found, wanted):
    assert found.counts == wanted.counts
    for one, other in zip(found[:5], wanted[:5], strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_array_equal(one, other)


def folder_in(cache):
    (folder,) = (cache / "encoded").iterdir()
    return folder


def test_a_second_call_reads_what_the_first_built_and_builds_nothing(tmp_path):
    assert_equal(cached(tmp_path, KEY, small), small())
    second = cached(tmp_path, dict(reversed(KEY.items())), never)
    assert_equal(second, small())
    assert all(isinstance(array, np.memmap) for array in second[:5])
    assert not second.ids.flags.writeable


def test_real_encodings_come_back_from_the_cache(tmp_path, tokenizer, texts):
    builds = {
        "sequence": lambda: encode_sequence([Classified("1", "", texts[0], texts[1], "a")], ("a",), tokenizer, 32),
        "span": lambda: encode_span([Question("1", "", texts[0], "?", (Answer("fox", 16),))], tokenizer, 16),
        "text": lambda: encode_text([Text("1", "", texts[0])], tokenizer, 16),
        "nothing": lambda: encode_text([], tokenizer, 16),
    }
    for kind, build in builds.items():
        assert_equal(cached(tmp_path, {"kind": kind}, build), build())
        assert_equal(cached(tmp_path, {"kind": kind}, never), build())


@pytest.mark.parametrize(
    "other", [{**KEY, "length": 33}, {**KEY, "files": {"a.tsv": "00fe"}}, {**KEY, "length": "32"}, {**KEY, "cap": None}]
)
def test_another_key_is_another_encoding(tmp_path, other):
    cached(tmp_path, KEY, small)
    assert_equal(cached(tmp_path, other, lambda: small(7)), small(7))
    assert_equal(cached(tmp_path, KEY, never), small())


@pytest.mark.parametrize("name", ["xlmr_flax.data.cache.ENCODER_VERSION", "tokenizers.__version__"])
def test_another_encoder_and_another_library_encode_again(tmp_path, monkeypatch, name):
    cached(tmp_path, KEY, small)
    monkeypatch.setattr(name, "another")
    assert_equal(cached(tmp_path, KEY, lambda: small(7)), small(7))


def cut_short(folder):
    path = folder / "ids.npy"
    path.write_bytes(path.read_bytes()[:-4])


def flip_a_bit(folder):
    content = bytearray((folder / "ids.npy").read_bytes())
    content[-1] ^= 1
    (folder / "ids.npy").write_bytes(content)


def claim_another_key(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["identity"]["key"]["length"] = 31
    (folder / "manifest.json").write_text(json.dumps(manifest))


DAMAGES = {
    "ids.npy has 172 bytes instead of 176": cut_short,
    "ids.npy has other content than was written": flip_a_bit,
    "start.npy is missing": lambda folder: (folder / "start.npy").unlink(),
    "manifest.json is for another key": claim_another_key,
    "manifest.json: .*No such file.*": lambda folder: (folder / "manifest.json").unlink(),
    "manifest.json: Expecting .*": lambda folder: (folder / "manifest.json").write_text("{"),
    "manifest.json lacks counts": lambda folder: (folder / "manifest.json").write_text('{"identity": 1, "arrays": {}}'),
}


@pytest.mark.parametrize(("said", "damage"), DAMAGES.items(), ids=DAMAGES)
def test_a_damaged_folder_is_built_again_with_a_warning(tmp_path, caplog, said, damage):
    cached(tmp_path, KEY, small)
    damage(folder_in(tmp_path))
    assert_equal(cached(tmp_path, KEY, lambda: small(7)), small(7))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    place = re.escape(str(folder_in(tmp_path)))
    wanted = rf"{place}: the cache is damaged \({said}\); encoding these rows again"
    assert re.fullmatch(wanted, record.getMessage())
    assert_equal(cached(tmp_path, KEY, never), small(7))


def test_a_build_that_fails_leaves_nothing_behind(tmp_path):
    with pytest.raises(AssertionError, match="a second time"):
        cached(tmp_path, KEY, never)
    assert not list((tmp_path / "encoded").iterdir())
    assert_equal(cached(tmp_path, KEY, small), small())


def test_what_a_killed_builder_left_is_never_read(tmp_path):
    cached(tmp_path, KEY, small)
    done = folder_in(tmp_path)
    half = done.with_name(f"{done.name}.1234.partial")
    done.rename(half)
    assert_equal(cached(tmp_path, KEY, lambda: small(7)), small(7))
    assert half.is_dir()


def test_a_builder_that_comes_second_takes_what_the_first_published(tmp_path):
    def overtaken():
        cached(tmp_path, KEY, small)
        return small(7)

    assert_equal(cached(tmp_path, KEY, overtaken), small())
    folder_in(tmp_path)


def test_a_builder_overtaken_while_it_replaces_a_damaged_folder_takes_the_new_one(tmp_path):
    cached(tmp_path, KEY, small)
    cut_short(folder_in(tmp_path))

    def overtaken():
        cached(tmp_path, KEY, lambda: small(5))
        return small(7)

    assert_equal(cached(tmp_path, KEY, overtaken), small(5))
    folder_in(tmp_path)


def build_and_check(cache, number, barrier):
    barrier.wait()
    found = cached(cache, KEY, lambda: small(number))
    assert found.ids[0] in range(4)
    assert (np.diff(found.ids) == 1).all()


def test_processes_that_build_at_once_all_get_a_whole_encoding(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [context.Process(target=build_and_check, args=(tmp_path, number, barrier)) for number in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    folder_in(tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error_not_a_loop(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(13, "not allowed", str(target))

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    with pytest.raises(PermissionError, match="not allowed"):
        cached(tmp_path, KEY, small)
    assert not list((tmp_path / "encoded").iterdir())


def test_a_key_that_json_cannot_say_is_refused(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        cached(tmp_path, {"path": tmp_path}, small)
