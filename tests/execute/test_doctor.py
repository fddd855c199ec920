"""What the doctor says: of a machine that is well, and of each thing that may be wrong with one."""

import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.execute import doctor
from xlmr_flax.execute.doctor import Finding, examine


def of(findings):
    """What one check found: a single line."""
    (one,) = findings
    return one.state, one.text


@pytest.fixture
def tpu(tmp_path, monkeypatch):
    """The root of a machine with a chip."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/accel0").touch()
    return tmp_path


def test_checks_run_together_and_what_hangs_or_fails_is_a_finding():
    def hang():
        time.sleep(30)
        return []

    def fail():
        raise ZeroDivisionError("why")

    began = time.monotonic()
    found = list(examine({"a": hang, "b": fail, "c": lambda: [Finding("fine", "c", "well")]}, seconds=0.2))
    assert time.monotonic() - began < 5
    assert found == [
        Finding("wrong", "a", "no answer within 0 s"),
        Finding("wrong", "b", "could not be looked at: ZeroDivisionError: why"),
        Finding("fine", "c", "well"),
    ]


def test_what_is_installed_here_fits_together():
    state, text = of(doctor.check_versions())
    assert state == "fine"
    assert "jax " in text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"jax": "0.9.0"}, r"flax \S+ wants jax>=\S+, and 0.9.0 is installed: install what a file in lock/ names"),
        ({"jax": "0.11.1", "flax": "0.12.8"}, "flax 0.12.8 does not work with jax 0.11.1"),
        ({"optax": None}, "flax wants optax, which is not installed"),
    ],
)
def test_versions_that_do_not_fit_are_named(monkeypatch, changes, text):
    real = doctor.version

    def pretended(name):
        if name in changes and changes[name] is None:
            raise doctor.PackageNotFoundError(name)
        return changes.get(name) or real(name)

    monkeypatch.setattr(doctor, "version", pretended)
    state, found = of(doctor.check_versions())
    assert state == "wrong"
    assert doctor.re.search(text, found), found


def test_chips_that_are_held_or_without_their_library_are_told(tpu, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    assert of(doctor.check_chips(tpu)) == (
        "wrong",
        "there are TPU chips and no libtpu: pip install 'xlmr-flax[tpu]'",
    )
    monkeypatch.setattr(doctor, "_version", lambda name: "1")
    assert of(doctor.check_chips(tpu))[0] == "fine"
    fd = tpu / "proc/123/fd"
    fd.mkdir(parents=True)
    (tpu / "proc/123/cmdline").write_bytes(b"python\0train.py\0")
    (fd / "3").symlink_to(tpu / "dev/accel0")
    assert of(doctor.check_chips(tpu)) == (
        "wrong",
        "held by process 123 (python train.py): end it, or wait until it has ended",
    )
    assert of(doctor.check_chips(tpu / "proc"))[0] == "absent"


@pytest.mark.parametrize(
    ("code", "state", "text"),
    [
        ("print('4 × TPU v5 lite (tpu)')", "fine", "4 × TPU v5 lite (tpu)"),
        ("print('1 × cpu (cpu)')", "wrong", "1 × cpu (cpu), though there are TPU chips: see chips"),
        ("raise SystemExit('no chip')", "wrong", "jax finds none: no chip"),
        ("import time; time.sleep(9)", "wrong", "jax found none within 0 s; the hosts of a slice have to ask together"),
    ],
)
def test_devices_are_asked_in_a_process_that_may_hang(tpu, code, state, text):
    found = of(doctor.check_devices(tpu, code=code, seconds=0.4 if "sleep" in code else 30))
    assert found[0] == state
    assert found[1].startswith(text)


def test_the_processes_of_a_run_are_told_and_looked_for(monkeypatch):
    assert of(doctor.check_hosts()) == ("fine", "this one alone")
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost,localhost")
    assert of(doctor.check_hosts()) == ("fine", "2 of a slice: localhost, localhost")
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    assert of(doctor.check_hosts())[0] == "wrong"
    monkeypatch.setenv("JAX_PROCESS_ID", "1")
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "nowhere:1234")

    def unknown(*words):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert of(doctor.check_hosts()) == (
        "wrong",
        "process 1 of 2, process 0 at nowhere:1234; nowhere cannot be found (Name or service not known)",
    )


def test_disk_and_memory_are_measured_against_xlm_r_large(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=21 * doctor.GIB))
    runs = tmp_path / "runs" / "of" / "today"
    assert of(doctor.check_disk([runs])) == ("fine", f"{runs}: 21 GiB free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=19 * doctor.GIB))
    state, text = of(doctor.check_disk([runs]))
    assert (state, "19 GiB free; a phase of XLM-R Large keeps up to 20 GiB" in text) == ("wrong", True)
    monkeypatch.setattr(doctor.os, "access", lambda *words: False)
    assert of(doctor.check_disk([runs])) == ("wrong", f"{runs}: this user may not write there; name another folder")
    meminfo = tmp_path / "meminfo"
    for kilobytes, state in ((2**20 * 9, "wrong"), (2**20 * 11, "fine")):
        meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable:   {kilobytes} kB\n")
        assert of(doctor.check_memory(meminfo))[0] == state
    assert of(doctor.check_memory(tmp_path / "absent")) == ("absent", "this system does not say")


def test_data_is_found_by_its_files(tmp_path):
    data = tmp_path / "data"
    assert of(doctor.check_data(data))[0] == "absent"
    (data / "pawsx").mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (data / f"pawsx/{split}-en.tsv").write_text("a\tb\t1\n")
        (data / f"pawsx/{split}-de.tsv").write_text("a\tb\t1\n")
    state, text = of(doctor.check_data(data))
    assert state == "fine"
    assert text.startswith(f"{data}: files of pawsx, ")


def test_without_a_network_the_hubs_cache_is_told(monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "models--FacebookAI--xlm-roberta-large").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert of(doctor.check_hub()) == (
        "fine",
        f"{tmp_path}: FacebookAI/xlm-roberta-large; HF_HUB_OFFLINE keeps to these",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    state, text = of(doctor.check_hub("http://127.0.0.1:9"))
    assert state == "absent"
    assert "the hub does not answer" in text


def test_a_bucket_that_cannot_be_listed_is_told(monkeypatch):
    def refused(folder):
        raise InputError(f"{folder}: you may not list it")

    assert of(doctor.check_buckets([]))[0] == "absent"
    monkeypatch.setattr(doctor, "check_bucket", refused)
    assert of(doctor.check_buckets(["gs://b/runs"])) == ("wrong", "gs://b/runs: you may not list it")
    monkeypatch.setattr(doctor, "check_bucket", lambda folder: None)
    assert of(doctor.check_buckets(["gs://b/runs"])) == ("fine", "gs://b/runs can be listed")


def test_the_command_prints_a_line_for_each_and_ends_with_2_where_something_is_wrong(monkeypatch, tmp_path, capsys):
    from xlmr_flax import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", "doctor", "--runs", "r"])
    checks = {"Python": doctor.check_python, "memory": lambda: [Finding("wrong", "memory", "0 GiB free: end [some]")]}
    seen = []
    monkeypatch.setattr(doctor, "all_checks", lambda *folders: seen.extend(folders) or checks)
    with pytest.raises(SystemExit) as end:
        cli.main()
    out = capsys.readouterr().out.splitlines()
    assert end.value.code == 2
    assert out[0].startswith("ok    Python   3.")
    assert out[1] == "wrong memory   0 GiB free: end [some]"
    assert [folder.name for folder in seen] == ["r", "data", "cache"]


def test_the_whole_of_it_imports_no_jax():
    code = "import sys, xlmr_flax.execute.doctor; assert not {'jax', 'flax', 'grain'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
