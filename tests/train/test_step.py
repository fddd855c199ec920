"""The step: the same numbers on any mesh and in any micro-batches, one program for all phases of a shape."""

import functools
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlmr_flax.config.schema import Optim
from xlmr_flax.data.batch import Tally
from xlmr_flax.plan.programs import train_program
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.optimizer import make_optimizer
from xlmr_flax.train.state import (
    State,
    abstract_params,
    abstract_state,
    initial_head,
    initial_params,
    place_batch,
    place_course,
)
from xlmr_flax.train.step import _train_program, learning_rate, make_train_step, train_step

STEPS = 3
NAN, INF = float("nan"), float("inf")
ON_MESHES = [
    *(("sequence", mesh) for mesh in ("data", "fsdp", "tensor", "pair")),
    *((kind, "mix") for kind in ("choice", "token", "span", "mlm")),
]


def farthest(one, other, *, at_least: float = 1e-2) -> float:
    """The largest difference of two trees, each leaf in units of its largest number, or of `at_least`."""

    def of_leaf(a, b):
        a, b = np.asarray(a), np.asarray(b)
        return float(np.abs(a - b).max() / max(np.abs(a).max(), at_least))

    return max(jax.tree.leaves(jax.tree.map(of_leaf, one, other)))


def moments(state):
    """Adam's first moments, which are sums of the gradients."""
    return next(part.mu for part in state.opt if isinstance(part, optax.ScaleByAdamState))


def assert_same(one, other):
    (state, losses), (other_state, other_losses) = one, other
    np.testing.assert_allclose(other_losses, losses, rtol=1e-5)
    assert farthest(moments(state), moments(other_state), at_least=1e-4) < 1e-4
    # Found on two cores: 4e-7 of the loss, 2e-5 of the moments, 2e-6 here.
    assert farthest(state.params, other_state.params) < 1e-5


@pytest.mark.parametrize(("kind", "mesh"), ON_MESHES)
def test_losses_gradients_and_weights_are_the_same_on_any_mesh_with_dropout(kind, mesh, finished):
    assert_same(finished(kind, "one", STEPS), finished(kind, mesh, STEPS))


def test_words_are_looked_up_where_they_are_and_one_beyond_the_table_shows_as_nan(arch, specs, mesh):
    model = make_model(arch, specs["token"], compute="float32", mesh=mesh("mix"))
    params = initial_params(model, mesh("mix"), key=jax.random.key(0))
    words_VD = params["encoder"]["embeddings"]["words"]
    ids_BL = np.arange(8 * 16, dtype=np.int32).reshape(8, 16) * 2 % len(words_VD)
    found_BLD = jax.jit(model.encoder.place.words)(words_VD, ids_BL)
    np.testing.assert_array_equal(found_BLD, np.asarray(words_VD)[ids_BL])
    ids_BL[3, 5], ids_BL[4, 1] = len(words_VD), -1
    lost_BL = np.isnan(jax.jit(model.encoder.place.words)(words_VD, ids_BL)).all(-1)
    assert np.argwhere(lost_BL).tolist() == [[3, 5], [4, 1]]


def test_gradients_of_words_are_added_up_in_float32_and_summed_over_data_in_the_compute_type(arch, specs, mesh):
    take = make_model(arch, specs["token"], compute="bfloat16", mesh=mesh("mix")).encoder.place.words
    words_VD, ids_BL = jnp.zeros((256, arch.hidden_size)), jnp.full((8, 150), 7)  # with two data, 600 times in each

    def gradient(words_VD):
        return jax.grad(lambda words_VD: take(words_VD, ids_BL).sum())(words_VD)

    # Added up in bfloat16, in which 256 + 1 is 256, it would never be more.
    np.testing.assert_array_equal(jax.jit(gradient)(words_VD)[7], 1200)
    summed = re.findall(r"psum\w*\[[^\]]*axes=\('data',\)", str(jax.make_jaxpr(gradient)(words_VD)))
    sent = jax.jit(gradient).lower(words_VD).as_text()
    assert len(summed) == 1
    assert re.search(r"all_reduce.*?tensor<64x\d+xbf16>", sent, re.S)


@pytest.mark.parametrize("passes", [{"scan_layers": False}, {"reshard_after_forward": False}], ids=str)
def test_layers_one_by_one_or_weights_kept_from_the_first_pass_change_nothing_on_a_mesh(passes, finished):
    passes = {"reshard_after_forward": False, **passes}
    assert_same(finished("sequence", "one", STEPS), finished("sequence", "mix", STEPS, passes=tuple(passes.items())))


