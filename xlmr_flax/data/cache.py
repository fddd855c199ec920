"""Keeps encoded rows on disk, so that nothing is tokenised twice.

A folder is published by one rename, with its manifest inside: it is there whole or not at all. A cache in a bucket has
the manifest written last, and only where there is none; what is used of it is a copy on this machine.
"""

import contextlib
import errno
import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from xlmr_flax.data.encoded import ENCODER_VERSION, Encoded
from xlmr_flax.errors import InputError
from xlmr_flax.storage.contents import sha256_of
from xlmr_flax.storage.copies import copy_of, fetch, local_of
from xlmr_flax.storage.places import is_remote, upload

ARRAYS = ("ids", "start", "example", "label", "where", "cut", "name", "name_start")
MANIFEST = "manifest.json"

log = logging.getLogger(__name__)


class DamagedError(Exception):
    """A cached folder is not what its manifest says."""


def cached(cache: Path, key: Mapping[str, Any], build: Callable[[], Encoded]) -> Encoded:
    """What `build` gives, from the folder of `key` below `cache` if it is there; arrays are mapped, not read.

    A damaged folder is built again, and a warning says so. Of two processes that build the same, the first is kept.
    """
    identity = _identity(key)
    place = cache / "encoded" / _entry(identity)
    folder = local_of(place)
    if folder.is_dir():
        try:
            return _open(folder, identity)
        except DamagedError as problem:
            log.warning("%s: the cache is damaged (%s); encoding these rows again", folder, problem)
    new = _beside(folder, "partial")
    new.mkdir(parents=True)
    try:
        if not (is_remote(place) and _fetched(place, new, identity)):
            _write(new, identity, build())
            if is_remote(place):
                upload(new, place, last=MANIFEST)
        return _publish(new, folder, identity)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def entry(key: Mapping[str, Any]) -> str:
    """The name of the folder in which `cached` keeps what belongs to `key`."""
    return _entry(_identity(key))


def open_entry(cache: Path, name: str) -> Encoded:
    """What `cached` kept under this name. Raises InputError where it is gone or damaged."""
    folder = copy_of(cache / "encoded" / name)
    try:
        identity = json.dumps(_manifest(folder)["identity"], sort_keys=True, ensure_ascii=False)
        if _entry(identity) != name:
            raise DamagedError(f"{MANIFEST} is for another key")
        return _open(folder, identity)
    except DamagedError as problem:
        raise InputError(
            f"{folder}: not the encoded examples that were trained on ({problem}); name their folder with --cache, or "
            "run the experiment again, which encodes what is missing"
        ) from None


def _entry(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _identity(key: Mapping[str, Any]) -> str:
    # The library's version is in, because a corrected normaliser gives other ids from the same files.
    whole = {"key": key, "encoder": ENCODER_VERSION, "tokenizers": tokenizers.__version__}
    return json.dumps(whole, sort_keys=True, ensure_ascii=False)


def _fetched(place: Path, new: Path, identity: str) -> bool:
    """Whether a bucket's cache has this encoding whole; it is then in the folder `new`."""
    if not (place / MANIFEST).is_file():
        return False
    fetch(place, new)
    try:
        _open(new, identity)
    except DamagedError as problem:
        log.warning("%s: the cache is damaged (%s); encoding these rows again", place, problem)
        return False
    return True


def _write(folder: Path, identity: str, encoded: Encoded) -> None:
    arrays = {}
    for name in ARRAYS:
        path = folder / f"{name}.npy"
        np.save(path, getattr(encoded, name))
        arrays[name] = {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    manifest = {"identity": json.loads(identity), "arrays": arrays, "counts": encoded.counts}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _publish(new: Path, folder: Path, identity: str) -> Encoded:
    while True:
        try:
            new.rename(folder)
            return _open(folder, identity)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        # Either another process was faster, or what stands there is damaged and goes aside.
        try:
            return _open(folder, identity)
        except DamagedError:
            aside = _beside(folder, "damaged")
            with contextlib.suppress(FileNotFoundError):
                folder.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def _beside(folder: Path, why: str) -> Path:
    return folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.{why}")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise DamagedError(f"{MANIFEST}: {problem}") from problem
    lacking = [name for name in ("identity", "arrays", "counts") if name not in manifest]
    if lacking:
        raise DamagedError(f"{MANIFEST} lacks {', '.join(lacking)}")
    return manifest


def _open(folder: Path, identity: str) -> Encoded:
    manifest = _manifest(folder)
    if manifest["identity"] != json.loads(identity):
        raise DamagedError(f"{MANIFEST} is for another key")
    arrays = {name: _array(folder / f"{name}.npy", manifest["arrays"].get(name)) for name in ARRAYS}
    return Encoded(**arrays, counts=manifest["counts"])


def _array(path: Path, wanted: Mapping[str, Any] | None) -> np.ndarray:
    if wanted is None or not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    if path.stat().st_size != wanted["bytes"]:
        raise DamagedError(f"{path.name} has {path.stat().st_size} bytes instead of {wanted['bytes']}")
    if sha256_of(path) != wanted["sha256"]:
        raise DamagedError(f"{path.name} has other content than was written")
    return np.load(path, mmap_mode="r")
