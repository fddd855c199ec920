"""What the commands do, for Python: six functions, of which each imports the heavy libraries that it needs.

Folders are those of the command line: `runs`, `data` and `cache` in the working folder, or where XLMR_FLAX_RUNS, _DATA
and _CACHE say, or gs:// places. What a user can mend raises InputError; what failed while training, TrainingError;
what was stopped with everything saved, Interrupted.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from xlmr_flax.errors import InputError, TrainingError, no_room
from xlmr_flax.storage.places import absolute, is_remote, place

if TYPE_CHECKING:
    from rich.console import Console

    from xlmr_flax.config.schema import Experiment
    from xlmr_flax.config.study import Study
    from xlmr_flax.evaluate.vectors import TextEncoder
    from xlmr_flax.graph.build import Graph
    from xlmr_flax.graph.folders import Folders

Place = str | Path


class Run(NamedTuple):
    """What a run found: its folder, and what its results.json says, scores as fractions of 1.

    `said` is what the report on a whole run says first; a run of some parts has none.
    """

    folder: Path
    results: dict[str, Any]
    said: tuple[str, ...] = ()


def load_config(path: Place, overrides: Sequence[str] = ()) -> "Experiment | Study":
    """The checked experiment or study of a TOML file and of overrides such as "seed=1".

    Needs no data, no weights and no jax. Raises InputError that lists every problem, each at its dotted key.
    """
    graph = graph_of(path, overrides)
    return graph.studied.study if graph.studied else graph.experiment


def run(
    config: "Place | Experiment | Study",
    overrides: Sequence[str] = (),
    *,
    only: str | None = None,
    phase: str | None = None,
    runs: Place | None = None,
    data: Place | None = None,
    cache: Place | None = None,
    console: "Console | None" = None,
) -> Run:
    """Computes what is missing of an experiment or a study, and what it found; what is done is not computed again.

    `only` is a pattern on names and `phase` a key (both as `--dry` lists them): these parts alone, with what they need.
    """
    found: list[Run] = []
    graph, folders = graph_of(config, overrides), folders_of(runs, data, cache)
    run_graph(graph, folders, only=only, phase=phase, show=found.append, console=console)
    return found[-1]


def evaluate(
    target: Place,
    tasks: Sequence[str],
    langs: Sequence[str] | None = None,
    *,
    version: str | None = None,
    submission: Place | None = None,
    runs: Place | None = None,
    data: Place | None = None,
    cache: Place | None = None,
    console: "Console | None" = None,
) -> dict[str, Any]:
    """Scores of a run, a phase, an exported folder or a hub id on tasks, as results.json has them.

    Languages are those given, or those of `version` ("xtreme", "xtreme-r"), or those that the run evaluates, or all.
    `submission` is a folder for the predictions in XTREME's layout; files without labels are then predicted too.
    """
    if langs and version:
        raise InputError("--langs and --version both name languages; give one of them")
    folders = folders_of(runs, data, cache)
    from xlmr_flax.config.schema import Mesh
    from xlmr_flax.execute.devices import hosts
    from xlmr_flax.execute.target import evaluate_target

    asked = {"TARGET": str(target), "--tasks": ",".join(tasks), "--langs": langs and ",".join(langs)}
    with hosts(Mesh(), asked | {"--version": version}):
        out = None if submission is None else place(submission)
        return evaluate_target(str(target), tasks, langs, folders, _speaking(console), out, version)


def predict(
    target: Place,
    task: str,
    inputs: Iterable[str | Mapping[str, Any]],
    *,
    where: str = "input ",
    runs: Place | None = None,
    cache: Place | None = None,
    console: "Console | None" = None,
) -> Iterator[dict[str, Any]]:
    """What a run, a phase, an exported folder or a hub id says of each input, in their order, as soon as it is known.

    An input is a text or a mapping, as `xlmr-flax predict --help` has them; an answer is what the command prints of it.
    Inputs are taken as they come and are not kept: they may be without end. `where` begins what errors call an input,
    and its number follows.
    """
    folders = folders_of(runs, None, cache)
    from xlmr_flax.execute.answer import predict_inputs
    from xlmr_flax.execute.devices import settle

    settle()
    return predict_inputs(str(target), task, inputs, folders, _speaking(console), where)


def load_encoder(
    target: Place,
    *,
    phase: str | None = None,
    runs: Place | None = None,
    cache: Place | None = None,
    console: "Console | None" = None,
) -> "TextEncoder":
    """The encoder of a run, a phase, an exported folder or a hub id, which gives vectors of texts.

    `phase` chooses among a run's by its name; the last one of its first arm by default.
    """
    folders = folders_of(runs, None, cache)
    from xlmr_flax.execute.devices import settle
    from xlmr_flax.execute.target import text_encoder

    settle()
    return text_encoder(str(target), phase, folders, _speaking(console))


def export(
    target: Place,
    folder: Place,
    *,
    phase: str | None = None,
    task: str | None = None,
    runs: Place | None = None,
    cache: Place | None = None,
    console: "Console | None" = None,
) -> Path:
    """Writes a phase's model to a new folder as Hugging Face's transformers loads it, with tokenizer and model card.

    `phase` chooses among a run's by its name; the last one of its first arm by default. `task` says whose head
    of a phase of several. Returns the folder.
    """
    folders = folders_of(runs, None, cache)
    from xlmr_flax.execute.devices import settle
    from xlmr_flax.execute.target import export_target

    settle()
    return export_target(str(target), place(folder), phase, folders, _speaking(console), task)


def run_graph(
    graph: "Graph",
    folders: "Folders",
    *,
    show: Callable[[Run], object],
    only: str | None = None,
    phase: str | None = None,
    profile: tuple[int, int] | None = None,
    console: "Console | None" = None,
) -> None:
    """Computes what is missing of a graph; `show` is given what was found, also where some phases failed.

    Of several processes the one that writes shows it. `profile` are the first and the last step to be traced.
    """
    report, whole = functools.partial(write_found, graph, folders.runs, show), not (only or phase)
    if _is_finished(graph, folders, only=only, phase=phase):
        report(whole=whole)
        return
    from xlmr_flax.execute.context import Context
    from xlmr_flax.execute.devices import hosts
    from xlmr_flax.execute.local import run_nodes
    from xlmr_flax.train.processes import by_writer, check_shared

    experiment = graph.experiment
    written = graph.studied.study.dump() if graph.studied else experiment.model_dump(mode="json")
    command = {"config": written, "--only": only, "--phase": phase, "--profile": profile}
    with hosts(experiment.mesh, command):
        check_shared(folders.runs)
        context = Context(
            experiment, folders, _speaking(console), graph=graph if graph.studied else None, profile=profile
        )
        try:
            run_nodes(graph, context, only=only, key=phase)
        except TrainingError as error:
            if not no_room(error):
                by_writer("what is there", report)
            raise
        by_writer("results", functools.partial(report, whole=whole))


def _is_finished(graph: "Graph", folders: "Folders", *, only: str | None, phase: str | None) -> bool:
    """Whether a run of one process has nothing left to do, and so no use for jax."""
    from xlmr_flax.execute.finished import is_finished
    from xlmr_flax.execute.parent import several_expected
    from xlmr_flax.graph.wanted import wanted

    return not several_expected() and is_finished(wanted(graph, only=only, key=phase), folders)


def write_found(graph: "Graph", runs: Path, show: Callable[[Run], object], *, whole: bool = False) -> None:
    """Writes what was found, the report on it too where the run is whole, and shows it."""
    from xlmr_flax.report.fresh import said_of
    from xlmr_flax.report.results import collect, experiment_folder, write_results

    results, folder = collect(graph, runs), experiment_folder(graph, runs)
    write_results(results, graph, folder)
    show(Run(folder, results, tuple(said_of(folder)) if whole else ()))


def graph_of(config: "Place | Experiment | Study", overrides: Sequence[str] = ()) -> "Graph":
    """The parts of an experiment or a study and their keys. Raises InputError that lists every problem."""
    from xlmr_flax.config.schema import Experiment
    from xlmr_flax.graph.build import build
    from xlmr_flax.graph.study import build_study, open_config

    if isinstance(config, str | Path):
        return open_config(Path(config), overrides)
    if overrides:
        raise InputError("overrides change a file's settings; a config that is loaded is changed by model_copy")
    return build(config) if isinstance(config, Experiment) else build_study(config)


def folders_of(runs: Place | None, data: Place | None, cache: Place | None) -> "Folders":
    """Where to read and write: the places given, or those of the environment, or the working folder's own.

    Raises InputError where a file stands in a folder's place, or a bucket cannot be used.
    """
    from xlmr_flax.graph.folders import Folders
    from xlmr_flax.storage.bucket import check as check_bucket

    found = {}
    for name, given in (("runs", runs), ("data", data), ("cache", cache)):
        folder = place(given if given is not None else os.environ.get(f"XLMR_FLAX_{name.upper()}") or name)
        found[name] = absolute(folder)
        if is_remote(folder):
            check_bucket(folder)
            continue
        try:
            is_file = folder.exists() and not folder.is_dir()
        except OSError as error:  # a name that no file system takes
            raise InputError(f"--{name} {folder}: {error.strerror}; wanted a folder") from None
        if is_file and name != "data":
            raise InputError(f"--{name} {folder}: is a file, wanted a folder, or a name for a new one")
    return Folders(**found)


def _speaking(console: "Console | None") -> "Console":
    """Standard error where nothing is given; silent in all processes of a run but the one that writes."""
    from rich.console import Console

    from xlmr_flax.train.processes import is_writer

    console = console or Console(stderr=True)
    console.quiet = console.quiet or not is_writer()
    return console
