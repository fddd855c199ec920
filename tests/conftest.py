"""Eight simulated devices, strict jax, and the folder of real files when there is one."""

import os
from pathlib import Path

# Before jax is imported anywhere; two cores need long waits in collectives that eight devices share.
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 "
    # nearly all of the tests' time is compiling; what they compare does not depend on how well loops are optimised
    "--xla_backend_optimization_level=0 "
    # a training step compiles in 1.1 s of CPU instead of 3.6 with the older of XLA's two generators of loops; what runs
    # uses the newer one, as the demo does
    "--xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_collective_call_terminate_timeout_seconds=600 --xla_cpu_collective_call_warn_stuck_timeout_seconds=300"
)
# Simulated devices wait for each other in a pool with a thread a core: too few, and they wait for ever.
os.environ["NPROC"] = "64"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None)  # the first example compiles
settings.load_profile("tests")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files; tests that need it skip where it is absent, and say so."""
    folder = os.environ.get("XLMR_FLAX_REAL_DATA")
    if not folder:
        pytest.skip("XLMR_FLAX_REAL_DATA is not set: no real files to read")
    return Path(folder).resolve()
