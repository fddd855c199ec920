"""`.bin` files without torch: both of its formats, and nothing but tensors. test_parity.py reads torch's own files."""

import collections
import os
import pickle
import runpy
import zipfile
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.model.unpickle import read_bin

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("torch_files.py"))))
Call, Named, REBUILD, tensor, whole = files.Call, files.Named, files.REBUILD, files.tensor, files.whole

WORDS = np.arange(12, dtype=np.float32).reshape(3, 4)
TENSORS = {
    "words": WORDS,
    "half": np.array([1.5, -2.0], np.float16),
    "brain": np.array([[0.5], [3.0]], ml_dtypes.bfloat16),
    "ids": np.arange(5),
    "scalar": np.array(7.0, np.float32),
}


WRITERS = {"zip": files.write_zip, "legacy": files.write_legacy}


@pytest.fixture(params=WRITERS.values(), ids=WRITERS)
def write(request):
    return request.param


def test_tensors_are_read_as_they_were_saved(write, tmp_path):
    write(tmp_path / "x.bin", *whole(TENSORS))
    read = read_bin(tmp_path / "x.bin")
    assert list(read) == list(TENSORS)
    for name, array in TENSORS.items():
        found = read[name].read()
        assert read[name].shape == found.shape == array.shape
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_views_share_a_storage(write, tmp_path):
    state = {
        "whole": tensor("0", WORDS),
        "turned": tensor("0", WORDS, 0, (4, 3), (1, 4)),
        "part": tensor("0", WORDS, 5, (2, 2), (4, 1)),
        "none": tensor("0", WORDS, 12, (0, 4), (4, 1)),
    }
    write(tmp_path / "x.bin", state, {"0": WORDS})
    read = {name: stored.read() for name, stored in read_bin(tmp_path / "x.bin").items()}
    np.testing.assert_array_equal(read["whole"], WORDS)
    np.testing.assert_array_equal(read["turned"], WORDS.T)
    np.testing.assert_array_equal(read["part"], WORDS[1:, 1:3])
    assert read["none"].shape == (0, 4)


def test_parameters_and_metadata_of_a_module_are_admitted(write, tmp_path):
    weight = Call(
        Named("torch._utils", "_rebuild_parameter"), tensor("0", WORDS), True, Call(Named("collections", "OrderedDict"))
    )
    path = tmp_path / "x.bin"
    write(path, {"weight": weight}, {"0": WORDS})
    np.testing.assert_array_equal(read_bin(path)["weight"].read(), WORDS)
    state = collections.OrderedDict(weight=tensor("0", WORDS))
    state._metadata = collections.OrderedDict({"": {"version": 1}})  # pickled as BUILD
    write(path, state, {"0": WORDS})
    assert list(read_bin(path)) == ["weight"]


