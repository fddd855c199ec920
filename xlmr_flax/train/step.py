"""The training step and the evaluation steps: pure functions of a frozen state, jitted here and nowhere else."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Batch, Outcome, Tally, Target, Tokens
from xlmr_flax.data.randomness import word
from xlmr_flax.model.build import Model
from xlmr_flax.model.heads import Pooling
from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.train.optimizer import make_optimizer
from xlmr_flax.train.state import Course, MakeOptimizer, Params, State, abstract_state, places_of, program_part

TrainStep = Callable[[State, Batch, Course], tuple[State, Outcome]]


def make_train_step(
    model: Model,
    optim: Optim,
    mesh: Mesh,
    smoothing: Smoothing | None = None,
    *,
    optimizer: MakeOptimizer = make_optimizer,
) -> TrainStep:
    """The jitted step; it takes and gives back the same storage, and the state it was given is gone."""
    if model.spec.kind in ("mlm", "dual"):  # among the tasks of a mixture: what gives no answer trains as ever
        smoothing = None
    return _train_program(model, program_part(optim), mesh, smoothing, optimizer)


@functools.lru_cache(maxsize=32)
def _train_program(
    model: Model, optim: Optim, mesh: Mesh, smoothing: Smoothing | None, optimizer: MakeOptimizer
) -> TrainStep:
    tx = optimizer(optim)
    kept = places_of(abstract_state(model, optim, mesh, optimizer=optimizer))
    gradients = batch_gradients if model.spec.kind == "dual" else summed_gradients
    if smoothing:
        gradients = functools.partial(summed_gradients, smoothing=smoothing)
    step = functools.partial(train_step, model=model, tx=tx, gradients=gradients)
    return jax.jit(step, donate_argnums=0, out_shardings=(kept, None))


Gradients = Callable[[Model, Params, Batch, jax.Array | None], tuple[Tally, Params]]


def summed_gradients(
    model: Model, params: Params, batch: Batch, noise: jax.Array | None, smoothing: Smoothing | None = None
) -> tuple[Tally, Params]:
    """Sums of losses and of gradients over micro-batches, which stand on the first axis of the batch's arrays."""

    def loss(params: Params, part: Batch) -> tuple[jax.Array, Tally]:
        tally = model.smoothed_loss(params, part, noise, smoothing) if smoothing else model.loss(params, part, noise)
        return tally.total, tally

    def of_part(part: Batch) -> tuple[Tally, Params]:
        (_, tally), grads = jax.value_and_grad(loss, has_aux=True)(params, part)
        return tally, grads

    return _summed(of_part, batch)


def batch_gradients(model: Model, params: Params, batch: Batch, noise: jax.Array | None) -> tuple[Tally, Params]:
    """The same where every item of the batch is compared with those of all micro-batches, as a dual head does.

    Exact, and yet only one micro-batch's activations are kept at a time (Gao et al. 2021, "Scaling Deep Contrastive
    Learning Batch Size under Memory Limited Setup"): all vectors are computed without gradients, the loss and its
    gradient are taken there, and each micro-batch is computed again to carry its share back to the weights. Dropout is
    the same both times, because its masks are a hash of what they fall on.
    """

    def vectors(params: Params, part: Batch) -> jax.Array:
        return model.apply(params, part.tokens, part.target, noise)

    def loss(vectors_KE2D: jax.Array) -> tuple[jax.Array, Tally]:
        tally = model.head_loss(_merged(vectors_KE2D), jax.tree.map(_merged, batch.target))
        return tally.total, tally

    def of_all(params: Params) -> tuple[jax.Array, Tally]:
        return loss(vectors(params, jax.tree.map(lambda x: x[0], batch))[None])

    def of_part(part_and_share: tuple[Batch, jax.Array]) -> Params:
        part, share_E2D = part_and_share
        return jax.vjp(lambda params: vectors(params, part), params)[1](share_E2D)[0]

    if len(batch.tokens.ids_BL) == 1:
        (_, tally), grads = jax.value_and_grad(of_all, has_aux=True)(params)
        return tally, grads
    vectors_KE2D = jax.lax.map(lambda part: vectors(params, part), batch)
    (_, tally), shares_KE2D = jax.value_and_grad(loss, has_aux=True)(vectors_KE2D)
    return tally, _summed(of_part, (batch, shares_KE2D))


