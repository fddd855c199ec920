"""What comes after a run: scores, predictions, exports and reports."""

from pathlib import Path
from typing import Annotated

import typer

from xlmr_flax import api
from xlmr_flax.cli.options import CACHE, DATA, RUNS, Cache, Data, Runs, Target, attend_if_several, named, stdout, words
from xlmr_flax.errors import InputError
from xlmr_flax.storage.places import absolute, place

app = typer.Typer()


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
            parser=named,
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
    attend_if_several()
    from xlmr_flax.report.table import print_results, print_unscored

    asked = words(langs) if langs else None
    results = api.evaluate(
        target, words(tasks), asked, version=version, submission=submission, runs=runs, data=data, cache=cache
    )
    out = stdout()
    if results["rows"]:
        print_results(results, out)
    print_unscored(results["unscored"], out)


@app.command(name="score")
def score_predictions(
    predictions: Annotated[
        Path,
        typer.Argument(
            parser=named,
            metavar="PREDICTIONS",
            help="A folder with TASK/test-LANG.tsv, .json or .jsonl.",
            show_default=False,
        ),
    ],
    labels: Annotated[
        Path,
        typer.Argument(
            parser=named,
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
        print_scores(found, stdout())


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
    folder: Annotated[Path, typer.Argument(parser=named, metavar="FOLDER", help="A new folder.", show_default=False)],
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
        typer.Option(parser=named, metavar="FOLDER", help="Where to write it; report/ in the first TARGET by default."),
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
