"""The loop: its order is a contract, and stopping in the middle changes nothing."""

import os
import signal
import threading
from typing import NamedTuple

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from xlmr_flax.data.batch import Outcome
from xlmr_flax.errors import Interrupted, TrainingError
from xlmr_flax.train.log import Log
from xlmr_flax.train.loop import Best, Plan, Stop, due, read, train
from xlmr_flax.train.state import place_batch
from xlmr_flax.train.watch import Watch


class Numbers:
    """Batches that are their own numbers."""

    batch_size = 8

    def __call__(self, step):
        return np.int64(step)

    def items_in(self, step):
        return self.batch_size


class Told(NamedTuple):
    """Everything that a loop did, in order."""

    events: list

    def run(
        self,
        folder,
        *,
        start=0,
        steps=6,
        save=100,
        every=None,
        scores=None,
        best=None,
        stop_at=None,
        state=None,
        fails=0,
    ):
        stop, best = Stop(), best or Best()

        def check_saved():
            if fails and ("save", fails, fails, None) in self.events:
                raise TrainingError("the disk is full")

        def step_fn(state, batch):
            self.events.append(("step", int(batch)))
            stop.asked = stop.asked or stop_at == int(batch) + 1
            return state + [int(batch)], Outcome(np.float32(1), np.float32(1), np.int32(0), np.int32(0))

        def evaluate(state):
            self.events.append(("evaluate", len(state)))
            return {"f1": scores[len(state)] if scores else 0.5}

        folder.mkdir(exist_ok=True)
        watch = Watch("toy", max_skipped_steps=10, batch_of=str)
        how = {"name": "toy", "start": start, "steps": steps, "every_steps": 2, "console": Console(quiet=True)}
        with Log(folder, **how, watch=watch) as log:
            return train(
                state or [],
                start=start,
                plan=Plan(steps, save, every),
                batches=Numbers(),
                step_fn=step_fn,
                place=lambda batch: batch,
                evaluate=evaluate,
                save=lambda step, state, progress: self.events.append(
                    ("save", step, len(state), progress["best_step"])
                ),
                check_saved=check_saved,
                best=best,
                metric="f1",
                log=log,
                stop=stop,
            )


@pytest.fixture(autouse=True)
def countable(monkeypatch):
    monkeypatch.setattr("xlmr_flax.train.loop.real_tokens", lambda batch: 1)


def test_a_step_is_evaluated_then_saved_then_left(tmp_path):
    told = Told([])
    state, last = told.run(tmp_path, steps=5, save=2, every=3)
    assert (state, last) == ([0, 1, 2, 3, 4], 5)
    assert told.events == [
        ("step", 0), ("step", 1), ("save", 2, 2, None),
        ("step", 2), ("evaluate", 3), ("save", 3, 3, 3),
        ("step", 3), ("save", 4, 4, 3),
        ("step", 4), ("evaluate", 5),
    ]  # fmt: skip


def test_the_last_step_is_left_to_the_caller_who_keeps_its_weights_alone(tmp_path):
    told = Told([])
    assert told.run(tmp_path, steps=3, save=1) == ([0, 1, 2], 3)
    assert told.events[-1] == ("step", 2)


def test_a_stop_finishes_the_step_and_saves_it(tmp_path):
    told = Told([])
    with pytest.raises(
        Interrupted, match="stopped at step 2 of 6, all saved; run the same command to continue"
    ) as caught:
        told.run(tmp_path, stop_at=2)
    assert caught.value.exit_code == 75
    assert told.events == [("step", 0), ("step", 1), ("save", 2, 2, None)]


def test_a_save_that_has_failed_ends_the_phase_at_the_next_step(tmp_path):
    told = Told([])
    with pytest.raises(TrainingError, match="the disk is full"):
        told.run(tmp_path, save=2, fails=2)
    assert told.events == [("step", 0), ("step", 1), ("save", 2, 2, None), ("step", 2)]


