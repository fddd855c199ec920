"""One phase: interrupted anywhere and run again, it ends with the same bits."""

import dataclasses
import errno
import json
import math
import re
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.errors import InputError, Interrupted, TrainingError
from xlmr_flax.execute import averages as averages_of
from xlmr_flax.execute import local, phase
from xlmr_flax.execute.attempts import seed_of
from xlmr_flax.execute.beginning import first_params
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.execute.phase import prepare, run_phase
from xlmr_flax.execute.show import show_batch
from xlmr_flax.execute.trained import load_trained
from xlmr_flax.graph.build import Scored, build
from xlmr_flax.graph.nodes import EvalNode, is_done
from xlmr_flax.graph.origins import check_sources, sources_of
from xlmr_flax.report.results import rows_of
from xlmr_flax.train.checkpoint import SELECTED, SELECTED_ALSO, Checkpoints, load_selected
from xlmr_flax.train.loop import Stop
from xlmr_flax.train.sharding import make_mesh
from xlmr_flax.train.state import abstract_params


@pytest.fixture
def desk(lab, open_lab, tmp_path):
    """An unfinished phase's place: its parents are there, nothing of its own is."""

    def make(name="nli", folder="desk", **changes):
        other = open_lab(tmp_path / folder, **changes)
        needed = [other.phase(name).parent, *other.graph.nodes[:2]]
        if other.context.folders.cache.is_symlink():  # another experiment in the same place
            return other
        for node in needed:
            source, place = lab.context.folders.of(node), other.context.folders.of(node)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(source)
        other.context.folders.cache.symlink_to(lab.context.folders.cache)
        return other

    return make


def run(desk, name="nli", *, stop_at=None):
    """Runs a phase; with `stop_at`, a signal arrives during that step."""
    stop, place = Stop(), phase.place_batch
    taken = []

    def place_and_count(batch, mesh, *, lead):
        if lead:
            taken.append(1)
            stop.asked = stop.asked or len(taken) == stop_at
        return place(batch, mesh, lead=lead)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase, "place_batch", place_and_count)
        if stop_at is None:
            run_phase(desk.phase(name), desk.context, stop)
        else:
            with pytest.raises(Interrupted, match="stopped at step"):
                run_phase(desk.phase(name), desk.context, stop)
    return len(taken)


def weights(desk, name="nli"):
    node = desk.phase(name)
    like = abstract_params(prepare(node, desk.context).parts[0].model, desk.context.mesh)
    return load_selected(desk.context.folders.of(node) / "checkpoints", like)


