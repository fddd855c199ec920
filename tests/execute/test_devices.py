"""What is settled before jax looks for devices."""

import importlib.util

import jax
import pytest

from xlmr_flax.config.schema import Mesh
from xlmr_flax.execute import devices


@pytest.fixture
def asked(monkeypatch):
    """What jax is told, instead of telling it."""
    told = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "libtpu")
    return told


@pytest.mark.parametrize(
    ("file", "found"), [("accel0", True), ("vfio/0", True), ("nvidia0", True), ("vfio/vfio", False)]
)
def test_a_chip_is_known_by_its_device_file(tmp_path, file, found):
    (tmp_path / "dev" / file).parent.mkdir(parents=True)
    (tmp_path / "dev" / file).touch()
    assert devices.has_chips(tmp_path) is found


@pytest.mark.parametrize(("chips", "told"), [(False, {"jax_platforms": "cpu"}), (True, {})])
def test_libtpu_is_left_alone_only_where_there_is_no_chip(asked, monkeypatch, chips, told):
    monkeypatch.setattr(devices, "has_chips", lambda root: chips)
    devices.prepare_cpu(Mesh())
    assert asked == told
