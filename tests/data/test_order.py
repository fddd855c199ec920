"""Which examples a step gets: a function of the seed and the step alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.data.order import first_items, items_at, steps_of

sizes = st.integers(1, 40)


@given(items=sizes, batch_size=sizes, seed=st.integers(0, 2**31 - 1))
def test_every_epoch_shows_every_example_once_whatever_the_batch_size(items, batch_size, seed):
    steps = -(-3 * items // batch_size)
    shown = np.concatenate([items_at(step, items=items, batch_size=batch_size, seed=seed) for step in range(steps)])
    assert len(shown) == steps * batch_size
    for epoch in range(3):
        assert sorted(shown[epoch * items : (epoch + 1) * items]) == list(range(items))


@given(items=sizes, batch_size=sizes, step=st.integers(0, 50))
def test_a_batch_does_not_depend_on_what_was_asked_before(items, batch_size, step):
    one = items_at(step, items=items, batch_size=batch_size, seed=5)
    for other in (step + 17, 0, step // 2):
        items_at(other, items=items, batch_size=batch_size, seed=5)
    np.testing.assert_array_equal(items_at(step, items=items, batch_size=batch_size, seed=5), one)


def test_epochs_and_seeds_have_orders_of_their_own():
    def order(epoch, seed):
        return tuple(items_at(epoch, items=30, batch_size=30, seed=seed))

    assert len({order(epoch, seed) for epoch in range(3) for seed in range(3)}) == 9


def test_the_batch_size_does_not_change_the_order():
    small = np.concatenate([items_at(step, items=50, batch_size=5, seed=1) for step in range(20)])
    large = np.concatenate([items_at(step, items=50, batch_size=25, seed=1) for step in range(4)])
    np.testing.assert_array_equal(small, large)


def test_the_order_is_the_one_it_has_always_been():
    """A finished run would be another one if this changed; raise the graph's KEY_VERSION with it."""
    assert items_at(1, items=11, batch_size=4, seed=7).tolist() == [7, 9, 6, 1]


@given(items=st.integers(1, 60), seed=st.integers(0, 99), data=st.data())
def test_smaller_subsets_lie_within_larger_ones(items, seed, data):
    large = data.draw(st.integers(1, items))
    small = data.draw(st.integers(1, large))
    one, other = (first_items(items, limit=limit, seed=seed) for limit in (small, large))
    assert (len(one), len(other)) == (small, large)
    assert set(one) <= set(other) <= set(range(items))
    assert list(other) == sorted(set(other))


def classed(draw_sizes):
    return np.repeat(np.arange(len(draw_sizes)), draw_sizes)


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=5), seed=st.integers(0, 99), data=st.data())
def test_subsets_by_class_are_nested_and_every_class_has_its_share(counts, seed, data):
    classes = np.random.default_rng(seed).permutation(classed(counts))
    large = data.draw(st.integers(1, len(classes)))
    small = data.draw(st.integers(1, large))
    one, other = (first_items(len(classes), limit=limit, seed=seed, classes=classes) for limit in (small, large))
    assert (len(one), len(other)) == (small, large)
    assert set(one) <= set(other) <= set(range(len(classes)))
    for kind, count in enumerate(counts):
        share = count / len(classes)
        assert abs((classes[one] == kind).sum() - small * share) <= 0.5 + len(counts) * share / 2 + 1e-9


def test_a_subset_of_one_class_is_what_it_is_without_classes():
    plain, one = (first_items(50, limit=9, seed=3, classes=classes) for classes in (None, np.zeros(50, int)))
    assert plain.tolist() == one.tolist()
    assert plain.tolist() == [1, 7, 12, 22, 29, 33, 40, 42, 44]  # as in phases that are done


def test_no_limit_or_a_high_one_is_everything():
    assert first_items(7, limit=None, seed=0).tolist() == first_items(7, limit=9, seed=0).tolist() == list(range(7))


def test_subsets_of_other_seeds_are_others():
    assert first_items(100, limit=10, seed=0).tolist() != first_items(100, limit=10, seed=1).tolist()


def test_steps_cover_the_epochs_and_round_up():
    assert steps_of(100, batch_size=32, epochs=1) == 4
    assert steps_of(96, batch_size=32, epochs=1) == 3
    assert steps_of(100, batch_size=32, epochs=2.5) == 8
    assert steps_of(3, batch_size=32, epochs=1) == 1
