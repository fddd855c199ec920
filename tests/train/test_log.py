"""train.jsonl: means of sums, one row late, whole again after a restart."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xlmr_flax.data.batch import Tally
from xlmr_flax.errors import TrainingError
from xlmr_flax.train.log import Log, cut


def tally(total, count=2.0):
    return Tally(np.float32(total), np.float32(count))


def open_log(folder, *, start=0, every_steps=4, carried=None):
    folder.mkdir(exist_ok=True)
    console = Console(quiet=True)
    return Log(folder, name="toy", start=start, steps=20, every_steps=every_steps, console=console, carried=carried)


def rows(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def losses(folder):
    return [(row["step"], row["loss"]) for row in rows(folder) if "loss" in row]


def feed(log, steps):
    for step in steps:
        log.step(step, tally(step * 1.1, step % 3 + 1), examples=8, tokens=50)


def test_a_row_is_the_sum_over_its_steps_divided_once_by_their_count(tmp_path):
    with open_log(tmp_path) as log:
        for step, (total, count) in enumerate([(1, 1), (9, 3), (2, 1), (8, 5)], start=1):
            log.step(step, tally(total, count), examples=8, tokens=50)
        log.flush()
    assert losses(tmp_path) == [(4, 2.0)]


def test_a_row_is_written_when_the_next_one_is_due_or_asked_for(tmp_path):
    with open_log(tmp_path) as log:
        feed(log, range(1, 8))
        assert rows(tmp_path) == []
        feed(log, [8])
        assert [row["step"] for row in rows(tmp_path)] == [4]
        log.flush()
        assert [row["step"] for row in rows(tmp_path)] == [4, 8]


def test_the_last_steps_get_a_row_of_their_own(tmp_path):
    with open_log(tmp_path) as log:
        feed(log, range(1, 7))
        log.finish(6)
        log.finish(6)
    assert [row["step"] for row in rows(tmp_path)] == [4, 6]
    assert losses(tmp_path)[1][1] == pytest.approx((5 * 1.1 + 6 * 1.1) / (3 + 1))


@given(stop=st.integers(1, 11))
def test_a_row_cut_in_two_by_a_restart_comes_out_the_same(tmp_path_factory, stop):
    whole, parted = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("parted")
    with open_log(whole) as log:
        feed(log, range(1, 12))
        log.finish(11)
    with open_log(parted) as log:
        feed(log, range(1, stop + 1))
        log.flush()
        carried = json.loads(json.dumps(log.carry()))
        feed(log, range(stop + 1, 12))  # lost
    with open_log(parted, start=stop, carried=carried) as log:
        assert log.carry() == carried
        assert carried["tokens"] == 50 * (stop % 4)
        feed(log, range(stop + 1, 12))
        log.finish(11)
    assert losses(parted) == losses(whole)


def test_rows_after_the_checkpoint_and_a_half_written_one_are_cut(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_text('{"step": 4, "loss": 1}\n{"step": 8, "loss": 2}\n{"step": 12, "loss": 3}\n{"step": 1')
    cut(path, 8)
    assert path.read_text() == '{"step": 4, "loss": 1}\n{"step": 8, "loss": 2}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["train.jsonl"]
    cut(path, 0)
    assert path.read_text() == ""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_training(tmp_path, value):
    with open_log(tmp_path) as log:
        feed(log, range(1, 4))
        log.step(4, tally(value), examples=8, tokens=50)
        with pytest.raises(TrainingError, match=f"toy: the loss is {value} at step 4; a lower peak_lr") as caught:
            log.flush()
    assert caught.value.exit_code == 3
    assert rows(tmp_path) == []


def test_a_loss_that_is_not_finite_is_not_saved_either(tmp_path):
    with open_log(tmp_path) as log:
        log.step(1, tally(float("nan")), examples=8, tokens=50)
        with pytest.raises(TrainingError, match="toy: the loss is nan at one of the last steps"):
            log.carry()


def test_other_rows_stand_between_and_numbers_go_to_tensorboard(tmp_path):
    with open_log(tmp_path) as log:
        log.row(3, select_f1=0.5, note="text")
    assert rows(tmp_path) == [{"step": 3, "select_f1": 0.5, "note": "text"}]
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"toy/select_f1" in events.read_bytes()
