"""The command line; commands import the heavy libraries that they need, so that help and check answer at once."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlmr_flax import api
from xlmr_flax.errors import InputError, Interrupted, TrainingError, listed, no_room
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import absolute, is_remote, place

if TYPE_CHECKING:
    from rich.console import Console

    from xlmr_flax.graph.build import Graph

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
data_app = typer.Typer(no_args_is_help=True, help="Find, fetch, check and make the data files to train and score on.")
app.add_typer(data_app, name="data")
launch_app = typer.Typer(
    no_args_is_help=True, help="Run on Cloud TPU slices and on GKE; COMMAND --help tells the flags of each."
)
app.add_typer(launch_app, name="launch")


def _named(name: str | Path) -> Path:
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
        parser=_named,
        metavar="FOLDER",
        help="Folder or gs:// that runs are kept in.",
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="XLMR_FLAX_DATA",
        parser=_named,
        metavar="FOLDER",
        help="Folder or gs:// with the tasks' files; xlmr-flax tasks says which.",
    ),
]
Cache = Annotated[
    Path,
    typer.Option(
        "--cache",
        envvar="XLMR_FLAX_CACHE",
        parser=_named,
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


def main() -> None:
    """Runs a command; what the user can mend is said in a sentence, anything else keeps its traceback."""
    _scripts()
    try:
        app()
    except (InputError, TrainingError, Interrupted) as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever reads the results has enough, as `| head` does; Python would complain again when it closes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    _attend()
    api.run_graph(
        graph, api.folders_of(runs, data, cache), only=only, phase=phase, profile=traced,
        show=lambda found: _report(graph, runs, found),
    )  # fmt: skip


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
    out = _stdout()
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

    graph, folders, say = api.graph_of(config, overrides or []), api.folders_of(runs, data, cache), _stderr()
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
    found.print(_stdout())


@app.command(name="eval")
def evaluate(
    target: Target,
    tasks: Annotated[str, typer.Option(help="Tasks, such as xnli,tatoeba.")],
    langs: Annotated[
        str | None,
        typer.Option(help="Languages, such as de,sw; by default those that the run evaluates, or all of the task's."),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(help="The languages of xtreme or of xtreme-r, instead of --langs.", show_default=False),
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            parser=_named,
            metavar="FOLDER",
            help="Folder for the predictions, as XTREME's scorer reads them; files without labels are predicted too.",
            show_default=False,
        ),
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Score a trained model on tasks and languages of your choice, with the tasks' files from --data.

    Of a run's phases each task takes the one that the run evaluates on it,
    or else the one that trained it.
    """
    if langs and version:
        raise InputError("--langs and --version both name languages; give one of them")
    _attend()
    from xlmr_flax.report.table import print_results, print_unscored

    asked = _words(langs) if langs else None
    results = api.evaluate(
        target, _words(tasks), asked, version=version, submission=submission, runs=runs, data=data, cache=cache
    )
    out = _stdout()
    if results["rows"]:
        print_results(results, out)
    print_unscored(results["unscored"], out)


