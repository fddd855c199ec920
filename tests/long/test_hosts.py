"""Four processes: they compute what one does, lose nothing when one is killed, and stop where one is told to."""

import json
import os
import runpy
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

hosts = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "hosts.py")))
pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

# With mining and a dual head, whose vectors and rankings go over all hosts.
RETRIEVAL = (
    hosts.TINY.replace(
        "retrieval_pairs = 23 }",
        "retrieval_pairs = 23, lareqa = 13, bucc2018 = { train = 0, dev = 31, test = 29 } }",
    )
    .replace("questions = { train = 12,", "questions = { train = 61,")
    .replace('"tatoeba", "xnli"', '"tatoeba", "bucc2018", "xnli"')
    + """
[[phases]]
name = "dual"
tasks = ["lareqa"]
length = 32
batch_size = 8
steps = 2
[[evaluations]]
phase = "dual"
tasks = ["lareqa"]
"""
)

# A mixture, words that are replaced and noise in training, and texts that are made worse to be scored, in two arms.
STUDY = (
    hosts.TINY.replace(
        "[[phases]]",
        """[[phases]]
name = "joint"
tasks = ["mlm", "cosmosqa", "xnli"]
length = 32
batch_size = 8
steps = 12
optim = { peak_lr = 1e-3 }
mixture = { mlm_frac = 0.4, each = [{ task = "xnli", length = 16, batch_size = 12 }] }
[[phases]]
parent = "joint"
robust = { noise = "gaussian", noise_scale = 0.02, dictionary = "dictionaries", switch_rate = 0.5 }""",
    )
    .replace("choice = { train = 5,", "choice = { train = 31,")
    .replace('"tatoeba", "xnli"', '"xnli"')
    .replace(
        "layers = [1]",
        """perturb = { kinds = ["typos", "code_switch"], strengths = [0.5], dictionary = "dictionaries" }
[axes]
"phases.joint" = ["keep", "skip"]""",
    )
)


def words(root: Path, name: str, *more: str) -> list[str]:
    """A run of the config in `root`, with folders of its own."""
    return ["run", str(root / "tiny.toml"), *more, "--runs", str(root / name / "runs"), "--cache", str(root / "cache")]


def scores(runs: Path) -> dict[tuple[str, ...], tuple[float, int, int]]:
    (path,) = runs.glob("hosts-*/results.json")
    rows = json.loads(path.read_text())["rows"]
    return {
        (row["task"], row["lang"], row["metric"], row["setting"]): (row["score"], row["n_scored"], row["n_dataset"])
        for row in rows
    }


def rows_of(runs: Path) -> dict[tuple[str, ...], dict]:
    """A study's rows, by arm, perturbation, language and metric."""
    (path,) = runs.glob("hosts-*/results.json")
    return {
        (row["arm"], row.get("perturbation", {}).get("kind", ""), row["lang"], row["metric"]): row
        for row in json.loads(path.read_text())["rows"]
    }


def losses(runs: Path) -> list[tuple[int, float]]:
    (path,) = runs.glob("phases/nli-*/train.jsonl")
    return [(row["step"], row["loss"]) for row in map(json.loads, path.read_text().splitlines()) if "loss" in row]


def bits(runs: Path) -> dict[str, int]:
    """The checksum of each selected weight."""
    (folder,) = runs.glob("phases/nli-*/checkpoints/selected")
    leaves = ocp.checkpointables_metadata(folder).custom_metadata["leaves"]
    return {name: leaf["checksum"] for name, leaf in leaves.items()}


def predictions(runs: Path) -> dict[str, bytes]:
    return {str(path.relative_to(runs)): path.read_bytes() for path in sorted(runs.glob("evals/*/predictions/test-*"))}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("four")
    (root / "tiny.toml").write_text(hosts.TINY)
    return root


STEPS = ("phases.nli.steps=40", "phases.nli.selection.every_steps=20")


@pytest.fixture(scope="module")
def undisturbed(root):
    ended = hosts.Hosts(root / "whole", 4, words(root, "whole", *STEPS)).ended(3000)
    assert [one.code for one in ended] == [0] * 4, ended
    return root / "whole" / "runs"


