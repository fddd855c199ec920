"""Graphs computed by a Ray cluster: the same bits, whatever is killed meanwhile."""

import json
import re
import runpy
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.ray
machines = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("machines.py"))))
Program, processes_of = machines.Program, machines.processes_of


@pytest.fixture
def cluster():
    # the names of sockets below it may have no more than 107 letters
    cluster = machines.Cluster(Path(tempfile.mkdtemp(prefix="ray", dir="/tmp")))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()


def bits(folder):
    """Everything that was computed: scores, predictions, losses, and checksums of the weights, by relative path."""
    found = {}
    for path in (folder / "runs").rglob("*"):
        name = str(path.relative_to(folder / "runs"))
        if path.name == "scores.json" or "/predictions/" in name:
            found[name] = path.read_text()
        elif path.name == "train.jsonl":
            found[name] = [json.loads(line).get("loss") for line in path.read_text().splitlines()]
        elif "/selected/" in name and path.is_file() and b'"checksum"' in path.read_bytes():
            found[name] = re.findall(r'"checksum": *(\d+)', path.read_text())  # beside them, when it was written
    results = json.loads(next((folder / "runs").glob("arrows-*/results.json")).read_text())
    return found | {"results": [(row["task"], row["lang"], row["metric"], row["score"]) for row in results["rows"]]}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """What the local executor computes."""
    program = Program(tmp_path_factory.mktemp("local"))
    assert program.code() == 0, program.said()
    return program.folder


def test_a_cluster_computes_the_same_bits_though_a_worker_and_then_the_driver_is_killed(local, cluster, tmp_path):
    cluster.add()
    cluster.add()
    words = ("--executor", "ray", "--address", cluster.address)
    first = Program(tmp_path, *words)
    first.wait_for(lambda: first.saved("nli"))
    (computing,) = processes_of(tmp_path)
    worker = computing.parent()
    computing.kill()
    worker.kill()
    first.wait_for(lambda: first.saved("pairs"))
    first.process.kill()
    first.process.wait()
    world = next((tmp_path / "runs/worlds").glob("*/DONE")).stat().st_mtime_ns
    second = Program(tmp_path, *words)
    assert second.code() == 0, second.said()
    assert "nli: continues at step" in second.said()
    assert next((tmp_path / "runs/worlds").glob("*/DONE")).stat().st_mtime_ns == world
    assert bits(tmp_path) == bits(local)
    assert len(bits(local)) > 9
    assert (tmp_path / "out").read_text().splitlines()[-1].startswith(str(tmp_path / "runs/arrows-"))
    assert processes_of(tmp_path) == []
    assert list((tmp_path / "runs/.holders/drivers").iterdir()) == []


def test_without_a_cluster_one_of_this_machine_is_used_which_saves_when_it_is_told_to_stop(local, tmp_path):
    first = Program(tmp_path, "--executor", "ray")
    first.wait_for(lambda: first.saved("nli"))
    (computing,) = processes_of(tmp_path)
    computing.suspend()  # until it is told too: on a busy machine its phase would be over by then
    first.process.terminate()
    first.wait_for(lambda: machines.is_told_to_stop(computing))
    computing.resume()
    assert first.code() == 75, first.said()
    assert "parts on 1 machines" in first.said()
    assert first.said().endswith("stopped; what was saved is kept: run the same command again\n")
    assert processes_of(tmp_path) == []
    second = Program(tmp_path, "--executor", "ray")
    assert second.code() == 0, second.said()
    assert "nli: continues at step" in second.said()
    assert bits(tmp_path) == bits(local)
    assert processes_of(tmp_path) == []


def test_a_part_takes_all_hosts_of_a_slice_which_meet_as_one_run(local, cluster, tmp_path):
    """Machines that say of themselves that they are a TPU slice; the processes on them compute on their CPUs."""
    slice_ = {"slice-name": "s", "pod-type": "v4-16", "topology": "2x2x2"}
    for host, head in ((0, {"TPU-v4-16-head": 1}), (1, {})):
        labels = {f"ray.io/tpu-{name}": value for name, value in (slice_ | {"worker-id": host}).items()}
        cluster.add(labels=labels | {"ray.io/accelerator-type": "TPU-V4"}, resources={"TPU": 4} | head)
    program = Program(tmp_path, "--executor", "ray", "--address", cluster.address, "--only", "nli")
    assert program.code() == 0, program.said()
    assert "each part on a slice of v4:2x2x2" in program.said()
    (host,) = (json.loads(path.read_text()) for path in tmp_path.glob("runs/phases/nli-*/host.json"))
    assert host["devices"] == "2 x cpu (cpu)"
    (one,), (other,) = (list(folder.glob("runs/phases/nli-*/train.jsonl")) for folder in (tmp_path, local))
    losses = [[json.loads(line)["loss"] for line in path.read_text().splitlines()] for path in (one, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert processes_of(tmp_path) == []
