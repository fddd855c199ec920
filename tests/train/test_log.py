"""train.jsonl: means of sums, one row late, whole again after a restart."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xlmr_flax.data.batch import Outcome
from xlmr_flax.train.log import Log, cut
from xlmr_flax.train.watch import SickError, Watch

NAN, INF = float("nan"), float("inf")


def outcome(total, count=2.0, *, skipped=0, in_row=0):
    return Outcome(np.float32(total), np.float32(count), np.int32(skipped), np.int32(in_row))


def open_log(folder, *, start=0, every_steps=4, carried=None, limit=3, task_of=None):
    folder.mkdir(exist_ok=True)
    how = {"start": start, "steps": 20, "every_steps": every_steps, "console": Console(quiet=True), "carried": carried}
    how["task_of"] = task_of
    watch = Watch("toy", max_skipped_steps=limit, batch_of=lambda step: f"Step {step} trained on en 7")
    return Log(folder, name="toy", watch=watch, **how)


def rows(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def losses(folder):
    return [(row["step"], row["loss"]) for row in rows(folder) if "loss" in row]


def feed(log, steps):
    for step in steps:
        log.step(step, outcome(step * 1.1, step % 3 + 1), examples=8, tokens=50)


def fail(log, steps, *, total=NAN, before=0):
    """Steps that were not applied, one after the other."""
    for number, step in enumerate(steps, start=1):
        log.step(step, outcome(total, skipped=before + number, in_row=number), examples=8, tokens=50)


def test_a_row_is_the_sum_over_its_steps_divided_once_by_their_count(tmp_path):
    with open_log(tmp_path) as log:
        for step, (total, count) in enumerate([(1, 1), (9, 3), (2, 1), (8, 5)], start=1):
            log.step(step, outcome(total, count), examples=8, tokens=50)
        log.flush()
    assert losses(tmp_path) == [(4, 2.0)]


def test_of_several_tasks_each_has_its_loss_and_the_steps_have_their_mean_whatever_they_count(tmp_path):
    turns = ["nli", "text", "text", "nli", "nli", "nli", "nli", "nli"]  # by batch: the first step has the first
    with open_log(tmp_path, task_of=turns.__getitem__) as log:
        for step, (total, count) in enumerate([(1, 1), (90, 30), (20, 10), (8, 5), *[(4, 4)] * 4], start=1):
            log.step(step, outcome(total, count), examples=8, tokens=50)
        carried = log.carry()
        log.flush()
    found = [{name: value for name, value in row.items() if name.startswith("loss")} for row in rows(tmp_path)]
    assert found[0] == pytest.approx({"loss": (1 + 3 + 2 + 1.6) / 4, "loss_nli": 9 / 6, "loss_text": 110 / 40})
    assert found[1] == {"loss": 1.0, "loss_nli": 1.0}
    assert {name: fall.losses for name, fall in log.watch.falls.items()} == {
        "": [found[0]["loss"], 1.0], "nli": [1.5, 1.0], "text": [2.75],
    }  # fmt: skip
    assert carried["watch"].keys() == {"rows", "losses", "tasks"}


def test_a_log_file_gets_a_line_now_and_then_and_in_the_end_and_a_terminal_a_bar(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("xlmr_flax.train.log.time.monotonic", lambda: clock[0])
    told = {}
    for kind in ("file", "terminal"):
        with open_log(tmp_path / kind, every_steps=1) as log:
            log.console = Console(file=io.StringIO(), force_terminal=kind == "terminal", width=200)
            for step in range(1, 11):
                clock[0] += 25
                feed(log, [step])
            feed(log, range(11, 21))  # in no time
            log.finish(20)
        told[kind] = log.console.file.getvalue().splitlines()
    found = [line.partition(" steps")[0] for line in told["file"]]
    assert found == ["toy: 2 of 20", "toy: 5 of 20", "toy: 8 of 20", "toy: 20 of 20"]
    assert all("examples/s" in line for line in told["file"])
    assert told["terminal"] == []


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


@pytest.mark.parametrize(
    ("total", "what"), [(NAN, "loss is nan, not"), (INF, "loss is inf, not"), (1.0, "gradients are not")]
)
def test_as_many_steps_in_a_row_as_are_allowed_end_the_training(tmp_path, total, what):
    with open_log(tmp_path) as log:
        feed(log, [1])
        fail(log, [2, 3, 4], total=total)
        with pytest.raises(
            SickError, match=f"toy: the {what} finite at step 4; the same in every step since"
        ) as caught:
            log.flush()
    assert "since step 2, and none of them was applied. Step 2 trained on en 7. A lower peak_lr" in str(caught.value)
    assert caught.value.exit_code == 3
    assert rows(tmp_path) == []


def test_fewer_are_left_out_of_the_mean_and_counted(tmp_path):
    with open_log(tmp_path) as log:
        log.step(1, outcome(4.0), examples=8, tokens=50)
        fail(log, [2, 3])
        log.step(4, outcome(8.0, skipped=2), examples=8, tokens=50)
        fail(log, [5, 6], before=2)
        feed(log, [7, 8])
        log.flush()
    assert (rows(tmp_path)[0]["loss"], rows(tmp_path)[0]["skipped_steps"]) == (3.0, 2)
    assert losses(tmp_path)[1][1] == pytest.approx((7 * 1.1 + 8 * 1.1) / (2 + 3))


def test_a_row_of_steps_none_of_which_was_applied_has_no_loss(tmp_path):
    with open_log(tmp_path, limit=5) as log:
        fail(log, [1, 2, 3, 4])
        log.flush()
    assert [(row["step"], row["skipped_steps"]) for row in rows(tmp_path)] == [(4, 4)]
    assert losses(tmp_path) == []


def test_skipped_steps_are_carried_over_a_restart_as_json(tmp_path):
    with open_log(tmp_path) as log:
        feed(log, [1])
        fail(log, [2])
        carried = json.loads(json.dumps(log.carry(), allow_nan=False))
    with open_log(tmp_path, start=2, carried=carried) as log:
        assert log.carry() == carried
        fail(log, [3], before=1)
        feed(log, [4])
        log.flush()
    assert losses(tmp_path) == [(4, pytest.approx((1.1 + 4.4) / (2 + 2)))]


def test_a_state_after_too_many_is_not_saved_either(tmp_path):
    with open_log(tmp_path, limit=1) as log:
        log.step(1, outcome(NAN, skipped=1, in_row=1), examples=8, tokens=50)
        with pytest.raises(SickError, match=r"toy: the loss is nan, not finite at step 1\. Step 1 trained"):
            log.carry()


def test_other_rows_stand_between_and_numbers_go_to_tensorboard(tmp_path):
    with open_log(tmp_path) as log:
        log.row(3, select_f1=0.5, note="text")
    assert rows(tmp_path) == [{"step": 3, "select_f1": 0.5, "note": "text"}]
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"toy/select_f1" in events.read_bytes()