@pytest.mark.parametrize("remat", ["none", "elementwise", "layers"])
@pytest.mark.parametrize("scan_layers", [True, False])
def test_weights_that_are_gathered_again_are_not_kept_for_the_backward_pass(remat, scan_layers, arch, specs, trainer):
    part = trainer("sequence", "fsdp")
    wide = arch.model_copy(update={"hidden_size": 256, "intermediate_size": 1024})

    def kept_bytes(*, reshard_after_forward):
        passes = {"scan_layers": scan_layers, "reshard_after_forward": reshard_after_forward, "remat": remat}
        model = make_model(wide, specs["sequence"], compute="float32", mesh=part.mesh, **passes)

        def kept(params, batch):
            return jax.vjp(lambda params: model.loss(params, jax.tree.map(lambda x: x[0], batch), None).total, params)[
                1
            ]

        found = jax.eval_shape(kept, abstract_params(model, part.mesh), part.place(0))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(found))

    layer_bytes = 4 * (4 * 256**2 + 2 * 256 * 1024)
    gathered_bytes = layer_bytes * wide.num_hidden_layers * part.mesh.shape["fsdp"]
    saved_bytes = kept_bytes(reshard_after_forward=False) - kept_bytes(reshard_after_forward=True)
    assert saved_bytes >= 0.8 * gathered_bytes  # the shares, an eighth, are kept


@pytest.mark.parametrize("kind", ["choice", "mlm"])  # units that must stay together; counts that differ
def test_four_micro_batches_are_one_batch_with_dropout(kind, finished):
    assert_same(finished(kind, "one", STEPS), finished(kind, "one", STEPS, micro_batches=4))


def test_a_dual_head_in_micro_batches_on_eight_devices_is_one_batch_on_one_with_dropout(finished):
    # each query meets the documents of all micro-batches, whose gradients are exact
    assert_same(finished("dual", "one", STEPS), finished("dual", "mix", STEPS, micro_batches=4))


def test_the_documents_of_a_micro_batch_alone_would_give_another_loss(trainer, finished):
    part = trainer("dual", "one", micro_batches=4)
    few = jax.jit(
        lambda params, batch: jax.lax.map(lambda each: part.model.loss(params, each, None).total, batch).sum()
    )
    # every softmax would be over 8 documents instead of 32
    assert few(part.start().params, part.place(0)) / 32 < 0.9 * finished("dual", "one", STEPS)[1][0]


@pytest.mark.parametrize("seed", [3, 4])
def test_dropout_is_on_and_follows_the_seed_and_the_step(seed, trainer):
    part = trainer("sequence", "one", seed=seed)
    noiseless = part.model.loss(part.start().params, jax.tree.map(lambda x: x[0], part.place(0)), None)
    state, tally = part.step(part.start(), part.place(0), part.course)
    _, later = part.step(part.start()._replace(step=state.step), part.place(0), part.course)
    other_seed = place_course(Optim(), part.mesh, seed=seed + 1, steps=100)
    _, other = part.step(part.start(), part.place(0), other_seed)
    losses = {float(t.total) for t in (noiseless, tally, later, other)}
    assert len(losses) == 4


def test_the_gradient_is_that_of_the_mean_over_all_micro_batches(trainer):
    part = trainer("token", "one", micro_batches=4)  # labels are counted by the token: parts differ in number
    batch, params = part.place(0), part.start().params

    def mean(params):
        tallies = [part.model.loss(params, jax.tree.map(lambda x, k=k: x[k], batch), None) for k in range(4)]
        return sum(tally.total for tally in tallies) / sum(tally.count for tally in tallies)

    quiet = SimpleNamespace(loss=lambda params, batch, noise: part.model.loss(params, batch, None))
    step = functools.partial(train_step, model=quiet, tx=optax.identity())
    course = place_course(Optim(peak_lr=1.0, warmup_frac=0.0), part.mesh, seed=0, steps=100)
    state = State(params, optax.identity().init(params), *[jnp.int32(0)] * 3)
    found, wanted = jax.jit(lambda state: (step(state, batch, course)[0].params, jax.grad(mean)(state.params)))(state)
    gradients = jax.tree.map(lambda before, after: before - after, params, found)
    assert farthest(wanted, gradients, at_least=1e-2) < 1e-4
    counts = (np.asarray(batch.target.label_BL) >= 0).sum((1, 2))
    assert len(set(counts)) > 1


