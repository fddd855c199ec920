"""Files by their content: what says whether one is the same as it was."""

import functools
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

SETTLED_NS = 10**9  # a file that changed less than this ago may change again without another time


def file_fingerprints(paths: Iterable[Path]) -> dict[str, str]:
    """The sha256 of each file's content; a file that is as it was when it was last read is not read again."""
    return {str(path): _fingerprint(Path(path)) for path in paths}


def _fingerprint(path: Path) -> str:
    seen = path.stat()
    if time.time_ns() - max(seen.st_ctime_ns, seen.st_mtime_ns) < SETTLED_NS:
        return sha256_of(path)
    return _known_sha256(path, (seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino))


@functools.lru_cache(maxsize=2**16)
def _known_sha256(path: Path, seen: tuple[int, ...]) -> str:
    return sha256_of(path)


def sha256_of(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
