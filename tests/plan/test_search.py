"""The search, with programs that cost what a formula says."""

import pytest

from xlmr_flax.plan import search as search_module
from xlmr_flax.plan.chips import slice_of
from xlmr_flax.plan.compiler import Built
from xlmr_flax.plan.figures import Program
from xlmr_flax.plan.hlo import Cost
from xlmr_flax.plan.programs import Shape
from xlmr_flax.plan.search import REMATS, Layout, at_depth, extrapolated, layouts, neighbours, search

SHAPE = Shape(256, 128, 1.0, None, 256, 32768, 1e12)
LIMIT = 16_000


def formula(layout, layers):
    """Less memory with more fsdp, remat and accumulation; each costs time."""
    remat, again, scanned = REMATS.index(layout.remat), layout.reshard_after_forward, layout.scan_layers
    cycles = 1000 + layers * (100 + 10 * layout.fsdp + 33 * remat + 7 * layout.accumulation + 5 * again + 50 * scanned)
    needed = 4000 // layout.fsdp + layers * (800 // (layout.accumulation * (1, 4, 8)[remat]) - 100 * again)
    built = Built(needed <= LIMIT, 0, 0, needed, 1.0, None)
    cost = Cost({"x": cycles}, 0, (), ()) if built.fits else None
    return Program("target", "train", SHAPE, built, slice_of("v5e:2x4"), LIMIT, cost)


def searched(stages, *, layers=24, build=formula):
    said = []
    found = search(stages, build, layers=layers, limit=LIMIT, say=said.append)
    return found, said


def test_the_fastest_that_fits_comes_first_and_is_compiled_whole():
    stages = layouts(8, 256, layers_split=16, accumulation=1)
    found, _ = searched(stages)
    everything = [layout for stage in stages[:2] for layout in stage if formula(layout, 24).built.fits]
    assert not any(formula(layout, 24).built.fits for layout in stages[0])
    best = min(everything, key=lambda layout: formula(layout, 24).step_seconds)
    best = best._replace(reshard_after_forward=False)  # which fits too, and is a neighbour
    assert (found[0].layout, found[0].fits, found[0].whole.built.fits) == (best, True, True)
    assert sum(one.whole is not None for one in found) == 3


def test_two_depths_tell_of_any():
    assert at_depth((2, 4), (10.0, 14.0), 24) == 54
    one = extrapolated(Layout(8, 1, "layers", 1), formula, layers=24, limit=LIMIT)
    assert one.hbm_bytes == formula(one.layout, 24).built.hbm_bytes
    assert one.seconds == pytest.approx(formula(one.layout, 24).step_seconds)


def test_the_error_of_the_extrapolation_is_told():
    def slower_when_deep(layout, layers):
        found = formula(layout, layers)
        factor = 2 if layers == 24 else 1
        return found._replace(cost=found.cost and found.cost._replace(cycles={"x": factor * found.cost.cycles["x"]}))

    found, _ = searched(layouts(8, 256, layers_split=16, accumulation=1), build=slower_when_deep)
    assert found[0].error == pytest.approx(-0.5)


def test_what_fits_shallow_and_not_whole_is_not_the_best(monkeypatch):
    def too_large_when_deep(layout, layers):
        found = formula(layout, layers)
        over = layers == 24 and layout.fsdp < 4
        return found._replace(built=found.built._replace(fits=found.built.fits and not over))

    monkeypatch.setattr(search_module, "neighbours", lambda layout: [])
    found, _ = searched([[Layout(fsdp, 1, "layers", 1) for fsdp in (1, 2, 4)]], build=too_large_when_deep)
    assert [(one.layout.fsdp, one.fits) for one in found] == [(4, True), (1, False), (2, False)]


def test_more_micro_batches_are_tried_only_where_nothing_else_fits():
    first, then = [Layout(1, 1, "none", 1)], [Layout(1, 1, "layers", 2)]
    near = neighbours(then[0])
    assert {one.layout for one in searched([then, first])[0]} == {*then, *near}
    assert {one.layout for one in searched([first, then])[0]} == {*then, *first, *near}


def test_where_nothing_fits_nothing_is_compiled_whole():
    found, said = searched([[Layout(1, 1, "none", 1)]])
    assert (found[0].fits, found[0].whole) == (False, None)
    assert said == ["search: fsdp=1 (1 of 1)"]


def test_layouts_divide_devices_and_rows():
    for stage in layouts(8, 24, layers_split=4, accumulation=1):
        for layout in stage:
            assert 8 % (layout.fsdp * layout.tensor) == 0
            assert 24 % (layout.accumulation * 8 // layout.tensor) == 0
            assert layout.tensor in (1, 2, 4)


def test_weights_stay_within_a_slice():
    found = layouts(16, 256, layers_split=16, accumulation=1, slices=2)
    assert max(layout.fsdp * layout.tensor for stage in found for layout in stage) == 8


def test_a_layout_is_written_as_a_config_has_it():
    assert Layout(8, 2, "elementwise", 4).toml("target") == (
        '[model]\nremat = "elementwise"\nscan_layers = false\n\n[mesh]\nfsdp = 8\ntensor = 2\n\n'
        '[[phases]]\nname = "target"\naccumulation = 4'
    )


def test_what_differs_in_one_thing_from_the_best_is_tried_as_well():
    near = neighbours(Layout(8, 1, "none", 1))
    assert [str(layout) for layout in near] == [
        "fsdp=8 scan_layers",
        "fsdp=8 reshard_after_forward",
        "fsdp=8 remat=elementwise",
        "fsdp=8 remat=layers",
    ]
    assert [str(layout) for layout in neighbours(Layout(1, 1, "layers", 1))] == [
        "fsdp=1 remat=layers scan_layers", "fsdp=1", "fsdp=1 remat=elementwise",
    ]  # fmt: skip
    found, _ = searched([[Layout(8, 1, "layers", 1)]])
    assert found[0].layout == Layout(8, 1, "elementwise", 1)
