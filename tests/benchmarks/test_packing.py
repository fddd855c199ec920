"""How full packed rows are beside padding and beside buckets, and how fast the host makes them; figures are printed."""

import time

import numpy as np
import pytest

from xlmr_flax.data.batches import TrainingBatches, evaluation_batches
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.packing import pack

pytestmark = pytest.mark.bench

BUCKETS = np.array([32, 48, 72, 128])  # the four that are best for these lengths
WANTED_UNITS, WANTED_EXAMPLES = 200_000, 22_000  # a second


@pytest.fixture(scope="module")
def examples() -> Examples:
    """Lengths like those of XNLI's English: log-normal, mean 42, 95th percentile 80."""
    drawn = np.exp(np.log(38) + 0.45 * np.random.default_rng(0).standard_normal(100_000))
    sizes = np.clip(np.rint(drawn), 8, 128).astype(int)
    print(f"\ntokens: mean {sizes.mean():.1f}, 95th percentile {np.percentile(sizes, 95):.0f}")
    encoded = joined([np.full(size, 7, np.int32) for size in sizes], range(len(sizes)), {}, np.zeros(len(sizes)))
    return Examples("sequence", encoded, 128, 1)


def batches_of(examples: Examples, batch_size: int, chips: int) -> TrainingBatches:
    return TrainingBatches(
        examples, np.arange(examples.items), batch_size=batch_size, micro_batches=1, seed=0, packed_over=chips
    )


def least(wanted: float) -> str:
    return f"≥ {wanted}" if wanted else ""


@pytest.mark.parametrize("batch_size", [32, 256, 1024])
@pytest.mark.parametrize("chips", [4, 8, 256])
def test_the_share_of_real_positions(examples, batch_size, chips, record):
    sizes, batches = examples.lengths(), batches_of(examples, batch_size, chips)
    real = positions = buckets = 0
    steps = range(500, 500 + max(60, 9600 // batch_size))  # none of those that the shapes were chosen by
    for step in steps:
        items = batches.items(step)
        layout = batches.layout(items)
        real, positions = real + int(sizes[items].sum()), positions + layout.rows * layout.length
        counts = np.bincount(np.searchsorted(BUCKETS, sizes[items]), minlength=len(BUCKETS))
        buckets += int((-(-counts // chips) * chips * BUCKETS).sum())
    padded = len(steps) * max(batch_size, chips) * 128
    print(
        f"\nbatch {batch_size:5d} on {chips:3d}: {real / positions:6.1%} real, {padded / positions:5.2f} x fewer than "
        f"padded, {buckets / positions:5.2f} x fewer than buckets; shapes "
        + ", ".join(f"{shape.rows} x {shape.length}" for shape in batches.shapes)
    )
    wanted = {(1024, 8): (0.93, 2.8, 1.15), (32, 4): (0.80, 0.0, 0.0)}.get((batch_size, chips), (0.0, 0.0, 0.0))
    found = (real / positions, padded / positions, buckets / positions)
    where = f"{batch_size:,} examples on {chips} chips"
    share = f"{real / positions:.1%} real"
    record(f"positions of {where}, against padding", share, f"{real / padded:.1%} real", found[1], least(wanted[1]))
    record(
        f"positions of {where}, against four buckets", share, f"{real / buckets:.1%} real", found[2], least(wanted[2])
    )
    assert all(one >= least for one, least in zip(found, wanted, strict=True))


def test_units_are_packed_fast(examples):
    sizes, fastest = examples.lengths(), 0.0
    for _ in range(3):
        began = time.perf_counter()
        for first in range(0, len(sizes), 1000):
            pack(sizes[first : first + 1000], 128)
        fastest = max(fastest, len(sizes) / (time.perf_counter() - began))
    print(f"\npacked: {fastest:,.0f} units a second")
    assert fastest >= WANTED_UNITS


@pytest.mark.parametrize("batch_size", [32, 256, 1024])
def test_packed_batches_are_made_fast_in_training_and_in_evaluation(examples, batch_size):
    batches, training, evaluation = batches_of(examples, batch_size, 8), 0.0, 0.0
    began = time.perf_counter()
    assert batches.shapes
    chosen, steps = time.perf_counter() - began, range(100, 100 + 20_000 // batch_size)
    for _ in range(3):
        began = time.perf_counter()
        for step in steps:
            batches(step)
        training = max(training, len(steps) * batch_size / (time.perf_counter() - began))
        began = time.perf_counter()
        assert sum(len(shown.items) for shown, _ in evaluation_batches(examples, rows=batch_size)) == examples.items
        evaluation = max(evaluation, examples.items / (time.perf_counter() - began))
    print(
        f"\nbatch {batch_size}: {training:,.0f} examples a second in training, {evaluation:,.0f} in evaluation; "
        f"the shapes were chosen in {chosen:.2f} s"
    )
    assert min(training, evaluation) >= WANTED_EXAMPLES
