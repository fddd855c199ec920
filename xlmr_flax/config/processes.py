"""How many processes a run has, and which of them this one is, as the environment says."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from xlmr_flax.errors import InputError

NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
CLUSTERS = ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri")  # by which jax knows Slurm's and Open MPI's processes


class Expected(NamedTuple):
    """What jax.distributed.initialize wants to be told."""

    coordinator_address: str  # host:port of process 0
    num_processes: int
    process_id: int


def expected(environment: Mapping[str, str] = os.environ) -> Expected | None:
    """The processes that the environment names; None when it names none, or one.

    Raises InputError when it names them in part, or with numbers that are none.
    """
    given = {name: environment[name] for name in NAMES if environment.get(name)}
    if given.get("JAX_NUM_PROCESSES") == "1" or not given:
        return None
    missing = [name for name in NAMES if name not in given]
    if missing:
        raise InputError(f"{', '.join(given)} is set but {', '.join(missing)} is not; a run on several hosts wants all")
    address, *numbers = (given[name] for name in NAMES)
    if ":" not in address:
        raise InputError(f"JAX_COORDINATOR_ADDRESS={address}: wanted HOST:PORT of process 0")
    for name, number in zip(NAMES[1:], numbers, strict=True):
        if not number.isdecimal():
            raise InputError(f"{name}={number}: wanted a number")
    count, me = map(int, numbers)
    if me >= count:
        raise InputError(f"JAX_PROCESS_ID={me}: wanted a number below JAX_NUM_PROCESSES={count}; they begin at 0")
    return Expected(address, count, me)


def in_cluster(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a cluster's own variables are there, which jax reads itself."""
    return environment.get("JAX_NUM_PROCESSES") != "1" and any(name in environment for name in CLUSTERS)
