"""The training step and the evaluation steps: pure functions of a frozen state, jitted here and nowhere else."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental.layout import Layout, with_layout_constraint
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Batch, Outcome, Tally, Target, Tokens
from xlmr_flax.data.randomness import word
from xlmr_flax.model.build import Model, build
from xlmr_flax.model.encoder import Place, take_rows
from xlmr_flax.model.heads import HeadSpec, Pooling
from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.train.optimizer import make_optimizer, make_optimizer_by_part
from xlmr_flax.train.processes import put
from xlmr_flax.train.sharding import (
    ROWS,
    TOKENS,
    check_divides,
    computed,
    dotted,
    layer_stored,
    over_fsdp,
    shardings,
    stored,
)

Params = Any
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


MakeOptimizer = Callable[[Optim], optax.GradientTransformation]


class Course(NamedTuple):
    """What a phase adds to a compiled step; arrays and not constants, so that phases share the program."""

    seed: jax.Array  # uint32
    peak_lr: jax.Array
    warmup_steps: jax.Array
    steps: jax.Array


TrainStep = Callable[[State, Batch, Course], tuple[State, Outcome]]


@functools.lru_cache(maxsize=32)
def make_model(
    arch: Architecture,
    spec: HeadSpec,
    *,
    compute: str,
    mesh: Mesh,
    remat: str = "none",
    scan_layers: bool | None = None,
    reshard_after_forward: bool = True,
) -> Model:
    """The model, laid out on a mesh: rows over data and fsdp, weights gathered over fsdp.

    Layers are scanned on CPUs, where compiling counts, and elsewhere not, unless it is said.
    """
    if scan_layers is None:
        scan_layers = mesh.devices.flat[0].platform == "cpu"
    return build(
        arch,
        spec,
        compute,
        remat=remat,
        scan_layers=scan_layers,
        reshard_after_forward=reshard_after_forward,
        place=_place(mesh, jnp.dtype(compute)),
    )


def _place(mesh: Mesh, compute: Any) -> Place:
    """Layers and the table of words say what they exchange; the rest is left to the compiler.

    Left to it, gradients are summed whole over all devices, products are cut into pieces that go around a ring, and
    over data and fsdp together the table of words is gathered: on eight chips that takes twice the time.
    """

    def weight(path: Any, leaf: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, computed(dotted(path))))

    def activation(x_BLD: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(x_BLD, NamedSharding(mesh, P(("data", "fsdp"), None, None)))

    # Every device then has all rows, and XLA ends at the sums over one device that a mapping would have.
    only_tensor = mesh.shape["tensor"] == mesh.size > 1

    def by_rows(run: Callable[..., Any]) -> Callable[..., Any]:
        def mapped(layers: Params, rows: Any, word: jax.Array | None) -> Any:
            layers = jax.tree_util.tree_map_with_path(functools.partial(_travelling, compute=compute), layers)
            if only_tensor:
                return run(layers, rows, word)
            shares = jax.tree_util.tree_map_with_path(lambda path, _: P(None, *over_fsdp(_of_layer(path))), layers)
            return jax.shard_map(
                run,
                mesh=mesh,
                in_specs=(shares, ROWS, P()),
                out_specs=(ROWS, P(None, *ROWS)),  # what is kept of each layer is stacked
                axis_names={"data", "fsdp"} if mesh.shape["tensor"] > 1 else set(mesh.axis_names),
                check_vma=False,
            )(layers, rows, word)

        return mapped

    return Place(
        weights=functools.partial(jax.tree_util.tree_map_with_path, weight),
        words=functools.partial(_words, mesh=mesh, compute=compute),
        beside_words=functools.partial(_beside_words, mesh=mesh),
        activations=activation,
        by_rows=by_rows,
        layer=(lambda layer: layer) if only_tensor else functools.partial(jax.tree_util.tree_map_with_path, _gathered),
    )


def _of_layer(path: Any) -> str:
    return f"encoder.layers.{dotted(path)}"


def _travelling(path: Any, leaf: jax.Array, *, compute: Any) -> jax.Array:
    """Stacked shares of the leaves that are split: gathered, and their gradients summed, in the compute type.

    So over data as over fsdp: a pod sends half as much besides as it would in float32.
    """
    return leaf.astype(compute) if "fsdp" in over_fsdp(_of_layer(path)) else leaf


def _gathered(path: Any, leaf: jax.Array) -> jax.Array:
    """A layer's leaf as products use it, from the devices' shares; its gradient is summed and shared out again.

    A barrier keeps its copy apart from the products: those of all layers are then the same to the compiler, which
    compiles them once. Heads lie in memory so that rows of the width are not one after the other, and a TPU that is to
    share out such a sum makes it whole on every device, which sends twice as much; so they travel as a matrix of rows.
    """
    layout = over_fsdp(_of_layer(path))
    if "fsdp" not in layout:
        return leaf
    axis = layout.index("fsdp")
    rows = jnp.moveaxis(leaf, axis, 0)
    whole = jax.lax.all_gather(rows.reshape(len(rows), -1), "fsdp", axis=0, tiled=True)
    if leaf.ndim > 2 and jax.lax.axis_size("fsdp") > 1:
        whole = with_layout_constraint(whole, Layout((0, 1)))
    return jnp.moveaxis(jax.lax.optimization_barrier(whole).reshape(-1, *rows.shape[1:]), 0, axis)


def _words(words_VD: jax.Array, ids_BL: jax.Array, *, mesh: Mesh, compute: Any) -> jax.Array:
    """The words' vectors in float32, of which each device looks up those in its own rows of the table.

    Their gradients travel in the compute type, as those of the layers do; what comes to a row is added up in float32.
    """
    size, table = len(words_VD), layer_stored("encoder.embeddings.words")
    mapped = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)

    def own(ids_BL: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        first = jax.lax.axis_index(("fsdp", "tensor")) * count
        row_BL = jnp.clip(ids_BL - first, 0, count - 1)
        return row_BL, row_BL + first == ids_BL

    def look_up(words_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        row_BL, here_BL = own(ids_BL, len(words_VD))
        elsewhere_BL = jnp.where((ids_BL >= 0) & (ids_BL < size), 0, jnp.nan)  # beyond the table is nowhere, and shows
        x_BLD = jnp.where(here_BL[..., None], take_rows(words_VD, row_BL), elsewhere_BL[..., None])
        x_BLD = jax.lax.psum(x_BLD, "tensor")
        return jax.lax.psum_scatter(x_BLD, "fsdp", scatter_dimension=0, tiled=True)

    def add_up(words_VD: jax.Array, ids_BL: jax.Array, back_BLD: jax.Array) -> jax.Array:
        row_BL, here_BL = own(ids_BL, len(words_VD))
        back_BLD = jax.lax.all_gather(back_BLD.astype(compute), "fsdp", tiled=True)
        back_BLD = jnp.where(here_BL[..., None], back_BLD.astype(jnp.float32), 0)
        sum_VD = jnp.zeros(words_VD.shape, jnp.float32).at[row_BL].add(back_BLD)
        if mesh.shape["data"] > 1:  # what is not sent stays as it is
            sum_VD = jax.lax.psum(sum_VD.astype(compute), "data").astype(jnp.float32)
        return sum_VD

    @jax.custom_vjp
    def vectors(words_VD: jax.Array, ids_BL: jax.Array) -> jax.Array:
        return mapped(look_up, in_specs=(table, TOKENS), out_specs=ROWS)(words_VD, ids_BL)

    def forward(words_VD: jax.Array, ids_BL: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        return vectors(words_VD, ids_BL), (words_VD, ids_BL)

    def backward(given: tuple[jax.Array, jax.Array], back_BLD: jax.Array) -> tuple[jax.Array, None]:
        return mapped(add_up, in_specs=(table, TOKENS, ROWS), out_specs=table)(*given, back_BLD), None

    vectors.defvjp(forward, backward)
    return vectors(words_VD, ids_BL)


def _beside_words(x_BGD: jax.Array, *, mesh: Mesh) -> jax.Array:
    """Masked positions of all rows on every device of fsdp, to be decoded with its own rows of the table of words.

    Left to the compiler, they are gathered again for each block, and their gradient goes around a ring: a third more
    time for decoding XLM-R Large's words over eight.
    """
    gather = functools.partial(jax.lax.all_gather, axis_name="fsdp", tiled=True)
    return jax.shard_map(gather, mesh=mesh, in_specs=ROWS, out_specs=TOKENS, check_vma=False)(x_BGD)


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
    opt = _opt_program(model, _program_part(optim), mesh, optimizer)(params)
    none = put([np.int32(0)] * 3, [NamedSharding(mesh, P())] * 3)
    return State(params, opt, *none)


@functools.lru_cache(maxsize=32)
def _init_program(model: Model, mesh: Mesh) -> Callable[[jax.Array], Params]:
    return jax.jit(model.init_params, out_shardings=_places(abstract_params(model, mesh)))


@functools.lru_cache(maxsize=32)
def _head_program(model: Model, mesh: Mesh) -> Callable[[jax.Array], Params]:
    return jax.jit(model.init_head, out_shardings=_places(abstract_params(model, mesh)["head"]))


def initial_head_opt(model: Model, optim: Optim, mesh: Mesh, head: Params) -> Any:
    """What an optimizer by part keeps of a head alone, before its first step."""
    return _head_opt_program(model, _program_part(optim), mesh)(head)


@functools.lru_cache(maxsize=32)
def _opt_program(model: Model, optim: Optim, mesh: Mesh, optimizer: MakeOptimizer) -> Callable[[Params], Any]:
    like = abstract_state(model, optim, mesh, optimizer=optimizer)
    return jax.jit(optimizer(optim).init, out_shardings=_places(like.opt))


@functools.lru_cache(maxsize=32)
def _head_opt_program(model: Model, optim: Optim, mesh: Mesh) -> Callable[[Params], Any]:
    like = abstract_state(model, optim, mesh, optimizer=make_optimizer_by_part)
    tx = make_optimizer_by_part(optim)
    return jax.jit(lambda head: tx.init({"head": head})["head"], out_shardings=_places(like.opt["head"]))


def _places(tree: Any) -> Any:
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
    return _train_program(model, _program_part(optim), mesh, smoothing, optimizer)


def _program_part(optim: Optim) -> Optim:
    """Without what the course carries, which is no part of the program."""
    return optim.model_copy(update={"peak_lr": 1.0, "warmup_frac": 0.0})


@functools.lru_cache(maxsize=32)
def _train_program(
    model: Model, optim: Optim, mesh: Mesh, smoothing: Smoothing | None, optimizer: MakeOptimizer
) -> TrainStep:
    tx = optimizer(optim)
    kept = _places(abstract_state(model, optim, mesh, optimizer=optimizer))
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
