"""What a compiled step takes: the state of a training, its course and a batch, made and put where they are stored."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Batch, Tokens
from xlmr_flax.model.build import Model
from xlmr_flax.train.optimizer import make_optimizer, make_optimizer_by_part
from xlmr_flax.train.processes import put
from xlmr_flax.train.sharding import ROWS, TOKENS, check_divides, shardings, stored

Params = Any
MakeOptimizer = Callable[[Optim], optax.GradientTransformation]
COUNTERS = ("step", "skipped", "in_row")  # of a state


class State(NamedTuple):
    """All that changes in training."""

    params: Params
    opt: Any
    step: jax.Array  # int32
    skipped: jax.Array  # int32: steps that were not applied, as in Outcome
    in_row: jax.Array  # int32: of these the last ones


def parts_of(state: State) -> dict[str, Any]:
    """A state as checkpoints keep it."""
    counters = {name: getattr(state, name) for name in COUNTERS}
    return {**state.params, "optimizer": state.opt, "counters": counters}


def state_of(parts: dict[str, Any]) -> State:
    """The state that a checkpoint has kept."""
    return State({"encoder": parts["encoder"], "head": parts["head"]}, parts["optimizer"], **parts["counters"])


class Course(NamedTuple):
    """What a phase adds to a compiled step; arrays and not constants, so that phases share the program."""

    seed: jax.Array  # uint32
    peak_lr: jax.Array
    warmup_steps: jax.Array
    steps: jax.Array


def initial_params(model: Model, mesh: Mesh, *, key: jax.Array) -> Params:
    """Fresh weights, made where they are stored: no device ever holds more than its share."""
    return _init_program(model, mesh)(key)


def initial_head(model: Model, mesh: Mesh, *, key: jax.Array) -> Params:
    """The head of `initial_params` alone, where the encoder comes from elsewhere."""
    return _head_program(model, mesh)(key)


def initial_state(
    model: Model, optim: Optim, mesh: Mesh, params: Params, *, optimizer: MakeOptimizer = make_optimizer
) -> State:
    """The state before the first step."""
    opt = _opt_program(model, program_part(optim), mesh, optimizer)(params)
    none = put([np.int32(0)] * 3, [NamedSharding(mesh, P())] * 3)
    return State(params, opt, *none)


@functools.lru_cache(maxsize=32)
def _init_program(model: Model, mesh: Mesh) -> Callable[[jax.Array], Params]:
    return jax.jit(model.init_params, out_shardings=places_of(abstract_params(model, mesh)))


@functools.lru_cache(maxsize=32)
def _head_program(model: Model, mesh: Mesh) -> Callable[[jax.Array], Params]:
    return jax.jit(model.init_head, out_shardings=places_of(abstract_params(model, mesh)["head"]))


def initial_head_opt(model: Model, optim: Optim, mesh: Mesh, head: Params) -> Any:
    """What an optimizer by part keeps of a head alone, before its first step."""
    return _head_opt_program(model, program_part(optim), mesh)(head)


@functools.lru_cache(maxsize=32)
def _opt_program(model: Model, optim: Optim, mesh: Mesh, optimizer: MakeOptimizer) -> Callable[[Params], Any]:
    like = abstract_state(model, optim, mesh, optimizer=optimizer)
    return jax.jit(optimizer(optim).init, out_shardings=places_of(like.opt))


@functools.lru_cache(maxsize=32)
def _head_opt_program(model: Model, optim: Optim, mesh: Mesh) -> Callable[[Params], Any]:
    like = abstract_state(model, optim, mesh, optimizer=make_optimizer_by_part)
    tx = make_optimizer_by_part(optim)
    return jax.jit(lambda head: tx.init({"head": head})["head"], out_shardings=places_of(like.opt["head"]))


def places_of(tree: Any) -> Any:
    """The shardings of what has a shape, a type and a sharding."""
    return jax.tree.map(lambda leaf: leaf.sharding, tree)


def abstract_params(model: Model, mesh: Mesh) -> Params:
    """Shapes, types and shardings of the weights; allocates nothing."""
    return _placed(jax.eval_shape(model.init_params, jax.random.key(0)), model, mesh)


def abstract_state(model: Model, optim: Optim, mesh: Mesh, *, optimizer: MakeOptimizer = make_optimizer) -> State:
    """The same of a whole state."""

    def make() -> State:
        params = model.init_params(jax.random.key(0))
        none = jnp.zeros((), jnp.int32)
        return State(params, optimizer(optim).init(params), none, none, none)

    return _placed(jax.eval_shape(make), model, mesh)


def _placed(tree: Any, model: Model, mesh: Mesh) -> Any:
    specs = stored(tree, model.spec.kind)
    check_divides(tree, specs, mesh)
    places = shardings(specs, mesh)
    return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, places)


def place_batch(batch: Batch, mesh: Mesh, *, lead: int) -> Batch:
    """A host batch onto the devices; `lead` axes stand before the rows."""

    rows, tokens = (NamedSharding(mesh, P(*(None,) * lead, *spec)) for spec in (ROWS, TOKENS))
    places = Batch(Tokens(tokens, rows, rows), jax.tree.map(lambda _: rows, batch.target))
    return put(batch._replace(task=None), places)._replace(task=batch.task)


def place_course(optim: Optim, mesh: Mesh, *, seed: int, steps: int) -> Course:
    """A phase's numbers on the devices."""
    whole = NamedSharding(mesh, P())
    warmup_steps = int(optim.warmup_frac * steps)
    numbers = Course(np.uint32(seed), np.float32(optim.peak_lr), np.float32(warmup_steps), np.float32(steps))
    return put(numbers, Course(whole, whole, whole, whole))


def program_part(optim: Optim) -> Optim:
    """Without what the course carries, which is no part of the program."""
    return optim.model_copy(update={"peak_lr": 1.0, "warmup_frac": 0.0})