def log_rows(desk, name="nli"):
    rows = [json.loads(line) for line in (desk.folder(name) / "train.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.endswith("per_second")} for row in rows]


def done(desk, name="nli"):
    return json.loads((desk.folder(name) / "DONE").read_text())


def assert_like(lab, desk, name="nli"):
    """The phase in `desk` ended as the one that was never interrupted."""
    one, other = (jax.tree.leaves(weights(each, name)) for each in (lab, desk))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert log_rows(desk, name) == log_rows(lab, name)
    assert done(desk, name) == done(lab, name)
    assert [path.name for path in (desk.folder(name) / "checkpoints").iterdir()] == ["selected"]


@pytest.mark.parametrize("stops", [(1,), (5, 3), (7, 4)], ids=str)
def test_stopped_anywhere_and_run_again_is_never_having_stopped(stops, lab, desk):
    desk, left = desk(), 13
    for steps in stops:
        assert run(desk, stop_at=steps) == steps
        left -= steps
        assert not (desk.folder("nli") / "DONE").exists()
    assert run(desk) == left
    assert_like(lab, desk)
    assert desk.said().count("nli: continues at step") == len(stops)


def test_what_is_saved_half_way_is_the_same_after_a_restart_to_the_optimizers_last_bit(desk):
    straight, parted = desk(folder="a"), desk(folder="b")
    run(straight, stop_at=11)
    run(parted, stop_at=6)
    run(parted, stop_at=5)
    records = []
    for each in (straight, parted):
        text = (each.folder("nli") / "checkpoints" / "training" / "11" / "_CHECKPOINT_METADATA").read_text()
        records.append(json.loads(text)["custom_metadata"])
    assert records[0] == records[1]
    names = [name.split(".")[0] for name in records[0]["leaves"]]
    assert {name: names.count(name) for name in names} == {
        "encoder": 21,
        "head": 4,
        "optimizer": 2 * 25 + 1,
        "counters": 3,
    }
    assert records[0]["progress"]["log"]["outcomes"]


@pytest.mark.long
def test_a_robust_phase_stopped_and_run_again_is_never_having_stopped_and_shows_its_batches(desk, phases):
    robust = {"noise": "gaussian", "noise_scale": 0.02, "consistency": 1.0, "dictionary": "dictionaries",
              "switch_rate": 0.5}  # fmt: skip
    changed = phases("nli", robust=robust, length=32, accumulation=2)
    straight, parted = (desk(folder=folder, phases=changed) for folder in "ab")
    run(straight)
    run(parted, stop_at=6)
    run(parted)
    assert_like(straight, parted)
    recorded = json.loads((straight.folder("nli") / "config.json").read_text())
    assert [path.rsplit("/", 1)[1] for path in recorded["dictionaries"]["en"]] == ["en-x1.txt", "en-x2.txt"]
    assert {"dictionary en-x1.txt", "dictionary en-x2.txt"} <= recorded["sources"].keys()
    shown = "\n".join(show_batch(str(straight.folder("nli")), None, 3, straight.context.folders))
    words = json.loads((straight.context.folders.of(straight.graph.nodes[0]) / "world.json").read_text())["lexicon"]
    assert set(shown.split()) & set(words["x1"].values()) - set(words["en"])
    assert set(shown.split()) & set(words["x2"].values()) - set(words["en"])


@pytest.fixture
def phases(experiment):
    """The experiment's phases, one of them with other settings."""

    def change(name, **settings):
        return [each | (settings if each["name"] == name else {}) for each in experiment["phases"]]

    return change


class KilledError(Exception):
    """Stands for a process that is gone."""


def killed(module, name, *, at=1):
    """A function that does not come back from its n-th call."""
    calls, function = [], getattr(module, name)

    def call(*args, **kwargs):
        calls.append(1)
        if len(calls) == at:
            raise KilledError
        return function(*args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(module, name, call)
    return patch


@pytest.mark.parametrize(
    ("name", "at"),
    [("place_batch", 3), ("place_batch", 8), ("save_selected", 1), ("create", 1), ("remove_checkpoints", 1)],
    ids=["before the first save", "between two saves", "after the last step", "before DONE", "after DONE"],
)
def test_killed_without_a_word_and_run_again_is_never_having_been_killed(name, at, lab, desk):
    desk = desk()
    patch = killed(phase, name, at=at)
    with pytest.raises(KilledError):
        run_phase(desk.phase("nli"), desk.context, Stop())
    patch.undo()
    run_phase(desk.phase("nli"), desk.context, Stop())
    assert_like(lab, desk)


class Unsaved(Checkpoints):
    """The save of step 8 fails after the loop has gone on."""

    def save(self, step, parts, progress):
        super().save(step, parts, progress)
        if step == 8:
            self.wait()
            shutil.rmtree(self.folder / "8")
            (self.folder / "newest").write_text("5\n")
            self.pending = step, SimpleNamespace(result=self.fail)

    def fail(self):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stop_at", [None, 8], ids=["under way", "at a stop"])
def test_a_full_disk_ends_a_phase_with_a_sentence_and_it_goes_on_from_the_checkpoint_before(stop_at, lab, desk):
    desk = desk()
    node = desk.phase("nli")
    stop, place, taken = Stop(), phase.place_batch, []

    def place_and_count(batch, mesh, *, lead):
        taken.extend([1] * lead)
        stop.asked = stop.asked or len(taken) == stop_at
        return place(batch, mesh, lead=lead)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase, "Checkpoints", Unsaved)
        patch.setattr(phase, "place_batch", place_and_count)
        wanted = r"the checkpoint of step 8 could not be saved, the last whole one is that of step 5: no room is left"
        with pytest.raises(TrainingError, match=wanted) as caught:
            local.run_node(node, desk.context, stop)
    assert caught.value.exit_code == 3  # and not 75, which says that all is saved
    assert len(taken) == (8 if stop_at else 9)  # the step that was under way is the last one
    run_phase(node, desk.context, Stop())
    assert "nli: continues at step 5" in desk.said()
    assert_like(lab, desk)


def test_any_file_that_a_full_disk_does_not_take_ends_with_a_sentence_too(desk, monkeypatch):
    desk = desk()

    def fail(path, value):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(phase, "write_json", fail)
    with pytest.raises(
        TrainingError, match=r"phases/nli-\w+: no room is left on the disk; make some, and run the same"
    ):
        local.run_node(desk.phase("nli"), desk.context, Stop())

    def deny(path, value):
        raise PermissionError(errno.EACCES, "not yours")

    monkeypatch.setattr(phase, "write_json", deny)
    with pytest.raises(PermissionError, match="not yours"):
        local.run_node(desk.phase("nli"), desk.context, Stop())


@pytest.mark.long
def test_a_phase_goes_on_in_its_folder_on_another_mesh_and_ends_with_the_same_numbers(desk, phases):
    # Adam's eps as in the tests of the step: with 1e-8 the rounding errors of gradients that are zero are whole steps.
    phases = phases("nli", optim={"peak_lr": 1e-3, "eps": 1e-2})
    straight, parted = (desk(folder=folder, phases=phases) for folder in "ab")
    run(straight)
    run(parted, stop_at=5)
    for sizes, stop_at in (({"data": 1}, 4), ({"data": 2, "tensor": 2}, None)):
        mesh = MeshSizes(**sizes)
        experiment = parted.context.experiment.model_copy(update={"mesh": mesh})
        context = dataclasses.replace(parted.context, experiment=experiment)
        # fewer devices than this process has
        context.__dict__["mesh"] = make_mesh(mesh, jax.devices()[: math.prod(sizes.values())])
        assert build(experiment).nodes == parted.graph.nodes  # the same keys, so the same folders
        parted = parted._replace(context=context)
        run(parted, stop_at=stop_at)
    assert [f"nli: continues at step {step}" in parted.said() for step in (5, 9)] == [True, True]
    for one, other in zip(log_rows(straight), log_rows(parted), strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose(list(other.values()), list(one.values()), rtol=1e-5)
    assert done(parted)["evaluations"] == done(straight)["evaluations"]
    for one, other in zip(*(jax.tree.leaves(weights(each)) for each in (straight, parted)), strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), atol=1e-5)


def test_a_phase_with_patience_ends_early_hands_over_its_best_and_survives_a_stop(desk, phases, monkeypatch):
    scores = {3: 0.2, 6: 0.7, 9: 0.7, 12: 0.1}

    def scripted(material, context, *, packing):
        return lambda state: {"accuracy": scores[int(state.step)]}

    monkeypatch.setattr(phase, "_selector", scripted)
    phases = phases("nli", steps=40, selection={"every_steps": 3, "patience": 2})
    straight, parted = (desk(folder=folder, phases=phases) for folder in "ab")
    run(straight)
    run(parted, stop_at=10)
    run(parted)
    for each in (straight, parted):
        assert (done(each)["step"], done(each)["steps_run"], done(each)["steps"]) == (6, 12, 40)
        assert done(each)["score"] == 0.7
        assert [row["step"] for row in log_rows(each) if "loss" in row] == [10, 12]
    assert_like(straight, parted)
    assert done(straight)["evaluations"] == [{"step": step, "score": score} for step, score in scores.items()]


def test_a_loss_that_stays_not_finite_ends_with_exit_code_3_and_names_the_batch_that_began_it(desk, phases):
    desk = desk(phases=phases("nli", optim={"peak_lr": 1e38, "warmup_frac": 0.0}, max_skipped_steps=7))
    told = []
    for _ in range(2):  # the second time from a checkpoint that lies in the midst of it
        with pytest.raises(
            TrainingError, match=r"nli: the loss is nan, not finite at step 8; .* since step 2"
        ) as caught:
            run(desk)
        told.append(str(caught.value))
        assert caught.value.exit_code == 3
    assert told[0] == told[1]
    assert desk.said().count("nli: continues at step 5") == 1
    assert re.search(rf"Step 2 trained on en \d+, .* and 8 more; .* data show {desk.folder('nli')} --step 2", told[0])
    assert not (desk.folder("nli") / "DONE").exists()


def test_a_step_that_is_not_finite_is_left_out_and_the_phase_goes_on(lab, desk, monkeypatch):
    straight, parted = desk(folder="a"), desk(folder="b")
    monkeypatch.setattr(phase, "make_train_step", with_a_bad_step(phase.make_train_step, 6))
    run(straight)
    run(parted, stop_at=7)
    run(parted)
    assert_like(straight, parted)
    assert [row["skipped_steps"] for row in log_rows(straight) if "loss" in row] == [1, 1]
    assert (done(straight)["skipped_steps"], done(straight)["steps_run"]) == (1, 13)
    assert done(lab)["skipped_steps"] == 0


def test_a_phase_that_learnt_nothing_is_tried_with_another_seed_and_says_so(lab, desk, phases, monkeypatch):
    judged = phase.learnt_nothing

    def scripted(selected, settings, watch, *, score):
        judged(selected, settings, watch, score=score)
        return ["training loss never fell"] if watch.losses[0] == first else []

    first = next(row["loss"] for row in log_rows(lab) if "loss" in row)  # of the first seed
    monkeypatch.setattr(phase, "learnt_nothing", scripted)
    straight, parted = (desk(folder=folder, phases=phases("nli", retries=2)) for folder in "ab")
    assert run(straight) == 2 * 13
    run(parted, stop_at=6)
    patch = killed(phase, "give_up")
    with pytest.raises(KilledError):
        run(parted)
    patch.undo()
    run(parted, stop_at=5)  # after the steps that were lost
    run(parted)
    assert_like(straight, parted)
    told = done(straight)
    assert (told["seed"], told["flags"]) == (seed_of(3, 1), [])
    assert [(one["seed"], one["steps_run"], one["flags"]) for one in told["attempts"]] == [
        (3, 13, ["training loss never fell"])
    ]
    assert told["attempts"][0]["score"] == done(lab)["score"]
    assert "nli: seed 3 learnt nothing (training loss never fell); starting again with seed" in straight.said()
    assert log_rows(straight) != log_rows(lab)
    shown = [list(show_batch(str(each.folder("nli")), None, 1, lab.context.folders))[1:] for each in (lab, straight)]
    assert shown[0] != shown[1]


def with_a_bad_step(make, bad):
    """Makes training steps of which the one of this number finds weights that are not finite, and forgets them."""

    def made(*args):
        step = make(*args)

        def call(state, batch, course):
            if int(state.step) + 1 != bad:
                return step(state, batch, course)
            broken = jax.tree.map(lambda x: x * np.float32("nan"), state.params)
            after, outcome = step(state._replace(params=broken), batch, course)
            return after._replace(params=state.params), outcome

        return call

    return made


def test_the_best_step_is_handed_over_and_not_the_last(lab, desk):
    found = done(lab)
    assert found["step"] == next(
        each["step"] for each in found["evaluations"] if each["score"] == max(e["score"] for e in found["evaluations"])
    )
    assert found["step"] < found["steps_run"] == found["steps"] == 13
    parted = desk()
    run(parted, stop_at=found["step"])
    saved = parted.folder("nli") / "checkpoints" / "training" / str(found["step"]) / "_CHECKPOINT_METADATA"
    leaves = json.loads(saved.read_text())["custom_metadata"]["leaves"]
    handed = json.loads((lab.folder("nli") / "checkpoints" / "selected" / "_CHECKPOINT_METADATA").read_text())
    chosen = handed["custom_metadata"]["leaves"]
    assert chosen == {name: leaf for name, leaf in leaves.items() if name in chosen}
    assert {name.split(".")[0] for name in chosen} == {"encoder", "head"}


def test_changed_sources_are_refused_before_going_on(desk, lab, tmp_path):
    desk = desk()
    run(desk, stop_at=2)
    world = desk.context.folders.of(desk.phase("nli").world)
    copy = shutil.copytree(world, tmp_path / "copy")
    world.unlink()
    copy.rename(world)
    with (world / "xnli" / "train-en.tsv").open("a") as file:
        file.write("one more\tline\tneutral\n")
    with pytest.raises(InputError, match=r"xnli/train-en\.tsv changed since this phase was trained") as caught:
        run(desk)
    assert caught.value.exit_code == 2


def test_files_that_are_gone_or_new_are_changes_too(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"sources": {"a": "1", "b": "2"}}))
    check_sources(tmp_path, {"b": "2", "a": "1"})
    with pytest.raises(InputError, match=r": a, c changed since"):
        check_sources(tmp_path, {"b": "2", "c": "3"})


