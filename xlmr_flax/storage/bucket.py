"""The one place that speaks to Google Cloud Storage; its libraries are imported when a gs:// path is used.

Orbax and etils go through gcsfs and TensorStore, which read no conditions: what must be conditional goes through
google-cloud-storage, on which gcsfs itself stands.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError

SCHEME = "gs://"
INSTALL = "gs:// needs: pip install 'xlmr-flax[gcs]'"


class Object(NamedTuple):
    """One file of a bucket, by its name below the folder that was listed."""

    name: str
    size: int
    generation: int
    digest: str  # crc32c, which every object has


def path(name: str) -> Path:
    """etils' path. Raises InputError where the libraries are missing or the name has no bucket."""
    try:
        import fsspec.config
        import gcsfs  # noqa: F401
        from etils import epath
        from google.cloud import storage  # noqa: F401
    except ImportError as error:
        raise InputError(f"{name}: {INSTALL} ({error})") from error
    if not name.removeprefix(SCHEME).strip("/"):
        raise InputError(f"{name}: wanted {SCHEME}BUCKET/FOLDER")
    # A listing that is remembered does not show what other processes write.
    fsspec.config.conf.setdefault("gcs", {})["use_listings_cache"] = False
    return epath.Path(name.rstrip("/"))


def check(folder: Path) -> None:
    """Raises InputError where a bucket cannot be listed: no credentials, no such bucket, not allowed."""
    try:
        with _told(folder):
            next(iter(_bucket(folder).list_blobs(prefix=_name(folder), max_results=1)), None)
    except FileNotFoundError:
        raise InputError(f"{folder}: there is no such bucket") from None


def objects(folder: Path, prefix: str = "") -> list[Object]:
    """Every file below a folder whose name there begins with `prefix`, by name."""
    root = _name(folder) + "/"
    with _told(folder):
        found = list(_bucket(folder).list_blobs(prefix=root + prefix))
    return [
        Object(blob.name.removeprefix(root), blob.size, blob.generation, blob.crc32c)
        for blob in found
        if not blob.name.endswith("/")  # what consoles make to show a folder
    ]


def read(path: Path) -> tuple[bytes, int]:
    """A file's content and its generation. Raises FileNotFoundError."""
    with _told(path):
        found = _bucket(path).get_blob(_name(path))
        if found is None:
            raise FileNotFoundError(f"{path}: no such file")
        generation = int(found.generation)
        return _bucket(path).blob(_name(path), generation=generation).download_as_bytes(), generation


def write(path: Path, content: bytes, over: int | None = None) -> int | None:
    """Writes a file whole and gives its generation; with `over` only where that generation is there (0: none is).

    None where another is there.
    """
    blob = _blob(path)
    try:
        with _told(path):
            blob.upload_from_string(content, content_type="application/octet-stream", if_generation_match=over)
    except FileExistsError:
        # The library tries again when an answer is lost, and may then find what it wrote itself.
        with contextlib.suppress(FileNotFoundError):
            found, generation = read(path)
            return generation if found == content else None
        return None
    return int(blob.generation)


def upload(file: Path, path: Path) -> None:
    """Copies a file of this machine; what arrived is compared by its checksum."""
    with _told(path):
        _blob(path).upload_from_filename(str(file), checksum="crc32c")


def download(path: Path, generation: int, file: Path) -> None:
    """Copies a file to this machine; what arrived is compared by its checksum. Raises FileNotFoundError."""
    blob = _bucket(path).blob(_name(path), generation=generation)
    with _told(path):
        blob.download_to_filename(str(file), checksum="crc32c")


def remove(path: Path, over: int | None = None) -> int | None:
    """Removes a file, if it has that generation; gives it, or None where it has another or is gone."""
    try:
        with _told(path):
            _blob(path).delete(if_generation_match=over)
    except (FileNotFoundError, FileExistsError):
        return None
    return over


def remove_all(folder: Path) -> None:
    """Removes every file below a folder."""
    with _told(folder):
        folder.rmtree(missing_ok=True)  # pyright: ignore; etils'


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Answers of the service as Python says the same of files; what only the user can mend as InputError."""
    from google.api_core import exceptions
    from google.auth.exceptions import DefaultCredentialsError

    try:
        yield
    except exceptions.NotFound as error:
        raise FileNotFoundError(f"{path}: {error.message}") from error
    except exceptions.PreconditionFailed as error:
        raise FileExistsError(f"{path}: {error.message}") from error
    except (exceptions.Forbidden, exceptions.Unauthorized) as error:
        raise InputError(f"{path}: these credentials may not do this ({error.message})") from error
    except DefaultCredentialsError as error:
        raise InputError(f"{path}: no Google credentials here; run gcloud auth application-default login") from error
    except exceptions.GoogleAPIError as error:  # the service is out of reach, and stayed so while it was asked again
        raise OSError(f"{path}: {error}") from error


@functools.cache
def _client() -> Any:
    from google.cloud import storage

    return storage.Client()


def _bucket(path: Path) -> Any:
    with _told(path):
        return _client().bucket(_parts(path)[0])


def _blob(path: Path) -> Any:
    return _bucket(path).blob(_name(path))


def _name(path: Path) -> str:
    return _parts(path)[1]


def _parts(path: Path) -> tuple[str, str]:
    name, _, rest = str(path).removeprefix(SCHEME).partition("/")
    return name, rest
