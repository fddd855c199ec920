"""The search, with programs that cost what a formula says."""

import io

import pytest
from rich.console import Console

from xlmr_flax.plan.chips import slice_of
from xlmr_flax.plan.compiler import Built
from xlmr_flax.plan.figures import Program
from xlmr_flax.plan.hlo import Cost
from xlmr_flax.plan.programs import Shape
from xlmr_flax.plan.search import REMATS, Ask, Layout, at_depth, extrapolated, layouts, neighbours, search
from xlmr_flax.plan.table import print_outcomes

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


def asked(build=formula, *, layers=24, limit=LIMIT, least=lambda layout, layers: 0):
    """What is asked, and lists of what was compiled and said meanwhile."""
    compiled, said = [], []

    def noted(layout, layers):
        compiled.append((layout, layers))
        return build(layout, layers)

    return Ask(noted, least, layers, limit, said.append), compiled, said


def searched(stages, **more):
    ask, _, said = asked(**more)
    return search(stages, ask), said


def all_of(stages):
    return [layout for stage in stages for family in stage for layout in family]


def test_the_fastest_that_fits_comes_first_and_is_compiled_whole():
    stages = layouts(8, 256, layers_split=16, accumulation=1)
    found, _ = searched(stages)
    everything = [layout for layout in all_of(stages[:2]) if formula(layout, 24).built.fits]
    assert not any(formula(layout, 24).built.fits for layout in all_of(stages[:1]))
    best = min(everything, key=lambda layout: formula(layout, 24).step_seconds)
    best = best._replace(reshard_after_forward=False)  # which fits too, and is a neighbour
    assert (found[0].layout, found[0].fits, found[0].whole.built.fits) == (best, True, True)
    assert sum(one.whole is not None for one in found if not one.layout.scan_layers) == 3


