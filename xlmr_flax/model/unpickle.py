"""PyTorch's `.bin` files read without PyTorch, and without running what they ask for.

A pickle is a program. This one may name tensors, dictionaries and storages; any other name ends it before anything
is called.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import ml_dtypes
import numpy as np

from xlmr_flax.errors import InputError

STORAGES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of a file from before PyTorch 1.6
LEGACY_PROTOCOL = 1001

BLOCK_NUMBERS = 1 << 24  # the largest kernel of XLM-R Large is a quarter of it

# What a broken or truncated pickle or zip, or one written to confuse, makes readers raise: among others asserts of
# pickle's own, a RuntimeError where a flipped bit says that an entry is encrypted, a number too large for a size.
BROKEN = (
    pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError,
    AssertionError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Stored(NamedTuple):
    """A tensor in a file, its numbers in the dtype they are kept in.

    `blocks` gives them in blocks of `rows_of(shape)` rows, so that a word table need not stand in memory twice.
    """

    file: Path
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[np.ndarray]]

    def read(self) -> np.ndarray:
        blocks = list(self.blocks())
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def rows_of(shape: tuple[int, ...]) -> int:
    """How many rows of a tensor make a block."""
    return max(1, BLOCK_NUMBERS // max(math.prod(shape[1:]), 1))


class _Storage(NamedTuple):
    kind: str
    key: str
    numel: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(STORAGES[self.kind])


class _View(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def read_bin(path: Path) -> dict[str, Stored]:
    """The tensors of a state dict, by name; numbers are read when asked for."""
    try:
        if zipfile.is_zipfile(path):
            views, fetch = _read_zip(path)
        else:
            views, fetch = _read_legacy(path)
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(f"{path}: not a whole PyTorch weights file ({error}); fetch or save it again") from error
    return {name: Stored(path, view.shape, _reader(path, view, fetch)) for name, view in views.items()}


# A storage's numbers in order, in pieces of a given size.
Fetch = Callable[[_Storage, int], Iterator[np.ndarray]]


def _read_zip(path: Path) -> tuple[dict[str, _View], Fetch]:
    """The format since PyTorch 1.6: a zip of data.pkl and one entry for each storage."""
    with zipfile.ZipFile(path) as archive:
        if any(entry.header_offset < 0 for entry in archive.infolist()):  # which the system, not zipfile, would refuse
            raise zipfile.BadZipFile("an entry that begins before the file")
        names = archive.namelist()
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise InputError(
                f"{path}: a zip with {len(roots)} entries data.pkl where PyTorch writes one; save it again"
            )
        root = roots[0]
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise InputError(f"{path}: written on a big-endian machine; save it again on a little-endian one")
        views = _state_dict(path, _load(path, io.BytesIO(archive.read(f"{root}data.pkl"))))

    def fetch(storage: _Storage, size: int) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{root}data/{storage.key}") as file:
            while piece := file.read(size * storage.dtype.itemsize):
                yield np.frombuffer(piece, storage.dtype)

    return views, fetch


def _read_legacy(path: Path) -> tuple[dict[str, _View], Fetch]:
    """The format before PyTorch 1.6, which XLM-R itself came in: five pickles, then each storage's size and bytes."""
    with path.open("rb") as file:
        if _load(path, file) != LEGACY_MAGIC or _load(path, file) != LEGACY_PROTOCOL:
            raise InputError(f"{path}: neither of PyTorch's two weights formats; save it again with torch.save")
        if not _load(path, file)["little_endian"]:
            raise InputError(f"{path}: written on a big-endian machine; save it again on a little-endian one")
        views = _state_dict(path, _load(path, file))
        storages = {view.storage.key: view.storage for view in views.values()}
        starts = {}
        for key in _load(path, file):
            if key not in storages:
                raise InputError(f"{path}: storage {key!r} belongs to no tensor; save it again with torch.save")
            numel = int.from_bytes(file.read(8), "little")
            if numel != storages[key].numel:
                raise InputError(f"{path}: storage {key!r} holds {numel} numbers, expected {storages[key].numel}")
            starts[key] = file.tell()
            file.seek(numel * storages[key].dtype.itemsize, io.SEEK_CUR)

    def fetch(storage: _Storage, size: int) -> Iterator[np.ndarray]:
        with path.open("rb") as file:
            file.seek(starts[storage.key])
            for start in range(0, storage.numel, size):
                yield np.fromfile(file, storage.dtype, min(size, storage.numel - start))

    return views, fetch


