"""The tensors of a weights folder, whatever the files: safetensors or `.bin`, one file or many with an index."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import safetensors

from xlmr_flax.errors import InputError
from xlmr_flax.model.unpickle import Stored, read_bin, rows_of

SINGLE = ("model.safetensors", "pytorch_model.bin")  # safetensors first, as transformers looks for them
INDEXED = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


def open_folder(folder: Path) -> dict[str, Stored]:
    """Every tensor by its name in the files; numbers are read when asked for."""
    for single, index in zip(SINGLE, INDEXED, strict=True):
        if (folder / single).is_file():
            return _open_file(folder / single)
        if (folder / index).is_file():
            return _open_indexed(folder / index)
    raise InputError(f"{folder}: no weights here; one of {', '.join(SINGLE + INDEXED)} was expected")


def _open_indexed(index: Path) -> dict[str, Stored]:
    try:
        names: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {name: _open_file(index.parent / name) for name in sorted(set(names.values())) if _beside(index, name)}
    except (ValueError, TypeError, LookupError, AttributeError, OSError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{index}: not an index of weights ({error}); it should map names to files") from error
    for name, file in names.items():
        if name not in files[file]:
            raise InputError(f"{index}: says that {file} holds {name}, but it does not; fetch both again")
    for file, tensors in files.items():
        if unlisted := sorted(name for name in tensors if names.get(name) != file):
            raise InputError(f"{index}: does not say that {file} holds {unlisted[0]}; fetch both again")
    return {name: files[file][name] for name, file in names.items()}


def _beside(index: Path, name: str) -> bool:
    if Path(name).name != name:
        raise InputError(f"{index}: names the file {name!r}, which is not beside it")
    return True


def _open_file(path: Path) -> dict[str, Stored]:
    if not path.is_file():
        raise InputError(f"{path}: missing, though the index beside it names it; fetch the folder again")
    return _read_safetensors(path) if path.suffix == ".safetensors" else read_bin(path)


def _read_safetensors(path: Path) -> dict[str, Stored]:
    def stored(name: str, shape: list[int]) -> Stored:
        def blocks() -> Iterator[np.ndarray]:
            # Opened for each tensor: an open file keeps all pages that were read of it mapped.
            with safetensors.safe_open(path, "np") as file:
                if not shape or not shape[0]:
                    yield file.get_tensor(name)
                    return
                rows = rows_of(tuple(shape))
                for start in range(0, shape[0], rows):
                    yield file.get_slice(name)[start : min(start + rows, shape[0])]

        return Stored(path, tuple(shape), blocks)

    try:
        with safetensors.safe_open(path, "np") as file:
            return {name: stored(name, file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file ({error}); fetch it again") from error