def test_less_fsdp_is_tried_until_it_is_slower_or_does_not_fit():
    def fastest_at_four(layout, layers):
        found = formula(layout._replace(fsdp=1), layers)
        return found._replace(cost=found.cost._replace(cycles={"x": 1000 + layers * (16 // layout.fsdp + layout.fsdp)}))

    family = [Layout(fsdp, 1, "layers", 1) for fsdp in (64, 32, 16, 8, 4, 2, 1)]
    ask, compiled, _ = asked(fastest_at_four)
    found = search([[family]], ask)
    assert found[0].layout.fsdp == 4
    assert [one for one in compiled if one[1] == 2][:6] == [(layout, 2) for layout in family[:6]]
    assert (family[6], 2) not in compiled
    ask, compiled, _ = asked()
    search([[[Layout(fsdp, 1, "none", 1) for fsdp in (8, 4, 2, 1)]]], ask)
    assert [layout.fsdp for layout, _ in compiled] == [8, 8, 4, 4]


def test_what_cannot_fit_is_never_compiled():
    def state(layout, layers):
        return None if layout.fsdp == 8 else 400 // layout.fsdp * layers

    stage = [[Layout(fsdp, 1, "layers", 1) for fsdp in (8, 4, 2, 1)]]
    ask, compiled, _ = asked(layers=100, least=state, limit=10_000)
    search([stage], ask)
    assert {layout.fsdp for layout, _ in compiled} == {4}
    ask, compiled, said = asked(layers=24, least=lambda layout, layers: 1000 * layers)
    assert (search([stage], ask), compiled, said) == ([], [], [])


def test_the_deeper_program_is_compiled_only_where_the_shallow_one_leaves_room():
    ask, compiled, _ = asked(least=lambda layout, layers: 600 * layers)
    one = extrapolated(Layout(1, 1, "layers", 1), ask)
    assert (one.fits, one.hbm_bytes) == (False, formula(one.layout, 2).built.hbm_bytes + 22 * 600)
    assert compiled == [(one.layout, 2)]


def test_two_depths_tell_of_any():
    assert at_depth((2, 4), (10.0, 14.0), 24) == 54
    one = extrapolated(Layout(8, 1, "layers", 1), asked()[0])
    assert one.hbm_bytes == formula(one.layout, 24).built.hbm_bytes
    assert one.seconds == pytest.approx(formula(one.layout, 24).step_seconds)


def test_more_layers_never_take_less_memory():
    def thriftier_when_deep(layout, layers):
        found = formula(layout, layers)
        return found._replace(built=found.built._replace(hbm_bytes=5000 - 100 * layers))

    assert extrapolated(Layout(8, 1, "none", 1), asked(thriftier_when_deep)[0]).hbm_bytes == 4600
    ask, _, _ = asked(thriftier_when_deep, least=lambda layout, layers: 300 * layers)
    assert extrapolated(Layout(8, 1, "none", 1), ask).hbm_bytes == 7200


def test_a_scan_over_the_layers_is_compiled_whole_at_once():
    ask, compiled, said = asked()
    found = search(layouts(8, 256, layers_split=16, accumulation=1, scan_layers=True)[1:2], ask)
    scanned = [one for one in found if one.layout.scan_layers]
    assert sorted(one for one in compiled if one[0].scan_layers) == sorted((one.layout, 24) for one in scanned)
    assert len(scanned) > 3
    assert all(one.whole and one.error is None for one in scanned)
    assert [one.step_seconds for one in scanned] == [formula(one.layout, 24).step_seconds for one in scanned]
    (other,) = [one.layout for one in found if not one.layout.scan_layers]
    assert other._replace(scan_layers=True) in [one.layout for one in scanned]
    assert [layers for layout, layers in compiled if layout == other] == [2, 4, 24]
    assert "search: fsdp=8 remat=elementwise scan_layers reshard_after_forward, all 24 layers" in said


def test_the_error_of_the_extrapolation_is_told():
    def slower_when_deep(layout, layers):
        found = formula(layout, layers)
        factor = 2 if layers == 24 else 1
        return found._replace(cost=found.cost and found.cost._replace(cycles={"x": factor * found.cost.cycles["x"]}))

    found, _ = searched(layouts(8, 256, layers_split=16, accumulation=1), build=slower_when_deep)
    assert found[0].error == pytest.approx(-0.5)


def test_what_fits_shallow_and_not_whole_is_not_the_best():
    def too_large_when_deep(layout, layers):
        found = formula(layout, layers)
        over = layers == 24 and (layout.scan_layers or layout.remat == "elementwise")
        return found._replace(built=found.built._replace(fits=found.built.fits and not over))

    found, _ = searched([[[Layout(4, 1, "elementwise", 1)]]], build=too_large_when_deep)
    assert [(str(one.layout), one.fits) for one in found if one.whole] == [
        ("fsdp=4 remat=layers", True),
        ("fsdp=4 remat=elementwise reshard_after_forward", False),
        ("fsdp=4 remat=elementwise", False),
        ("fsdp=4 remat=elementwise scan_layers", False),
    ]


def test_more_micro_batches_are_tried_only_where_nothing_else_fits():
    first, then = [[Layout(1, 1, "none", 1)]], [[Layout(1, 1, "layers", 2)]]
    near = neighbours(then[0][0])
    assert {one.layout for one in searched([then, first])[0]} == {*then[0], *near}
    assert {one.layout for one in searched([first, then])[0]} == {*then[0], *first[0], *near}


def test_where_nothing_fits_nothing_is_compiled_whole():
    found, said = searched([[[Layout(1, 1, "none", 1)]]])
    assert (found[0].fits, found[0].whole) == (False, None)
    assert said == ["search: fsdp=1, 2 and 4 of 24 layers", "    at least 0.00 GiB a device: does not fit"]


def test_what_the_compiler_crashes_on_is_not_said_to_be_too_large():
    def crashed(layout, layers):
        found = formula(layout, layers)
        none = Built(None, None, None, None, None, None)
        return found._replace(built=none, cost=None) if layout.remat == "layers" else found

    family = [
        [Layout(4, 1, "layers", 1)],
        [Layout(4, 1, "layers", 1, scan_layers=True)],
        [Layout(4, 1, "elementwise", 1)],
    ]
    found, said = searched([family], build=crashed)
    assert said[:4] == [
        "search: fsdp=4 remat=layers, 2 and 4 of 24 layers", "    unknown: libtpu crashed",
        "search: fsdp=4 remat=layers scan_layers, all 24 layers", "    unknown: libtpu crashed",
    ]  # fmt: skip
    assert {one.layout.remat for one in found if one.fits} == {"elementwise"}
    out = Console(width=200, file=io.StringIO())
    print_outcomes("target", found, out)
    lines = [" ".join(line.split()) for line in out.file.getvalue().splitlines()]
    assert "fsdp=4 remat=layers unknown: libtpu crashed ≥ unknown" in lines
    assert "fsdp=4 remat=layers scan_layers unknown: libtpu crashed unknown" in lines


def test_layouts_divide_devices_and_rows():
    for layout in all_of(layouts(8, 24, layers_split=4, accumulation=1)):
        assert 8 % (layout.fsdp * layout.tensor) == 0
        assert 24 % (layout.accumulation * 8 // layout.tensor) == 0
        assert layout.tensor in (1, 2, 4)


def test_weights_stay_within_a_slice():
    found = all_of(layouts(16, 256, layers_split=16, accumulation=1, slices=2))
    assert max(layout.fsdp * layout.tensor for layout in found) == 8


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
    ]
    assert [one.remat for one in neighbours(Layout(1, 1, "elementwise", 1))[1:]] == ["none", "layers"]
    assert [str(layout) for layout in neighbours(Layout(1, 1, "layers", 1))] == [
        "fsdp=1 remat=layers scan_layers", "fsdp=1 remat=elementwise",
    ]  # fmt: skip
    found, _ = searched([[[Layout(8, 1, "layers", 1)]]])
    assert found[0].layout == Layout(8, 1, "elementwise", 1)
