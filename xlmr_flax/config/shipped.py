"""The configs that come with the program, in a checkout as in an installed package."""

from pathlib import Path

from xlmr_flax.errors import InputError, listed

# What `init` lays down: the generated world, real files on a laptop, and XLM-R Large on a slice.
STARTERS = ("demo.toml", "real_small.toml", "xlmr_large/mnli_xnli.toml")


def folder() -> Path:
    """Where they are."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def lay(into: Path) -> list[Path]:
    """Writes the starters at the top of a folder, which is made where it is not there, and over nothing.

    Raises InputError that names every file that is in the way.
    """
    if into.exists() and not into.is_dir():
        raise InputError(f"{into}: is a file, wanted a folder, or a name for a new one")
    new = {into / Path(name).name: folder() / name for name in STARTERS}
    if there := [path for path in new if path.exists()]:
        raise listed([f"{path}: is there already; name a new folder, or move it away" for path in there])
    into.mkdir(parents=True, exist_ok=True)
    for path, source in new.items():
        path.write_text(_at_top(source.read_text(encoding="utf-8")), encoding="utf-8")
    return list(new)


def _at_top(text: str) -> str:
    """A starter's text with the commands that it names as they are typed beside it."""
    for name in STARTERS:
        text = text.replace(f"configs/{name}", Path(name).name)
    return text
