"""From cycles and bytes to seconds, throughput and hours."""

import pytest

from xlmr_flax.plan.chips import slice_of
from xlmr_flax.plan.compiler import Built
from xlmr_flax.plan.figures import Program, phase_figures
from xlmr_flax.plan.hlo import Collective, Cost, Kernel
from xlmr_flax.plan.programs import Shape

SHAPE = Shape(rows=256, length=128, share=1.0, batch=None, items=256, tokens=10752, flops=1e12)
BUILT = Built(True, 2**30, 2**30, 3 * 2**30, 60.0, None)


def planned(topology="v5e:2x4", *, cycles=15_000_000, collectives=(), kernels=(), step="train", slices=1, **shape):
    """A program with these costs."""
    cost = Cost({"attention": cycles}, 0, tuple(collectives), tuple(kernels))
    return Program("target", step, SHAPE._replace(**shape), BUILT, slice_of(topology, slices), 2**34, cost)


def test_cycles_become_seconds_by_the_clock():
    assert planned().compute_seconds == pytest.approx(0.010)
    assert planned().as_json()["examples_per_second"] == pytest.approx(25600)
    assert planned().as_json()["useful_tokens_per_second"] == pytest.approx(1_075_200)


def test_utilisation_is_what_the_real_tokens_need_of_the_peak():
    assert planned().as_json()["model_flops_utilisation"] == pytest.approx(3e12 / (0.010 * 8 * 197e12))
    assert planned(step="eval").as_json()["model_flops_utilisation"] == pytest.approx(1e12 / (0.010 * 8 * 197e12))


def test_an_exchange_beside_computing_costs_only_what_is_longer():
    quick, slow = (Collective("all-gather", 1, size, crosses=False, beside=True) for size in (10**9, 4 * 10**9))
    assert planned(collectives=[quick]).step_seconds == pytest.approx(0.010)
    assert planned(collectives=[slow]).step_seconds == pytest.approx(0.020)


def test_an_exchange_that_computing_waits_for_adds():
    alone = Collective("all-reduce", 2, 10**9, crosses=False, beside=False)
    assert planned(collectives=[alone]).step_seconds == pytest.approx(0.015)
    assert planned(collectives=[alone]).as_json()["collectives"] == {"all-reduce": {"count": 2, "bytes": 10**9}}


def test_an_exchange_between_slices_takes_the_network_of_the_data_centre():
    across = Collective("all-reduce", 1, 3_125_000, crosses=True, beside=False)
    assert planned(collectives=[across], slices=2).collective_seconds == pytest.approx(0.001)


def test_a_custom_kernel_is_never_free():
    busy = Kernel(197e9, 0, stated=True, times=24, source="attention")  # 1 ms at the peak
    moving = Kernel(0, 819e6, stated=True, times=1, source="attention")  # 1 ms at the bandwidth
    assert planned(kernels=[busy]).compute_seconds == pytest.approx(0.034)
    assert planned(kernels=[moving]).compute_seconds == pytest.approx(0.011)
    assert dict(planned(kernels=[busy]).sources) == {"attention": pytest.approx(0.034)}


def test_two_devices_of_a_chip_share_its_memory_and_its_rates():
    moving = Kernel(0, 350e6, stated=True, times=1, source="attention")
    found = planned("v2:2x2", cycles=7_000_000, kernels=[moving])
    assert found.compute_seconds == pytest.approx(0.010 + 0.001)
    assert found.as_json()["hbm_bytes_per_chip"] == 6 * 2**30


def test_what_no_source_tells_is_unknown():
    found = planned("v6e:2x4").as_json()
    assert found["hbm_bytes_per_chip"] == 3 * 2**30
    unknown = ("compute_seconds", "step_seconds", "examples_per_second", "model_flops_utilisation")
    assert [found[name] for name in unknown] == [None] * 4
    across = Collective("all-reduce", 1, 1, crosses=True, beside=False)
    assert planned("v4:2x2x1", collectives=[across], slices=2).step_seconds is None


def test_what_does_not_fit_has_no_times():
    found = planned()._replace(built=BUILT._replace(fits=False, temporary_bytes=None), cost=None).as_json()
    assert (found["compute_seconds"], found["temporary_bytes"], found["collectives"]) == (None, None, None)


def test_a_phase_takes_its_steps_by_the_share_of_each_shape():
    parts = [planned(share=0.75), planned(share=0.25, length=64, items=128)._replace(step="train")]
    slow = parts[1]._replace(cost=parts[1].cost._replace(cycles={"attention": 60_000_000}))
    found = phase_figures("target", 360_000, [parts[0], slow, planned(step="eval")], chips=8, price=None)
    assert found == {"phase": "target", "steps": 360_000, "hours": pytest.approx(1.75), "chip_hours": pytest.approx(14)}
    assert phase_figures("target", 360_000, [parts[0], slow], chips=8, price=1.2)["price"] == pytest.approx(16.8)


def test_hours_that_cannot_be_known_are_not_guessed():
    assert phase_figures("target", None, [planned()], chips=8, price=2.0) == {
        "phase": "target", "steps": None, "hours": None, "chip_hours": None, "price": None,
    }  # fmt: skip
    assert phase_figures("target", 10, [planned("v6e:2x4")], chips=8, price=None)["hours"] is None
