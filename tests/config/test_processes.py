"""What the environment says of a run's processes."""

import pytest

from xlmr_flax.config.processes import Expected, expected, in_cluster
from xlmr_flax.errors import InputError

WHOLE = {"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "3"}


def test_three_variables_name_the_processes():
    assert expected(WHOLE) == Expected("10.0.0.1:1234", 4, 3)


@pytest.mark.parametrize("environment", [{}, {"JAX_NUM_PROCESSES": "1"}, {**WHOLE, "JAX_NUM_PROCESSES": "1"}])
def test_none_or_one_is_a_run_of_its_own(environment):
    assert expected(environment) is None


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"JAX_PROCESS_ID": ""}, "JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES is set but JAX_PROCESS_ID is not"),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1"}, "JAX_COORDINATOR_ADDRESS=10.0.0.1: wanted HOST:PORT"),
        ({"JAX_NUM_PROCESSES": "four"}, "JAX_NUM_PROCESSES=four: wanted a number"),
        ({"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID=-1: wanted a number"),
        ({"JAX_PROCESS_ID": "4"}, "JAX_PROCESS_ID=4: wanted a number below JAX_NUM_PROCESSES=4; they begin at 0"),
    ],
)
def test_what_is_wrong_with_them_is_said(changes, wanted):
    with pytest.raises(InputError, match=f"^{wanted}"):
        expected(WHOLE | changes)


def test_a_cluster_is_known_by_its_own_variables():
    assert in_cluster({"SLURM_STEP_NODELIST": "a[1-4]"})
    assert not in_cluster({"SLURM_STEP_NODELIST": "a[1-4]", "JAX_NUM_PROCESSES": "1"})
    assert not in_cluster({})
