"""The data files to train and score on."""

from pathlib import Path
from typing import Annotated

import typer

from xlmr_flax import api
from xlmr_flax.cli.options import CACHE, DATA, RUNS, Cache, Data, Runs, stderr, stdout, words
from xlmr_flax.errors import InputError, listed
from xlmr_flax.storage.places import absolute, is_remote

app = typer.Typer(no_args_is_help=True, help="Find, fetch, check and make the data files to train and score on.")


@app.command(name="check")
def check_data(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="TASK", help="Tasks; all by default.", show_default=False)
    ] = None,
    langs: Annotated[str | None, typer.Option(help="Languages, such as de,sw; all by default.")] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="Take files that have changed as they are now, and record them so.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
    data: Data = DATA,
) -> None:
    """List what is in the data folder: for each task its files, rows and labels, or where to get what is missing.

    Checksums and counts are recorded in records.json there, and compared
    the next time; files that have not changed are not read again.
    """
    import json

    from xlmr_flax.report.inventory import as_json, print_inventories
    from xlmr_flax.tasks.catalogue import TASKS, task
    from xlmr_flax.tasks.inventory import Records, inventories

    records = Records(absolute(data), renew=renew)
    found = inventories([task(name) for name in names or TASKS], records, langs=words(langs) if langs else None)
    if not records.write():
        stderr().print(f"{records.path} cannot be written, so nothing is recorded", highlight=False, soft_wrap=True)
    if json_:
        print(json.dumps(as_json(found), ensure_ascii=False, indent=1))  # noqa: T201
    else:
        print_inventories(found, stdout())
    if wrong := [one.task for one in found if one.state == "wrong"]:
        raise InputError(f"{', '.join(wrong)}: files are wrong, see above")


@app.command(name="fetch")
def fetch_data(
    names: Annotated[list[str], typer.Argument(metavar="TASK", help="Tasks, such as xnli.", show_default=False)],
    langs: Annotated[
        str | None, typer.Option(help="Languages, such as de,sw, beside the training language; all by default.")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A folder of hub data sets, NAMESPACE/NAME in it, instead of the hub.", show_default=False
        ),
    ] = None,
    data: Data = DATA,
) -> None:
    """Fetch tasks' files from the Hugging Face Hub into the data folder, and count what came.

    What is there already is not fetched again, so the same command goes on
    after an interruption. HF_HUB_OFFLINE=1 takes files from the hub's cache.
    """
    import functools

    from xlmr_flax.report.inventory import print_inventories
    from xlmr_flax.tasks.catalogue import task
    from xlmr_flax.tasks.fetch import fetch
    from xlmr_flax.tasks.inventory import Records, inventories

    if not is_remote(data):
        data.mkdir(parents=True, exist_ok=True)
    records, console = Records(absolute(data)), stderr()
    asked, wanted = [task(name) for name in names], words(langs) if langs else None
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    problems = fetch(asked, records, langs=wanted, source=source, say=say)
    found = inventories(asked, records, langs=wanted)
    if not records.write():
        problems.append(f"{records.path} cannot be written, so nothing is recorded")
    print_inventories(found, stdout())
    if problems := [*problems, *(text for one in found for text in one.problems)]:
        raise listed(list(dict.fromkeys(problems)))


@app.command(name="show")
def show_data(
    target: Annotated[str, typer.Argument(help="The folder of a run, or of one of its phases.", show_default=False)],
    step: Annotated[int, typer.Option(help="Which step, the first being 1, as in train.jsonl.", show_default=False)],
    phase: Annotated[
        str | None, typer.Option(help="Which phase of a run, by its name; the last one by default.")
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Print what a training step was, or will be, trained on.

    Each example with its id, language, label and place in the batch, and
    its text as it is encoded. Read from the phase's folder and the cache.
    """
    from xlmr_flax.execute.show import show_batch

    for line in show_batch(target, phase, step, api.folders_of(runs, data, cache)):
        print(line)  # noqa: T201


@app.command()
def miniworld(
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="key=value",
            help="Settings of the world, such as seed=1, documents=2000 or 'languages=[\"x1\"]'.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a small generated world, told in English and invented languages, in the tasks' official file layouts."""
    from xlmr_flax.config.load import load_world
    from xlmr_flax.sources.miniworld.write import write_world

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: there is something already; name a new folder")
    write_world(load_world(settings or []), folder)
    print(folder)  # noqa: T201
