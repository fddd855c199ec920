"""Damaged checkpoints are found and named, and the one before is used; a save that fails is told in a sentence."""

import errno
import gc
import re
import resource
import runpy
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlmr_flax.errors import TrainingError
from xlmr_flax.train import checkpoint
from xlmr_flax.train.checkpoint import Checkpoints, DamagedError, load_selected, save_selected

toys = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_checkpoints.py"))))

# Orbax forgets coroutines where a load fails half-way; they are collected here and not in somebody else's test.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def collected():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def two(mesh, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    toys.saved(folder, mesh("one"), [1, 2])
    return folder


@pytest.mark.parametrize("damage", [toys.flip, toys.halve, Path.unlink], ids=["flipped bit", "half", "missing"])
@pytest.mark.usefixtures("collected")
def test_whatever_happens_to_a_file_the_weights_are_those_of_a_whole_checkpoint(damage, mesh, tmp_path, capsys):
    heads = {step: {"head": toys.parts_on(mesh("one"), step)["head"]} for step in (1, 2)}
    checkpoints = Checkpoints(tmp_path / "two", keep=2)
    for step, parts in heads.items():
        checkpoints.save(step, parts, toys.progress())
    checkpoints.close()
    used = set()
    files = sorted(path for path in (tmp_path / "two" / "training" / "2").rglob("*") if path.is_file())
    assert len(files) > 8
    for number, path in enumerate(files):
        folder = shutil.copytree(tmp_path / "two", tmp_path / str(number))
        damage(folder / path.relative_to(tmp_path / "two"))
        found = toys.restored(folder, heads[1])
        toys.assert_equal(found.parts, heads[found.step])
        told = capsys.readouterr().err
        assert (f"{folder}/training/2: this checkpoint" in told and "trying the one before it" in told) == (
            found.step == 1
        )
        used.add(found.step)
    assert used == {1, 2}  # some files are not needed, most are


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("left", [set(), {"_METADATA", "_sharding"}], ids=["nothing", "what describes them"])
def test_of_a_checkpoint_that_was_killed_while_it_was_removed_nothing_is_said_but_our_own(
    step, left, mesh, two, tmp_path, caplog, capfd
):
    folder = shutil.copytree(two, tmp_path / "copy")
    for item in (path for path in (folder / "training" / str(step)).iterdir() if path.is_dir()):  # its arrays
        for path in item.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.name in left or path.unlink()
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 3 - step
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    told = capfd.readouterr().err
    assert ("trying the one before it" in told) == (step == 2)
    assert "Traceback" not in told


@pytest.mark.usefixtures("collected")
def test_a_flipped_bit_of_an_array_is_found_and_the_array_named(mesh, two, tmp_path, capsys):
    folder = shutil.copytree(two, tmp_path / "copy")
    toys.flip_a_bit_of(toys.parts_on(mesh("one"), 2)["encoder"]["words"], folder / "training" / "2")
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 1
    assert "training/2: this checkpoint is damaged: encoder.words is not what was saved" in capsys.readouterr().err


@pytest.mark.usefixtures("collected")
def test_a_changed_word_of_the_record_is_found(mesh, two, tmp_path, capsys):
    folder = shutil.copytree(two, tmp_path / "copy")
    record = folder / "training" / "2" / "_CHECKPOINT_METADATA"
    text = record.read_text()
    assert '"score": 0.3' in text
    record.write_text(text.replace('"score": 0.3', '"score": 0.8'))
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 1
    assert "training/2: this checkpoint cannot be read (ValueError: its metadata" in capsys.readouterr().err


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("key", ["performance_metrics", "commit_timestamp_nsecs"])
def test_a_changed_name_in_the_record_is_damage_too(mesh, two, tmp_path, key):
    folder = shutil.copytree(two, tmp_path / "copy")
    record = folder / "training" / "2" / "_CHECKPOINT_METADATA"
    assert f'"{key}"' in record.read_text()
    record.write_text(record.read_text().replace(key, f"{key}s"))
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 1


