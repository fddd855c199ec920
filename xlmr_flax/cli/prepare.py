"""What comes before a run: configs to start from, this machine, checks, tasks, and plans for slices."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from xlmr_flax import api
from xlmr_flax.cli.options import CACHE, DATA, RUNS, Cache, Config, Data, Overrides, Runs, stderr, stdout
from xlmr_flax.errors import InputError
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import absolute

app = typer.Typer()


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A new folder, or . for this one.", show_default=False)
    ],
) -> None:
    """Write configs to start from: a generated world, real files, and XLM-R Large."""
    from xlmr_flax.config.shipped import lay

    written = lay(folder)
    for path in written:
        print(path)  # noqa: T201
    stderr().print(
        f"next: xlmr-flax run {written[0]}   (a generated world in six languages, about five minutes on two cores)",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def doctor(runs: Runs = RUNS, data: Data = DATA, cache: Cache = CACHE) -> None:
    """Look at this machine: versions, devices, hosts, disk, memory, data, the hub and buckets.

    Each line says ok, or what to do; – is what nothing here needs yet.
    It ends with 2 where something is wrong, and never waits for long.
    """
    from xlmr_flax.execute.doctor import all_checks, examine

    marks, wrong, out = {"fine": "ok", "absent": "–", "wrong": "wrong"}, False, stdout()
    for one in examine(all_checks(absolute(runs), absolute(data), absolute(cache))):
        out.print(f"{marks[one.state]:5} {one.what:8} {one.text}", highlight=False, markup=False, soft_wrap=True)
        wrong |= one.state == "wrong"
    if wrong:
        raise typer.Exit(InputError.exit_code)


@app.command()
def check(
    configs: Annotated[
        list[str],
        typer.Argument(metavar="config|key=value", help="TOML files, and changes to all of them.", show_default=False),
    ],
) -> None:
    """Check configs without data, weights or devices, and list every problem."""
    files = [Path(word) for word in configs if "=" not in word]
    if not files:
        raise InputError("check: wanted at least one config file")
    problems = []
    for path in files:
        try:
            graph = api.graph_of(path, [word for word in configs if "=" in word])
        except InputError as error:
            problems.append(str(error))
            continue
        counts = {kind: sum(node.kind == kind for node in graph.nodes) for kind in ("phase", "eval")}
        studied = f"{graph.studied.runs} runs of " if graph.studied else ""
        print(f"{path}: ok, {studied}{counts['phase']} phases, {counts['eval']} evaluations")  # noqa: T201
    if problems:
        raise InputError("\n".join(problems))


@app.command()
def tasks() -> None:
    """List every task: its head, languages, splits and metric, and where its files come from."""
    from rich.table import Table

    from xlmr_flax.tasks.catalogue import TASKS

    table = Table(box=None, pad_edge=False)
    for column in ("task", "head", "languages", "train", "select", "test", "metric"):
        table.add_column(column, overflow="fold")
    for declared in TASKS.values():
        size = len(declared.head.labels) or declared.head.options
        head = f"{declared.head.kind} ({size})" if size else declared.head.kind
        splits = (declared.train or "–", declared.select or "–", declared.test or "–")
        table.add_row(declared.name, head, " ".join(declared.langs) or "any", *splits, declared.metric)
    out = stdout()
    out.print(table)
    for source in dict.fromkeys(declared.source for declared in TASKS.values()):
        names = ", ".join(name for name, declared in TASKS.items() if declared.source == source)
        out.print(f"\n{names}: {source}", highlight=False, markup=False)


@app.command()
def plan(
    config: Config,
    overrides: Overrides = None,
    topology: Annotated[
        str, typer.Option(help="The slice: v5e:2x4 and the like, or the cloud's name, such as v5litepod-8 or v4-32.")
    ] = "v5e:2x4",
    slices: Annotated[int, typer.Option(help="How many such slices, joined by the data centre's network.")] = 1,
    phase: Annotated[str | None, typer.Option(help="Only this phase, by its name.", show_default=False)] = None,
    search: Annotated[bool, typer.Option("--search", help="Find the fastest layout that fits.")] = False,
    price: Annotated[
        float | None, typer.Option(help="What a chip costs an hour; the phases' prices follow.", show_default=False)
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
    hlo: Annotated[
        Path | None, typer.Option(help="Folder for the optimised programs as text.", show_default=False)
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Compile a config's steps for a TPU slice that is not here, and estimate memory, time and cost.

    Memory is what the compiler allots; times are estimates by its cycles
    and the published rates. Where the phases' examples are in the data
    folder their lengths are used. What was compiled is kept in the cache.
    """
    from xlmr_flax.plan.attend import attend, is_attended

    graph, folders, say = api.graph_of(config, overrides or []), api.folders_of(runs, data, cache), stderr()
    if not is_attended():
        raise typer.Exit(attend(sys.argv[1:], local_of(folders.cache)))
    from xlmr_flax.execute.planning import run_plan

    found = run_plan(
        graph,
        folders,
        topology=topology,
        slices=slices,
        phase=phase,
        searching=search,
        price=price,
        hlo=hlo,
        say=lambda text: say.print(text, highlight=False, markup=False, soft_wrap=True),
    )
    if json_:
        import json

        print(json.dumps(found.as_json(), ensure_ascii=False, indent=1))  # noqa: T201
        return
    found.print(stdout())
