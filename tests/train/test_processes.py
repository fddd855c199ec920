"""What processes tell each other, with threads in their place and a dictionary in that of jax's service."""

import ast
import inspect
import json
import threading
import time
from pathlib import Path

import jax
import pytest
from jax._src import distributed

import xlmr_flax
from xlmr_flax.errors import InputError, PeerLost
from xlmr_flax.train import processes


class Service:
    """The part of jax's distributed client that is used, for threads of one process."""

    def __init__(self, count):
        self.values, self.changed, self.count, self.at = {}, threading.Condition(), count, {}

    def key_value_set(self, key, value):
        with self.changed:
            self.values[key] = value
            self.changed.notify_all()

    def key_value_try_get(self, key):
        if key not in self.values:
            raise jax.errors.JaxRuntimeError("NOT_FOUND")
        return self.values[key]

    def blocking_key_value_get(self, key, milliseconds):
        with self.changed:
            if not self.changed.wait_for(lambda: key in self.values, milliseconds / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED")
            return self.values[key]

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]

    def wait_at_barrier(self, key, milliseconds):
        with self.changed:
            self.at[key] = self.at.get(key, 0) + 1
            self.changed.notify_all()
            if not self.changed.wait_for(lambda: self.at[key] == self.count, milliseconds / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out\nand more")


class Me(threading.local):
    """The state of one process."""

    client, num_processes, process_id, counts = None, 1, 0, None


@pytest.fixture
def on_each(monkeypatch):
    """Runs a function as each of several processes, and gives what came of it."""
    state = Me()
    monkeypatch.setattr(distributed, "global_state", state)

    def count(name):
        state.counts[name] = state.counts.get(name, 0) + 1
        return state.counts[name]

    monkeypatch.setattr(processes, "_count", count)

    def run(do, count=3):
        service, found = Service(count), [None] * count

        def one(number):
            state.client, state.num_processes, state.process_id, state.counts = service, count, number, {}
            service.key_value_set(f"xlmr/host/{number}", f"tpu-{number}")
            try:
                found[number] = do(number)
            except Exception as error:
                found[number] = error

        threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return found

    return run


def test_one_process_waits_for_nobody_and_writes():
    assert not processes.several()
    assert processes.is_writer()
    processes.barrier("anything", 0.0)
    processes.agree("anything", lambda: pytest.fail("nothing to compare with"))
    assert processes.of_writer("anything", lambda: 3) == 3
    with processes.together(), processes.in_turn("anything"):
        pass


def test_a_barrier_names_itself_and_who_has_not_come(on_each):
    found = on_each(lambda number: number == 1 or processes.barrier("the save at step 7", 1))
    assert found[1] is True
    for error in (found[0], found[2]):
        assert isinstance(error, PeerLost)
        assert str(error).startswith(
            "barrier 'the save at step 7': waited 1 s for process 1 (host tpu-1) (DEADLINE_EXCEEDED: Barrier timed out)"
        )


# What waits for other processes, in jax's own modules.
WAITS = {"wait_at_barrier", "blocking_key_value_get", "sync_global_devices", "broadcast_one_to_all", "assert_equal",
         "process_allgather", "reached_preemption_sync_point"}  # fmt: skip


def test_whatever_waits_for_other_processes_has_a_name_and_a_limit():
    package = Path(xlmr_flax.__file__).parent
    used = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in WAITS:
                used.setdefault(path.relative_to(package).as_posix(), []).append(node)
    assert list(used) == ["train/processes.py"]
    calls = used["train/processes.py"]
    named = [node for node in calls if node.func.attr in ("wait_at_barrier", "blocking_key_value_get")]
    assert all(len(node.args) == 2 for node in named)  # its name, and milliseconds
    # Sums of all devices, and the step to stop at: a process that is gone ends these (test_a_process_that_is_gone…).
    assert {node.func.attr for node in calls if node not in named} == {
        "process_allgather", "reached_preemption_sync_point"
    }  # fmt: skip
    for wait in (processes.barrier, processes.of_writer, processes.by_writer, processes.in_turn):
        name, *_, seconds = inspect.signature(wait).parameters.values()
        assert name.default is inspect.Parameter.empty
        assert seconds.name == "seconds"
        assert seconds.default is inspect.Parameter.empty or 0 < seconds.default <= processes.BUILD_SECONDS


def test_a_barrier_lets_all_through_as_often_as_it_is_used(on_each):
    def do(number):
        for _ in range(3):
            processes.barrier("a", 10)
        return number

    assert on_each(do) == [0, 1, 2]


def test_all_act_upon_what_the_first_has_seen(on_each):
    assert on_each(lambda number: processes.of_writer("is it done", lambda: [number, number])) == [[0, 0]] * 3
    late = on_each(lambda number: number and processes.of_writer("is it done", lambda: 1, seconds=0.5))
    assert late[0] == 0
    assert all(
        str(error).startswith("'is it done': process 0 (host tpu-0) did not say it within 0 s") for error in late[1:]
    )


def test_the_first_goes_ahead_and_the_others_find_what_it_did(on_each):
    order = []

    def do(number):
        with processes.in_turn("encoding"):
            time.sleep(0.2 if number == 0 else 0)
            order.append(number)
        processes.by_writer("writing", lambda: order.append("written"))
        return list(order)

    found = on_each(do)
    assert order[0] == 0
    assert all("written" in seen for seen in found)
    assert order.count("written") == 1


def test_hosts_that_agree_go_on_and_those_that_do_not_are_named_on_all(on_each):
    def do(number):
        processes.agree("data", lambda: {"a.tsv": "same", "b.tsv": 1})
        mine = {"jax": "0.10.2" if number != 2 else "0.11.0", "devices": 4} | ({"extra": 1} if number == 1 else {})
        processes.agree("what to run", lambda: mine)

    for error in on_each(do):
        assert isinstance(error, InputError)
        assert str(error) == (
            "the hosts do not agree on what to run: process 1 (host tpu-1): extra is 1, but absent on process 0 (host "
            "tpu-0); process 2 (host tpu-2): jax is 0.11.0, but 0.10.2 on process 0 (host tpu-0); make them equal and "
            "start the command again"
        )


@pytest.fixture
def ends(monkeypatch):
    """What a process says and with which code it ends, instead of ending."""
    seen = {"said": [], "codes": []}

    def leave(code):
        seen["codes"].append(code)
        raise SystemExit(code)

    monkeypatch.setattr(processes, "_exit", leave)
    monkeypatch.setattr(processes, "_say", lambda text: seen["said"].append(text))
    monkeypatch.setattr(processes, "WATCH_SECONDS", 0.05)
    return seen


def watched(service_values, live, ends, monkeypatch):
    """What the watch of process 0 of 3 does when the service says this."""
    service = Service(3)
    service.values |= {f"xlmr/host/{number}": f"tpu-{number}" for number in range(3)} | service_values
    service.get_live_nodes = lambda numbers: next(live)
    state = Me()
    state.client, state.num_processes, state.process_id = service, 3, 0
    monkeypatch.setattr(distributed, "global_state", state)
    with pytest.raises(SystemExit):
        processes._look_after_others()
    return service


def test_a_process_that_is_gone_ends_this_one_with_its_name(ends, monkeypatch):
    watched({}, iter([{0: 11, 1: 12, 2: 13}, {0: 11, 1: 12, 2: 13}, {0: 11, 2: 13}]), ends, monkeypatch)
    assert ends["codes"] == [75]
    assert ends["said"] == [
        "process 1 (host tpu-1) of 3 processes is gone; "
        "run the same command on all hosts to continue from what was saved"
    ]


def test_a_process_that_was_started_again_alone_counts_as_gone(ends, monkeypatch):
    watched({}, iter([{0: 11, 1: 12, 2: 13}, {0: 11, 1: 12, 2: 14}]), ends, monkeypatch)
    assert ends["codes"] == [75]
    assert ends["said"][0].startswith("process 2 (host tpu-2) of 3 processes is gone")


def test_a_process_that_says_why_it_ends_takes_the_others_with_it(ends, monkeypatch):
    reason = {"code": 2, "process": 2, "text": "xnli/train-en.tsv: not found"}
    alive = {0: 11, 1: 12, 2: 13}
    service = watched({"xlmr/end": json.dumps(reason)}, iter([alive] * 9), ends, monkeypatch)
    assert ends["codes"] == [2]
    assert ends["said"] == ["process 2 (host tpu-2) ended: xnli/train-en.tsv: not found"]
    assert "xlmr/heard/0" in service.values