def test_what_is_recorded_of_a_phase(lab):
    config = json.loads((lab.folder("nli") / "config.json").read_text())
    host = json.loads((lab.folder("nli") / "host.json").read_text())
    node = lab.phase("nli")
    assert config["key"] == node.key
    assert config["parent"].startswith("phases/choice-")
    assert set(config["sources"]) == {"xnli/train-en.tsv", "xnli/dev-en.tsv"}
    assert config["parameters"] == sum(x.size for x in jax.tree.leaves(weights(lab)))
    assert config["counts"]["rows"] == 61
    assert host["mesh"] == {"data": 2, "fsdp": 2, "tensor": 2}
    assert all(one["rows"] == 4 * one["rows_per_device"] for one in host["shapes"])
    trained = {(one["rows"], one["length"]) for one in host["measured"]["shapes"]}
    assert trained <= {(one["rows"], one["length"]) for one in host["shapes"]}


def test_a_subset_of_tagging_has_whole_sentences_and_counts_examples(lab):
    material = prepare(lab.phase("tags"), lab.context)
    example = np.asarray(material.parts[0].examples.encoded.example)
    taken = np.unique(example[material.parts[0].taken.chosen])
    assert len(taken) == 31
    assert set(material.parts[0].taken.chosen) == set(np.flatnonzero(np.isin(example, taken)))
    assert len(material.parts[0].taken.chosen) > 31


