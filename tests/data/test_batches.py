"""Rows on the host: what stands where, what is hidden, and that evaluation shows everything once."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.data.batch import IGNORED
from xlmr_flax.data.batches import (
    EVALUATION_SHAPES,
    TRAINING_SHAPES,
    TrainingBatches,
    evaluation_batches,
    real_tokens,
    rungs,
)
from xlmr_flax.data.encoded import joined
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.masking import Masking, hide

PAD, MASK = 1, 4
SPECIALS = (0, 1, 2, 3, 4)
WORDS = np.arange(5, 60)
OPTIONS = 3


def examples_of(kind, count, *, length=20, seed=0):
    """Examples whose labels say which example they belong to."""
    random, per = np.random.default_rng(seed), OPTIONS if kind == "choice" else 1
    units = [random.integers(5, 60, random.integers(2, length + 1)).astype(np.int32) for _ in range(count * per)]
    total = sum(map(len, units))
    label = {
        "token": np.where(np.arange(total) % 3, np.arange(total), IGNORED),
        "span": np.stack([np.arange(count), np.arange(count) + 1], axis=1),
    }.get(kind, np.arange(count))
    masking = Masking(0.15, MASK, WORDS, SPECIALS) if kind == "mlm" else None
    encoded = joined(units, np.repeat(np.arange(count), per), {}, label.astype(np.int32))
    return Examples(kind, encoded, length, PAD, units_per_item=per, masking=masking)


def unit(examples, number):
    start = examples.encoded.start
    return examples.encoded.ids[start[number] : start[number + 1]]


@given(items=st.lists(st.integers(-1, 8), min_size=1, max_size=9), seed=st.integers(0, 9))
def test_rows_hold_their_units_with_positions_numbers_and_padding(items, seed):
    examples = examples_of("sequence", 9, seed=seed)
    ids, number, position = examples.batch(np.array(items), length=20).tokens
    assert ids.dtype == number.dtype == position.dtype == np.int32
    for row, item in enumerate(items):
        tokens = unit(examples, item) if item >= 0 else []
        real = np.arange(20) < len(tokens)
        np.testing.assert_array_equal(ids[row][real], tokens)
        np.testing.assert_array_equal(number[row], np.where(real, row, -1))
        np.testing.assert_array_equal(position[row], np.where(real, np.arange(20), 0))
        assert (ids[row][~real] == PAD).all()
    assert real_tokens(examples.batch(np.array(items), length=20)) == sum(
        len(unit(examples, i)) for i in items if i >= 0
    )


def test_a_unit_that_is_longer_than_its_row_is_a_mistake_and_not_cut():
    with pytest.raises(AssertionError, match=r"a unit of .* tokens in rows of 3"):
        examples_of("sequence", 5).batch(np.arange(5), length=3)


def test_targets_of_a_class_and_of_padding():
    target = examples_of("sequence", 9).batch(np.array([4, -1, 2]), length=20).target
    assert target.label_BS.tolist() == [[4], [0], [2]]
    assert target.weight_BS.tolist() == [[1.0], [0.0], [1.0]]
    assert target.first_BS.tolist() == [[0], [0], [0]]


def test_options_stand_in_consecutive_rows():
    examples = examples_of("choice", 5)
    batch = examples.batch(np.array([3, -1]), length=20)
    for option in range(OPTIONS):
        tokens = unit(examples, 3 * OPTIONS + option)
        np.testing.assert_array_equal(batch.tokens.ids_BL[option, : len(tokens)], tokens)
    assert (batch.tokens.unit_BL[OPTIONS:] == -1).all()
    assert batch.target.label_E.tolist() == [3, 0]
    assert batch.target.weight_E.tolist() == [1.0, 0.0]
    assert batch.target.first_BS.shape == (2 * OPTIONS, 1)
    assert batch.target.place_EN.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_tags_stand_at_their_tokens_and_padding_has_none():
    examples = examples_of("token", 6)
    label_BL = examples.batch(np.array([5, -1, 0]), length=20).target.label_BL
    start = examples.encoded.start
    for row, item in ((0, 5), (2, 0)):
        own = examples.encoded.label[start[item] : start[item + 1]]
        np.testing.assert_array_equal(label_BL[row, : len(own)], own)
        assert (label_BL[row, len(own) :] == IGNORED).all()
    assert (label_BL[1] == IGNORED).all()


def test_answers_are_places_in_the_row():
    target = examples_of("span", 6).batch(np.array([5, -1]), length=20).target
    assert (target.start_BS.tolist(), target.end_BS.tolist()) == ([[5], [0]], [[6], [0]])
    assert target.weight_BS.tolist() == [[1.0], [0.0]]


def hidden(rows, width, *, rate=0.3, seed=0, length=40):
    random = np.random.default_rng(seed)
    ids = random.integers(0, 60, (rows, length)).astype(np.int32)
    real = np.arange(length) < random.integers(1, width + 1, rows)[:, None]
    before, ids = ids[:, :width].copy(), ids[:, :width].copy()
    masking = Masking(rate, MASK, WORDS, SPECIALS)
    target = hide(ids, real[:, :width], masking, length=length, noise=np.random.default_rng(seed + 1))
    return before, ids, real[:, :width], target


@given(width=st.integers(1, 40), rate=st.floats(0.01, 0.6), seed=st.integers(0, 50))
def test_hidden_tokens_are_real_words_and_their_share_is_the_rate(width, rate, seed):
    before, after, real, target = hidden(8, width, rate=rate, seed=seed)
    for row in range(8):
        used = target.label_BG[row] != IGNORED
        places = target.masked_BG[row][used]
        words = real[row] & ~np.isin(before[row], SPECIALS)
        assert len(set(places)) == len(places)
        assert words[places].all()
        np.testing.assert_array_equal(target.label_BG[row][used], before[row][places])
        assert used.sum() == (max(1, round(rate * words.sum())) if words.any() else 0)
        untouched = np.setdiff1d(np.arange(width), places)
        np.testing.assert_array_equal(after[row][untouched], before[row][untouched])
        assert (target.masked_BG[row][~used] == 0).all()


def test_of_the_hidden_eight_tenths_are_masked_one_is_another_word_one_stays():
    _, after, _, target = hidden(4000, 40)
    used = target.label_BG != IGNORED
    new = np.take_along_axis(after, target.masked_BG, axis=1)[used]
    old = target.label_BG[used]
    assert len(new) > 20_000
    chance = 0.1 / len(WORDS)  # another word may be the same by chance
    for found, wanted in (
        ((new == MASK).mean(), 0.8),
        ((new == old).mean(), 0.1 + chance),
        (((new != MASK) & (new != old)).mean(), 0.1 - chance),
    ):
        assert abs(found - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / len(new))
    others = new[(new != MASK) & (new != old)]
    assert set(others) == set(WORDS)


def test_what_is_hidden_does_not_depend_on_the_compiled_length_of_the_row():
    examples = examples_of("mlm", 12, length=32)
    short = np.flatnonzero(examples.lengths() <= 16)
    for width in (16, 24):
        found, wanted = (
            examples.batch(short, length=each, noise=np.random.default_rng(3)) for each in (width, examples.length)
        )
        np.testing.assert_array_equal(found.tokens.ids_BL, wanted.tokens.ids_BL[:, :width])
        places = found.target.masked_BG.shape[1]
        np.testing.assert_array_equal(found.target.label_BG, wanted.target.label_BG[:, :places])
        assert (wanted.target.label_BG[:, places:] == IGNORED).all()


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)
    return True


def training(kind, *, count=37, batch_size=6, micro_batches=1, seed=0):
    examples = examples_of(kind, count)
    return TrainingBatches(examples, np.arange(count), batch_size=batch_size, micro_batches=micro_batches, seed=seed)


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "mlm"])
def test_a_batch_is_a_function_of_the_seed_and_its_number(kind):
    one, other = training(kind), training(kind)
    wanted = [one(step) for step in range(8)]
    for step in (7, 2, 5, 0):
        equal(other(step), wanted[step])
    with pytest.raises(AssertionError):
        equal(training(kind, seed=1)(2).tokens, wanted[2].tokens)


def test_an_example_is_hidden_differently_in_every_epoch():
    examples = examples_of("mlm", 6, length=40)
    longest = examples.lengths().argmax()
    batches = TrainingBatches(examples, np.array([longest]), batch_size=1, micro_batches=1, seed=0)
    targets = [batches(step).target for step in range(4)]
    assert len({tuple(sorted(each.masked_BG[each.label_BG != IGNORED])) for each in targets}) == 4


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "mlm"])
def test_micro_batches_are_the_batch_cut_in_order_with_the_units_numbered_through(kind):
    whole, parts = training(kind)(3), training(kind, micro_batches=3)(3)
    rows = len(whole.tokens.ids_BL[0])
    assert parts.tokens.ids_BL.shape[:2] == (3, rows // 3)
    if kind == "choice":  # an example's places are those within its micro-batch
        within = whole.target.place_EN % (rows // 3)
        whole = whole._replace(target=whole.target._replace(place_EN=within))
    equal(jax.tree.map(lambda x: x.reshape(1, -1, *x.shape[2:]), parts), whole)
    numbers = parts.tokens.unit_BL.max(axis=-1).ravel()
    assert numbers.tolist() == list(range(rows))


def test_only_the_chosen_are_shown():
    examples = examples_of("sequence", 20)
    chosen = np.array([3, 5, 8])
    batches = TrainingBatches(examples, chosen, batch_size=3, micro_batches=1, seed=0)
    assert [sorted(batches.items(step)) for step in range(3)] == [[3, 5, 8]] * 3


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span"])
@pytest.mark.parametrize("count", [1, 7, 63, 65])
def test_evaluation_shows_every_item_once_in_one_number_of_rows_and_two_lengths(kind, count):
    examples = examples_of(kind, count)
    rows, shapes, seen = 8 * examples.units_per_item, set(), []
    for shown, batch in evaluation_batches(examples, rows=rows, packing=False):
        shapes.add(batch.tokens.ids_BL.shape)
        seen += shown.items.tolist()
        real = len(shown.items) * examples.units_per_item
        assert shown.row_N.tolist() == list(range(real))
        assert (batch.tokens.unit_BL[real:] == -1).all()
        assert (batch.tokens.unit_BL[:real, 0] >= 0).all()
    assert sorted(seen) == list(range(count))
    assert len(shapes) <= EVALUATION_SHAPES
    assert {shape[0] for shape in shapes} == {rows}


@pytest.mark.parametrize("packing", [True, False])
def test_nothing_to_evaluate_is_no_batch(packing):
    assert list(evaluation_batches(examples_of("sequence", 0), rows=8, packing=packing)) == []


@given(length=st.integers(8, 512), count=st.integers(1, 5))
@settings(max_examples=300)
def test_row_lengths_rise_to_the_limit_in_steps(length, count):
    found = rungs(length, count)
    assert found[-1] == length
    assert list(found) == sorted(set(found))
    assert len(found) <= count
    assert all(rung % (8 if length <= 128 else 32) == 0 for rung in found[:-1])


def test_a_phase_compiles_four_lengths_at_most_and_uses_the_shortest_that_fits():
    examples = examples_of("sequence", 200, length=64)
    batches = TrainingBatches(examples, np.arange(200), batch_size=2, micro_batches=1, seed=0)
    widths = {}
    for step in range(100):
        width = batches(step).tokens.ids_BL.shape[-1]
        longest = examples.lengths()[batches.items(step)].max()
        assert width - 16 < longest <= width
        widths[width] = longest
    assert sorted(widths) == [16, 32, 48, 64]
    assert len(widths) <= TRAINING_SHAPES
