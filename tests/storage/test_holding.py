"""Two runs on one folder: the second says who is at work and waits, and goes on when the first is no more."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from xlmr_flax.errors import Interrupted
from xlmr_flax.storage import holding
from xlmr_flax.storage.holding import held
from xlmr_flax.storage.places import Seen, look, write_json

HOLD = """
import sys, time
from pathlib import Path
from xlmr_flax.storage import holding
holding.BEAT_SECS = float(sys.argv[2])
with holding.held(Path(sys.argv[1]), "phases/a", say=print, is_asked=lambda: False):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
print("let go", flush=True)
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "LOOK_SECS", 0.02)
    return tmp_path / ".holders" / "a.json"


@pytest.fixture
def other(path):
    """Starts a process that holds, and gives it when it does."""
    started = []

    def start(*, beat=60, secs=60):
        words = [sys.executable, "-c", HOLD, str(path), str(beat), str(secs)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def never():
    return False


def test_a_holder_is_named_while_it_holds_and_nothing_is_left(path):
    with held(path, "phases/a", say=print, is_asked=never):
        told = holding.who(look(path))
        assert re.fullmatch(rf"host \S+, process {os.getpid()}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told)
    assert not path.parent.exists()
    path.parent.mkdir()
    with held(path, "phases/a", say=print, is_asked=never):
        pass
    assert list(path.parent.iterdir()) == []  # a folder of others stays


def test_an_error_lets_go_as_well(path):
    with pytest.raises(KeyError), held(path, "phases/a", say=print, is_asked=never):
        raise KeyError
    assert not path.exists()


def test_a_second_run_says_who_is_at_work_waits_and_goes_on(path):
    said, order, first = [], [], threading.Event()

    def hold():
        with held(path, "phases/a", say=said.append, is_asked=never):
            first.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    first.wait()
    with held(path, "phases/a", say=said.append, is_asked=never):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert len(said) == 1
    assert re.search(rf"phases/a is being computed by another run: host \S+, process {os.getpid()}, since", said[0])


def test_waiting_ends_when_it_is_asked_to_and_the_holder_stays(path, other):
    process, said = other(), []
    with (
        pytest.raises(Interrupted, match=f"stopped while waiting for phases/a, .* process {process.pid},"),
        held(path, "phases/a", say=said.append, is_asked=lambda: bool(said)),
    ):
        raise AssertionError("held by two")
    assert json.loads(look(path).content)["pid"] == process.pid


def test_a_killed_holder_is_recognised_and_said(path, other):
    process, said = other(), []
    process.kill()  # and not waited for: what is left is a zombie
    with held(path, "phases/a", say=said.append, is_asked=never):
        assert json.loads(look(path).content)["pid"] == os.getpid()
    told = [text for text in said if "was held by" in text]
    assert len(told) == 1
    assert f"process {process.pid}," in told[0]
    assert "that process is no more: going on from what it saved" in told[0]


def record(**changes):
    return holding._me() | changes


@pytest.mark.parametrize(
    ("changes", "gone"),
    [
        ({}, None),
        ({"beat": -300.0}, None),  # on this machine a process is seen
        ({"started": 1}, "that process is no more"),  # its number was given to another
        ({"machine": "elsewhere"}, None),
        ({"machine": "elsewhere", "beat": -119.0}, None),
        ({"machine": "elsewhere", "beat": -300.0}, "nothing was heard of it for 5 minutes"),
    ],
)
def test_who_is_gone(changes, gone):
    now = time.time()
    known = record(**changes)
    known["beat"] = now + changes.get("beat", 0.0)
    assert holding.why_gone(Seen(json.dumps(known).encode(), None), now) == gone


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"{", b"\xff", b'{"beat": "x", "since": 1, "pid": 1}'])
def test_a_damaged_file_holds_nothing(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    said = []
    with held(path, "phases/a", say=said.append, is_asked=never):
        pass
    assert len(said) == 1
    assert said[0].startswith("phases/a was held by a run whose name cannot be read; the file that names it is damaged")


def test_a_loud_holder_elsewhere_is_waited_for_and_a_silent_one_is_replaced(path):
    said, elsewhere = [], record(machine="elsewhere", host="tpu-1", pid=7)
    write_json(path, elsewhere)

    def say(text):
        said.append(text)
        if len(said) == 1:
            write_json(path, elsewhere | {"beat": time.time() - 300})

    with held(path, "phases/a", say=say, is_asked=never):
        assert json.loads(look(path).content)["pid"] == os.getpid()
    assert len(said) == 2
    assert "is being computed by another run: host tpu-1, process 7" in said[0]
    assert "was held by host tpu-1, process 7" in said[1]
    assert "nothing was heard of it for 5 minutes" in said[1]


def test_a_holder_is_heard_of(path, monkeypatch):
    monkeypatch.setattr(holding, "BEAT_SECS", 0.02)
    with held(path, "phases/a", say=print, is_asked=never):
        first = json.loads(look(path).content)
        deadline = time.monotonic() + 30
        while json.loads(look(path).content)["beat"] == first["beat"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        now = json.loads(look(path).content)
        assert {**now, "beat": 0} == {**first, "beat": 0}
    assert not path.exists()


def test_a_run_whose_place_was_taken_while_it_was_suspended_ends_with_75(path, other):
    process = other(beat=0.05)
    os.kill(process.pid, signal.SIGSTOP)
    write_json(path, record(host="tpu-2", pid=8))
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert out == ""
    assert "phases/a is no longer held by this run but held by host tpu-2, process 8" in err
    assert json.loads(look(path).content)["pid"] == 8
