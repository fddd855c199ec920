"""AdamW as XLM-R is fine-tuned: clipping, and no decay on biases and LayerNorm."""

from typing import Any

import jax
import optax

from xlmr_flax.config.schema import Optim
from xlmr_flax.train.sharding import dotted


def make_optimizer(optim: Optim) -> optax.GradientTransformation:
    """Clipping by global norm, then AdamW without its learning rate, which the step knows."""
    return optax.chain(*_parts(optim))


def make_optimizer_by_part(optim: Optim) -> optax.GradientTransformation:
    """The same with moments and a count of steps for each part of the parameters: {"encoder": …, "head": …}.

    So a head that is not trained at every step keeps those of its own steps. Clipping is by the norm of all parts.
    """
    clip, adam, decay = _parts(optim)  # the first and the last keep nothing

    def init(params: Any) -> dict[str, Any]:
        return {part: adam.init({part: tree}) for part, tree in params.items()}

    def update(grads: Any, state: dict[str, Any], params: Any) -> tuple[Any, dict[str, Any]]:
        grads, _ = clip.update(grads, clip.init(params))
        moved = {part: adam.update({part: tree}, state[part]) for part, tree in grads.items()}
        updates = {part: tree[part] for part, (tree, _) in moved.items()}
        updates, _ = decay.update(updates, decay.init(params), params)
        return updates, {part: kept for part, (_, kept) in moved.items()}

    return optax.GradientTransformation(init, update)


def _parts(optim: Optim) -> tuple[optax.GradientTransformation, ...]:
    clip = optax.clip_by_global_norm(optim.clip_norm) if optim.clip_norm else optax.identity()
    adam = optax.scale_by_adam(b1=optim.b1, b2=optim.b2, eps=optim.eps)
    return clip, adam, optax.add_decayed_weights(optim.weight_decay, mask=decays)


def decays(params: Any) -> Any:
    """Which leaves weight decay acts on: kernels and embeddings, as in transformers' Trainer."""
    return jax.tree_util.tree_map_with_path(lambda path, _: not dotted(path).endswith(("bias", "scale")), params)
