"""The command line; heavy libraries are imported by the commands that need them, so that help and check answer at once."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlmr_flax.errors import InputError, Interrupted, TrainingError

if TYPE_CHECKING:
    from xlmr_flax.execute.context import Context, Folders
    from xlmr_flax.graph.build import Graph

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train XLM-R through intermediate and target tasks, and score it zero-shot in other languages. "
    "Start with: xlmr-flax run configs/demo.toml",
)
data_app = typer.Typer(no_args_is_help=True, help="Data files: generated worlds.")
app.add_typer(data_app, name="data")

Runs = Annotated[Path, typer.Option("--runs", envvar="XLMR_FLAX_RUNS", help="Where runs are written.")]
Data = Annotated[Path, typer.Option("--data", envvar="XLMR_FLAX_DATA", help="Where data files are.")]
Cache = Annotated[Path, typer.Option("--cache", envvar="XLMR_FLAX_CACHE", help="Where encoded examples are kept.")]
Config = Annotated[Path, typer.Argument(help="A TOML file, such as configs/demo.toml.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes to it: dotted.key=value, such as phases.target.optim.peak_lr=1e-5.", show_default=False
    ),
]
Target = Annotated[
    str, typer.Argument(help="A run folder, a phase folder, an exported folder or a hub id.", show_default=False)
]
RUNS, DATA, CACHE = Path("runs"), Path("data"), Path("cache")


def main() -> None:
    """Runs a command; what the user can mend is said in a sentence, anything else keeps its traceback."""
    try:
        app()
    except (InputError, TrainingError, Interrupted) as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


@app.command()
def run(
    config: Config,
    overrides: Overrides = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would be computed, and stop.")] = False,
    phase: Annotated[str | None, typer.Option(help="Compute the node with this key only, and what it needs.")] = None,
    only: Annotated[str | None, typer.Option(help="Compute only nodes whose names match, such as 'target*'.")] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Computes an experiment and prints its table. The same command again continues where it stopped."""
    graph = _graph(config, overrides)
    if dry:
        _print_plan(graph, runs)
        return
    from xlmr_flax.execute.local import run_nodes
    from xlmr_flax.report.results import collect, experiment_folder, write_results
    from xlmr_flax.report.table import print_results

    context = _context(graph, _folders(runs, data, cache))
    run_nodes(graph, context, only=only, key=phase)
    results, folder = collect(graph, context.folders.runs), experiment_folder(graph, runs)
    write_results(results, graph, folder)
    out = _stdout()
    print_results(results, out)
    if graph.experiment.note:
        out.print(graph.experiment.note, highlight=False)
    print(folder)  # noqa: T201


@app.command()
def check(
    configs: Annotated[
        list[str], typer.Argument(help="TOML files, and overrides for all of them.", show_default=False)
    ],
) -> None:
    """Checks configs without data, weights or devices, and lists every problem."""
    files = [Path(word) for word in configs if "=" not in word]
    if not files:
        raise InputError("check: wanted at least one config file")
    problems = []
    for path in files:
        try:
            graph = _graph(path, [word for word in configs if "=" in word])
        except InputError as error:
            problems.append(str(error))
            continue
        counts = {kind: sum(node.kind == kind for node in graph.nodes) for kind in ("phase", "eval")}
        print(f"{path}: ok, {counts['phase']} phases, {counts['eval']} evaluations")  # noqa: T201
    if problems:
        raise InputError("\n".join(problems))


@app.command()
def tasks() -> None:
    """Lists every task: its head, languages, metric and where its data come from."""
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
    _stdout().print(table)


@app.command(name="eval")
def evaluate(
    target: Target,
    tasks: Annotated[str, typer.Option(help="Tasks, with commas between.")],
    langs: Annotated[
        str | None, typer.Option(help="Languages, with commas between; all of the task's by default.")
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Scores a trained model on tasks and languages of your choice."""
    from xlmr_flax.execute.target import evaluate_target
    from xlmr_flax.report.table import print_results

    results = evaluate_target(
        target, tasks.split(","), langs.split(",") if langs else None, _folders(runs, data, cache), _stderr()
    )
    print_results(results, _stdout())


@app.command()
def predict(
    target: Target,
    task: Annotated[str, typer.Option(help="The task whose head and format to use.")],
    file: Annotated[
        Path | None, typer.Argument(help="Text or JSONL; standard input by default.", show_default=False)
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Predicts new text: a line each of text (two texts with a tab between), or of JSON; prints JSONL."""
    from xlmr_flax.execute.target import predict_lines

    for line in predict_lines(target, task, file, _folders(runs, data, cache), _stderr()):
        print(line)  # noqa: T201


@app.command()
def export(
    target: Target,
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    phase: Annotated[str | None, typer.Option(help="Which phase of a run; its last one by default.")] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Writes a trained model as Hugging Face's transformers loads it."""
    from xlmr_flax.execute.target import export_target

    print(export_target(target, folder, phase, _folders(runs, data, cache), _stderr()))  # noqa: T201


@data_app.command()
def miniworld(
    folder: Annotated[Path, typer.Argument(help="A new folder.", show_default=False)],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings of the world: key=value, such as documents=2000.", show_default=False),
    ] = None,
) -> None:
    """Writes a small generated world in English and invented languages, in the official file layouts."""
    from xlmr_flax.config.load import load_world
    from xlmr_flax.sources.miniworld.write import write_world

    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: not empty; name a new folder")
    write_world(load_world(settings or []), folder)
    print(folder)  # noqa: T201


def _graph(config: Path, overrides: list[str] | None) -> "Graph":
    from xlmr_flax.config.load import load
    from xlmr_flax.graph.build import build

    return build(load(config, overrides or []))


def _folders(runs: Path, data: Path, cache: Path) -> "Folders":
    from xlmr_flax.execute.context import Folders

    return Folders(runs.resolve(), data.resolve(), cache.resolve())  # Orbax wants absolute paths


def _context(graph: "Graph", folders: "Folders") -> "Context":
    from xlmr_flax.execute.context import Context

    return Context(graph.experiment, folders, _stderr())


def _print_plan(graph: "Graph", runs: Path) -> None:
    from rich.table import Table

    from xlmr_flax.graph.nodes import folder_name, is_done

    table = Table(box=None, pad_edge=False)
    for column in ("node", "arms", "needs", "state"):
        table.add_column(column)
    for node in graph.nodes:
        arms = dict.fromkeys(scored.arm for scored in graph.scored if scored.node.key == node.key)
        needs = ", ".join(f"{parent.name}-{parent.key}" for parent in node.parents)
        table.add_row(folder_name(node), ", ".join(arms), needs, "done" if is_done(node, runs) else "missing")
    _stdout().print(table)


def _stdout():
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def _stderr():
    from rich.console import Console

    return Console(stderr=True)


if __name__ == "__main__":
    main()
