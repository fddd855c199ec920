"""Packed rows: nothing is lost, parted or changed, and few positions are padding."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.data.batch import IGNORED
from xlmr_flax.data.batches import EVALUATION_SHAPES, TRAINING_SHAPES, TrainingBatches, evaluation_batches, real_tokens
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.masking import Masking
from xlmr_flax.data.packing import SLOT, Shape, groups, ladder, pack, packed, row_lengths

PAD, MASK = 1, 4
WORDS = np.arange(5, 60)
KINDS = ("sequence", "choice", "token", "span", "mlm", "embedding", "dual")
UNITS = {"choice": 3, "dual": 2}
LOADS = st.lists(st.integers(1, 40), min_size=1, max_size=60).map(np.array)


def examples_of(kind, sizes, *, rate=0.15, length=None, seed=0):
    """Units of these sizes, with labels that say where they are from."""
    per, random = UNITS.get(kind, 1), np.random.default_rng(seed)
    units = [random.integers(5, 60, size).astype(np.int32) for size in sizes]
    count, total = len(units) // per, sum(sizes)
    label = {
        "token": np.where(np.arange(total) % 3, np.arange(total), IGNORED),
        "span": np.stack([np.zeros(count), np.array(sizes[: count * per : per]) - 1], axis=1),
    }.get(kind, np.arange(count))
    masking = Masking(rate, MASK, WORDS, (0, 1, 2, 3, 4)) if kind == "mlm" else None
    encoded = joined(units, np.repeat(np.arange(count), per), {}, label.astype(np.int32))
    return Examples(kind, encoded, length or max(sizes), PAD, units_per_item=per, masking=masking)


@given(loads=LOADS)
def test_no_two_units_overlap_and_at_most_one_row_is_half_empty(loads):
    row_N, offset_N, rows = pack(loads, 40)
    taken = np.zeros((rows, 40), int)
    for row, offset, load in zip(row_N, offset_N, loads, strict=True):
        assert offset + load <= 40
        taken[row, offset : offset + load] += 1
    assert taken.max() == 1
    fill = taken.sum(axis=1)
    assert fill.min() > 0
    assert (fill <= 20).sum() <= 1
    # the first free token of a row is the last but for free ones
    assert all(taken[row, : fill[row]].all() for row in range(rows))


def test_the_row_that_a_unit_fills_best_takes_it():
    row_N, offset_N, rows = pack(np.array([6, 7, 3, 4, 10]), 10)
    assert rows == 3
    assert row_N.tolist() == [2, 1, 1, 2, 0]
    assert offset_N.tolist() == [0, 0, 7, 6, 0]


@given(one=LOADS, other=LOADS, rows=st.integers(1, 70))
def test_micro_batches_have_rows_of_their_own_or_do_not_fit(one, other, rows):
    found, needed = packed([one, other], Shape(rows, 40)), max(pack(each, 40)[2] for each in (one, other))
    assert (found is None) == (needed > rows)
    if found is not None:
        assert (found.row_N[: len(one)] < rows).all()
        assert (found.row_N[len(one) :] >= rows).all()
        assert found.row_N.max() < found.rows == 2 * rows


def test_a_unit_longer_than_the_row_does_not_fit():
    assert packed([np.array([3]), np.array([9])], Shape(5, 8)) is None


@given(loads=LOADS.filter(lambda loads: len(loads) % 2 == 0), rows=st.integers(2, 9))
def test_groups_are_all_items_in_their_order_and_fill_their_rows(loads, rows):
    loads_EN = loads.reshape(-1, 2)
    found = list(groups(loads_EN, Shape(rows, 40)))
    assert [number for part, _ in found for number in range(len(loads_EN))[part]] == list(range(len(loads_EN)))
    for part, layout in found:
        assert layout.rows == rows
        assert len(layout.row_N) == loads_EN[part].size
        assert layout.row_N.max() < rows
    for part, _ in found[:-1]:  # whatever comes next would need one row more, or nearly so
        assert loads_EN[part].sum() > 40 * rows / 2 - 80


def in_order(batch, aim):
    """What each unit's tokens are, with what `aim` says of each position, by the unit's number."""
    unit_BL = np.asarray(batch.tokens.unit_BL).reshape(-1)
    parts = [np.asarray(x).reshape(-1) for x in (batch.tokens.ids_BL, batch.tokens.position_BL, aim)]
    found = {}
    for number in range(unit_BL.max() + 1):
        (at,) = np.nonzero(unit_BL == number)
        assert (np.diff(at) == 1).all()
        found[number] = [part[at].tolist() for part in parts]
    return found


def asked(kind, batch):
    """All that a target says, as one value for each position of the rows; IGNORED where nothing is asked."""
    rows, length = batch.tokens.ids_BL.shape
    aim, said = batch.target, np.full((rows, length), IGNORED)
    if kind == "token":
        return aim.label_BL
    row = np.arange(rows)[:, None]
    if kind == "mlm":
        used = aim.label_BG != IGNORED
        said[np.broadcast_to(row, used.shape)[used], aim.masked_BG[used]] = aim.label_BG[used]
        return said
    if kind in ("choice", "dual"):
        place, values = (aim.place_EN, aim.label_E) if kind == "choice" else (aim.place_E2, aim.document_E)
        said[np.divmod(place, aim.first_BS.shape[1])[0], aim.first_BS.reshape(-1)[place]] = (
            10 * values[:, None] + np.arange(place.shape[1])[None]
        )
        assert (aim.weight_E == 1).all()
        return said
    if kind == "embedding":
        said[row, aim.first_BS] = 1
        return said
    used = aim.weight_BS > 0
    assert set(np.unique(aim.weight_BS)) <= {0, 1}
    if kind == "sequence":
        said[np.broadcast_to(row, used.shape)[used], aim.first_BS[used]] = aim.label_BS[used]
    else:
        said[np.broadcast_to(row, used.shape)[used], aim.start_BS[used]] = 1
        said[np.broadcast_to(row, used.shape)[used], aim.end_BS[used]] += 1000
    return said


def unpacked_and_packed(kind, sizes, *, batch_size, seed=0, shards=1, **how):
    examples = examples_of(kind, sizes, seed=seed, **how)
    return [
        TrainingBatches(
            examples, np.arange(examples.items), batch_size=batch_size, micro_batches=1, seed=seed, packed_over=over
        )
        for over in (None, shards)
    ]


@pytest.mark.parametrize("kind", KINDS)
@given(sizes=st.lists(st.integers(2, 60), min_size=12, max_size=30), seed=st.integers(0, 9))
@settings(max_examples=15)
def test_every_unit_has_the_same_tokens_positions_number_and_target_packed_as_alone(kind, sizes, seed):
    per = UNITS.get(kind, 1)
    plain, tight = unpacked_and_packed(kind, sizes[: len(sizes) // per * per], batch_size=6, seed=seed)
    for step in range(2):
        one, other = (jax.tree.map(lambda x: x[0], batches(step)) for batches in (plain, tight))
        assert in_order(one, asked(kind, one)) == in_order(other, asked(kind, other))
        assert real_tokens(one) == real_tokens(other)


@given(
    sizes=st.lists(st.integers(2, 70), min_size=4, max_size=30), rate=st.floats(0.01, 0.9), length=st.integers(70, 200)
)
@settings(max_examples=60)
def test_a_row_has_room_for_all_hidden_tokens_and_all_units_whatever_their_lengths(sizes, rate, length):
    examples = examples_of("mlm", sizes, rate=rate)
    items = np.arange(len(sizes))
    loads = examples.loads(items, length)
    assert (loads >= np.minimum(SLOT, length)).all()
    assert loads.max() <= length
    layout = packed([loads], Shape(len(sizes), length))
    batch = examples.laid(items, layout, noise=np.random.default_rng(0))  # asserts what would be written twice
    alone = examples.batch(items, length=length, noise=np.random.default_rng(0))
    assert (batch.target.label_BG != IGNORED).sum() == (alone.target.label_BG != IGNORED).sum()
    assert layout.slot_N.max() < layout.slots


def test_options_of_an_example_may_lie_in_rows_far_apart_but_in_one_micro_batch():
    examples = examples_of("choice", [50, 8, 20, 45, 9, 30] * 10)
    batches = TrainingBatches(examples, np.arange(20), batch_size=8, micro_batches=2, seed=0, packed_over=2)
    tokens, target = batches(0)[:2]
    assert target.place_EN.shape == (2, 4, 3)
    first, parted = target.first_BS.reshape(2, -1), 0
    for part, example in np.ndindex(2, 4):
        row, _ = np.divmod(target.place_EN[part, example], target.first_BS.shape[2])
        start = first[part][target.place_EN[part, example]]
        numbers = tokens.unit_BL[part, row, start]
        assert numbers.tolist() == [3 * (4 * part + example) + option for option in range(3)]
        parted += len(set(row)) > 1
    assert parted


def test_a_ladder_has_the_shapes_that_cost_least_and_one_that_takes_everything():
    steps = [np.full(8, 16)] * 9 + [np.full(8, 32)]
    found = ladder(steps, lambda loads, length: [loads], [16, 32, 64], last=Shape(8, 32), shards=1, count=3)
    assert Shape(8, 16) in found
    assert Shape(8, 32) in found
    assert list(found) == sorted(found, key=lambda shape: shape.cost)
    one = ladder(steps, lambda loads, length: [loads], [16, 32, 64], last=Shape(8, 32), shards=1, count=1)
    assert one == (Shape(8, 32),)


def test_a_step_a_little_larger_than_all_sampled_ones_does_not_need_the_last_shape():
    steps = [np.full(rows, 16) for rows in (9, 10, 11, 12, 10, 11)]
    found = ladder(steps, lambda loads, length: [loads], [16], last=Shape(50, 16), shards=1, count=4)
    assert any(12 < shape.rows < 20 for shape in found)


@given(
    sizes=st.lists(st.integers(2, 64), min_size=8, max_size=40),
    shards=st.sampled_from([1, 2, 4]),
    micro=st.sampled_from([1, 2]),
)
@settings(max_examples=25)
def test_a_phase_has_four_shapes_at_most_that_divide_and_any_batch_finds_one(sizes, shards, micro):
    examples = examples_of("sequence", sizes, length=64)
    batches = TrainingBatches(
        examples, np.arange(len(sizes)), batch_size=8, micro_batches=micro, seed=0, packed_over=shards
    )
    assert len(batches.shapes) <= TRAINING_SHAPES
    assert all(shape.rows % shards == 0 and shape.length % SLOT == 0 for shape in batches.shapes)
    longest = np.full(8, np.argmax(sizes))  # a batch of the longest unit alone
    assert batches.layout(longest).length >= max(sizes)
    for step in range(3):
        assert batches(step).tokens.ids_BL.shape[1:] in [tuple(shape) for shape in batches.shapes]


def test_the_shapes_do_not_depend_on_the_number_of_steps_or_hosts_on_the_seed_or_on_how_many_are_chosen():
    sizes = np.random.default_rng(0).integers(8, 64, 50).tolist()
    _, one = unpacked_and_packed("sequence", sizes, batch_size=8)
    _, other = unpacked_and_packed("sequence", sizes, batch_size=8)
    other(70)
    assert one.shapes == other.shapes
    few = TrainingBatches(one.examples, np.arange(20), batch_size=8, micro_batches=1, seed=7, packed_over=1)
    assert one.shapes == few.shapes


@pytest.mark.parametrize("longest", [8, 30, 128, 200, 512])
def test_row_lengths_are_steps_of_32_and_of_8_below_128(longest):
    found = row_lengths(longest)
    assert found == sorted(set(found))
    assert all(length % (8 if length < 128 else 32) == 0 for length in found)
    assert found[-1] >= longest


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "embedding", "dual"])
@pytest.mark.parametrize("count", [1, 7, 63, 65])
def test_evaluation_shows_every_unit_once_where_it_says(kind, count):
    per = UNITS.get(kind, 1)
    sizes = np.random.default_rng(count).integers(3, 20, count * per)
    examples, seen, shapes = examples_of(kind, sizes.tolist(), length=20), [], set()
    for shown, batch in evaluation_batches(examples, rows=8 * per):
        shapes.add(str(jax.tree.map(np.shape, batch)))
        seen += shown.items.tolist()
        assert shown.units.tolist() == examples.units(shown.items).tolist()
        for unit, row, slot, offset, size in zip(*shown[1:], strict=True):
            start = examples.encoded.start[unit]
            ids = examples.encoded.ids[start : start + size]
            np.testing.assert_array_equal(batch.tokens.ids_BL[row, offset : offset + size], ids)
            if kind != "token":
                assert batch.target.first_BS[row, slot] == offset
        assert real_tokens(batch) == shown.size_N.sum()
    assert sorted(seen) == list(range(count))
    assert len(shapes) <= EVALUATION_SHAPES


def test_languages_of_other_lengths_share_the_programs():
    random, shapes = np.random.default_rng(0), set()
    for most in (12, 20, 40, 64):
        examples = examples_of("choice", random.integers(3, most, 3 * most).tolist(), length=64)
        shapes |= {str(jax.tree.map(np.shape, batch)) for _, batch in evaluation_batches(examples, rows=6)}
    assert len(shapes) == EVALUATION_SHAPES


@given(sizes=st.lists(st.integers(1, 64), min_size=1, max_size=80))
@settings(max_examples=40)
def test_packed_evaluation_never_costs_more_than_a_row_for_each_unit(sizes):
    examples = examples_of("sequence", sizes, length=64)
    cost = [
        sum(
            Shape(*batch.tokens.ids_BL.shape).cost for _, batch in evaluation_batches(examples, rows=4, packing=packing)
        )
        for packing in (True, False)
    ]
    assert cost[0] <= cost[1]


def reference_lengths(count):
    """Lengths like those of XNLI's English: log-normal, mean 42, 95th percentile 80."""
    drawn = np.exp(np.log(38) + 0.45 * np.random.default_rng(0).standard_normal(count))
    return np.clip(np.rint(drawn), 8, 128).astype(int)