def _reader(path: Path, view: _View, fetch: Fetch) -> Callable[[], Iterator[np.ndarray]]:
    whole = math.prod(view.shape) == view.storage.numel and view.stride == _contiguous(view.shape)

    def blocks() -> Iterator[np.ndarray]:
        rows, numbers = rows_of(view.shape), 0
        try:
            if whole and view.shape:
                for piece in fetch(view.storage, rows * math.prod(view.shape[1:])):
                    numbers += piece.size
                    yield piece.reshape(-1, *view.shape[1:])
            else:
                flat = np.concatenate([np.empty(0, view.storage.dtype), *fetch(view.storage, BLOCK_NUMBERS)])
                numbers = flat.size
                strides = tuple(step * flat.itemsize for step in view.stride)
                yield from _cut(np.ndarray(view.shape, flat.dtype, flat, view.offset * flat.itemsize, strides), rows)
        except BROKEN as error:
            raise InputError(
                f"{path}: storage {view.storage.key!r} cannot be read ({error}); fetch the file again"
            ) from error
        if numbers != view.storage.numel:
            raise InputError(
                f"{path}: storage {view.storage.key!r} holds {numbers} numbers, expected {view.storage.numel}; "
                "the file was cut off or spoilt: fetch it again"
            )

    return blocks


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides, in numbers, of an array without gaps."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _cut(array: np.ndarray, rows: int) -> Iterator[np.ndarray]:
    if array.ndim == 0 or len(array) == 0:
        yield array
        return
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _state_dict(path: Path, value: Any) -> dict[str, _View]:
    if not isinstance(value, dict) or not value:
        raise InputError(f"{path}: holds a {type(value).__name__} where a dict of tensors was expected")
    for name, view in value.items():
        if not isinstance(name, str) or not isinstance(view, _View):
            raise InputError(
                f"{path}: entry {name!r} is a {type(view).__name__}, not a tensor; save the state dict alone"
            )
    return dict(value)


def _load(path: Path, file: BinaryIO) -> Any:
    try:
        return _TensorsOnly(path, file).load()
    except MemoryError:
        raise InputError(f"{path}: its pickle asks for more memory than there is; fetch or save it again") from None


class _TensorsOnly(pickle._Unpickler):
    """Admits what a state dict needs. What it hands out is made anew for each file, so that no file can change it.

    In Python, because the one in C makes room for as many memories as a file says it has: gigabytes, for a flipped bit.
    """

    def __init__(self, path: Path, file: BinaryIO) -> None:
        super().__init__(file)
        self.path = path
        self.admitted: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): lambda *arguments: _rebuild(path, *arguments),
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            **{("torch", kind): kind for kind in STORAGES},
        }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.admitted[module, name]
        except KeyError:
            raise InputError(
                f"{self.path}: asks for {module}.{name}, which no tensor needs; nothing of it was run. "
                "Get the weights as safetensors, or from a source you trust"
            ) from None

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, numel, *view = pid
        if tag != "storage" or kind not in STORAGES or any(view):
            raise InputError(
                f"{self.path}: refers to a {tag} {kind!r} outside itself, which no tensor needs; save it again"
            )
        return _Storage(kind, str(key), int(numel))


def _rebuild(path: Path, storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _View:
    shape, steps = tuple(size), tuple(stride)
    if not isinstance(storage, _Storage) or len(shape) != len(steps) or min((offset, *shape, *steps)) < 0:
        raise InputError(f"{path}: a tensor of size {shape}, stride {steps}, offset {offset} cannot be; save it again")
    last = offset + sum((length - 1) * step for length, step in zip(shape, steps, strict=True))
    if math.prod(shape) and last >= storage.numel:
        raise InputError(f"{path}: a tensor of size {shape} reaches past the {storage.numel} numbers of its storage")
    return _View(storage, offset, shape, steps)
