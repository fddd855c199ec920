"""Every task, on files in its official format: it trains a step and is scored, and gold predictions score 1."""

import dataclasses
import functools
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from rich.console import Console

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.execute import target
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.graph.build import Graph, build
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, PhaseNode
from xlmr_flax.graph.splits import comes_in
from xlmr_flax.graph.told import TRANSLATED, TRANSLATED_WHOLE
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.report.results import collect, experiment_folder, write_results
from xlmr_flax.sources.rows import Question, Row
from xlmr_flax.tasks import catalogue
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.labels import with_labels
from xlmr_flax.tasks.task import Task, gold, scores
from xlmr_flax.train.sharding import make_mesh

# Rows so short that nearly all are cut: few lengths to compile. What a choice or a span keeps needs more.
LENGTHS = {"sequence": 16, "token": 16, "mlm": 16, "dual": 16, "choice": 48, "span": 32}
SIZES = {"train": 23, "dev": 7, "test": 9}
NOT_TOLD = {"choice": "test", "squad_v2": "test", "mlqa": "train", "tydiqa": "dev", "bucc2018": "train"}
FAMILIES = (
    "nli", "paraphrase", "tagging", "questions", "choice", "mnli", "snli", "anli", "qqp", "hellaswag", "commonsenseqa",
    "socialiqa", "xcopa", "panx", "ccg", "squad_v2", "mlqa", "tydiqa", "bucc2018", "mewslix",
)  # fmt: skip
WORLD = {
    "languages": ["x1"], "documents": 60, "retrieval_pairs": 9, "lareqa": 9, "translated": True,
    **{name: SIZES | {NOT_TOLD[name]: 0} if name in NOT_TOLD else SIZES for name in FAMILIES},
}  # fmt: skip
BATCH = 8
SMALLER = {"num_hidden_layers": 1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # to compile
TRAINED = [name for name, one in TASKS.items() if one.head.kind != "embedding"]
SCORED = [name for name, one in TASKS.items() if one.test]


class OneDevice(Context):
    """A context that computes on one of the simulated devices: eight of them would only take turns here."""

    @functools.cached_property
    def mesh(self) -> Mesh:
        return make_mesh(MeshSizes(), jax.devices()[:1])


class Lab(NamedTuple):
    """An experiment with a phase and an evaluation of every task, of which each test computes its own."""

    graph: Graph
    context: Context

    @property
    def data(self) -> Path:
        return self.context.folders.data_of(self.phase("mlm"))

    def phase(self, name: str) -> PhaseNode:
        return next(node for node in self.graph.nodes if isinstance(node, PhaseNode) and node.name == name)

    def evaluation(self, name: str) -> EvalNode:
        return next(node for node in self.graph.nodes if isinstance(node, EvalNode) and node.name == name)


def open_lab(root: Path, **parts: Any) -> Lab:
    tree = {
        "name": "every", "text": {"files": ["text/*.txt"]}, "tokenizer": {"vocab_size": 260},
        "model": {"preset": "tiny", "compute": "float32", "architecture": SMALLER}, **parts,
    }  # fmt: skip
    experiment = Experiment.model_validate_json(json.dumps(tree))
    folders = Folders(root / "runs", root / "data", root / "cache")
    return Lab(build(experiment), OneDevice(experiment, folders, Console(file=io.StringIO(), width=300)))


def phase_of(name: str) -> dict[str, Any]:
    length = LENGTHS[task(name).head.kind]
    phase = {"name": name, "tasks": [name], "length": length, "batch_size": BATCH, "steps": 1}
    # One intermediate task serves all others: the encoder is made once, and then each head alone.
    if name != "mlm":
        phase["parent"] = "mlm" if name == "mnli" else "mnli"
    # What is there in translation is trained on in translation.
    return phase | ({"langs": ["x1"]} if name in TRANSLATED + TRANSLATED_WHOLE else {})


def evaluation_of(name: str) -> dict[str, Any]:
    return {"phase": name if name in TRAINED else "mnli", "tasks": [name], "batch_size": BATCH}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    phases, evaluations = [phase_of(name) for name in TRAINED], [evaluation_of(name) for name in SCORED]
    lab = open_lab(tmp_path_factory.mktemp("every"), world=WORLD, phases=phases, evaluations=evaluations)
    run_nodes(lab.graph, lab.context, only="world")
    run_nodes(lab.graph, lab.context, only="unigram")
    return lab


def losses(folder: Path) -> list[float]:
    logged = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    return [row["loss"] for row in logged if "loss" in row]


@pytest.mark.parametrize("name", TRAINED)
def test_it_trains_a_step(lab, name):
    node = lab.phase(name)
    run_nodes(lab.graph, lab.context, key=node.key)
    folder = lab.context.folders.of(node)
    assert json.loads((folder / "DONE").read_text())["steps_run"] == 1
    [loss] = losses(folder)
    assert np.isfinite(loss)
    assert loss > 0


@pytest.mark.parametrize("name", SCORED)
def test_every_row_of_every_language_is_scored(lab, name):
    node = lab.evaluation(name)
    run_nodes(lab.graph, lab.context, key=node.key)
    told = json.loads((lab.context.folders.of(node) / "scores.json").read_text())["langs"]
    assert set(told) == set(node.langs) >= ({"x1"} if len(task(name).langs) > 1 else {"en"})
    for lang, found in told.items():
        count = len(rows(task(name), node.split, lang, lab.data))
        assert found["n_scored"] == found["n_dataset"] == count > 0
        assert 0 <= found["scores"][task(name).metric] <= 1
        assert list((lab.context.folders.of(node) / "predictions").glob(f"test-{lang}.*"))


@pytest.mark.parametrize("name", SCORED)
def test_gold_predictions_score_one(lab, name):
    node = lab.evaluation(name)
    declared = with_labels(task(name), task(name).train or "", ("en",), lab.data)
    for lang in node.langs:
        found = rows(declared, node.split, lang, lab.data)
        right = [gold(declared, row) for row in found]
        predicted = [perfect(declared, row) for row in found]
        assert scores(declared, right, predicted, lang)[declared.metric] == 1.0
        # A scorer that is happy with anything would be happy with this.
        assert scores(declared, right, [wrong(declared, row) for row in found], lang)[declared.metric] < 1.0


def perfect(declared: Task, row: Row) -> Any:
    """The prediction that is right."""
    if not isinstance(row, Question):
        return gold(declared, row)
    text = row.answers[0].text if row.answers else ""
    return Guess(text, -1.0 if row.answers else 1.0) if declared.nullable else text


def wrong(declared: Task, row: Row) -> Any:
    """One that is not."""
    match declared.head.kind:
        case "sequence":
            return next(label for label in declared.head.labels if label != gold(declared, row))
        case "choice":
            return (gold(declared, row) + 1) % declared.head.options
        case "token":
            return tuple("never" for _ in row.words)
        case "span":
            return Guess("never ever", -1.0) if declared.nullable else "never ever"
        case "dual":
            return ("nothing",)
    return (("no", "pair"),) if declared.name == "bucc2018" else "nothing"


def test_there_is_a_task_of_every_name_that_is_promised():
    promised = (
        "xnli xnli_hypothesis mnli snli anli anli_plus qqp pawsx xnli_translate pawsx_translate cosmosqa hellaswag "
        "commonsenseqa socialiqa copa xcopa udpos panx ccg squad squad_v2 xquad mlqa tydiqa squad_translate "
        "tydiqa_translate mnli_translated qqp_translated hellaswag_translated tatoeba bucc2018 lareqa mewslix mlm"
    )
    assert set(promised.split()) <= set(TASKS)


NINE = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")
SUFFIX = {"xquad": "json", "mlqa": "json", "tydiqa": "json"}


def test_a_run_with_nine_targets_of_one_intermediate_is_submitted_whole(lab, tmp_path, monkeypatch):
    for name in NINE:
        run_nodes(lab.graph, lab.context, key=lab.evaluation(name).key)
    run = experiment_folder(lab.graph, lab.context.folders.runs)
    write_results(collect(lab.graph, lab.context.folders.runs), lab.graph, run)
    monkeypatch.setattr(target, "Context", OneDevice)
    folders = dataclasses.replace(lab.context.folders, data=lab.data)
    console, submission = lab.context.console, tmp_path / "submission"
    results = target.evaluate_target(str(run), NINE, None, folders, console, submission=submission)
    # Each task took its own phase, so that its scores are those of the run.
    again = {(row["task"], row["lang"], row["metric"]): row["score"] for row in results["rows"]}
    assert {name for name, _, _ in again} == set(NINE)
    for name in NINE:
        node = lab.evaluation(name)
        told = json.loads((lab.context.folders.of(node) / "scores.json").read_text())["langs"]
        assert all(again[name, lang, task(name).metric] == told[lang]["scores"][task(name).metric] for lang in told)
        files = {path.name for path in (submission / name).iterdir()}
        assert files == {f"test-{lang}.{SUFFIX.get(name, 'tsv')}" for lang in node.langs}
        for lang in node.langs:
            found = rows(task(name), node.split, lang, lab.data)
            check_submitted(submission / name / f"test-{lang}.{SUFFIX.get(name, 'tsv')}", name, found)


def check_submitted(path: Path, name: str, found: list[Row]) -> None:
    """Whether the file has an answer for each row, in the form that XTREME's scorer reads."""
    text = path.read_text(encoding="utf-8")
    if SUFFIX.get(name) == "json":
        assert list(json.loads(text)) == [row.id for row in found]
    elif name in ("udpos", "panx"):
        blocks = text.removesuffix("\n").split("\n\n")
        assert [len(block.split("\n")) for block in blocks] == [len(row.words) for row in found]
        assert {tag for tag in text.split("\n") if tag} <= set(task(name).head.labels)
    elif name == "bucc2018":
        known = {side: {row.id for row in found if row.side == side} for side in ("source", "target")}
        pairs = [line.split("\t") for line in text.splitlines()]
        assert all(one in known["source"] and other in known["target"] for one, other in pairs)
    else:
        values = set(map(str, range(len(found)))) if name == "tatoeba" else set(task(name).head.labels)
        assert len(text.splitlines()) == len(found)
        assert set(text.splitlines()) <= values


def test_tasks_together_come_in_no_language_that_one_of_them_lacks():
    assert comes_in(task("anli_plus"), "test", "en")
    assert not comes_in(task("anli_plus"), "test", "x1")


PACKAGE = """
from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.sources.rows import Classified
from xlmr_flax.tasks.task import Files, Head, Task


def read_moods(path):
    pairs = (line.split("=") for line in path.read_text(encoding="utf-8").splitlines())
    return [Classified(str(i), str(i), text, None, mood) for i, (text, mood) in enumerate(pairs)]


MOODS = Task(
    name="moods",
    head=Head("sequence", labels=("glad", "sad")),
    langs=("en", "x1"),
    files=(Files(read_moods, {split: (f"moods/{split}.{{lang}}",) for split in ("train", "dev", "test")}),),
    train="train",
    select="dev",
    test="test",
    metric="accuracy",
    score=accuracy,
    source="Write text=mood into moods/SPLIT.LANG",
)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed package that adds a task."""
    site = tmp_path / "site"
    (site / "moods-1.0.dist-info").mkdir(parents=True)
    (site / "moods.py").write_text(PACKAGE)
    (site / "moods-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: moods\nVersion: 1.0\n")
    (site / "moods-1.0.dist-info/entry_points.txt").write_text("[xlmr_flax.tasks]\nmoods = moods:MOODS\n")
    return site


def test_a_task_of_an_installed_package_is_trained_and_scored_like_any_other(package, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(package)
    [moods] = catalogue.added()
    monkeypatch.setitem(TASKS, moods.name, moods)
    for part in ("train", "test"):
        for lang in ("en", "x1"):
            path = tmp_path / f"data/moods/{part}.{lang}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f"the {word} was here {i}={mood}\n" for i in range(8)
                                    for word, mood in (("sun", "glad"), ("rain", "sad"))))  # fmt: skip
    (tmp_path / "data/text").mkdir()
    (tmp_path / "data/text/en.txt").write_text("".join(f"the sun was here and the rain {i}\n" for i in range(50)))
    phase = {"name": "moods", "tasks": ["moods"], "length": 16, "batch_size": 8, "steps": 1}
    evaluation = {"phase": "moods", "tasks": ["moods"], "langs": ["en", "x1"], "batch_size": BATCH}
    lab = open_lab(tmp_path, phases=[phase], evaluations=[evaluation], tokenizer={"vocab_size": 32})
    run_nodes(lab.graph, lab.context)
    told = json.loads((lab.context.folders.of(lab.evaluation("moods")) / "scores.json").read_text())["langs"]
    assert {lang: found["n_scored"] for lang, found in told.items()} == {"en": 16, "x1": 16}


def test_the_program_lists_the_task_of_an_installed_package(package):
    program = "import sys; from xlmr_flax.cli import app; sys.argv = ['xlmr-flax', 'tasks']; app()"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(package), "PATH": "", "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "moods" in done.stdout


def test_a_package_cannot_take_the_name_of_a_task(package, monkeypatch):
    monkeypatch.syspath_prepend(package)
    [moods] = catalogue.added()
    with pytest.raises(catalogue.InputError, match="two tasks are called 'xnli'; rename the one that an installed"):
        catalogue.named((*TASKS.values(), dataclasses.replace(moods, name="xnli")))
