"""Where the launch scripts lie, in the checkout or in the installed package, and how one is run."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import xlmr_flax
from xlmr_flax.errors import InputError

SCRIPTS = {
    "create": "Ask for a TPU slice, or several, and wait until it can be used.",
    "setup": "Install a pinned version on every worker of a slice, and copy data and weights there.",
    "run": "Run a config on every worker; it outlives the connection, and the exit code is the run's.",
    "watch": "Create, set up and run until the run is done, with another slice when one is taken away.",
    "logs": "Bring every worker's log here, or follow the first one's.",
    "delete": "Give a slice back.",
}


def folder() -> Path:
    """The folder of the scripts, of the manifests' templates and of the Dockerfile."""
    here = Path(xlmr_flax.__file__).parent
    return next(each for each in (here / "scripts", here.parent / "launch") if each.is_dir())


def run_script(name: str, words: Sequence[str]) -> int:
    """Runs a script with its words, and gives its exit code. Raises InputError where there is no bash."""
    if not shutil.which("bash"):
        raise InputError("xlmr-flax launch: bash is not here, which its scripts are written in")
    try:
        return subprocess.run(["bash", str(folder() / f"{name}.sh"), *words], check=False).returncode
    except KeyboardInterrupt:
        return 130