def test_a_mesh_that_the_arrays_do_not_divide_over_is_refused_before_anything_is_written(desk):
    desk = desk(mesh={"data": 1, "tensor": 8})
    with pytest.raises(InputError, match=r"mesh: encoder\.layers\.attention\..* does not split over tensor=8"):
        run(desk)
    assert not desk.folder("nli").exists()


def test_a_batch_that_does_not_divide_is_refused_with_its_key(desk, phases):
    desk = desk(phases=phases("nli", batch_size=18))
    with pytest.raises(InputError, match=r"phases\.nli\.batch_size.*=18 does not split over 4 data shards"):
        run(desk)
    assert not desk.folder("nli").exists()


def test_a_phase_that_stands_for_another_trains_for_its_steps_too(lab, experiment):
    def steps(**arm):
        arms = [{"name": "direct", "skip": ["choice"], **arm}]
        changed = Experiment.model_validate_json(json.dumps(experiment | {"arms": arms}))
        node = next(node for node in build(changed).nodes if node.name == "tags")
        context = dataclasses.replace(lab.context, experiment=changed)
        return phase.prepare(node, context).steps, sources_of(node, context.folders).keys()

    (own, files), (longer, more) = steps(), steps(updates=["choice"])
    assert (own, longer) == (2, 4)
    assert [path for path in sorted(more - files) if "cosmosqa" not in path] == []
    assert more > files


