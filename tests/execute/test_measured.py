"""What steps took is kept in host.json and in the results, told in a line, and compared with the plan's estimate."""

import dataclasses
import json

import pytest
from jax.sharding import Mesh

from xlmr_flax.execute.measured import compared, estimate_path, most_timed, read_estimate, told
from xlmr_flax.execute.phase import run_phase
from xlmr_flax.report.results import collect
from xlmr_flax.storage.places import write_json
from xlmr_flax.train.clock import Peak, Timed
from xlmr_flax.train.loop import Stop

GIB = 2**30
TIMES = [Timed(64, 96, 10, 0.2), Timed(64, 128, 5, 0.3), Timed(64, 32, 0, None)]
PLANNED = {"rows": 64, "length": 96, "step_seconds": 0.1, "hbm_bytes": GIB}


@pytest.fixture
def planted(lab, open_lab, tmp_path):
    """Runs a phase of which there is a plan; gives back its lab and the plan's estimate."""

    def run(name, *, profile):
        one = open_lab(tmp_path)
        one = one._replace(context=dataclasses.replace(one.context, profile=profile))
        for node in (one.phase(name).parent, *one.graph.nodes[:2]):
            place = one.context.folders.of(node)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(lab.context.folders.of(node))
        shapes = host(lab, name)["measured"]["shapes"]
        often = {"rows": shapes[0]["rows"], "length": shapes[0]["length"], "step_seconds": 0.5, "hbm_bytes": GIB}
        estimate = {"libtpu": "1", "programs": [often]}
        path = estimate_path(one.phase(name), one.context.experiment, one.context.mesh, one.context.folders.cache)
        write_json(path, estimate)
        run_phase(one.phase(name), one.context, Stop())
        return one, estimate

    return run


def host(lab, name):
    return json.loads((lab.folder(name) / "host.json").read_text())


def test_without_a_plan_the_ratio_is_unknown():
    found = compared(TIMES, Peak(3 * GIB // 2, "process"), None)
    assert (found["ratio"], found["estimated_bytes"], found["libtpu"]) == (None, None, None)
    assert [one["ratio"] for one in found["shapes"]] == [None] * 3
    assert told(found) == (
        "measured 200.0 ms a step of 64 rows of 96 tokens (10), 300.0 ms a step of 64 rows of 128 tokens (5) · "
        "peak memory of the process 1.50 GiB · measured / estimated time: unknown"
    )


def test_the_ratio_is_over_the_shapes_that_were_planned_by_their_steps():
    other = PLANNED | {"length": 128, "step_seconds": 0.4, "hbm_bytes": 2 * GIB}
    unknown = PLANNED | {"length": 32, "step_seconds": None, "hbm_bytes": None}
    found = compared(TIMES, Peak(GIB, "device"), {"libtpu": "1", "programs": [PLANNED, other, unknown]})
    assert [one["ratio"] for one in found["shapes"]] == [pytest.approx(2), pytest.approx(0.75), None]
    assert found["ratio"] == pytest.approx((10 * 0.2 + 5 * 0.3) / (10 * 0.1 + 5 * 0.4))
    assert told(found).endswith("peak memory of the device 1.00 GiB, estimated 2.00 · measured / estimated time: 1.17")
    partly = compared(TIMES, Peak(GIB, "device"), {"libtpu": "1", "programs": [PLANNED]})
    assert partly["ratio"] == pytest.approx(2)


def test_a_process_that_went_on_keeps_the_times_of_more_steps():
    before = compared([Timed(64, 96, 3, 0.9), Timed(64, 128, 50, 0.8)], Peak(1, "process"), None)
    assert most_timed(TIMES, before) == [Timed(64, 128, 50, 0.8), TIMES[0], TIMES[2]]
    assert most_timed(TIMES, None) == TIMES


def test_a_run_keeps_what_it_measured_and_not_among_its_results(lab):
    assert "measured" not in collect(lab.graph, lab.context.folders.runs)  # times differ, results do not
    found = host(lab, "nli")["measured"]
    assert sum(one["steps"] for one in found["shapes"]) == 13 - len(found["shapes"])
    assert (found["ratio"], found["peak_of"]) == (None, "process")
    assert lab.said().count("measured / estimated time: unknown") >= 6


def test_an_estimate_of_the_same_phase_on_the_same_mesh_is_found_and_no_other(lab, open_lab, tmp_path):
    one = open_lab(tmp_path)
    node, mesh = one.phase("nli"), one.context.mesh

    def path(node=node, mesh=mesh, experiment=one.context.experiment):
        return estimate_path(node, experiment, mesh, tmp_path)

    write_json(path(), {"libtpu": "1", "programs": [PLANNED]})
    assert read_estimate(path())["programs"] == [PLANNED]
    changed = one.context.experiment.model_copy(
        update={"model": one.context.experiment.model.model_copy(update={"remat": "layers"})}
    )
    fewer = Mesh(mesh.devices[:1], mesh.axis_names)
    for other in (path(node=one.phase("tags")), path(mesh=fewer), path(experiment=changed)):
        assert read_estimate(other) is None


def test_measuring_is_beside_a_plan_where_there_is_one_and_a_trace_is_written(planted):
    lab, estimate = planted("nli", profile=(3, 4))
    found = host(lab, "nli")["measured"]
    shape = max(found["shapes"], key=lambda one: one["steps"])
    assert shape["estimated_seconds"] == estimate["programs"][0]["step_seconds"]
    assert shape["ratio"] == pytest.approx(shape["median_seconds"] / shape["estimated_seconds"])
    assert found["ratio"] == pytest.approx(shape["ratio"])
    assert f"measured / estimated time: {found['ratio']:.2f}" in lab.said()
    assert len(list((lab.folder("nli") / "profile").rglob("*.xplane.pb"))) == 1
    assert f"nli: steps 3 to 4 are traced in {lab.folder('nli') / 'profile'}" in lab.said()
