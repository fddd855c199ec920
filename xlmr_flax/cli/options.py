"""What the commands share: their arguments and options, and where they print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlmr_flax.errors import InputError
from xlmr_flax.storage.places import place

if TYPE_CHECKING:
    from rich.console import Console


def named(name: str | Path) -> Path:
    """A folder of the command line; said here, since typer would put words of its own for a ValueError."""
    try:
        return place(name)
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201
        raise typer.Exit(error.exit_code) from error


Runs = Annotated[
    Path,
    typer.Option(
        "--runs",
        envvar="XLMR_FLAX_RUNS",
        parser=named,
        metavar="FOLDER",
        help="Folder or gs:// that runs are kept in.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="XLMR_FLAX_DATA",
        parser=named,
        metavar="FOLDER",
        help="Folder or gs:// with the tasks' files; xlmr-flax tasks says which.",
    ),
]
Cache = Annotated[
    Path,
    typer.Option(
        "--cache",
        envvar="XLMR_FLAX_CACHE",
        parser=named,
        metavar="FOLDER",
        help="Folder or gs:// where encoded examples are kept between runs.",
    ),
]
Config = Annotated[Path, typer.Argument(help="A TOML file, such as those that init writes.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="Changes to it, such as seed=1 or phases.target.optim.peak_lr=1e-5: a phase goes by its name, a value is "
        "TOML or a bare word, and none switches a setting off.",
        show_default=False,
    ),
]
Target = Annotated[
    str,
    typer.Argument(
        help="A trained model: the folder of a run (the last line that run prints), of one of its phases or of an "
        "export, or a Hugging Face hub id.",
        show_default=False,
    ),
]
RUNS, DATA, CACHE = Path("runs"), Path("data"), Path("cache")


def words(text: str) -> list[str]:
    """What commas part."""
    return [word.strip() for word in text.split(",") if word.strip()]


def attend_if_several() -> None:
    """Where there may be several processes, the work is done in a child of this one, which returns its exit code."""
    from xlmr_flax.execute.parent import attend, be_attended, is_attended, several_expected, stop_with_parent

    stop_with_parent()
    if several_expected():
        if not is_attended():
            raise typer.Exit(attend(sys.argv[1:]))
        be_attended()


def stdout() -> "Console":
    """Where results go, as wide as they are where nobody looks on."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def stderr() -> "Console":
    """Where all else goes."""
    from rich.console import Console

    return Console(stderr=True)
