"""The thin process around one of several: what it passes on, what it holds back, and what it says instead."""

import os
import signal
import sys
import time

import pytest

from xlmr_flax.errors import PeerLost
from xlmr_flax.execute import parent

FATAL = (
    "F1121 17:05:56.483842   30135 client.h:80] Terminating process because the JAX distributed service detected fatal "
    "errors. This most likely indicates that another task died; absl::Status: {}\n"
)
STACK = "*** Check failure stack trace: ***\n    @     0x7f2b19240634  absl::SendToLog()\n"


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Stands for the program: a script of our own is started instead of it."""
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)

    def attend(script):
        program = tmp_path / "program"
        program.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))
        return parent.attend([])

    return attend


@pytest.mark.parametrize("code", [0, 2, 3, 75])
def test_an_exit_code_is_passed_on_with_what_was_said(child, capfd, code):
    script = f"os.write(2, b'[Gloo] Rank 1 is connected\\nsomething else\\n')\nprint('out')\nos._exit({code})"
    assert child(script.replace("print('out')", "os.write(1, b'out\\n')")) == code
    assert capfd.readouterr() == ("out\n", "something else\n")


@pytest.mark.parametrize(
    ("status", "address", "wanted"),
    [
        ("UNAVAILABLE: Socket closed", {}, "^process 0 is gone; run the same command on all hosts to continue"),
        (
            "DEADLINE_EXCEEDED\n\nRPC: /xla.coordination.CoordinationService/RegisterTask",
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "4", "JAX_PROCESS_ID": "1"},
            r"^not all 4 processes came, or process 0 \(a:1\) cannot be reached; start the same command on every host",
        ),
    ],
)
def test_an_abort_by_jax_becomes_a_sentence_without_a_stack(child, capfd, monkeypatch, status, address, wanted):
    for name, value in address.items():
        monkeypatch.setenv(name, value)
    text = FATAL.format(status) + STACK
    with pytest.raises(PeerLost, match=wanted):
        child(f"os.write(2, {text.encode()!r})\nos.abort()")
    assert capfd.readouterr().err == ""


def test_any_other_crash_keeps_its_stack(child, capfd):
    assert child(f"os.write(2, b'F1121 another failure\\n{STACK.splitlines()[0]}\\n')\nos.abort()") == 134
    assert "F1121 another failure\n*** Check failure stack trace" in capfd.readouterr().err


def test_the_child_is_told_to_stop_and_its_code_is_waited_for(child, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(parent, "_relay", lambda lines: os.kill(os.getpid(), signal.SIGTERM) or "")
    script = "signal.signal(signal.SIGTERM, lambda *_: os._exit(75))\nos.write(1, b'')\ntime.sleep(60)"
    began = time.monotonic()
    # It may be told before it listens: then the signal itself ends it.
    assert child(script) in (75, 128 + signal.SIGTERM)
    assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("file", "platforms", "processes", "found"),
    [
        ("dev/accel0", None, None, True),
        ("dev/vfio/0", "tpu,cpu", None, True),
        ("dev/accel0", "cpu", None, False),
        ("dev/accel0", None, "1", False),
        ("dev/nvidia0", None, None, False),
    ],
)
def test_a_tpu_may_be_part_of_a_pod_unless_the_user_says_otherwise(
    tmp_path, monkeypatch, file, platforms, processes, found
):
    for name, value in (("JAX_PLATFORMS", platforms), ("JAX_NUM_PROCESSES", processes)):
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert parent.on_tpu(tmp_path) is found
