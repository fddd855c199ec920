"""The errors that the command line shows as one sentence, and the exit code of each."""

import contextlib
import errno
import os
from collections.abc import Iterator

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class InputError(ValueError):
    """Something the user wrote is wrong: a config, a data file, weights, an argument. Never rerun unchanged."""

    exit_code = 2


class TrainingError(RuntimeError):
    """Training could not go on: a non-finite loss, or no checkpoint that is whole."""

    exit_code = 3


class Interrupted(RuntimeError):  # noqa: N818, nothing went wrong
    """Stopped from outside, with everything saved: run the same command again."""

    exit_code = 75


class PeerLost(Interrupted):
    """Another process of the run is gone, or did not come: run the same command again on all hosts."""


def listed(problems: list[str]) -> InputError:
    """One error out of all problems found together, one line each."""
    return InputError(problems[0] if len(problems) == 1 else "\n".join(f"- {problem}" for problem in problems))


def no_room(error: BaseException | None) -> bool:
    """Whether an error comes from a disk, or a quota, that is full."""
    while error is not None:
        # TensorStore, which writes arrays, has no error numbers in its ValueErrors, but in their texts.
        if getattr(error, "errno", None) in NO_ROOM or any(f"os_error_code='{code}'" in str(error) for code in NO_ROOM):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps from the user what a library that is no Python writes to standard error meanwhile."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