def test_a_checkpoint_that_a_kill_left_half_written_is_none(mesh, two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    (folder / "training" / "9.orbax-checkpoint-tmp" / "encoder").mkdir(parents=True)
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 2


@pytest.mark.usefixtures("collected")
def test_when_none_is_whole_training_stops_and_says_what_to_do(mesh, two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    for step in ("1", "2"):
        toys.flip(toys.data_file(folder / "training" / step))
    with pytest.raises(TrainingError, match=r"none of its checkpoints is whole \(steps 2, 1\); remove the") as caught:
        toys.restored(folder, toys.parts_on(mesh("one")))
    assert caught.value.exit_code == 3


@pytest.mark.usefixtures("collected")
def test_a_damaged_newest_checkpoint_is_replaced_when_its_step_comes_again(mesh, two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    toys.flip(toys.data_file(folder / "training" / "2"))
    assert toys.saved(folder, mesh("one"), [2, 3]) == [2, 3]
    toys.assert_equal(toys.restored(folder, toys.parts_on(mesh("one"))).parts, toys.parts_on(mesh("one"), 3))


def test_running_out_of_memory_is_no_damage(mesh, two, monkeypatch):
    def fail(*args):
        raise MemoryError("no room")

    checkpoints = Checkpoints(two, keep=2)
    monkeypatch.setattr(checkpoint.ocp, "load_checkpointables", fail)
    with pytest.raises(MemoryError):
        checkpoints.restore(toys.abstract(toys.parts_on(mesh("one"))))
    checkpoints.close()


@pytest.mark.usefixtures("collected")
def test_damaged_selected_weights_are_refused(mesh, tmp_path):
    parts = {"encoder": toys.parts_on(mesh("one"))["encoder"]}
    save_selected(tmp_path, parts, {"step": 5})
    toys.flip_a_bit_of(parts["encoder"]["words"], tmp_path / "selected")
    with pytest.raises(DamagedError, match=r"selected: this checkpoint is damaged: encoder\.words") as caught:
        load_selected(tmp_path, toys.abstract(parts))
    assert caught.value.exit_code == 3
    toys.data_file(tmp_path / "selected").unlink()
    with pytest.raises(DamagedError, match="selected: this checkpoint cannot be read"):
        load_selected(tmp_path, toys.abstract(parts))
    with pytest.raises(DamagedError, match="nowhere/selected: this checkpoint cannot be read"):
        load_selected(tmp_path / "nowhere", toys.abstract(parts))


@pytest.mark.usefixtures("collected")
def test_a_damaged_checkpoint_is_none_of_the_newest_and_never_drives_out_a_whole_one(mesh, tmp_path):
    parts = {step: {"head": toys.parts_on(mesh("one"), step)["head"]} for step in (10, 20, 37)}
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 37):
        checkpoints.save(step, parts[step], toys.progress())
    checkpoints.close()
    (tmp_path / "training" / "37" / "_CHECKPOINT_METADATA").write_text("{}")
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert checkpoints.restore(toys.abstract(parts[10])).step == 10
    assert toys.steps_in(tmp_path) == [10, 37]  # nothing goes before something newer is whole
    checkpoints.save(20, parts[20], toys.progress())
    checkpoints.close()
    assert toys.steps_in(tmp_path) == [20]
    toys.assert_equal(toys.restored(tmp_path, parts[20]).parts, parts[20])


@pytest.mark.usefixtures("collected")
def test_one_that_lost_its_record_is_replaced_when_its_step_comes_again(mesh, two, tmp_path):
    folder = shutil.copytree(two, tmp_path / "copy")
    (folder / "training" / "2" / "_CHECKPOINT_METADATA").unlink()
    assert toys.saved(folder, mesh("one"), [2]) == [1, 2]
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 2


def test_a_checkpoint_whose_folder_is_gone_is_missed(mesh, two, tmp_path, capsys):
    folder = shutil.copytree(two, tmp_path / "copy")
    shutil.rmtree(folder / "training" / "2")
    assert toys.restored(folder, toys.parts_on(mesh("one"))).step == 1
    assert f"{folder}/training/2: this checkpoint is missing; trying the one before it" in capsys.readouterr().err
    shutil.rmtree(folder / "training" / "1")
    with pytest.raises(TrainingError, match=r"none of its checkpoints is whole \(steps 2\); remove the phase's folder"):
        toys.restored(folder, toys.parts_on(mesh("one")))
    (folder / "training" / "newest").write_bytes(b"\xff")
    with pytest.raises(TrainingError, match="none of its checkpoints is whole"):
        toys.restored(folder, toys.parts_on(mesh("one")))


@pytest.mark.usefixtures("collected")
def test_a_phase_goes_on_only_from_where_it_still_can_hand_over_its_best_step(mesh, tmp_path, capsys):
    toys.saved(tmp_path, mesh("one"), [1, 2, 3], keep=3, best=2)
    toys.flip(toys.data_file(tmp_path / "training" / "2"))
    assert toys.restored(tmp_path, toys.parts_on(mesh("one"))).step == 1
    told = capsys.readouterr().err
    assert "training/3: its best step is lost: " in told
    assert "training/2: this checkpoint" in told


SENTENCE = (
    "training: the checkpoint of step 2 could not be saved, the last whole one is that of step 1: {}, and run the same "
    "command again"
)
# What TensorStore says of a full disk, to the letter.
FULL = (
    'RESOURCE_EXHAUSTED: Failed writing: "x": Failed to write 9 bytes to file 26: No space left on device '
    "[os_error_code='28']"
)


@pytest.fixture
def small_files():
    """No file of this process may grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def until_it_is_known(checkpoints):
    """What a loop does, whose steps do not wait for a save."""
    deadline = time.monotonic() + 600
    while checkpoints.pending and time.monotonic() < deadline:
        checkpoints.check()
        time.sleep(0.01)


def test_a_save_that_the_disk_does_not_take_is_told_at_the_next_step_and_the_one_before_is_whole(
    mesh, tmp_path, small_files, capsys
):
    parts = toys.parts_on(mesh("one"), 1, rows=2**16)
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, parts, toys.progress())
    until_it_is_known(checkpoints)
    small_files()
    checkpoints.save(2, toys.parts_on(mesh("one"), 2, rows=2**16), toys.progress())
    sentence = re.escape(SENTENCE).replace(re.escape("{}"), r"ValueError: .*File too large.*; set that right")
    with pytest.raises(TrainingError, match=sentence) as caught:
        until_it_is_known(checkpoints)
    assert caught.value.exit_code == 3
    checkpoints.close()
    toys.assert_equal(toys.restored(tmp_path, parts).parts, parts)
    assert toys.saved(tmp_path, mesh("one"), [2]) == [1, 2]  # as on a disk that has room again
    assert not list((tmp_path / "training").glob("*tmp*"))
    assert capsys.readouterr() == ("", "")  # not a page about Orbax's threads


class Failing:
    """A save under way that fails."""

    def __init__(self, error):
        self.error = error

    def result(self):
        raise self.error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError(FULL), "no room is left on the disk; make some"),
        (OSError(errno.EDQUOT, "quota"), "no room is left on the disk; make some"),
        (PermissionError(errno.EACCES, "not yours"), r"PermissionError: [Errno 13] not yours; set that right"),
        (ValueError("UNAVAILABLE: gs://x is away"), "ValueError: UNAVAILABLE: gs://x is away; set that right"),
    ],
    ids=["full", "quota", "permission", "object store"],
)
def test_what_a_disk_refuses_is_one_sentence(error, told, mesh, tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(1, {"head": toys.parts_on(mesh("one"))["head"]}, toys.progress())
    checkpoints.wait()
    checkpoints.pending = 2, Failing(error)
    with pytest.raises(TrainingError, match=re.escape(SENTENCE.format(told))):
        checkpoints.check()
    checkpoints.check()  # said once
    checkpoints.close()
    assert (tmp_path / "training" / "newest").read_text() == "1\n"


def test_any_other_error_of_a_save_keeps_its_traceback(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.pending = 2, Failing(ValueError("a fault of ours"))
    with pytest.raises(ValueError, match="a fault of ours"):
        checkpoints.close()
