"""XLM-R Large on a GPU beside PyTorch's, where there is a GPU; everywhere else that the benchmark would run."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

gpu = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("gpu.py"))))
WHY_NOT = gpu.missing()


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_half_of_the_peak_and_more_than_pytorch(record):
    if WHY_NOT is not None:
        record("XLM-R Large on one GPU, bfloat16, lengths 512 and 128, against PyTorch", "not measured", WHY_NOT)
        pytest.skip(WHY_NOT)
    for one in gpu.compared(gpu.FULL, env=gpu.GPU):
        print(f"\n{one.told()}")
        what = f"XLM-R Large on {one.device}, bfloat16, length {one.work.length}"
        theirs = "" if one.theirs is None else f"{one.theirs.examples:,.0f} examples/s"
        record(f"{what}, against PyTorch", f"{one.ours.examples:,.0f} examples/s", theirs, one.ratio, "≥ 1.2")
        record(f"{what}, share of the peak", "", "", one.utilisation, "≥ 0.5")
        assert one.utilisation is None or one.utilisation >= gpu.WANTED_UTILISATION
        assert one.ratio is None or one.ratio >= gpu.WANTED_SPEED


@pytest.mark.parity
def test_the_benchmark_runs_from_end_to_end_at_a_tiny_size():
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--smoke"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "length 16: ours" in done.stdout
    assert "of the peak; PyTorch" in done.stdout


class Scripted:
    """Answers with seconds by rows, None where they do not fit."""

    name = "worker engine"

    def __init__(self, seconds):
        self.seconds, self.asked = seconds, []

    def told(self, line):
        self.asked.append(line)
        return self.seconds[line]


def test_rows_are_added_until_they_do_not_fit_or_are_no_faster():
    work = gpu.SMOKE[0]._replace(rows=(1, 2, 4, 8, 16))
    worker = Scripted({"1 a": 1.0, "2 a": 1.0, "4 a": 1.99, "8 a": 9.0, "1 b": 1.0, "2 b": 0.9, "4 b": None})
    assert gpu.fastest(worker, work, ("a", "b")) == gpu.Speed(2, "b", 0.9)
    assert worker.asked == ["1 a", "2 a", "4 a", "1 b", "2 b", "4 b"]


def test_an_examples_operations_are_those_of_the_matrix_products():
    work = gpu.FULL[1]
    dense, attention = 24 * 12 * 1024**2 * 128, 24 * 2 * 128**2 * 1024
    assert gpu.flops(work) == 3 * 2 * (dense + attention)


@pytest.mark.parametrize(
    ("device", "share"),
    [("NVIDIA H100 80GB HBM3", 1 / 989e12), ("NVIDIA L40S", 1 / 362e12), ("NVIDIA GeForce GTX 1080", None)],
)
def test_the_peak_is_that_of_the_card(device, share):
    work = gpu.SMOKE[0]
    found = gpu.utilisation(work, device, gpu.Speed(1, "none", 1.0))
    assert found == (None if share is None else pytest.approx(gpu.flops(work) * share))


def test_a_work_reaches_its_worker_whole():
    assert json.loads(json.dumps(gpu.FULL[0]._asdict()))["architecture"]["hidden_size"] == 1024