def in_buckets(lengths, buckets, shards):
    """Positions of a batch whose units are padded to the shortest bucket that takes them, each over all devices."""
    counts = np.bincount(np.searchsorted(buckets, lengths), minlength=len(buckets))
    return int((-(-counts // shards) * shards * np.array(buckets)).sum())


@pytest.mark.parametrize(
    ("batch_size", "chips", "share", "than_padded", "than_buckets"),
    [(32, 4, 0.80, 2.4, 1.0), (1024, 8, 0.93, 2.8, 1.15), (1024, 4, 0.93, 2.8, 1.15), (1024, 256, 0.80, 2.4, 1.0)],
)
def test_most_positions_are_real(batch_size, chips, share, than_padded, than_buckets):
    sizes = reference_lengths(20_000)
    examples = examples_of("sequence", sizes.tolist(), length=128)
    batches = TrainingBatches(
        examples, np.arange(len(sizes)), batch_size=batch_size, micro_batches=1, seed=0, packed_over=chips
    )
    real = positions = buckets = 0
    steps = range(1000, 1000 + max(10, 3000 // batch_size))  # none of those that the shapes were chosen by
    for step in steps:
        items = batches.items(step)
        layout = batches.layout(items)
        real, positions = real + sizes[items].sum(), positions + layout.rows * layout.length
        buckets += in_buckets(sizes[items], (32, 48, 72, 128), chips)
    assert real / positions >= share
    assert len(steps) * batch_size * 128 / positions >= than_padded
    assert buckets / positions >= than_buckets
