"""Computes experiments and studies."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlmr_flax import api
from xlmr_flax.cli.options import (
    CACHE,
    DATA,
    RUNS,
    Cache,
    Config,
    Data,
    Overrides,
    Runs,
    attend_if_several,
    stderr,
    stdout,
)
from xlmr_flax.errors import InputError, TrainingError, no_room
from xlmr_flax.storage.places import absolute

if TYPE_CHECKING:
    from xlmr_flax.graph.build import Graph
app = typer.Typer()


@app.command()
def run(
    config: Config,
    overrides: Overrides = None,
    dry: Annotated[bool, typer.Option("--dry", help="List what would be computed and what is done, and stop.")] = False,
    phase: Annotated[
        str | None, typer.Option(help="Compute only the part with this key (see --dry), and what it needs.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Compute only parts whose names match, such as 'target*', and what they need.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="A:B", help="Write jax's profiler's trace of the steps A to B of each phase.", show_default=False
        ),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="Where it is computed: local, on this machine or slice, or ray, on a cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            help="A Ray cluster, such as auto or HOST:6379; by default that of RAY_ADDRESS, or else this machine.",
            show_default=False,
        ),
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(
            help="A slice, such as v5e:2x4: tell the hours that plan has estimated for it; with Ray, the one that each "
            "part is computed on, by default what the cluster has.",
            show_default=False,
        ),
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Compute an experiment and print its table of scores.

    The config names the phases to train and what to score them on. What is
    done already is not computed again, and the same command continues a run
    that was stopped. The last line printed is the run's folder.
    """
    graph, traced = api.graph_of(config, overrides or []), _steps(profile) if profile is not None else None
    asked = _asked(graph, only=only, key=phase)
    if dry:
        _print_plan(asked, runs, topology, cache)
        return
    if graph.studied or topology:
        _print_ahead(asked, runs, topology, cache, err=True)
    if executor == "ray":
        changed = [str(config), *(overrides or ())]
        _run_on_ray(graph, changed, runs, data, cache, only=only, key=phase, address=address, topology=topology)
        return
    if executor != "local" or address:
        wanted = "--address is for --executor ray" if executor == "local" else "wanted local or ray"
        raise InputError(f"--executor {executor}: {wanted}")
    attend_if_several()
    api.run_graph(
        graph, api.folders_of(runs, data, cache), only=only, phase=phase, profile=traced,
        show=lambda found: _report(graph, runs, found),
    )  # fmt: skip


def _steps(text: str) -> tuple[int, int]:
    """The first and the last of some steps."""
    numbers = re.fullmatch(r"(\d+):(\d+)", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise InputError(f"--profile {text}: wanted A:B, the first and the last step, counted from 1, such as 10:12")
    return int(numbers[1]), int(numbers[2])


def _asked(graph: "Graph", *, only: str | None, key: str | None) -> "Graph":
    """The graph with those nodes alone that are asked for. Raises InputError where there are none such."""
    from xlmr_flax.graph.wanted import wanted

    return graph._replace(nodes=tuple(wanted(graph, only=only, key=key)))


def _run_on_ray(graph: "Graph", config: list[str], runs: Path, data: Path, cache: Path, **how: str | None) -> None:
    """Has a cluster compute a graph, and prints what it found."""
    try:
        from xlmr_flax.execute.cluster import run_on_ray
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise InputError("--executor ray needs: pip install 'xlmr-flax[ray]'") from None
    from xlmr_flax.execute.context import Context

    folders, studied = api.folders_of(runs, data, cache), graph if graph.studied else None

    def show(found: api.Run) -> None:
        _report(graph, runs, found)

    try:
        run_on_ray(graph, config, Context(graph.experiment, folders, stderr(), graph=studied), **how)
    except TrainingError as error:
        if not no_room(error):
            api.write_found(graph, folders.runs, show)
        raise
    api.write_found(graph, folders.runs, show, whole=not (how["only"] or how["key"]))


def _report(graph: "Graph", runs: Path, found: api.Run) -> None:
    """Prints what was found, what the report on it says first where the run is whole, and the run's folder."""
    from xlmr_flax.report.results import experiment_folder, over_seeds
    from xlmr_flax.report.table import print_results

    out, folder = stdout(), experiment_folder(graph, runs)
    print_results({**found.results, "rows": over_seeds(found.results["rows"])} if graph.studied else found.results, out)
    if found.said:
        print(*found.said, f"Report: {folder / 'report' / 'index.html'}", sep="\n")  # noqa: T201
    if graph.experiment.note:
        out.print(graph.experiment.note, highlight=False)
    print(folder)  # noqa: T201


def _print_ahead(graph: "Graph", runs: Path, topology: str | None, cache: Path, *, err: bool = False) -> None:
    """What is to be computed; with a slice, the hours that were estimated for it."""
    from xlmr_flax.plan.chips import slice_name, slice_of
    from xlmr_flax.report.ahead import Slice, print_ahead

    on = Slice(slice_name(slice_of(topology)), absolute(cache)) if topology else None
    print_ahead(graph, runs, stderr() if err else stdout(), on)


def _print_plan(graph: "Graph", runs: Path, topology: str | None, cache: Path) -> None:
    from rich.table import Table

    from xlmr_flax.graph.nodes import EvalNode, folder_name, is_done
    from xlmr_flax.report.results import setting

    table = Table(box=None, pad_edge=False)
    for column in ("node", "arms", "needs", "state"):
        table.add_column(column)
    arms_of: dict[str, dict[str, None]] = {}
    for scored in graph.scored:
        arms_of.setdefault(scored.node.key, {})[scored.arm] = None
    for node in graph.nodes:
        arms = arms_of.get(node.key, {})
        needs = ", ".join(f"{parent.name}-{parent.key}" for parent in node.parents)
        told = f" ({setting(node)})" if isinstance(node, EvalNode) and setting(node) else ""
        name, state = f"{folder_name(node)}{told}", "done" if is_done(node, runs) else "missing"
        table.add_row(name, ", ".join(arms), needs, state)
    stdout().print(table)
    _print_ahead(graph, runs, topology, cache)
