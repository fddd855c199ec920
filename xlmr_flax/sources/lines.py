"""The text of a file, or one clear error: what every reader starts from."""

from pathlib import Path

from xlmr_flax.errors import InputError


def whole_text(path: Path) -> str:
    """The text of a UTF-8 file, less the byte order mark that some editors write first.

    Refused, with the line: a file that is unreadable, empty, in another encoding, or that holds NUL characters.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: byte {error.start} of the file is 0x{data[error.start]:02x}, which is not UTF-8; "
            f"convert the file to UTF-8"
        ) from error
    if not text.strip():
        raise InputError(f"{path}: the file is empty, at least one row is wanted; was its download cut off?")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(f"{path}:{line}: a NUL character, text is wanted; the file is damaged or not text")
    return text


def lines(path: Path) -> list[str]:
    """The lines of a file; only a line feed ends a line (one carriage return before it goes too).

    `str.splitlines` would also cut at U+2028, U+0085 and form feeds, which occur inside sentences.
    """
    text = whole_text(path)
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
