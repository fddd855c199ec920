"""Slices of splits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Text
from xlmr_flax.tasks.splits import Slice, cut, parse


def rows_of(groups):
    return [Text(id=str(number), group=str(group), text="") for number, group in enumerate(groups)]


ROWS = st.lists(st.integers(0, 9), max_size=60).map(rows_of)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("dev", Slice("dev", 0, 100)),
        ("dev_matched", Slice("dev_matched", 0, 100)),
        ("dev[:]", Slice("dev", 0, 100)),
        ("dev[0%:100%]", Slice("dev", 0, 100)),
        ("dev[:90%]", Slice("dev", 0, 90)),
        ("dev[90%:]", Slice("dev", 90, 100)),
        ("dev[5%:10%]", Slice("dev", 5, 10)),
    ],
)
def test_specifications_are_read(spec, part):
    assert parse(spec) == part


@pytest.mark.parametrize(
    ("spec", "form"), [("dev[0%:100%]", "dev"), ("dev[0%:90%]", "dev[:90%]"), ("dev[5%:]", "dev[5%:]")]
)
def test_equal_slices_are_written_alike(spec, form):
    assert str(parse(spec)) == form
    assert parse(form) == parse(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "dev[",
        "dev[90]",
        "dev[:90]",
        "dev[.9:]",
        "dev [:90%]",
        "dev[-10%:]",
        "dev[:1000%]",
        "../dev",
        "dev[:5%][:5%]",
    ],
)
def test_what_cannot_be_read_is_refused(spec):
    with pytest.raises(InputError, match=r"the split .* cannot be read; wanted: dev, dev\[:90%\]"):
        parse(spec)


@pytest.mark.parametrize("spec", ["dev[90%:10%]", "dev[50%:50%]", "dev[:0%]", "dev[100%:]", "dev[:101%]"])
def test_what_takes_nothing_is_refused(spec):
    with pytest.raises(InputError, match="takes nothing: its percents must rise, from 0 to 100"):
        parse(spec)


@given(rows=ROWS, percent=st.integers(1, 99))
def test_two_slices_at_one_percent_part_the_rows_by_groups(rows, percent):
    first, second = cut(rows, f"dev[:{percent}%]"), cut(rows, f"dev[{percent}%:]")
    assert sorted(first + second, key=lambda row: int(row.id)) == rows
    assert not {row.group for row in first} & {row.group for row in second}


@given(rows=ROWS, percents=st.tuples(st.integers(1, 49), st.integers(50, 99)))
def test_three_slices_hold_every_row_once_in_the_order_of_the_file(rows, percents):
    low, high = percents
    parts = [cut(rows, spec) for spec in (f"dev[:{low}%]", f"dev[{low}%:{high}%]", f"dev[{high}%:]")]
    assert sorted(row for part in parts for row in part) == sorted(rows)
    assert all(part == [row for row in rows if row in part] for part in parts)


@given(rows=ROWS)
def test_a_split_without_a_slice_is_whole(rows):
    assert cut(rows, "dev") == rows


def test_percents_count_groups_not_rows():
    rows = rows_of([0, 0, 0, 0, 0, 0, 1, 2, 3, 0])
    assert [row.group for row in cut(rows, "dev[:25%]")] == ["0"] * 7
    assert [row.group for row in cut(rows, "dev[25%:]")] == ["1", "2", "3"]
    assert cut(rows, "dev[:24%]") == []