@app.command(name="score")
def score_predictions(
    predictions: Annotated[
        Path,
        typer.Argument(
            parser=_named,
            metavar="PREDICTIONS",
            help="A folder with TASK/test-LANG.tsv, .json or .jsonl.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        Path,
        typer.Argument(
            parser=_named,
            metavar="LABELS",
            help="A folder of the same layout with the right labels.",
            show_default=False,
        ),
    ],
    version: Annotated[str, typer.Option(help="Whose tasks, languages and averages: xtreme or xtreme-r.")] = "xtreme",
    sane: Annotated[
        bool,
        typer.Option(
            "--sane",
            help="Also score XQuAD's and TyDiQA's answers with a normaliser that knows other languages than English.",
        ),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of the table.")] = False,
) -> None:
    """Score folders of predictions in XTREME's layout as its own scorer does, in percent.

    Whatever tasks both folders have are scored. A language without a file
    is named, and its task is then without an average.
    """
    import json

    from xlmr_flax.report.score import print_scores, score_folders

    found = score_folders(predictions, labels, version=version, sane=sane)
    if json_:
        print(json.dumps(found, ensure_ascii=False, indent=1))  # noqa: T201
    else:
        print_scores(found, _stdout())


@app.command()
def predict(
    target: Target,
    task: Annotated[
        str,
        typer.Option(
            help="The task to predict, such as xnli; or sequence, token, span, mlm or embedding, for a model with "
            "labels of its own."
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Lines of text or JSON; standard input by default, answered as they come.", show_default=False
        ),
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Predict labels, tags, answers, words or vectors for new text; prints a line of JSON for each line.

    A line is text, with a tab before the second text of a pair, or JSON:
    {"text", "pair"} for classification, {"words"} for tagging,
    {"prompt", "options"} for multiple choice, {"context", "question"}
    for questions, {"text"} with <mask> in it for masked LM, {"text"} or
    {"document"} for retrieval. Lines are answered as they come, with the
    probabilities of what is predicted; "id" in a line is kept.
    """
    import json

    from xlmr_flax.execute.answer import declared_task
    from xlmr_flax.execute.lines import check_file, read_lines

    api.folders_of(runs, data, cache)
    declared = declared_task(task)
    if file:
        check_file(declared.head, file)
    where = f"{file or 'standard input'}:"
    for answer in api.predict(target, task, read_lines(file), where=where, runs=runs, cache=cache):
        print(json.dumps(answer, ensure_ascii=False), flush=True)  # noqa: T201


@app.command()
def export(
    target: Target,
    folder: Annotated[Path, typer.Argument(parser=_named, metavar="FOLDER", help="A new folder.", show_default=False)],
    phase: Annotated[
        str | None, typer.Option(help="Which phase of a run, by its name; the last one by default.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Whose head, of a phase that trained on several tasks.", show_default=False)
    ] = None,
    runs: Runs = RUNS,
    data: Data = DATA,
    cache: Cache = CACHE,
) -> None:
    """Write a trained model to a new folder as Hugging Face's transformers loads it, with its tokenizer."""
    api.folders_of(runs, data, cache)
    print(api.export(target, folder, phase=phase, task=task, runs=runs, cache=cache))  # noqa: T201


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
    _stderr().print(
        f"next: xlmr-flax run {written[0]}   (a generated world in six languages, about five minutes on two cores)",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


@app.command()
def report(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET",
            help="Folders of runs or studies: the last lines that run printed. Runs of one config with other seeds go "
            "together.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            parser=_named, metavar="FOLDER", help="Where to write it; report/ in the first TARGET by default."
        ),
    ] = None,
) -> None:
    """Write tables, figures and tests of differences from finished runs, as a page, Markdown, CSV and LaTeX.

    Prints what they come to in a sentence, and the files. Nothing is trained
    or scored: run does that, and writes a report on its own folder.
    """
    from xlmr_flax.report.write import write_report

    folders = [absolute(place(target)) for target in targets]
    found = write_report(folders, out or folders[0] / "report")
    for line in (*found.headline, *found.paths):
        print(line)  # noqa: T201


@data_app.command(name="check")
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
    found = inventories([task(name) for name in names or TASKS], records, langs=_words(langs) if langs else None)
    if not records.write():
        _stderr().print(f"{records.path} cannot be written, so nothing is recorded", highlight=False, soft_wrap=True)
    if json_:
        print(json.dumps(as_json(found), ensure_ascii=False, indent=1))  # noqa: T201
    else:
        print_inventories(found, _stdout())
    if wrong := [one.task for one in found if one.state == "wrong"]:
        raise InputError(f"{', '.join(wrong)}: files are wrong, see above")


@data_app.command(name="fetch")
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
    records, console = Records(absolute(data)), _stderr()
    asked, wanted = [task(name) for name in names], _words(langs) if langs else None
    say = functools.partial(console.print, highlight=False, markup=False, soft_wrap=True)
    problems = fetch(asked, records, langs=wanted, source=source, say=say)
    found = inventories(asked, records, langs=wanted)
    if not records.write():
        problems.append(f"{records.path} cannot be written, so nothing is recorded")
    print_inventories(found, _stdout())
    if problems := [*problems, *(text for one in found for text in one.problems)]:
        raise listed(list(dict.fromkeys(problems)))


@data_app.command(name="show")
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


@data_app.command()
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


@app.command()
def doctor(runs: Runs = RUNS, data: Data = DATA, cache: Cache = CACHE) -> None:
    """Look at this machine: versions, devices, hosts, disk, memory, data, the hub and buckets.

    Each line says ok, or what to do; – is what nothing here needs yet.
    It ends with 2 where something is wrong, and never waits for long.
    """
    from xlmr_flax.execute.doctor import all_checks, examine

    marks, wrong, out = {"fine": "ok", "absent": "–", "wrong": "wrong"}, False, _stdout()
    for one in examine(all_checks(absolute(runs), absolute(data), absolute(cache))):
        out.print(f"{marks[one.state]:5} {one.what:8} {one.text}", highlight=False, markup=False, soft_wrap=True)
        wrong |= one.state == "wrong"
    if wrong:
        raise typer.Exit(InputError.exit_code)


@launch_app.command(name="gke")
def launch_gke(
    config: Config,
    image: Annotated[str, typer.Option(help="The container image that launch/Dockerfile makes.", show_default=False)],
    overrides: Overrides = None,
    topology: Annotated[
        str, typer.Option(help="The slice: v5e:4x4 and the like, or the cloud's name, such as v5litepod-16.")
    ] = "v5e:2x4",
    slices: Annotated[
        int, typer.Option(help="How many such slices together; for a study, how many at most at a time.")
    ] = 1,
    name: Annotated[str | None, typer.Option(help="What it is called; by default as the config.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="On spot machines.")] = False,
    service_account: Annotated[
        str | None, typer.Option(help="The Kubernetes service account that may use the buckets.")
    ] = None,
    libtpu_args: Annotated[
        str | None, typer.Option(help="recommended, or arguments for LIBTPU_INIT_ARGS; host.json records them.")
    ] = None,
    restarts: Annotated[int, typer.Option(help="How often a JobSet starts again after interruptions.")] = 100,
    runs: Annotated[str, typer.Option(envvar="XLMR_FLAX_RUNS", help="gs:// that runs are kept in.")] = "runs",
    data: Annotated[str, typer.Option(envvar="XLMR_FLAX_DATA", help="gs:// with the tasks' files.")] = "data",
    cache: Annotated[str, typer.Option(envvar="XLMR_FLAX_CACHE", help="gs:// for encoded examples.")] = "cache",
) -> None:
    """Print manifests for GKE: a JobSet for an experiment, a RayJob for a study. Pipe them to kubectl apply -f -."""
    from xlmr_flax.launch.gke import Place, manifest
    from xlmr_flax.plan.chips import slice_of

    where = Place(
        image, slice_of(topology, slices), runs, data, cache, name, spot, service_account, libtpu_args, restarts
    )
    print(manifest(api.graph_of(config, overrides or []), config, overrides or [], where))  # noqa: T201


def _scripts() -> None:
    """A command for each launch script, which has flags and help of its own."""
    from xlmr_flax.launch.scripts import SCRIPTS, run_script

    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    words = sys.argv[3:]  # with the -- that typer would take for itself

    def add(name: str, help_: str) -> None:
        @launch_app.command(name=name, help=help_, context_settings=passed_on, add_help_option=False)
        def command() -> None:
            raise typer.Exit(run_script(name, words))

    for name, help_ in SCRIPTS.items():
        add(name, help_)
    launch_app.registered_commands.sort(key=lambda one: one.name == "gke")  # after the way that begins with create


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _steps(text: str) -> tuple[int, int]:
    """The first and the last of some steps."""
    numbers = re.fullmatch(r"(\d+):(\d+)", text)
    if not numbers or not 1 <= int(numbers[1]) <= int(numbers[2]):
        raise InputError(f"--profile {text}: wanted A:B, the first and the last step, counted from 1, such as 10:12")
    return int(numbers[1]), int(numbers[2])


def _attend() -> None:
    """Where there may be several processes, the work is done in a child of this one, which returns its exit code."""
    from xlmr_flax.execute.parent import attend, be_attended, is_attended, several_expected, stop_with_parent

    stop_with_parent()
    if several_expected():
        if not is_attended():
            raise typer.Exit(attend(sys.argv[1:]))
        be_attended()


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
        run_on_ray(graph, config, Context(graph.experiment, folders, _stderr(), graph=studied), **how)
    except TrainingError as error:
        if not no_room(error):
            api.write_found(graph, folders.runs, show)
        raise
    api.write_found(graph, folders.runs, show, whole=not (how["only"] or how["key"]))


def _report(graph: "Graph", runs: Path, found: api.Run) -> None:
    """Prints what was found, what the report on it says first where the run is whole, and the run's folder."""
    from xlmr_flax.report.results import experiment_folder, over_seeds
    from xlmr_flax.report.table import print_results

    out, folder = _stdout(), experiment_folder(graph, runs)
    print_results({**found.results, "rows": over_seeds(found.results["rows"])} if graph.studied else found.results, out)
    if found.said:
        print(*found.said, f"Report: {folder / 'report' / 'index.html'}", sep="\n")  # noqa: T201
    if graph.experiment.note:
        out.print(graph.experiment.note, highlight=False)
    print(folder)  # noqa: T201


def _asked(graph: "Graph", *, only: str | None, key: str | None) -> "Graph":
    """The graph with those nodes alone that are asked for. Raises InputError where there are none such."""
    from xlmr_flax.graph.wanted import wanted

    return graph._replace(nodes=tuple(wanted(graph, only=only, key=key)))


def _print_ahead(graph: "Graph", runs: Path, topology: str | None, cache: Path, *, err: bool = False) -> None:
    """What is to be computed; with a slice, the hours that were estimated for it."""
    from xlmr_flax.plan.chips import slice_name, slice_of
    from xlmr_flax.report.ahead import Slice, print_ahead

    on = Slice(slice_name(slice_of(topology)), absolute(cache)) if topology else None
    print_ahead(graph, runs, _stderr() if err else _stdout(), on)


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
    _stdout().print(table)
    _print_ahead(graph, runs, topology, cache)


def _stdout() -> "Console":
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=200)


def _stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)


if __name__ == "__main__":
    main()
