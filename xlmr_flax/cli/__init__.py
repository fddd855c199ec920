"""The command line; commands import the heavy libraries that they need, so that help and check answer at once."""

import os
import sys

import typer

from xlmr_flax.cli import data, launch, prepare, run, trained
from xlmr_flax.errors import InputError, Interrupted, TrainingError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train XLM-R in phases, first on intermediate tasks and then on a target task, all in English, and score it "
    "zero-shot in other languages.\n\nStart with: xlmr-flax init FOLDER, then xlmr-flax run FOLDER/demo.toml",
    epilog="Results go to standard output, all else to standard error. Exit codes: 0 done; 2 bad input, told in a "
    "sentence; 3 training failed; 75 interrupted and saved, run the same command again; 1 anything unexpected.",
)
app.add_typer(prepare.app)
app.add_typer(run.app)
app.add_typer(trained.app)
app.add_typer(data.app, name="data")
app.add_typer(launch.app, name="launch")


def main() -> None:
    """Runs a command; what the user can mend is said in a sentence, anything else keeps its traceback."""
    launch.scripts()
    try:
        app()
    except (InputError, TrainingError, Interrupted) as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever reads the results has enough, as `| head` does; Python would complain again when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
