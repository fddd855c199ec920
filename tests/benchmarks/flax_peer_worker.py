"""transformers' last Flax model of XLM-R Large, one training step compiled for eight chips that are not here.

It runs in an environment of its own, because that version of transformers stands beside no other: lock/peer.txt.
Prints seconds of compiling and of computing by the compiler's cycles, and bytes, as JSON; the program's text goes to
the file that is named.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ.update(TPU_SKIP_MDS_QUERY="1", JAX_PLATFORMS="cpu", ALLOW_MULTIPLE_LIBTPU_LOAD="1")

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from transformers import FlaxXLMRobertaForSequenceClassification, XLMRobertaConfig

ROWS, LENGTH = 256, 128
LARGE = {
    "vocab_size": 250002,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "num_labels": 3,
}


def main(out: Path) -> None:
    devices = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4").devices
    mesh = Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    model = FlaxXLMRobertaForSequenceClassification(XLMRobertaConfig(**LARGE), dtype=jnp.bfloat16, _do_init=False)
    tx = optax.adamw(2e-5, weight_decay=0.01)

    def step(params, opt, batch, seed):
        def loss(params):
            key = jax.random.key(seed)
            logits = model(batch["ids"], batch["mask"], params=params, dropout_rng=key, train=True).logits
            return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), batch["label"]).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, opt = tx.update(grads, opt, params)
        return optax.apply_updates(params, updates), opt, value

    def placed(tree, place):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree)

    params = jax.eval_shape(lambda key: model.init_weights(key, (1, LENGTH)), jax.random.key(0))
    ints = jax.ShapeDtypeStruct((ROWS, LENGTH), jnp.int32)
    batch = {"ids": ints, "mask": ints, "label": jax.ShapeDtypeStruct((ROWS,), jnp.int32)}
    seed = jax.ShapeDtypeStruct((), jnp.int32, sharding=whole)
    states = placed(params, whole), placed(jax.eval_shape(tx.init, params), whole)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(*states, placed(batch, rows), seed)
    began = time.monotonic()
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    out.write_text(compiled.as_text(), encoding="utf-8")
    found = {
        "compile_seconds": time.monotonic() - began,
        "hbm_bytes_per_chip": memory.argument_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes,
    }
    print(json.dumps(found))


main(Path(sys.argv[1]))
