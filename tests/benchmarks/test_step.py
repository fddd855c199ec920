"""A training step on the CPU beside PyTorch's of the same model, in alternation, and what a step costs around it."""

import numpy as np
import pytest

pytestmark = pytest.mark.bench

ROUNDS, STEPS_A_ROUND = 6, 4
MOST_PADDED, MOST_PACKED = 1.2, 0.5  # of PyTorch's time
MOST_OVERHEAD = 1e-3  # seconds


def test_a_step_takes_little_more_than_pytorchs_and_packed_half_of_it(worker, record):
    turns = {"torch": "padded", "padded": "padded", "packed": "packed"}
    theirs, mine = worker("step_worker.py", "torch"), worker("step_worker.py", "ours")
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(ROUNDS + 1):
        for name, rows in turns.items():
            took = (theirs if name == "torch" else mine).told(f"{rows} {STEPS_A_ROUND if number else 8}")
            seconds[name] += took if number else []  # the first round compiles every shape
    ms = {name: 1000 * float(np.median(each)) for name, each in seconds.items()}
    print()
    for name, most in (("padded", MOST_PADDED), ("packed", MOST_PACKED)):
        ratio = ms[name] / ms["torch"]
        print(f"{name}: {ms[name]:.0f} ms, PyTorch {ms['torch']:.0f} ms, {ratio:.2f} of its time")
        what = f"a step on this CPU, {name}, against PyTorch's (6 layers, 384 wide, 32 x 128, float32)"
        record(what, f"{ms[name]:.0f} ms", f"{ms['torch']:.0f} ms", ratio, f"≤ {most}")
    assert ms["padded"] <= MOST_PADDED * ms["torch"]
    assert ms["packed"] <= MOST_PACKED * ms["torch"]


def test_around_the_compiled_function_a_step_takes_less_than_a_millisecond(worker, record, tmp_path):
    engines = {name: worker("overhead_worker.py", name, str(tmp_path)) for name in ("ours", "alone", "nnx")}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for number in range(ROUNDS + 1):
        for name, engine in engines.items():
            took = engine.told("50")
            seconds[name] += took if number else []  # the first round compiles
    ms = {name: 1000 * float(np.median(each)) for name, each in seconds.items()}
    mine, theirs = (ms[name] - ms["alone"] for name in ("ours", "nnx"))
    print(
        f"\na step of 400 arrays, from call to return: {ms['ours']:.2f} ms, with nnx.jit {ms['nnx']:.2f} ms, of it the "
        f"compiled function {ms['alone']:.2f} ms"
    )
    what = "around the compiled function of a step of 400 arrays, against flax's nnx.jit"
    record(what, f"{mine:.2f} ms", f"{theirs:.2f} ms", mine / theirs, f"< {1000 * MOST_OVERHEAD:.0f} ms")
    assert mine < 1000 * MOST_OVERHEAD
