"""What `eval --submission` writes, and what it says of files whose labels are hidden."""

import csv
import io
import json
import shutil
from dataclasses import replace

import pytest
from rich.console import Console

from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.files import english_order
from xlmr_flax.execute.target import evaluate_target
from xlmr_flax.graph.folders import Folders
from xlmr_flax.report.results import experiment_folder, write_results
from xlmr_flax.report.table import print_unscored
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.task import gold

TASKS = ("xnli", "udpos", "xquad", "tatoeba")


@pytest.fixture(scope="module")
def run(lab, results, tmp_path_factory):
    """The lab's run in a runs folder of its own, which points to the lab's phases, and its world as the data."""
    runs = tmp_path_factory.mktemp("runs")
    for name in ("phases", "tokenizers", "worlds"):
        (runs / name).symlink_to(lab.context.folders.runs / name)
    folder = experiment_folder(lab.graph, runs)
    write_results(results, lab.graph, folder)
    data = lab.context.folders.data_of(lab.phase("nli"))
    return folder, Folders(runs, data, lab.context.folders.cache)


@pytest.fixture(scope="module")
def submitted(run, tmp_path_factory):
    """The submission of the whole run, and what the command found."""
    folder, folders = run
    submission = tmp_path_factory.mktemp("out") / "submission"
    return submission, evaluate_target(str(folder), TASKS, None, folders, Console(file=io.StringIO()), submission)


def written(submission):
    return sorted(str(path.relative_to(submission)) for path in submission.rglob("*") if path.is_file())


def test_a_submission_is_complete_and_holds_nothing_else(submitted):
    submission, found = submitted
    suffix = {"xnli": "tsv", "udpos": "tsv", "xquad": "json"}
    wanted = [f"{name}/test-{lang}.{kind}" for name, kind in suffix.items() for lang in ("en", "x1", "x2")]
    assert written(submission) == sorted([*wanted, "tatoeba/test-x1.tsv", "tatoeba/test-x2.tsv"])
    assert found["unscored"] == []


def test_each_task_takes_its_own_phase_and_scores_as_in_the_run(lab, results, submitted):
    _, found = submitted
    phases = {"xnli": "nli", "udpos": "tags", "xquad": "spans", "tatoeba": "choice"}
    for name, phase in phases.items():
        assert {row["phase"] for row in found["rows"] if row["task"] == name} == {lab.folder(phase).name}
    of_run = {
        (row["task"], row["lang"], row["metric"]): row["score"]
        for row in results["rows"]
        if row["arm"] == "choice" and row["task"] in TASKS
    }
    assert {(row["task"], row["lang"], row["metric"]): row["score"] for row in found["rows"]} == of_run


def labels_as_published(name, lang, data, folder):
    """The right labels in the scorer's layout, as its users rebuild them."""
    found = rows(task(name), "test", lang, data)
    match name:
        case "xnli":
            text = "".join(f"{row.label}\n" for row in found)
        case "udpos":
            text = "\n".join("".join(f"{tag}\n" for tag in row.tags) for row in found)
        case "tatoeba":
            text = "".join(f"{number}\n" for number in english_order(found))
        case "xquad":
            qas = [{"id": row.id, "answers": [{"text": text} for text in gold(task(name), row)]} for row in found]
            text = json.dumps({"data": [{"paragraphs": [{"qas": qas}]}]})
    path = folder / f"test-{lang}"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", TASKS)
def test_the_files_score_as_the_model_did(run, submitted, tmp_path, name):
    submission, found = submitted
    official = xtreme("xtreme")[name]
    for lang in ("x1", "x2"):
        labels = labels_as_published(name, lang, run[1].data, tmp_path)
        scored = official.score(submission / name / f"test-{lang}.{official.suffix}", labels, lang)
        wanted = {row["metric"]: row["score"] for row in found["rows"] if (row["task"], row["lang"]) == (name, lang)}
        for metric in official.metrics:
            assert scored.scores[metric] == pytest.approx(wanted[metric])
        assert scored.unanswered == 0


@pytest.fixture
def hidden(run, tmp_path):
    """The same data, but XNLI's test file in x1 is without labels, as XTREME's download has it."""
    folder, folders = run
    shutil.copytree(folders.data / "xnli", tmp_path / "data" / "xnli")
    path = tmp_path / "data/xnli/test-x1.tsv"
    with path.open(newline="", encoding="utf-8") as file:
        pairs = [row[:2] for row in csv.reader(file, delimiter="\t")]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows(pairs)
    return folder, replace(folders, data=tmp_path / "data")


def test_files_with_hidden_labels_are_predicted_and_not_scored(hidden, submitted, tmp_path):
    folder, folders = hidden
    console, asked = Console(file=io.StringIO(), width=200), ["x1", "x2"]
    found = evaluate_target(str(folder), ["xnli"], asked, folders, console, tmp_path / "out")
    assert {row["lang"] for row in found["rows"]} == {"x2"}
    assert found["unscored"] == [{"task": "xnli", "lang": "x1", "predicted": 17}]
    for lang in asked:  # what is predicted does not depend on whether labels are there
        name = f"xnli/test-{lang}.tsv"
        assert (tmp_path / "out" / name).read_text() == (submitted[0] / name).read_text()
    print_unscored(found["unscored"], console)
    assert console.file.getvalue() == "xnli: labels hidden, predicted and not scored: x1 (17)\n"


def test_hidden_labels_cannot_be_scored_without_a_submission(hidden):
    folder, folders = hidden
    with pytest.raises(InputError, match=r"test-x1\.tsv: row 1 has no label, so xnli can predict this file"):
        evaluate_target(str(folder), ["xnli"], ["x1"], folders, Console(file=io.StringIO()))


def test_a_version_stands_for_its_languages(run, tmp_path):
    folder, folders = run
    with pytest.raises(InputError) as error:
        evaluate_target(str(folder), ["tatoeba"], None, folders, Console(), tmp_path / "out", "xtreme-r")
    # No file of theirs is in this world: one problem for each of 41 languages, the five that XTREME-R adds among them.
    assert len(str(error.value).splitlines()) == 41
    assert "tatoeba: no test files in uk: looked for tatoeba/tatoeba.ukr-eng.ukr" in str(error.value)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="--version 2: wanted xtreme or xtreme-r"):
        evaluate_target(str(folder), ["tatoeba"], None, folders, Console(), None, "2")


def test_a_submission_is_not_written_over_a_file(run, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=r"--submission .*file: is a file, wanted a folder"):
        evaluate_target(str(run[0]), ["xnli"], None, run[1], Console(), tmp_path / "file")