def test_a_restart_asks_for_the_next_batch_and_evaluates_nothing_again(tmp_path):
    told, best = Told([]), Best(None, [{"step": 3, "score": 0.5}])
    state, _ = told.run(tmp_path, start=3, steps=6, every=3, best=best, state=[0, 1, 2])
    assert state == [0, 1, 2, 3, 4, 5]
    assert told.events == [("step", 3), ("step", 4), ("step", 5), ("evaluate", 6)]


def test_a_restart_after_the_last_step_does_nothing(tmp_path):
    told = Told([])
    assert told.run(tmp_path, start=6, state=list(range(6))) == (list(range(6)), 6)
    assert told.events == []


def test_patience_ends_a_phase_and_survives_a_restart(tmp_path):
    scores = {1: 0.1, 2: 0.7, 3: 0.7, 4: 0.6, 5: 0.9}
    told, best = Told([]), Best(patience=2)
    _, last = told.run(tmp_path / "a", steps=9, every=1, scores=scores, best=best)
    assert (last, best.step, best.score) == (4, 2, 0.7)  # 3 is as good and not better
    told = Told([])
    with pytest.raises(Interrupted):
        told.run(tmp_path / "b", steps=9, every=1, scores=scores, best=(best := Best(patience=2)), stop_at=3)
    again = Best(2, best.progress()["evaluations"])
    _, last = told.run(tmp_path / "b", start=3, steps=9, every=1, scores=scores, best=again, state=[0, 1, 2])
    assert (last, again.step) == (4, 2)
    _, last = told.run(tmp_path / "b", start=4, steps=9, every=1, scores=scores, best=again, state=[0, 1, 2, 3])
    assert (last, told.events[-1]) == (4, ("evaluate", 4))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1), st.integers(1, 4))
def test_best_is_the_first_of_the_highest_and_patience_counts_what_came_after(scores, patience):
    best = Best(patience)
    for step, score in enumerate(scores, start=1):
        best.add(step, score)
    assert best.score == max(scores)
    assert best.step == scores.index(max(scores)) + 1
    assert best.exhausted() == (len(scores) - best.step >= patience)
    assert not Best(None, best.evaluations).exhausted()
    assert best.has(len(scores))
    assert not best.has(len(scores) + 1)


def test_no_evaluation_is_no_best():
    assert (Best(1).step, Best(1).score, Best(1).exhausted()) == (None, None, False)


@given(st.integers(1, 9), st.integers(1, 30))
def test_due_is_every_so_many_and_at_the_end(every, last):
    assert [now for now in range(last + 1) if due(now, every, last)] == sorted({*range(every, last + 1, every), last})


def test_batches_come_in_order_from_any_start():
    assert [int(batch) for batch in read(Numbers(), 37, 120)] == list(range(37, 120))
    assert list(read(Numbers(), 5, 5)) == []


def test_signals_ask_for_a_stop_and_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with Stop().listening() as stop:
        assert not stop.asked
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):  # who asks twice does not want to wait
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_thread_that_cannot_take_signals_runs_without_them():
    seen = []

    def work():
        with Stop().listening() as stop:
            seen.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_the_loop_moves_nothing_between_host_and_device_but_where_it_says_so(trainer, tmp_path, monkeypatch):
    monkeypatch.undo()
    part = trainer("sequence", "one")
    state = part.run(1)[0]
    with (
        Log(
            tmp_path,
            name="toy",
            start=1,
            steps=13,
            every_steps=5,
            console=Console(quiet=True),
            watch=Watch("toy", max_skipped_steps=10, batch_of=str),
        ) as log,
        jax.transfer_guard("disallow"),
    ):
        state, last = train(
            state,
            start=1,
            plan=Plan(13, 4, None),
            batches=part.batches,
            step_fn=lambda state, batch: part.step(state, batch, part.course),
            place=lambda batch: place_batch(batch, part.mesh, lead=1),
            evaluate=lambda state: {},
            save=lambda step, state, progress: None,
            check_saved=lambda: None,
            best=Best(),
            metric="f1",
            log=log,
            stop=Stop(),
        )
    assert (last, int(state.step)) == (13, 13)
    assert (tmp_path / "train.jsonl").read_text().count('"loss"') == 3