AVERAGE = {"selection": None, "average": {"checkpoints": 3, "every_steps": 4}}


@pytest.mark.long
def test_a_phase_hands_over_the_mean_of_its_checkpoints_also_after_a_stop_and_a_kill_amid_it(desk, phases, monkeypatch):
    given, mean = [], phase.mean_of

    def spied(trees):
        given.append([jax.device_get(tree) for tree in trees])
        return mean(jax.tree.map(jax.numpy.asarray, tree) for tree in given[-1])

    save = {"every_steps": 100, "keep": 1}
    straight, parted = (desk(folder=folder, phases=phases("nli", **AVERAGE), save=save) for folder in "ab")
    monkeypatch.setattr(phase, "mean_of", spied)
    run(straight)
    run(parted, stop_at=9)
    monkeypatch.undo()
    for name in ("save_selected", "create"):  # before anything of the mean is kept, and before it is said to be whole
        patch = killed(phase, name)
        with pytest.raises(KilledError):
            run(parted)
        patch.undo()
        assert not (parted.folder("nli") / "DONE").exists()
    run(parted)
    assert_like(straight, parted)
    assert done(straight)["averaged"] == [8, 12, 13]
    assert done(straight)["selection"] == "mean of the last 3 checkpoints, 4 steps apart"
    assert [len(trees) for trees in given] == [3]
    for stored, *each in zip(jax.tree.leaves(weights(straight)), *map(jax.tree.leaves, given[0]), strict=True):
        np.testing.assert_allclose(stored, np.mean(each, axis=0), rtol=1e-5, atol=1e-7)
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, given[0][:2]), strict=True))


