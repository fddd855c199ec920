"""What the compiler says when it cannot, and what is kept of what it made; libtpu itself is not needed."""

import ctypes
import importlib.util
import os
import platform
from pathlib import Path

import pytest

from xlmr_flax.config.schema import Mesh
from xlmr_flax.errors import InputError, quiet
from xlmr_flax.plan import compiler as room
from xlmr_flax.plan.chips import slice_of
from xlmr_flax.plan.compiler import Built, Compiler, compiler


def test_without_libtpu_the_user_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"libtpu, the TPU's compiler, is not installed here; pip install 'xlmr-flax"):
        compiler(slice_of("v5e:2x4"), tmp_path)


def test_elsewhere_than_on_linux_the_user_is_told_where_to_go(monkeypatch, tmp_path):
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(InputError, match=r"compiles on Linux on x86-64, and this is Darwin on arm64"):
        compiler(slice_of("v5e:2x4"), tmp_path)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        (Mesh(fsdp=3), r"fsdp=3 x tensor=1 does not fit 8 devices of v5e:2x4; .* one of 1, 2, 4, 8, and leave data"),
        (Mesh(data=2, fsdp=2), r"data=2 x fsdp=2 x tensor=1 does not fit 8 devices"),
        (Mesh(fsdp=16), "fsdp=16 x tensor=1 does not fit"),
    ],
)
def test_a_mesh_that_does_not_divide_the_slice_says_which_numbers_do(tmp_path, sizes, told):
    with pytest.raises(InputError, match=told):
        Compiler("0", slice_of("v5e:2x4"), tmp_path).mesh(sizes)


@pytest.mark.parametrize("fsdp", [3, 16])
def test_a_mesh_over_several_slices_names_them_and_keeps_weights_within_one(tmp_path, fsdp):
    told = r"does not fit 16 devices of v5e:2x4 x 2 slices; .* one of 1, 2, 4, 8, and"
    with pytest.raises(InputError, match=told):
        Compiler("0", slice_of("v5e:2x4", 2), tmp_path).mesh(Mesh(fsdp=fsdp))


def test_what_is_written_to_standard_error_is_swallowed_and_only_meanwhile(capfd):
    os.write(2, b"before\n")
    with quiet():
        os.write(2, b"noise\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_the_noise_ends_with_an_error_too(capfd):
    with pytest.raises(ValueError, match="x"), quiet():
        raise ValueError("x")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.parametrize(
    "built", [Built(True, 1, 2, 3, 4.0, "HloModule x"), Built(False, 1, None, 3, 4.0, None)], ids=["fits", "refused"]
)
def test_a_program_that_was_kept_comes_back_as_it_was(tmp_path, built):
    room._write(tmp_path / "plans" / "key", built)
    assert room._read(tmp_path / "plans" / "key") == built
    assert room._read(tmp_path / "plans" / "other") is None


class Lowered:
    """A program of which only the text is known, and that must not be compiled again."""

    def __init__(self, text):
        self.text, self.compiled = text, 0

    def as_text(self):
        return self.text

    def compile(self):
        self.compiled += 1
        raise room.jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total (15.86G) exceeds available HBM (15.75G)."
        )

    args_info = ()


def test_the_same_program_is_compiled_once(tmp_path):
    first, again, other = Lowered("a"), Lowered("a"), Lowered("b")
    tpu = Compiler("0", slice_of("v5e:2x4"), tmp_path)
    built = tpu.build(first)
    assert (built.fits, built.hbm_bytes) == (False, int(15.86 * 2**30))
    assert tpu.build(again) == built
    tpu.build(other)
    Compiler("1", slice_of("v5e:2x4"), tmp_path).build(again)  # another libtpu
    assert (first.compiled, again.compiled, other.compiled) == (1, 1, 1)
    Compiler("0", slice_of("v5e:4x4"), tmp_path).build(again)
    assert again.compiled == 2


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_that_a_compiler_has_freed_goes_back_to_the_system(tmp_path):
    libc, size, count = ctypes.CDLL(None), 2**16, 2000
    libc.malloc.restype = ctypes.c_void_p
    blocks = [libc.malloc(size) for _ in range(count)]
    for block in blocks:
        libc.memset(ctypes.c_void_p(block), 1, size)
    for block in blocks[:-1]:  # the last one keeps the rest below it in the heap
        libc.free(ctypes.c_void_p(block))
    before = resident()
    Compiler("0", slice_of("v5e:2x4"), tmp_path).build(Lowered("a"))
    assert before - resident() > size * count / 2
    libc.free(ctypes.c_void_p(blocks[-1]))
