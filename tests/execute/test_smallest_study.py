"""The smallest of the studies' twins, made smaller still: a study from its file to its results, and nothing twice."""

import io
from pathlib import Path

from rich.console import Console

from xlmr_flax.execute.context import Context, Folders
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.graph.study import open_config
from xlmr_flax.report.results import collect

STUDY = Path(__file__).parents[2] / "configs" / "studies" / "size_pawsx_mini.toml"
FAMILIES = (
    "nli", "tagging", "questions", "choice", "qqp", "hellaswag", "ccg", "commonsenseqa", "xcopa", "panx", "mlqa",
    "tydiqa", "bucc2018",
)  # fmt: skip
SMALL = (
    "axes.seed=[0]", 'axes.phases.intermediate.max_examples=["all"]', "model.preset=tiny", "tokenizer.vocab_size=120",
    "mesh.data=none", "phases.pretrain.steps=2", "phases.intermediate.steps=2", "phases.target.steps=2",
    'world.languages=["x1"]', "world.documents=60", "world.documents_by_language=[]",
    "world.mnli={train=40, dev=8, test=8}", "world.paraphrase={train=40, dev=4, test=9}", "world.retrieval_pairs=0",
    *(f"world.{name}={{train=0, dev=0, test=0}}" for name in FAMILIES),
)  # fmt: skip


def run(folder):
    graph, console = open_config(STUDY, SMALL), Console(file=io.StringIO(), width=300)
    folders = Folders(folder / "runs", folder / "data", folder / "cache")
    run_nodes(graph, Context(graph.experiment, folders, console, graph=graph))
    return collect(graph, folders.runs), console.file.getvalue()


def test_the_smallest_twin_runs_from_its_file_to_its_results_and_once(tmp_path):
    results, _ = run(tmp_path)
    assert (results["study"]["question"], results["study"]["baseline"]) == ("size", "no intermediate")
    rows = {(row["arm"], row["lang"], row["metric"]): row for row in results["rows"]}
    assert len(rows) == len(results["rows"]) == 2 * 2 * 3
    assert {arm for arm, _, _ in rows} == {"all examples", "no intermediate"}
    assert {lang for _, lang, _ in rows} == {"en", "x1"}
    assert {metric for _, _, metric in rows} == {"accuracy", "f1", "macro_f1"}
    assert {row["n_scored"] for row in rows.values()} == {9}
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "phases").glob("*/DONE")}
    assert len(done) == 4  # pretrained once, for the intermediate phase and for the target without it
    again, said = run(tmp_path)
    assert again["rows"] == results["rows"]
    assert "compiling" not in said
    assert {path: path.stat().st_mtime_ns for path in done} == done
