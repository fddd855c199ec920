"""Checkpoints: back bit for bit on any mesh; the newest, the best and one every so many steps stay."""

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.train.checkpoint import Checkpoints, load_selected, remove_training, save_selected
from xlmr_flax.train.keep import Keep
from xlmr_flax.train.record import checksums_of, mismatch

toys = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_checkpoints.py"))))


@pytest.mark.parametrize(("one", "other"), [("mix", "one"), ("one", "fsdp"), ("fsdp", "tensor"), ("data", "mix")])
def test_a_state_comes_back_bit_for_bit_on_another_mesh(one, other, mesh, tmp_path):
    toys.saved(tmp_path, mesh(one), [7])
    like = toys.parts_on(mesh(other), 7)
    found = toys.restored(tmp_path, like)
    toys.assert_equal(found.parts, like)
    assert jax.tree.map(lambda x: x.sharding, found.parts) == jax.tree.map(lambda x: x.sharding, like)
    assert (found.step, found.progress) == (7, toys.progress())


def test_nothing_saved_is_no_error(mesh, tmp_path):
    assert toys.restored(tmp_path, toys.parts_on(mesh("one"))) is None


def test_the_newest_and_the_best_are_kept(mesh, tmp_path):
    assert toys.saved(tmp_path, mesh("one"), [1, 2, 3, 4, 5], keep=2, best=2) == [2, 4, 5]
    checkpoints = Checkpoints(tmp_path, keep=1)
    toys.assert_equal(checkpoints.parts_at(2, toys.abstract({"head": toys.parts_on(mesh("one"), 2)["head"]})),
                 {"head": toys.parts_on(mesh("one"), 2)["head"]})  # fmt: skip
    checkpoints.save(6, toys.parts_on(mesh("one"), 6), toys.progress(best=6))
    checkpoints.close()
    assert toys.steps_in(tmp_path) == [6]


def test_one_every_so_many_steps_stays_too(mesh, tmp_path):
    head = {"head": toys.parts_on(mesh("one"))["head"]}
    checkpoints = Checkpoints(tmp_path, keep=1, keep_every_steps=4)
    for step in (2, 4, 6, 8, 9):
        checkpoints.save(step, head, toys.progress())
    checkpoints.close()
    assert toys.steps_in(tmp_path) == [4, 8, 9]


def test_what_the_checkpoint_before_would_hand_over_stays_as_long_as_it(mesh, tmp_path):
    head, checkpoints = {"head": toys.parts_on(mesh("one"))["head"]}, Checkpoints(tmp_path, keep=2)
    for step, best, left in ((1, 1, [1]), (2, 1, [1, 2]), (3, 1, [1, 2, 3]), (4, 4, [1, 3, 4])):
        checkpoints.save(step, head, toys.progress(best))
        checkpoints.wait()
        assert toys.steps_in(tmp_path) == left
    checkpoints.close()
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.restore(toys.abstract(head)).step == 4
    for step, left in ((5, [4, 5]), (6, [4, 5, 6])):
        checkpoints.save(step, head, toys.progress(4))
        checkpoints.wait()
        assert toys.steps_in(tmp_path) == left
    checkpoints.close()


STEPS = st.integers(1, 60)


@given(
    st.sets(STEPS),
    st.integers(1, 4),
    st.none() | st.integers(1, 9),
    st.dictionaries(STEPS, st.frozensets(STEPS, max_size=3)),
    st.sets(STEPS),
)
def test_what_stays_is_the_newest_whole_ones_one_every_so_many_and_what_these_hand_over(
    saved, newest, every, needed, damaged
):
    keep = Keep(newest, every)
    keep.needed, keep.passed_over = needed, damaged
    stay, whole = keep.steps(saved), sorted(saved - damaged)
    assert set(whole[-newest:]) <= stay <= set(whole)
    for_themselves = {step for step in whole if step in whole[-newest:] or (every is not None and step % every == 0)}
    for step in whole:
        assert (step in stay) == (
            step in for_themselves or any(step in needed.get(each, ()) for each in for_themselves)
        )


