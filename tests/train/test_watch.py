"""A loss that never fell, seen from the log's rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.train.watch import FEWEST_ROWS, ROWS, Watch


def watched(losses):
    watch = Watch("toy", max_skipped_steps=1, batch_of=str)
    for loss in losses:
        watch.lost(loss)
    return watch


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ([1.1] * 3, False),  # too few to say
        ([1.1] * 4, True),
        ([1.1, 1.1, 1.1, 1.06], True),  # its last two are no lower than 0.98 of its first
        ([1.1, 1.1, 1.0, 1.0], False),
        ([1.1, *[0.2] * 30, *[1.09] * 10], True),
        ([1.1, *[1.1] * 30, *[0.2] * 10], False),
        ([0.2, 0.5, 0.9, 1.1], True),
    ],
)
def test_the_last_rows_are_compared_with_the_first(losses, wanted):
    assert watched(losses).never_fell() == wanted


@given(st.lists(st.floats(0.1, 9), max_size=40), st.integers(0, 40))
def test_a_restart_changes_nothing_and_little_is_kept(losses, stop):
    parted = watched(losses[:stop])
    again = watched([])
    again.restore(json.loads(json.dumps(parted.carry())))
    for loss in losses[stop:]:
        again.lost(loss)
    whole = watched(losses)
    assert (again.carry(), again.never_fell()) == (whole.carry(), whole.never_fell())
    assert len(whole.losses) <= ROWS + 1
    if len(losses) >= FEWEST_ROWS:
        assert whole.losses[0] == losses[0]
        assert whole.losses[-1] == losses[-1]