def _summed(of_part: Callable[[Any], Any], batch: Any) -> Any:
    """The sum of what `of_part` gives over the first axis."""
    # The first micro-batch starts the sum: zeros to start from would be a second set of gradients in memory.
    first, rest = (jax.tree.map(lambda x, part=part: x[part], batch) for part in (0, slice(1, None)))
    total = of_part(first)
    if not len(jax.tree.leaves(rest)[0]):
        return total
    return jax.lax.scan(lambda total, part: (jax.tree.map(jnp.add, total, of_part(part)), None), total, rest)[0]


def _merged(x: jax.Array) -> jax.Array:
    """Micro-batches as one batch, in an order that leaves each item on its device."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def train_step(
    state: State,
    batch: Batch,
    course: Course,
    *,
    model: Model,
    tx: optax.GradientTransformation,
    gradients: Gradients = summed_gradients,
) -> tuple[State, Outcome]:
    """One update from a batch whose arrays carry micro-batches on their first axis.

    Losses and gradients are sums over the batch and are divided once, by the count of all of it. Where the loss or the
    gradients' norm is not finite, parameters and optimizer stay as they are and only the step is counted: the learning
    rate goes on, and the batch does not come again.
    """
    noise = word(course.seed, "dropout", state.step)
    tally, grads = gradients(model, state.params, batch, noise)
    grads = jax.tree.map(lambda g: g / jnp.maximum(tally.count, 1.0), grads)
    # The norm that clipping takes: the compiler computes it once.
    sound = jnp.isfinite(tally.total) & jnp.isfinite(optax.tree.norm(grads))
    updates, opt = tx.update(grads, state.opt, state.params)
    lr = learning_rate(state.step, course)
    params = jax.tree.map(lambda p, u: p - lr * u, state.params, updates)
    # Chosen element by element, within the update: no second copy of anything, as a branch for the whole would need.
    params, opt = jax.tree.map(functools.partial(jnp.where, sound), (params, opt), (state.params, state.opt))
    skipped, in_row = state.skipped + ~sound, jnp.where(sound, 0, state.in_row + 1)
    return State(params, opt, state.step + 1, skipped, in_row), Outcome(*tally, skipped, in_row)


def learning_rate(step: jax.Array, course: Course) -> jax.Array:
    """Linear from 0 over the warm-up, then linear to 0 at the last step, as transformers' linear schedule."""
    up = step / jnp.maximum(course.warmup_steps, 1)
    down = (course.steps - step) / jnp.maximum(course.steps - course.warmup_steps, 1)
    return course.peak_lr * jnp.clip(jnp.where(step < course.warmup_steps, up, down), 0, 1)


@functools.lru_cache(maxsize=32)
def make_predict_step(model: Model) -> Callable[[Params, Tokens, Target], Any]:
    """The jitted logits of a batch."""
    return jax.jit(lambda params, tokens, target: model.apply(params, tokens, target, None))


@functools.lru_cache(maxsize=32)
def make_fill_step(model: Model, *, count: int) -> Callable[[Params, Tokens, Target], tuple[jax.Array, jax.Array]]:
    """The jitted probabilities and ids (B, G, `count`) of the most probable words at the positions to be guessed."""

    def fill(params: Params, tokens: Tokens, target: Target) -> tuple[jax.Array, jax.Array]:
        given = model.apply(params, tokens, target, None)
        return jax.lax.top_k(jax.nn.softmax(given.logits(), axis=-1), count)

    return jax.jit(fill)


@functools.lru_cache(maxsize=32)
def make_embed_step(
    model: Model, *, poolings: tuple[Pooling, ...], layers: tuple[int, ...]
) -> Callable[[Params, Tokens, jax.Array], jax.Array]:
    """The jitted sentence vectors (layer, pooling, B, S, D) of the units that begin at `first_BS`."""
    return jax.jit(lambda params, tokens, first_BS: model.embeddings(params, tokens, first_BS, poolings, layers))


@functools.lru_cache(maxsize=32)
def make_vector_step(model: Model) -> Callable[[Params, Tokens, jax.Array], jax.Array]:
    """The jitted vectors (B, S, D) that a dual head compares, of the units that begin at `first_BS`."""
    return jax.jit(model.vectors)
