"""AdamW as XLM-R is fine-tuned: clipping, and no decay on biases and LayerNorm."""

from typing import Any

import jax
import optax

from xlmr_flax.config.schema import Optim
from xlmr_flax.train.sharding import dotted


def make_optimizer(optim: Optim) -> optax.GradientTransformation:
    """Clipping by global norm, then AdamW without its learning rate, which the step knows."""
    clip = optax.clip_by_global_norm(optim.clip_norm) if optim.clip_norm else optax.identity()
    adam = optax.scale_by_adam(b1=optim.b1, b2=optim.b2, eps=optim.eps)
    return optax.chain(clip, adam, optax.add_decayed_weights(optim.weight_decay, mask=decays))


def decays(params: Any) -> Any:
    """Which leaves weight decay acts on: kernels and embeddings, as in transformers' Trainer."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not dotted(path).endswith(("bias", "scale")), params)
