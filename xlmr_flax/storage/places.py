"""Folders and files that are on this machine or in a bucket (gs://), under one set of verbs.

A place is a pathlib path, or etils' path for what begins with gs://, which reads and joins like one. A bucket knows no
append, no rename and no lock: there is writing whole, writing what is not there yet, and exchanging what was seen.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.storage import bucket

TRIES = 10
SHOWN = 80  # letters of a name that is no name
# What file systems without hard links answer (FAT, many network and user-space ones).
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Seen(NamedTuple):
    """What a file held when it was read, and what tells whether it still does."""

    content: bytes
    version: int | None  # the bucket's; on this machine the content is compared


def place(name: str | Path) -> Path:
    """The place that a user names.

    Raises InputError for gs:// where its libraries are not installed, and for a name that no file system takes.
    """
    if is_remote(name):
        return bucket.path(str(name))
    path = Path(name)
    try:
        path.exists()
    except OSError as error:
        shown = str(name) if len(str(name)) <= SHOWN else f"{str(name)[:SHOWN]}…"
        raise InputError(f"{shown!r}: cannot be a file or folder here ({error.strerror}); give another name") from None
    return path


def absolute(where: Path) -> Path:
    """A place wherever this process stands: Orbax wants no other."""
    return where if is_remote(where) else where.resolve()


def is_remote(where: str | Path) -> bool:
    """Whether a place is in a bucket."""
    return str(where).startswith(bucket.SCHEME)


def write(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all, over what is there."""
    content = content.encode() if isinstance(content, str) else content
    if is_remote(path):
        bucket.write(path, content)
        return
    with _partial(path, content) as partial:
        partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Writes a value whole or not at all."""
    write(path, json_text(value))


def json_text(value: Any) -> str:
    """A value as our files have it."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def create(path: Path, content: str | bytes) -> Seen | None:
    """Writes a file where there is none; None where there is one. Of several that try at once, one succeeds."""
    content = content.encode() if isinstance(content, str) else content
    if is_remote(path):
        version = bucket.write(path, content, over=0)
        return None if version is None else Seen(content, version)
    with _partial(path, content) as partial:
        try:
            os.link(partial, path)
        except FileExistsError:
            return None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            try:
                with path.open("xb") as file:
                    file.write(content)
            except FileExistsError:
                return None
    return Seen(content, None)


def look(path: Path) -> Seen | None:
    """What a file holds now; None where there is none."""
    try:
        return Seen(*bucket.read(path)) if is_remote(path) else Seen(path.read_bytes(), None)
    except FileNotFoundError:
        return None


def exchange(path: Path, seen: Seen, content: str | bytes | None) -> Seen | None:
    """Replaces, or with None removes, what was seen in a file; None, and nothing done, where it is no longer that."""
    content = content.encode() if isinstance(content, str) else content
    if is_remote(path):
        version = bucket.remove(path, seen.version) if content is None else bucket.write(path, content, seen.version)
        return None if version is None else Seen(content or b"", version)
    try:
        file = path.open("r+b")
    except FileNotFoundError:
        return None
    with file:
        with contextlib.suppress(OSError):  # a file system without locks: two that exchange in one instant both do
            fcntl.flock(file, fcntl.LOCK_EX)
        if not _is_at(file.fileno(), path) or file.read() != seen.content:
            return None
        if content is None:
            path.unlink()
        else:
            write(path, content)
    return Seen(content or b"", None)


def names_in(folder: Path) -> set[str]:
    """The names of what lies directly in a folder; none where there is no folder."""
    if is_remote(folder):
        return {one.name.partition("/")[0] for one in bucket.objects(folder)}
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def copy(file: Path, to: Path) -> None:
    """Copies a file of this machine, whole or not at all, over what is there."""
    if is_remote(to):
        bucket.upload(file, to)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_name(to)
    try:
        shutil.copyfile(file, partial)
        partial.replace(to)
    finally:
        partial.unlink(missing_ok=True)


def upload(folder: Path, to: Path, *, last: str | None = None) -> None:
    """Copies every file of a folder on this machine to another place; the one named `last` when all others are there.

    Raises FileNotFoundError when that one is missing.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if last:
        files = [path for path in files if path != folder / last] + [folder / last]
    for path in files:
        copy(path, to / path.relative_to(folder).as_posix())


def remove(folder: Path) -> None:
    """Removes a folder and what is in it; nothing happens where there is none."""
    if is_remote(folder):
        bucket.remove_all(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def filled(folder: Path) -> Iterator[Path]:
    """A folder on this machine to write files into: the folder itself, or one that is uploaded in the end."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as there:
        yield Path(there)
        upload(Path(there), folder)


@contextlib.contextmanager
def _partial(path: Path, content: bytes) -> Iterator[Path]:
    partial = _partial_name(path)
    try:
        for left in reversed(range(TRIES)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                partial.write_bytes(content)
                break
            # Another run removes the folders that it made and left empty, if need be while this one finds them there.
            except (FileNotFoundError, FileExistsError):
                if not left:
                    raise
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def _is_at(file: int, path: Path) -> bool:
    """Whether an open file is still the one that its path names."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file), now)