HARMFUL = {
    "os.system": Call(Named("os", "system"), "touch harmed"),
    "builtins.eval": Call(Named("builtins", "eval"), "open('harmed', 'w')"),
    "builtins.getattr": Call(Named("builtins", "getattr"), Named("collections", "OrderedDict"), "mro"),
    "torch.load": Call(Named("torch", "load"), "x"),
    "torch._utils._rebuild_device_tensor_from_numpy": Named("torch._utils", "_rebuild_device_tensor_from_numpy"),
    "collections.OrderedDict.fromkeys": Named("collections", "OrderedDict.fromkeys"),
    "numpy.fromfile": Call(Named("numpy", "fromfile"), "/etc/hostname"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_any_other_name_is_refused_and_nothing_is_run(name, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "x.bin", {"weight": tensor("0", WORDS), "more": HARMFUL[name]}, {"0": WORDS})
    with pytest.raises(InputError, match=rf"x\.bin: asks for {name}, which no tensor needs; nothing of it was run"):
        read_bin(tmp_path / "x.bin")
    assert [path.name for path in tmp_path.iterdir()] == ["x.bin"]


def test_a_call_hidden_in_reduce_is_refused(write, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harmed"),)

    write(tmp_path / "x.bin", {"weight": Bomb()}, {})
    with pytest.raises(InputError, match=r"asks for posix\.mkdir"):
        read_bin(tmp_path / "x.bin")
    assert not (tmp_path / "harmed").exists()


def test_a_copy_registry_code_is_refused(tmp_path):
    import copyreg

    copyreg.add_extension("os", "system", 77)
    try:
        with zipfile.ZipFile(tmp_path / "x.bin", "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02\x82\x4dX\x04\x00\x00\x00true\x85R.")
        with pytest.raises(InputError, match=r"asks for os\.system"):
            read_bin(tmp_path / "x.bin")
    finally:
        copyreg.remove_extension("os", "system", 77)


def test_changing_what_is_admitted_does_not_outlive_the_file(write, tmp_path):
    """BUILD sets attributes of whatever stands on the stack, so that a file could spoil the next one's reading."""

    payload = files.pickled(REBUILD)[2:-1] + b"N}X\x0c\x00\x00\x00__defaults__)s\x86b0"
    with zipfile.ZipFile(tmp_path / "bad.bin", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + payload + b"}.")
    with pytest.raises(InputError, match=r"bad\.bin"):
        read_bin(tmp_path / "bad.bin")
    write(tmp_path / "x.bin", *whole(TENSORS))
    np.testing.assert_array_equal(read_bin(tmp_path / "x.bin")["words"].read(), WORDS)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([1, 2], "holds a list where a dict of tensors was expected"),
        ({}, "holds a dict where a dict of tensors was expected"),
        ({"epoch": 3}, "entry 'epoch' is a int, not a tensor; save the state dict alone"),
        ({"model": {"w": tensor("0", WORDS)}}, "entry 'model' is a dict, not a tensor"),
        ({"w": tensor("0", WORDS, 1)}, r"a tensor of size \(3, 4\) reaches past the 12 numbers of its storage"),
        ({"w": tensor("0", WORDS, 0, (3, 4), (8, 1))}, "reaches past the 12 numbers"),
        ({"w": tensor("0", WORDS, -4)}, r"a tensor of size \(3, 4\), stride \(4, 1\), offset -4 cannot be"),
        ({"w": tensor("0", WORDS, 0, (3, 4), (-4, 1))}, "cannot be"),
        ({"w": tensor("0", WORDS, 0, (3, 4), (4,))}, "cannot be"),
    ],
)
def test_what_is_not_a_state_dict_of_whole_tensors_is_named(value, match, write, tmp_path):
    write(tmp_path / "x.bin", value, {"0": WORDS})
    with pytest.raises(InputError, match=match):
        read_bin(tmp_path / "x.bin")


def test_a_storage_of_an_unknown_kind_is_refused(write, tmp_path):
    state = {"w": Call(REBUILD, files.Storage("0", WORDS, "ComplexFloatStorage"), 0, (12,), (1,))}
    write(tmp_path / "x.bin", state, {"0": WORDS})
    with pytest.raises(InputError, match=r"asks for torch\.ComplexFloatStorage"):
        read_bin(tmp_path / "x.bin")


def test_a_file_cut_off_anywhere_is_an_error_and_never_wrong_numbers(write, tmp_path):
    write(tmp_path / "x.bin", *whole(TENSORS))
    data = (tmp_path / "x.bin").read_bytes()
    for end in range(0, len(data), 23):
        (tmp_path / "cut.bin").write_bytes(data[:end])
        with pytest.raises(InputError, match=r"cut\.bin"):
            [stored.read() for stored in read_bin(tmp_path / "cut.bin").values()]


def test_a_flipped_bit_in_a_zip_is_found(tmp_path):
    files.write_zip(tmp_path / "x.bin", *whole({"words": WORDS}))
    data = bytearray((tmp_path / "x.bin").read_bytes())
    data[data.index(WORDS.tobytes()) + 9] ^= 4
    (tmp_path / "x.bin").write_bytes(data)
    with pytest.raises(InputError, match=r"storage '0' cannot be read \(Bad CRC-32"):
        read_bin(tmp_path / "x.bin")["words"].read()


def test_a_zip_whose_directory_says_it_is_elsewhere_is_told(tmp_path):
    path = tmp_path / "spoilt.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))
    content = bytearray(path.read_bytes())
    content[-6:-2] = (2**31).to_bytes(4, "little")  # where the directory begins, by the file's last record
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a whole PyTorch weights file"):
        read_bin(path)


def test_a_big_endian_file_is_refused(tmp_path):
    state, storages = whole({"words": WORDS})
    files.write_zip(tmp_path / "zip.bin", state, storages, byteorder=b"big")
    files.write_legacy(tmp_path / "legacy.bin", state, storages, little=False)
    for name in ("zip.bin", "legacy.bin"):
        with pytest.raises(InputError, match=f"{name}: written on a big-endian machine"):
            read_bin(tmp_path / name)


def test_other_files_are_named(tmp_path):
    (tmp_path / "pickle.bin").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match="neither of PyTorch's two weights formats"):
        read_bin(tmp_path / "pickle.bin")
    (tmp_path / "text.bin").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="not a whole PyTorch weights file"):
        read_bin(tmp_path / "text.bin")
    with zipfile.ZipFile(tmp_path / "zip.bin", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(InputError, match=r"a zip with 0 entries data\.pkl"):
        read_bin(tmp_path / "zip.bin")


@pytest.mark.parametrize("numbers", [8, 16])
def test_a_storage_of_another_length_than_its_tensor_says_is_found(numbers, tmp_path):
    files.write_zip(tmp_path / "x.bin", whole({"words": WORDS})[0], {"0": np.resize(WORDS, numbers)})
    with pytest.raises(
        InputError, match=f"storage '0' holds {numbers} numbers, expected 12; the file was cut off or spoilt"
    ):
        read_bin(tmp_path / "x.bin")["words"].read()


def test_legacy_storages_have_to_fit_the_tensors(tmp_path):
    state, _ = whole({"words": WORDS})
    files.write_legacy(tmp_path / "x.bin", state, {"0": WORDS[:2]})
    with pytest.raises(InputError, match="storage '0' holds 8 numbers, expected 12"):
        read_bin(tmp_path / "x.bin")
    files.write_legacy(tmp_path / "x.bin", state, {"0": WORDS, "1": WORDS})
    with pytest.raises(InputError, match="storage '1' belongs to no tensor"):
        read_bin(tmp_path / "x.bin")


def test_numbers_come_in_blocks_of_whole_rows(write, tmp_path, monkeypatch):
    monkeypatch.setattr("xlmr_flax.model.unpickle.BLOCK_NUMBERS", 9)
    state = {"whole": tensor("0", WORDS), "turned": tensor("0", WORDS, 0, (4, 3), (1, 4))}
    write(tmp_path / "x.bin", state, {"0": WORDS})
    read = read_bin(tmp_path / "x.bin")
    assert [block.shape for block in read["whole"].blocks()] == [(2, 4), (1, 4)]
    assert [block.shape for block in read["turned"].blocks()] == [(3, 3), (1, 3)]
    np.testing.assert_array_equal(read["whole"].read(), WORDS)
    np.testing.assert_array_equal(read["turned"].read(), WORDS.T)


def test_a_pickle_that_asks_for_room_without_end_is_refused(tmp_path):
    """A word of 2^62 bytes in a file; a memory of number 2^32 - 1, which C's unpickler makes room for."""
    word, memory = b"\x8d" + (2**62).to_bytes(8, "little"), b"r" + b"\xff" * 4
    magic = files.pickled(files.LEGACY_MAGIC)
    (tmp_path / "legacy.bin").write_bytes(magic + b"\x80\x04" + word + b".")
    with pytest.raises(InputError, match=r"legacy\.bin: "):
        read_bin(tmp_path / "legacy.bin")
    with zipfile.ZipFile(tmp_path / "zip.bin", "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02}" + memory + b".")
    with pytest.raises(InputError, match="holds a dict where a dict of tensors was expected"):
        read_bin(tmp_path / "zip.bin")
