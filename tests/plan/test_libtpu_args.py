"""The arguments that are recommended for libtpu are arguments that it knows."""

import os
import subprocess
import sys

import pytest

from xlmr_flax.launch.gke import libtpu_args
from xlmr_flax.plan.chips import slice_of

pytestmark = pytest.mark.aot
COMPILE = """
import sys, jax, numpy as np
from jax.experimental.topologies import get_topology_desc
from jax.sharding import Mesh, NamedSharding, PartitionSpec
mesh = Mesh(np.array(get_topology_desc(platform="tpu", **eval(sys.argv[1])).devices), ("data",))
x = jax.ShapeDtypeStruct((256, 256), "float32", sharding=NamedSharding(mesh, PartitionSpec("data")))
jax.jit(lambda x: (x @ x.T).sum()).lower(x).compile()
"""


def compiled(arguments, name):
    """Compiles something for a slice with these arguments, which libtpu reads once a process."""
    environment = os.environ | {"LIBTPU_INIT_ARGS": arguments, "TPU_SKIP_MDS_QUERY": "1", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-c", COMPILE, repr(slice_of(name).request)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("generation", "name"), [("v5e", "v5e:2x2"), ("v5p", "v5p:2x2x1"), ("v6e", "v6e:2x2")])
def test_libtpu_takes_what_is_recommended_for_a_generation(generation, name):
    done = compiled(libtpu_args("recommended", generation), name)
    assert done.returncode == 0, done.stderr


def test_libtpu_refuses_what_it_does_not_know():
    done = compiled("--xla_tpu_no_such_thing=true", "v5e:2x2")
    assert done.returncode != 0
    assert "xla_tpu_no_such_thing" in done.stderr + done.stdout