def test_phases_that_differ_in_learning_rate_steps_and_seed_share_one_program(trainer, optim, mesh):
    one = trainer("sequence", "one")
    assert make_train_step(one.model, optim.model_copy(update={"peak_lr": 5.0, "warmup_frac": 0.3}), mesh("one")) is (
        one.step
    )
    one.run(2)
    compiled = one.step._cache_size()
    trainer("sequence", "one", seed=8, steps=7, optim=optim.model_copy(update={"peak_lr": 5.0})).run(2)
    assert one.step._cache_size() == compiled


def test_a_step_is_traced_once_for_each_row_length(trainer):
    part = trainer("sequence", "one")
    state, _ = part.run(1)
    before = _train_program.cache_info().currsize, part.step._cache_size()
    for step in range(5):
        state, _ = part.step(state, part.place(step), part.course)
    assert (_train_program.cache_info().currsize, part.step._cache_size()) == before


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "mlm", "dual"])
def test_the_loss_falls_on_what_can_be_learnt(kind, trainer):
    _, losses = trainer(kind, "one").run(60)
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])


def test_the_learning_rate_is_that_of_transformers_linear_schedule(mesh):
    optim = Optim(peak_lr=2.0, warmup_frac=0.4)
    course = place_course(optim, mesh("one"), seed=0, steps=10)
    # get_linear_schedule_with_warmup(optimizer, 4, 10) of an optimizer with lr=2
    wanted = [0, 0.5, 1, 1.5, 2, 2 * 5 / 6, 2 * 4 / 6, 1, 2 * 2 / 6, 2 / 6, 0]
    found = [float(learning_rate(jnp.int32(step), course)) for step in range(11)]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_without_warm_up_the_first_step_has_the_peak_rate(mesh):
    course = place_course(Optim(peak_lr=2.0, warmup_frac=0.0), mesh("one"), seed=0, steps=4)
    found = [float(learning_rate(jnp.int32(step), course)) for step in range(5)]
    np.testing.assert_allclose(found, [2.0, 1.5, 1.0, 0.5, 0.0], rtol=1e-6)


def test_a_step_at_rate_zero_moves_moments_and_no_weight(trainer, optim):
    part = trainer("sequence", "one")
    at_rest = place_course(optim.model_copy(update={"warmup_frac": 0.5}), part.mesh, seed=3, steps=100)
    state, _ = part.step(part.start(), part.place(0), at_rest)
    assert farthest(part.start().params, state.params) == 0
    assert farthest(moments(part.start()), moments(state)) > 0


def test_padded_rows_of_the_vocabulary_stay_zero(finished, arch):
    for mesh in ("one", "mix"):
        state, _ = finished("mlm", mesh, STEPS)
        words, bias = (
            np.asarray(state.params["encoder"]["embeddings"]["words"]),
            np.asarray(state.params["head"]["bias"]),
        )
        assert len(words) == len(bias) == 256
        assert not words[arch.vocab_size :].any()
        assert not bias[arch.vocab_size :].any()
        assert np.abs(bias[5 : arch.vocab_size]).min() > 0


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span", "mlm", "dual"])
def test_the_gradient_at_padding_is_exactly_zero(kind, trainer):
    part = trainer(kind, "one")
    batch = jax.tree.map(lambda x: x[0], part.place(0))
    params = part.start().params

    def loss(x_BLD):
        x_BLD, _ = part.model.encoder.run(params["encoder"]["layers"], x_BLD, batch.tokens, None, keep=lambda *_: None)
        words_VD = params["encoder"]["embeddings"]["words"]
        return part.model.head_loss(
            part.model._head(params)(x_BLD, words_VD, batch.tokens, batch.target, None), batch.target
        ).total

    x_BLD = part.model.encoder.embed(params["encoder"]["embeddings"], batch.tokens, None)
    grads_BLD = np.asarray(jax.jit(jax.grad(loss))(x_BLD))
    padding_BL = np.asarray(batch.tokens.unit_BL) < 0
    assert padding_BL.any()
    assert not grads_BLD[padding_BL].any()
    assert np.abs(grads_BLD[~padding_BL]).sum(-1).all()


def test_a_word_that_stands_in_padding_only_is_never_trained(trainer):
    part = trainer("sequence", "one")
    batch = part.place(0)
    ids = np.where(np.asarray(batch.tokens.unit_BL) < 0, 19, np.asarray(batch.tokens.ids_BL))
    strange = batch._replace(tokens=batch.tokens._replace(ids_BL=jax.device_put(ids, batch.tokens.ids_BL.sharding)))
    (state, tally), (same, other) = (part.step(part.start(), each, part.course) for each in (batch, strange))
    assert float(tally.total) == float(other.total)
    trained = np.asarray(moments(same)["encoder"]["embeddings"]["words"]).any(axis=1)
    assert not trained[19]
    assert trained[ids[0, 0, 2]]
    assert farthest(state.params, same.params) == 0