@pytest.mark.parametrize(
    ("count", "devices", "mesh"),
    [
        (4, 1, ("mesh.data=4",)),
        (2, 2, ("mesh.data=2", "mesh.fsdp=2")),
        (2, 2, ("mesh.fsdp=4",)),
        (2, 2, ("mesh.tensor=2",)),
    ],
)
def test_several_processes_score_what_one_does(tmp_path, count, devices, mesh):
    (tmp_path / "tiny.toml").write_text(RETRIEVAL)
    ended = hosts.Hosts(tmp_path / "one", 1, words(tmp_path, "one", *mesh), devices=4).ended(3000)
    assert ended[0].code == 0, ended[0].err
    began = time.monotonic()
    ended = hosts.Hosts(tmp_path / "many", count, words(tmp_path, "many", *mesh), devices=devices).ended(3000)
    print(f"\n{count} processes x {devices} devices, {' '.join(mesh)}: {time.monotonic() - began:.0f} s")
    assert [one.code for one in ended] == [0] * count, ended
    one, many = (tmp_path / name / "runs" for name in ("one", "many"))
    assert scores(many).keys() == scores(one).keys()
    for key, (score, scored, of) in scores(many).items():
        assert scored == of == scores(one)[key][1]
        assert score == pytest.approx(scores(one)[key][0], abs=1.5 / of)  # a tie may fall to the other side
    assert [step for step, _ in losses(many)] == [step for step, _ in losses(one)]
    np.testing.assert_allclose([loss for _, loss in losses(many)], [loss for _, loss in losses(one)], rtol=1e-4)


def test_a_study_of_mixtures_and_worse_texts_is_on_two_processes_what_it_is_on_one(tmp_path):
    (tmp_path / "tiny.toml").write_text(STUDY)
    for name, count, devices in (("one", 1, 2), ("two", 2, 1)):
        began = time.monotonic()
        ended = hosts.Hosts(tmp_path / name, count, words(tmp_path, name), devices=devices).ended(3000)
        assert [each.code for each in ended] == [0] * count, ended
        print(f"\n{count} processes x {devices} devices, a study: {time.monotonic() - began:.0f} s")
    one, two = (rows_of(tmp_path / name / "runs") for name in ("one", "two"))
    assert two.keys() == one.keys()
    assert {kind for _, kind, _, _ in two} == {"", "typos", "code_switch"}
    assert len({arm for arm, *_ in two}) == 2
    for key, row in two.items():
        assert row["n_scored"] == row["n_dataset"] == one[key]["n_scored"]
        assert row["phase_key"] == one[key]["phase_key"]
        assert row["score"] == pytest.approx(one[key]["score"], abs=1.5 / row["n_dataset"])
    logs = [sorted((tmp_path / name / "runs").glob("phases/*/train.jsonl")) for name in ("one", "two")]
    assert [path.parent.name for path in logs[0]] == [path.parent.name for path in logs[1]]
    assert len(logs[0]) == 3  # the mixture, and the target after it and without it
    for pair in zip(*logs, strict=True):
        rows, same = ([json.loads(line) for line in path.read_text().splitlines()] for path in pair)
        assert [row.keys() for row in rows] == [row.keys() for row in same]
        told = [[value for row in each for name, value in row.items() if "loss" in name] for each in (rows, same)]
        np.testing.assert_allclose(told[1], told[0], rtol=1e-4)
    assert any("loss_mlm" in row for path in logs[1] for row in map(json.loads, path.read_text().splitlines()))

    runs = tmp_path / "two" / "runs"
    (run,), (world,) = runs.glob("hosts-*"), runs.glob("worlds/*")
    asked = ["eval", str(run), "--tasks", "xnli", "--langs", "x1", "--submission", str(tmp_path / "submission"),
             "--data", str(world), "--runs", str(runs), "--cache", str(tmp_path / "cache")]  # fmt: skip
    first, second = hosts.Hosts(tmp_path / "eval", 2, asked).ended(1500)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert "xnli, in %" in first.out
    assert (second.out, second.err) == ("", "")
    predicted = (tmp_path / "submission" / "xnli" / "test-x1.tsv").read_bytes()
    assert predicted in {path.read_bytes() for path in runs.glob("evals/*/predictions/test-x1.tsv")}


