"""A run that is finished: its table is there at once, without jax; and what changed since is refused all the same."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest

from xlmr_flax import api
from xlmr_flax.errors import InputError
from xlmr_flax.execute.finished import is_finished
from xlmr_flax.graph.nodes import EvalNode, WorldNode, is_done
from xlmr_flax.report.results import experiment_folder
from xlmr_flax.storage.places import json_text


@pytest.fixture(scope="module")
def finished(lab, tmp_path_factory):
    """The computed experiment with its report, in a folder of its own."""
    root = tmp_path_factory.mktemp("finished")
    folders = dataclasses.replace(lab.context.folders, runs=root / "runs")
    shutil.copytree(lab.context.folders.runs, folders.runs)
    api.write_found(lab.graph, folders.runs, lambda run: None, whole=True)
    return folders


def toml(value):
    match value:
        case dict():
            return "{ " + ", ".join(f"{json.dumps(name)} = {toml(inner)}" for name, inner in value.items()) + " }"
        case list():
            return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def test_it_prints_its_table_without_jax(lab, finished, experiment, tmp_path):
    config = tmp_path / "small.toml"
    told = {name: value for name, value in experiment.items() if value is not None}
    phases = [{name: value for name, value in phase.items() if value is not None} for phase in told["phases"]]
    config.write_text("\n".join(f"{name} = {toml(value)}" for name, value in (told | {"phases": phases}).items()))
    code = "import sys\nfrom xlmr_flax.cli import main\n"
    code += "try:\n    main()\nfinally:\n    print(*sys.modules, file=sys.stderr)"
    places = ["--runs", finished.runs, "--data", finished.data, "--cache", finished.cache]
    done = subprocess.run(
        [sys.executable, "-c", code, "run", config, *places],
        env={**os.environ, "XLMR_FLAX_RUNS": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == str(experiment_folder(lab.graph, finished.runs))
    assert "xnli, in %" in done.stdout
    assert "Report: " in done.stdout
    loaded = set(done.stderr.split())
    assert not {"jax", "flax", "grain", "transformers", "tokenizers", "pandas", "matplotlib", "scipy"} & loaded
    assert "xlmr_flax.execute.finished" in loaded


def test_a_run_is_finished_when_every_part_is(lab, finished):
    assert is_finished(lab.graph.nodes, finished)
    for node in lab.graph.nodes:
        path = finished.of(node) / ("scores.json" if isinstance(node, EvalNode) else "DONE")
        content = path.read_text()
        try:
            if isinstance(node, EvalNode):
                scores = json.loads(content)
                del scores["langs"][node.langs[-1]]
                path.write_text(json_text(scores))
            else:
                path.unlink()
            assert not is_finished(lab.graph.nodes, finished)
        finally:
            path.write_text(content)
    assert is_finished(lab.graph.nodes, finished)


@pytest.mark.parametrize("file", ["text/x1.txt", "xnli/train-en.tsv", "xnli/dev-en.tsv", "tatoeba/tatoeba.x1-eng.x1"])
def test_a_file_that_changed_since_is_refused(lab, finished, file):
    (world,) = (node for node in lab.graph.nodes if isinstance(node, WorldNode))
    path = finished.of(world) / file
    content = path.read_bytes()
    try:
        path.write_bytes(content + b"\n")
        assert all(is_done(node, finished.runs) for node in lab.graph.nodes)
        assert not is_finished(lab.graph.nodes, finished)
        path.unlink()
        assert not is_finished(lab.graph.nodes, finished)
    finally:
        path.write_bytes(content)


def test_what_a_kill_left_behind_is_still_to_be_removed(lab, finished):
    left = finished.of(lab.phase("nli")) / "checkpoints" / "training"
    left.mkdir()
    assert not is_finished(lab.graph.nodes, finished)
    left.rmdir()
    assert is_finished(lab.graph.nodes, finished)


def test_a_key_or_a_pattern_that_nothing_has_is_told_before(lab, finished):
    with pytest.raises(InputError, match="no node has this key"):
        api.run_graph(lab.graph, finished, show=print, phase="ffff")
    with pytest.raises(InputError, match="matches none of"):
        api.run_graph(lab.graph, finished, show=print, only="nothing*")
