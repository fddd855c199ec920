"""A state of several tasks: one encoder, and a head for each task with moments and a count of steps of its own.

A step of one task sees the encoder and that task's head, and is the same program whatever the other heads are: they are
not even passed through it. `params["head"]` and `opt["head"]` are by task here, where a phase of one task has its head
itself.
"""

from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh

from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Batch, Outcome
from xlmr_flax.model.build import Model
from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.train.optimizer import make_optimizer_by_part
from xlmr_flax.train.state import (
    Course,
    Params,
    State,
    abstract_params,
    abstract_state,
    initial_head_opt,
    initial_state,
)
from xlmr_flax.train.step import TrainStep, make_train_step

Models = Mapping[str, Model]  # by task; they differ in their heads


def params_of(params: Params, task: str) -> Params:
    """The encoder and one task's head."""
    return {"encoder": params["encoder"], "head": params["head"][task]}


def view(state: State, task: str) -> State:
    """The state as a step of one task sees it."""
    return state._replace(params=params_of(state.params, task), opt=params_of(state.opt, task))


def put_back(state: State, task: str, seen: State) -> State:
    """The whole state after a step of one task has made `seen` of its view."""

    def whole(before: Any, part: Any) -> Any:
        return {"encoder": part["encoder"], "head": {**before["head"], task: part["head"]}}

    return seen._replace(params=whole(state.params, seen.params), opt=whole(state.opt, seen.opt))


def abstract_mixed_params(models: Models, mesh: Mesh) -> Params:
    """Shapes, types and shardings of the weights; allocates nothing."""
    each = {task: abstract_params(model, mesh) for task, model in models.items()}
    return {"encoder": _first(each)["encoder"], "head": {task: one["head"] for task, one in each.items()}}


def abstract_mixed_state(models: Models, optim: Optim, mesh: Mesh) -> State:
    """The same of a whole state."""
    each = {
        task: abstract_state(model, optim, mesh, optimizer=make_optimizer_by_part) for task, model in models.items()
    }
    opt = {"encoder": _first(each).opt["encoder"], "head": {task: one.opt["head"] for task, one in each.items()}}
    return _first(each)._replace(params=abstract_mixed_params(models, mesh), opt=opt)


def initial_mixed_state(models: Models, optim: Optim, mesh: Mesh, params: Params) -> State:
    """The state before the first step."""
    (first, model), *others = models.items()
    state = initial_state(model, optim, mesh, params_of(params, first), optimizer=make_optimizer_by_part)
    heads = {first: state.opt["head"]}
    heads |= {task: initial_head_opt(other, optim, mesh, params["head"][task]) for task, other in others}
    return state._replace(params=params, opt={"encoder": state.opt["encoder"], "head": heads})


def make_mixed_step(models: Models, optim: Optim, mesh: Mesh, smoothing: Smoothing | None = None) -> TrainStep:
    """A step of the batch's task, jitted for each kind of head; of the state it was given that task's share is gone."""
    steps = {
        task: make_train_step(model, optim, mesh, smoothing, optimizer=make_optimizer_by_part)
        for task, model in models.items()
    }

    def step(state: State, batch: Batch, course: Course) -> tuple[State, Outcome]:
        assert batch.task, "a batch of no task in a phase of several"
        seen, outcome = steps[batch.task](view(state, batch.task), batch._replace(task=None), course)
        return put_back(state, batch.task, seen), outcome

    return step


def abstract_params_of(models: Models, mesh: Mesh) -> Params:
    """The weights of a phase of these tasks, be they one or several."""
    if len(models) == 1:
        return abstract_params(_first(models), mesh)
    return abstract_mixed_params(models, mesh)


def abstract_state_of(models: Models, optim: Optim, mesh: Mesh) -> State:
    """The state of a phase of these tasks, be they one or several."""
    if len(models) == 1:
        return abstract_state(_first(models), optim, mesh)
    return abstract_mixed_state(models, optim, mesh)


def initial_state_of(models: Models, optim: Optim, mesh: Mesh, params: Params) -> State:
    """The same before the first step."""
    if len(models) == 1:
        return initial_state(_first(models), optim, mesh, params)
    return initial_mixed_state(models, optim, mesh, params)


def _first(each: Mapping[str, Any]) -> Any:
    return next(iter(each.values()))