@pytest.mark.parametrize("victim", [2, 0])
def test_a_kill_of_one_process_ends_the_others_with_its_name_and_the_restart_continues(root, undisturbed, victim):
    name = f"kill-{victim}"
    runs = root / name / "runs"
    started = hosts.Hosts(root / name, 4, words(root, name, *STEPS))
    started.wait_for(lambda: any(runs.glob("phases/nli-*/checkpoints/training/6")), 3000)
    started.started[victim].kill()
    ended = started.ended(60)
    slowest = max(one.seconds for one in ended)
    print(f"\nprocess {victim} of 4 killed: the others ended {slowest:.1f} s later")
    for number, one in enumerate(ended):
        if number != victim:
            assert one.code == 75, one.err
            assert f"process {victim} (" in one.err
            assert "Check failure stack trace" not in one.err
            assert "Traceback" not in one.err
    again = hosts.Hosts(root / name, 4, words(root, name, *STEPS)).ended(3000)
    assert [one.code for one in again] == [0] * 4, again
    assert "nli: continues at step " in again[0].err
    assert (scores(runs), losses(runs), bits(runs)) == (scores(undisturbed), losses(undisturbed), bits(undisturbed))
    assert predictions(runs) == predictions(undisturbed)


@pytest.mark.parametrize("told", [3, 0])
def test_a_signal_to_one_process_saves_all_at_one_step_and_a_second_one_harms_nothing(root, undisturbed, told):
    name = f"term-{told}"
    runs = root / name / "runs"
    started = hosts.Hosts(root / name, 4, words(root, name, *STEPS))
    started.wait_for(lambda: any(runs.glob("phases/nli-*/checkpoints/training/6")), 3000)
    os.kill(started.started[told].pid, signal.SIGTERM)
    time.sleep(0.3)
    os.kill(started.started[told].pid, signal.SIGTERM)
    ended = started.ended(300)
    assert [one.code for one in ended] == [75] * 4, ended
    (sentence,) = {one.err.splitlines()[-1] for one in ended}
    assert sentence.endswith("of 40, all saved; run the same command to continue")
    again = hosts.Hosts(root / name, 4, words(root, name, *STEPS)).ended(3000)
    assert [one.code for one in again] == [0] * 4, again
    assert f"nli: continues at step {sentence.split()[3]}" in again[0].err
    assert (losses(runs), bits(runs)) == (losses(undisturbed), bits(undisturbed))
    assert predictions(runs) == predictions(undisturbed)


def test_a_checkpoint_of_two_processes_is_gone_on_with_by_one_on_another_mesh(root, undisturbed):
    runs = root / "fewer" / "runs"
    started = hosts.Hosts(root / "fewer", 2, words(root, "fewer", *STEPS, "mesh.fsdp=2"))
    started.wait_for(lambda: any(runs.glob("phases/nli-*/checkpoints/training/6")), 3000)
    os.kill(started.started[1].pid, signal.SIGTERM)
    assert [one.code for one in started.ended(300)] == [75] * 2
    (ended,) = hosts.Hosts(root / "fewer", 1, words(root, "fewer", *STEPS, "mesh.tensor=2"), devices=2).ended(3000)
    assert ended.code == 0, ended.err
    assert "nli: continues at step " in ended.err
    np.testing.assert_allclose(
        [loss for _, loss in losses(runs)], [loss for _, loss in losses(undisturbed)], rtol=1e-4, atol=1e-4
    )


def test_hosts_that_differ_stop_and_name_the_field(root):
    given = [words(root, "differ", f"phases.nli.optim.peak_lr={rate}") for rate in (1e-3, 1e-3, 2e-3)]
    ended = hosts.Hosts(root / "differ", 3, given).ended(300)
    assert [one.code for one in ended] == [2] * 3, ended
    for one in ended:
        assert "process 2 (host" in one.err
        assert "config.phases.0.optim.peak_lr is 0.002, but 0.001 on process 0" in one.err
    assert not (root / "differ" / "runs" / "phases").exists()


def test_hosts_with_folders_of_their_own_stop_and_are_named(root):
    given = [[*words(root, "apart")[:-4], "--runs", str(root / f"runs-{number}")] for number in range(2)]
    ended = hosts.Hosts(root / "apart", 2, given).ended(300)
    assert [one.code for one in ended] == [2] * 2, ended
    assert all("agree on their folders: process 1 (host" in one.err for one in ended)


def test_fewer_processes_than_expected_are_found_within_a_minute(root):
    began = time.monotonic()
    ended = hosts.Hosts(root / "few", 3, words(root, "few"), present=2).ended(120)
    print(f"\n2 of 3 processes: ended after {time.monotonic() - began:.0f} s")
    assert [one.code for one in ended] == [75] * 2, ended
    assert all(one.err.startswith("not all 3 processes came, or process 0 (127.0.0.1:") for one in ended)
    assert not any("stack trace" in one.err for one in ended)