def test_a_phase_too_short_for_its_checkpoints_is_refused_before_it_begins(desk, phases):
    short = desk(phases=phases("nli", **AVERAGE, steps=8))
    why = "phases.nli.average: 8 steps have checkpoints at 4, 8, wanted 3 of them; set every_steps=2 or less"
    with pytest.raises(InputError, match=re.escape(why)):
        prepare(short.phase("nli"), short.context)


@pytest.fixture
def choosing(desk, phases, monkeypatch):
    """The phase selecting in English, and if it is asked in all languages: these would take another step."""
    select = phase._selector
    scripted = {5: (0.2, 0.9), 10: (0.7, 0.1), 13: (0.6, 0.3)}

    def selector(*given, **more):
        real = select(*given, **more)

        def evaluate(state):
            names = [name for name in ("accuracy", "accuracy_all_langs") if name in real(state)]
            return dict(zip(names, scripted[int(state.step)], strict=False))

        return evaluate

    monkeypatch.setattr(phase, "_selector", selector)

    def make(folder, **also):
        selection = {"every_steps": 5, "max_examples": 19, **also}
        scored = [{"phase": "nli", "tasks": ["xnli"], "langs": ["x1"]}]
        return desk(
            folder=folder, phases=phases("nli", selection=selection), evaluations=scored, arms=[{"name": "choice"}]
        )

    return make


BOTH = {"also": "all_langs"}


def test_what_english_and_what_all_languages_select_are_both_kept_and_scored(choosing):
    desk = choosing("a", **BOTH)
    run(desk)
    assert done(desk)["step"] == 10
    kept = sorted(path.name for path in (desk.folder("nli") / "checkpoints").iterdir())
    assert kept == ["selected", "selected_all_langs"]
    nodes = [node for node in desk.graph.nodes if isinstance(node, EvalNode)]
    for node in nodes:
        run_evaluation(node, desk.context, Stop())
    rows = [row for node in nodes for row in rows_of(Scored("choice", node), desk.context.folders.runs)]
    assert [(row["setting"], row["selection"]) for row in rows] == [
        ("", "best accuracy on xnli dev (en), step 10"),
        ("selected in all languages", "best accuracy on xnli dev (all 3 languages), step 5"),
    ]
    assert "nli on xnli x1, selected in all languages: accuracy" in desk.said()
    one, two = (both_of(desk, name) for name in (SELECTED, SELECTED_ALSO))
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