def test_fresh_weights_are_the_same_on_any_mesh_and_under_any_head(arch, specs, mesh):
    key, size = jax.random.key(5), {"compute": "float32"}
    one = make_model(arch, specs["span"], **size, mesh=mesh("one"))
    mix = make_model(arch, specs["token"], **size, mesh=mesh("mix"))
    fresh = initial_params(mix, mesh("mix"), key=key)
    assert farthest(initial_params(one, mesh("one"), key=key)["encoder"], fresh["encoder"]) < 1e-6
    assert farthest(initial_head(mix, mesh("mix"), key=key), fresh["head"]) == 0
    places = jax.tree.map(lambda x: x.sharding, abstract_params(mix, mesh("mix")))
    assert jax.tree.map(lambda x: x.sharding, fresh) == places


@pytest.mark.parametrize("clip_norm", [1.0, None])
@pytest.mark.parametrize(("loss", "gradient"), [(NAN, 0.0), (INF, 0.0), (0.0, NAN), (0.0, -INF)])
def test_a_step_that_is_not_finite_changes_nothing_but_the_counters(loss, gradient, clip_norm, trainer, optim):
    part = trainer("sequence", "one")
    tx = make_optimizer(optim.model_copy(update={"clip_norm": clip_norm}))

    def gradients(model, params, batch, noise):
        # Without the model's own, which other tests compile: only what comes after them is looked at.
        grads = jax.tree.map(jnp.ones_like, params)
        return Tally(jnp.float32(32) + loss, jnp.float32(32)), jax.tree.map(
            lambda g: g.at[(0,) * g.ndim].add(gradient), grads
        )

    step = jax.jit(functools.partial(train_step, model=part.model, tx=tx, gradients=gradients))
    params = part.start().params
    before = State(params, tx.init(params), jnp.int32(7), jnp.int32(2), jnp.int32(1))
    after, outcome = step(before, part.place(0), part.course)
    for name in ("params", "opt"):
        jax.tree.map(np.testing.assert_array_equal, getattr(after, name), getattr(before, name))
    assert (int(after.step), int(after.skipped), int(after.in_row)) == (8, 3, 2)
    assert (int(outcome.skipped), int(outcome.in_row)) == (3, 2)


def test_a_step_that_is_finite_is_applied_and_ends_the_row(trainer):
    part = trainer("sequence", "one")
    before = part.start()._replace(skipped=jnp.int32(2), in_row=jnp.int32(2))
    wanted, _ = part.step(part.start(), part.place(0), part.course)
    after, outcome = part.step(before, part.place(0), part.course)
    jax.tree.map(np.testing.assert_array_equal, after.params, wanted.params)
    assert (int(after.skipped), int(after.in_row), int(outcome.in_row)) == (2, 0, 0)


def test_whether_a_step_is_finite_costs_no_reduction_and_no_exchange_of_its_own(trainer, optim):
    part = trainer("sequence", "mix")
    tx = make_optimizer(optim)

    def gradients(model, params, batch, noise):
        return Tally(jnp.float32(32), jnp.float32(32)), jax.tree.map(lambda x: 2 * x, params)

    def unchecked(state, batch, course):
        grads = jax.tree.map(lambda x: 2 * x / jnp.float32(32), state.params)
        updates, opt = tx.update(grads, state.opt, state.params)
        lr = learning_rate(state.step, course)
        return jax.tree.map(lambda p, u: p - lr * u, state.params, updates), opt

    def counted(step):
        text = (
            jax.jit(step, donate_argnums=0)
            .lower(abstract_state(part.model, optim, part.mesh), None, part.course)
            .compile()
            .as_text()
        )
        return {word: text.count(f" {word}(") for word in ("reduce", "all-reduce", "all-gather")}

    found = counted(functools.partial(train_step, model=part.model, tx=tx, gradients=gradients))
    assert found == counted(unchecked)
    assert found["all-reduce"] > 0


def test_a_program_that_is_compiled_ahead_is_the_one_that_the_step_runs(trainer, optim):
    part, compiled = trainer("sequence", "one"), []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, secs, **more: compiled.append(name) if name.endswith("backend_compile_duration") else None
    )
    host = jax.tree.map(lambda x: x[:, :8], part.batches(0))  # a shape of its own
    state = part.start()
    batch = place_batch(host, part.mesh, lead=1)
    train_program(part.model, optim, part.mesh, host).compile()
    assert len(compiled) == 1
    part.step(state, batch, part.course)
    assert len(compiled) == 1
