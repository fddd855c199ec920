"""A bucket on loopback that every client is pointed at, and this machine's copies in a folder of the test's own."""

import subprocess
import sys
import uuid
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def emulator():
    script = Path(__file__).with_name("emulator.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, str(script)], text=True, **pipes) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


@pytest.fixture(scope="session")
def clients(emulator):
    """Settings of the libraries: google-cloud-storage and gcsfs take the first, TensorStore the second."""
    return {
        "STORAGE_EMULATOR_HOST": emulator,
        "TENSORSTORE_GCS_HTTP_URL": emulator,
        # gcsfs would ask another service what kind of bucket this is, and TensorStore the machine who it is
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "none",
    }


@pytest.fixture
def folder(clients, monkeypatch, tmp_path):
    """A new folder in the bucket."""
    for name, value in clients.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "copies"))
    from xlmr_flax.storage.places import place

    return place(f"gs://bucket/{uuid.uuid4().hex}")