@pytest.mark.long
def test_runs_with_one_selection_and_with_both_share_what_is_trained(choosing):
    plain, both, again = choosing("a"), choosing("b", **BOTH), choosing("a", **BOTH)
    run(both)
    run(plain)
    assert run(choosing("b")) == 0  # what was selected in English is there
    assert not is_done(again.phase("nli"), again.context.folders.runs)
    was = (plain.folder("nli") / "DONE").stat().st_mtime_ns
    run(again, stop_at=7)
    run(again)
    assert "trained before without keeping what all languages select; trains once more for it" in again.said()
    assert (plain.folder("nli") / "DONE").stat().st_mtime_ns == was
    for name in (SELECTED, SELECTED_ALSO):
        for a, b in zip(both_of(again, name), both_of(both, name), strict=True):
            np.testing.assert_array_equal(a, b)
    assert [run(each) for each in (plain, both, again)] == [0, 0, 0]


def both_of(desk, name):
    trained = load_trained(desk.folder("nli"), desk.context.folders, desk.context.mesh, selected=name)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(trained.params)]


def test_the_mean_of_runs_is_kept_and_scored_as_a_phase_is_and_has_the_same_bits_after_a_kill(desk, phases):
    averages = [{"name": "mean", "phase": "nli", "seeds": [3, 4]}]
    desk = desk(
        phases=phases("nli", init_seed=0, selection=None, steps=3, average={"checkpoints": 2, "every_steps": 2}),
        averages=averages,
        evaluations=[{"phase": "mean", "tasks": ["xnli"], "langs": ["x1"]}],
        arms=[{"name": "choice"}],
    )
    (mean,) = (node for node in desk.graph.nodes if node.name == "mean")
    folder = desk.context.folders.of(mean)
    for node in mean.averaged:
        local.run_node(node, desk.context, Stop())
    for name in ("save_selected", "create"):
        patch = killed(averages_of, name)
        with pytest.raises(KilledError):
            local.run_node(mean, desk.context, Stop())
        patch.undo()
        assert not (folder / "DONE").exists()
    local.run_node(mean, desk.context, Stop())
    each = [load_trained(desk.context.folders.of(node), desk.context.folders, desk.context.mesh).params
            for node in (*mean.averaged, mean)]  # fmt: skip
    for one, other, stored in zip(*map(jax.tree.leaves, each), strict=True):
        np.testing.assert_array_equal(stored, (np.asarray(one) + np.asarray(other)) / np.float32(2))
    heads = [jax.tree.leaves(tree["head"]) for tree in each[:2]]
    assert any((a != b).any() for a, b in zip(*heads, strict=True))
    (node,) = (node for node in desk.graph.nodes if isinstance(node, EvalNode))
    local.run_node(node, desk.context, Stop())
    (row,) = rows_of(Scored("choice", node), desk.context.folders.runs)
    assert (row["phase"], row["seed"], row["n_scored"]) == ("mean", 3, row["n_dataset"])  # what both started from
    of_each = "mean of the last 2 checkpoints, 2 steps apart"
    assert row["selection"] == f"mean of 2 runs (seeds 3, 4), of each: {of_each}"
    assert done(desk)["averaged"] == [2, 3]
    was = (folder / "DONE").stat().st_mtime_ns
    local.run_node(mean, desk.context, Stop())
    assert (folder / "DONE").stat().st_mtime_ns == was
    with pytest.raises(InputError, match="nothing is trained here"):
        list(show_batch(str(folder), None, 1, desk.context.folders))


def test_runs_that_are_to_be_averaged_begin_with_the_same_head(desk, phases):
    desk = desk(phases=phases("nli", init_seed=0))
    heads = []
    for seed in (3, 4):
        node = desk.phase("nli")
        params = first_params(node, desk.context, prepare(node, desk.context).models, seed=seed)
        heads.append(jax.tree.leaves(params["head"]))
    for a, b in zip(*heads, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
