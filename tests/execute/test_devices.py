"""What is settled before jax looks for devices."""

import importlib.util
from types import SimpleNamespace

import jax
import pytest

from xlmr_flax.config.schema import Mesh
from xlmr_flax.errors import InputError
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


@pytest.mark.parametrize(
    ("mesh", "processes", "each"), [(Mesh(data=4), 2, 2), (Mesh(fsdp=2, tensor=2), 4, 4), (Mesh(data=2, fsdp=2), 2, 2)]
)
def test_each_process_simulates_its_share_of_the_mesh(asked, monkeypatch, mesh, processes, each):
    monkeypatch.setattr(devices, "has_chips", lambda root: True)
    monkeypatch.setenv("XLA_FLAGS", "")
    devices.prepare_cpu(mesh, processes=processes)
    assert asked == {"jax_num_cpu_devices": each}


@pytest.fixture
def tpu(tmp_path, monkeypatch):
    """The root of a machine with a chip, which another process holds once it is asked for."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/accel0").touch()
    other = tmp_path / "proc/123"
    (other / "fd").mkdir(parents=True)
    (other / "cmdline").write_bytes(b"python\0train.py\0")
    (other / "fd/0").symlink_to("/dev/null")
    return SimpleNamespace(root=tmp_path, hold=lambda: (other / "fd/3").symlink_to(tmp_path / "dev/accel0"))


def test_a_cpu_in_the_place_of_a_tpu_is_refused_and_says_who_holds_the_chip(tpu):
    assert jax.devices()[0].platform == "cpu"
    with pytest.raises(InputError, match="has TPU chips, but jax would compute on the CPU: install libtpu"):
        devices.check_devices(tpu.root)
    tpu.hold()
    with pytest.raises(InputError, match=r"on the CPU: held by process 123 \(python train.py\); end it first"):
        devices.check_devices(tpu.root)


def test_a_tpu_that_jax_cannot_have_is_a_sentence_with_who_holds_it(tpu, monkeypatch):
    def fail():
        raise RuntimeError("Unable to initialize backend 'tpu': ABORTED\nand more")

    monkeypatch.setattr(jax, "devices", fail)
    tpu.hold()
    wanted = r"cannot be used; held by process 123 \(python train.py\): end it first \(Unable to .*ABORTED\)$"
    with pytest.raises(InputError, match=wanted):
        devices.check_devices(tpu.root)


def test_a_cpu_is_fine_where_it_is_asked_for_and_where_no_chip_is(tpu, monkeypatch):
    devices.check_devices(tpu.root / "proc")
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    devices.check_devices(tpu.root)


@pytest.fixture
def compiled():
    """Sets where compiled programs are kept, and back."""
    before = jax.config.jax_compilation_cache_dir
    yield lambda folder: jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_compilation_cache_dir", before)


def test_compiled_programs_are_looked_for_only_when_all_processes_have_met(monkeypatch, tmp_path, compiled):
    seen = []
    monkeypatch.setattr(devices, "prepare_cpu", lambda *words, **more: None)
    monkeypatch.setattr(devices, "several_expected", lambda: True)
    monkeypatch.setattr(devices.processes, "join", lambda known: seen.append(jax.config.jax_compilation_cache_dir))
    monkeypatch.setenv("LIBTPU_INIT_ARGS", "--xla_a=1")
    monkeypatch.setenv("XLA_FLAGS", "")
    compiled(str(tmp_path))
    with devices.hosts(Mesh(), {}):
        seen.append(jax.config.jax_compilation_cache_dir)
        assert devices.circumstances() == {"LIBTPU_INIT_ARGS": "--xla_a=1", "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    assert seen == [None, str(tmp_path)]


def test_a_bucket_for_compiled_programs_that_cannot_be_used_ends_the_run(monkeypatch, compiled):
    def refused(folder):
        raise InputError(f"{folder}: there is no such bucket")

    monkeypatch.setattr(devices, "place", lambda name: name)
    monkeypatch.setattr(devices, "check_bucket", refused)
    with pytest.raises(InputError, match="gs://b/compiled: there is no such bucket"):
        devices.use_compiled("gs://b/compiled")


def test_what_hosts_compare_is_named_by_its_field_in_lists_of_tables_too():
    config = {"phases": [{"name": "nli", "langs": ["en", "de"]}, {"name": "target"}], "averages": []}
    assert devices._flat({"config": config}) == {
        "config.phases.0.name": "nli",
        "config.phases.0.langs": ["en", "de"],
        "config.phases.1.name": "target",
        "config.averages": [],
    }
