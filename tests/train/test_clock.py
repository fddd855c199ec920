"""Step times are taken beside the loop, and a trace is of the steps that were asked for."""

import jax
import jax.numpy as jnp
import pytest

from xlmr_flax.data.batch import Batch, Tokens
from xlmr_flax.train import clock
from xlmr_flax.train.clock import Clock, Timed, Trace, peak_memory


def batch(rows, length, parts=1):
    tokens = jax.ShapeDtypeStruct((parts, rows // parts, length), jnp.int32)
    return Batch(Tokens(tokens, tokens, tokens), None)


@pytest.fixture
def device(monkeypatch):
    """A device on a clock of its own, which takes so many seconds for each step, one after the other."""

    class Device:
        now = 0.0

        def monotonic(self):
            return self.now

        def step(self, secs):
            class Result:
                def is_ready(result):  # noqa: N805
                    return secs == 0

                def block_until_ready(result):  # noqa: N805
                    self.now += secs

            return Result()

    device = Device()
    monkeypatch.setattr(clock, "time", device)
    return device


def test_steps_that_wait_in_line_are_timed_each_for_itself_and_the_first_of_a_shape_is_not(device):
    times = Clock()
    step = times.timed(lambda state, batch: (state, device.step(state)))
    for secs in (60, 2, 3, 4):
        step(secs, batch(8, 32))
    for secs in (50, 7):
        step(secs, batch(8, 64, parts=2))
    step(9, batch(8, 96))
    with times:
        pass
    assert times.times() == [Timed(8, 32, 3, 3.0), Timed(8, 64, 1, 7.0), Timed(8, 96, 0, None)]


def test_steps_that_were_done_before_anybody_looked_share_the_time(device):
    times = Clock()
    step = times.timed(lambda state, batch: (state, device.step(state)))
    for secs in (60, 6, 0, 0, 5, 0):
        step(secs, batch(8, 32))
    step(0, batch(8, 64))  # the first of its shape, which is left out
    for secs in (0, 7):
        step(secs, batch(8, 32))
    with times:
        pass
    assert times._seconds == {(8, 32): [2.0, 2.0, 2.0, 2.5, 2.5, 0.0, 7.0], (8, 64): []}


def test_the_time_between_a_step_and_the_next_call_is_nobodys(device):
    with Clock() as times:
        step = times.timed(lambda state, batch: (state, device.step(5)))
        for done in (5, 110, 215):
            step(None, batch(8, 32))
            while device.now < done:
                pass
            device.now += 100
    assert times.times() == [Timed(8, 32, 2, 5.0)]


def test_a_step_that_failed_is_left_to_the_loop():
    class Failed:
        def is_ready(self):
            return True

        def block_until_ready(self):
            raise RuntimeError

    with Clock() as times:
        step = times.timed(lambda state, batch: (state, Failed()))
        step(None, batch(8, 32))
        step(None, batch(8, 32))
    assert times.times()[0].steps == 1


@pytest.fixture
def traced(tmp_path):
    """Which of the steps 5 to 9 were traced, what was said, and the files."""

    def run(first, last):
        said, double = [], jax.jit(lambda x: 2 * x)
        with Trace(tmp_path / "profile", (first, last), step=5, say=said.append) as trace:
            step = trace.traced_step(lambda state, batch: (double(state), double(state)))
            state = jnp.ones(4)
            for _ in range(5):
                state, _ = step(state, None)
        assert float(state[0]) == 32
        return trace.traced, said, list((tmp_path / "profile").rglob("*.xplane.pb"))

    return run


def test_the_steps_that_were_asked_for_are_traced(traced, tmp_path):
    steps, said, files = traced(6, 7)
    assert steps == [6, 7]
    assert said == [f"steps 6 to 7 are traced in {tmp_path / 'profile'}"]
    assert len(files) == 1


def test_a_trace_ends_with_the_training_and_begins_where_it_goes_on(traced, tmp_path):
    steps, said, files = traced(2, 100)
    assert steps == [5, 6, 7, 8, 9]
    assert said == [f"steps 5 to 9 are traced in {tmp_path / 'profile'}"]
    assert len(files) == 1


def test_steps_that_are_not_trained_are_told(traced):
    assert traced(1, 4) == ([], ["--profile 1:4: none of these steps was trained here"], [])


def test_memory_is_counted_by_the_process_where_devices_keep_no_count():
    peak = peak_memory()
    assert peak.of == "process"
    assert 2**26 < peak.bytes < 2**40


def test_memory_is_that_of_the_fullest_device_where_they_count(monkeypatch):
    class Chip:
        def __init__(self, most):
            self.most = most

        def memory_stats(self):
            return {"peak_bytes_in_use": self.most}

    monkeypatch.setattr(jax, "local_devices", lambda: [Chip(3), Chip(5), Chip(4)])
    assert peak_memory() == (5, "device")
