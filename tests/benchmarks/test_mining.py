"""Exact search both ways beside faiss-cpu's IndexFlatIP, in alternation, from mapped files.

faiss-cpu is in lock/bench.txt. XLMR_FLAX_BENCH_SENTENCES makes the matrices smaller.
"""

import os
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.bench, pytest.mark.long, pytest.mark.timeout(4 * 3600)]

SENTENCES, WIDTH, NEIGHBOURS = int(os.environ.get("XLMR_FLAX_BENCH_SENTENCES", 100_000)), 1024, 4
ORDER = ("ours", "faiss", "ours")
MOST_BYTES = 2 * 2**30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files of vectors of length 1; a third of the second one's are near to one of the first's."""
    folder, random = tmp_path_factory.mktemp("mining"), np.random.default_rng(0)
    files = [
        np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=(SENTENCES, WIDTH))
        for name in "xy"
    ]
    for start in range(0, SENTENCES, 4096):
        size = min(4096, SENTENCES - start)
        x, y = (random.standard_normal((size, WIDTH), np.float32) for _ in files)
        y[::3] += x[::3]
        for file, block in zip(files, (x, y), strict=True):
            file[start : start + size] = block / np.linalg.norm(block, axis=1, keepdims=True)
    return folder


def test_mining_is_no_slower_than_faiss_and_takes_little_memory(folder, worker, record):
    workers = {engine: worker("mining_worker.py", engine, str(folder), str(NEIGHBOURS)) for engine in ("ours", "faiss")}
    rounds = [(engine, workers[engine].told()) for engine in ORDER]
    print()
    for engine, found in rounds:
        print(f"{engine:>6} {found['seconds']:8.1f} s  {found['bytes'] / 2**20:8.0f} MiB beyond the mapped matrices")
    seconds = {engine: np.mean([found["seconds"] for one, found in rounds if one == engine]) for engine in workers}
    ratio = seconds["faiss"] / seconds["ours"]
    print(f"{SENTENCES:,} x {SENTENCES:,} x {WIDTH}, k = {NEIGHBOURS} both ways: {ratio:.2f} times faiss's speed")
    record(
        f"search of {SENTENCES:,} among as many, both ways, against faiss",
        f"{seconds['ours']:.1f} s",
        f"{seconds['faiss']:.1f} s",
        ratio,
        "≥ 1",
    )
    ours, theirs = (list(np.load(folder / f"{engine}.npz").values()) for engine in ("ours", "faiss"))
    for one, other in ((0, 1), (2, 3)):
        np.testing.assert_allclose(ours[one], theirs[one], atol=1e-5)
        assert (ours[other] == theirs[other]).mean() > 0.999  # neighbours whose scores are equal but for rounding
    assert max(found["bytes"] for engine, found in rounds if engine == "ours") < MOST_BYTES
    assert ratio >= 1