def test_what_is_saved_is_what_stood_there_when_the_save_began(mesh, tmp_path):
    donate = jax.jit(lambda parts: jax.tree.map(lambda x: x * 0, parts), donate_argnums=0)
    checkpoints, evaluations = Checkpoints(tmp_path, keep=2), [{"step": 1, "score": 0.5}]
    parts = toys.parts_on(mesh("one"), 3)
    checkpoints.save(3, parts, {"best_step": 3, "evaluations": evaluations, "log": None})
    evaluations.append({"step": 4, "score": 0.9})
    jax.block_until_ready(donate(parts))
    checkpoints.close()
    found = toys.restored(tmp_path, toys.parts_on(mesh("one"), 3))
    toys.assert_equal(found.parts, toys.parts_on(mesh("one"), 3))
    assert found.progress["evaluations"] == evaluations[:1]


@pytest.fixture(scope="module")
def two(mesh, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    toys.saved(folder, mesh("one"), [1, 2])
    return folder


def test_another_shape_is_an_error_that_names_the_leaf(mesh, two, tmp_path):
    like = toys.parts_on(mesh("one"), 2, rows=128)
    with pytest.raises(InputError, match=r"encoder\.words is \(64, 4\) float32 in this checkpoint, wanted \(128, 4\)"):
        toys.restored(two, like)
    like = toys.parts_on(mesh("one"), 2)
    like["head"]["kernel"] = like["head"]["bias"]
    with pytest.raises(InputError, match=r"head\.kernel is not in this checkpoint; it was saved by another model"):
        toys.restored(two, like)
    save_selected(tmp_path, {"head": {"bias": jnp.ones(3)}}, {"step": 2})
    with pytest.raises(InputError, match=r"selected: head\.bias is \(3,\) float32 .*, wanted \(5,\) float32"):
        load_selected(tmp_path, toys.abstract({"head": {"bias": jnp.ones(5)}}))
    with pytest.raises(InputError, match=r"head\.bias is \(3,\) float32 .*, wanted \(3,\) int32"):
        load_selected(tmp_path, toys.abstract({"head": {"bias": jnp.ones(3, jnp.int32)}}))


def test_a_finished_phase_keeps_its_weights_only(mesh, two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    parts = toys.parts_on(mesh("mix"), 5)
    weights = {"encoder": parts["encoder"], "head": parts["head"]}
    save_selected(folder, weights, {"step": 5})
    remove_training(folder)
    assert [path.name for path in folder.iterdir()] == ["selected"]
    assert sorted(path.name for path in (folder / "selected").iterdir() if path.is_dir()) == ["encoder", "head"]
    like = toys.parts_on(mesh("one"), 5)
    toys.assert_equal(load_selected(folder, toys.abstract({"encoder": like["encoder"]})), {"encoder": like["encoder"]})
    toys.assert_equal(load_selected(folder, toys.abstract({"head": like["head"]})), {"head": like["head"]})


def test_checksums_are_equal_on_every_mesh_and_see_every_bit_and_place(mesh):
    one, mix = (jax.device_get(checksums_of(toys.parts_on(mesh(name), 4))) for name in ("one", "mix"))
    assert one == mix
    checksum = lambda x: int(checksums_of({"x": jnp.asarray(x)})["x"])  # noqa: E731
    ones = np.ones(1024, np.float32)
    assert checksum(ones) != checksum(np.zeros(1024, np.float32))
    assert checksum([1.0, 2.0]) != checksum([2.0, 1.0])
    assert checksum(0.0) != checksum(-0.0)
    seen = {checksum(ones)}
    for bit in range(32):
        flipped = ones.copy()
        flipped.view(np.uint32)[500] ^= np.uint32(1 << bit)
        seen.add(checksum(flipped))
    assert len(seen) == 33
    assert checksum(jnp.ones(4, jnp.bfloat16)) != checksum(jnp.ones(4, jnp.bfloat16) * 1.0078125)


def test_a_leaf_without_a_checksum_does_not_pass(mesh):
    parts = {"head": {"bias": jnp.ones(3)}}
    known = {name: int(value) for name, value in checksums_of(parts).items()}
    assert mismatch(parts, known) is None
    assert mismatch(parts, {}) == "head.bias"
    assert mismatch(parts, json.loads(json.dumps(known)) | {"head.bias": 0}) == "head.bias"
