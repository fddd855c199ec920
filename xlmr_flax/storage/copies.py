"""Copies on this machine of what lies in a bucket, for readers that map files or want a folder: each checked, kept.

~/.cache/xlmr_flax/gs/ (or below XDG_CACHE_HOME)
  files/<bucket>/<path>            the copies, and what is made here before it is uploaded
  partial/<bucket>/                what is on its way: not beside the copies, where readers look for all that is there
  records/<bucket>/<path>.json     which object each is, and what it looked like when it had been compared
"""

import fnmatch
import json
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from xlmr_flax.storage import bucket
from xlmr_flax.storage.places import is_remote, write_json

WILD = re.compile(r"[*?\[]")


def local_of(where: Path) -> Path:
    """Where a place has its copy on this machine; a local one is its own."""
    return _kept("files", where) if is_remote(where) else where


def files_in(folder: Path, pattern: str) -> list[Path]:
    """The files below a folder that match, in order, on this machine; of a bucket those are copied that are not yet."""
    if not is_remote(folder):
        return sorted(filter(Path.is_file, folder.glob(pattern)))
    literal = WILD.split(pattern, maxsplit=1)[0]
    found = [one for one in bucket.objects(folder, literal) if matches(one.name, pattern)]
    return sorted(_copied(folder, one) for one in found)


def copy_of(folder: Path, patterns: Sequence[str] = ("**",)) -> Path:
    """A folder's files that match any of the patterns, on this machine, and nothing else of that kind."""
    if not is_remote(folder):
        return folder
    here, there = local_of(folder), bucket.objects(folder)
    wanted = {_copied(folder, one) for one in there if any(matches(one.name, pattern) for pattern in patterns)}
    for path in [path for path in here.rglob("*") if path.is_file() and path not in wanted]:
        if any(matches(path.relative_to(here).as_posix(), pattern) for pattern in patterns):
            path.unlink(missing_ok=True)  # it has gone there too
    return here


def fetch(folder: Path, to: Path) -> None:
    """Copies the files of a bucket's folder into one on this machine that is the caller's own."""
    for one in bucket.objects(folder):
        path = to / one.name
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download(folder / one.name, one.generation, path)


def name_in(folder: Path, path: Path) -> str:
    """The name below a folder of one of its files, or of that file's copy."""
    return path.relative_to(local_of(folder)).as_posix()


def matches(name: str, pattern: str) -> bool:
    """Whether pathlib's glob would find a file of this name: * ? [] within a part, ** over any number of parts."""
    return _match(tuple(name.split("/")), tuple(part for part in pattern.split("/") if part not in ("", ".")))


def _match(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return len(patterns) == 1 or any(_match(parts[start:], patterns[1:]) for start in range(len(parts)))
    return bool(parts) and fnmatch.fnmatchcase(parts[0], patterns[0]) and _match(parts[1:], patterns[1:])


def _copied(folder: Path, one: bucket.Object) -> Path:
    source = folder / one.name
    path, record = _kept("files", source), _kept("records", source)
    record = record.with_name(f"{record.name}.json")
    known = {"generation": one.generation, "bytes": one.size, "crc32c": one.digest}
    if _is_known(path, record, known):
        return path
    partial = _kept("partial", source.parent / uuid.uuid4().hex)
    for new in (path, partial):
        new.parent.mkdir(parents=True, exist_ok=True)
    try:
        bucket.download(source, one.generation, partial)
        if partial.stat().st_size != one.size:
            raise OSError(f"{source}: {partial.stat().st_size} bytes arrived of {one.size}")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    write_json(record, {**known, "modified_ns": path.stat().st_mtime_ns})
    return path


def _is_known(path: Path, record: Path, known: dict[str, int | str]) -> bool:
    """Whether a file is the copy of this object, and has not been touched since it was compared."""
    try:
        found, there = json.loads(record.read_text(encoding="utf-8")), path.stat()
    except (FileNotFoundError, ValueError):
        return False
    return found == {**known, "modified_ns": there.st_mtime_ns} and there.st_size == known["bytes"]


def _kept(kind: str, where: Path) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "xlmr_flax" / "gs" / kind / str(where).removeprefix(bucket.SCHEME)
