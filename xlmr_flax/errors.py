"""The errors that the command line shows as one sentence, and the exit code of each."""


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
