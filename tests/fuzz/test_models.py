"""Weights, tokenizers, checkpoints and finished phases, however damaged: a whole model, or a sentence."""

import gc
import json
import runpy
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.schema import Mesh as MeshSizes
from xlmr_flax.config.schema import Mixture, Phase
from xlmr_flax.data.tokenizer import check_fits, load_tokenizer, train_tokenizer
from xlmr_flax.execute.target import phase_folder
from xlmr_flax.execute.trained import load_trained
from xlmr_flax.graph.folders import Folders
from xlmr_flax.model import hub, weights
from xlmr_flax.model.build import build
from xlmr_flax.model.export import export
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.storage.places import write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.checkpoint import Checkpoints, load_selected, save_selected
from xlmr_flax.train.sharding import make_mesh

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "model" / "torch_files.py")))
SPEC = HeadSpec("sequence", 3)
LABELS = ("entailment", "neutral", "contradiction")


def long(cases):
    return pytest.param(cases, marks=[pytest.mark.long, pytest.mark.timeout(3600)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Weights folders of one tiny model: safetensors, both kinds of .bin, and two files with an index."""
    root = tmp_path_factory.mktemp("weights")
    words = ("the cat sat on a mat", "a dog ran under the tree", "never near the red mat", "big blue dogs sat")
    train_tokenizer([f"{one} {other}" for one in words for other in words] * 8, 38, root / "tokenizer")
    small = PRESETS["tiny"] | {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    arch = Architecture(vocab_size=load_tokenizer(root / "tokenizer").vocab_size, **small)
    params = jax.jit(build(arch, SPEC, "float32").init_params)(jax.random.key(0))
    export(root / "safetensors", arch, params, SPEC, labels=LABELS, tokenizer=root / "tokenizer")
    tensors = load_file(root / "safetensors" / "model.safetensors")
    for name, write in (("zip", files.write_zip), ("legacy", files.write_legacy)):
        shutil.copytree(root / "safetensors", root / name)
        (root / name / "model.safetensors").unlink()
        write(root / name / "pytorch_model.bin", *files.whole(tensors))
    parts = shutil.copytree(root / "safetensors", root / "indexed")
    (parts / "model.safetensors").rename(parts / "model-00001-of-00001.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tensors, "model-00001-of-00001.safetensors")}
    (parts / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    shutil.rmtree(root / "tokenizer")
    return root


def opened(folder):
    """Everything that is read of a weights folder, in the order of a run."""
    arch = hub.architecture(folder)
    tokenizer = load_tokenizer(folder)
    check_fits(tokenizer, arch.vocab_size)
    model = build(arch, SPEC, "float32")
    weights.check(folder, model, head=True)
    loaded = weights.load(folder, model, jax.random.key(0), head=True)
    tokenizer.ids(["the cat sat", "é"])
    return loaded


def test_whole_weights_are_read(whole):
    for name in ("safetensors", "zip", "legacy", "indexed"):
        assert not opened(whole / name).fresh


@pytest.mark.parametrize("cases", [60, long(4000)])
def test_damaged_weights(fuzz, damage, retype, whole, tmp_path, cases):
    def case(draw):
        folder = tmp_path / "weights"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole / draw.choice(("safetensors", "zip", "legacy", "indexed")), folder)
        path = draw.choice(sorted(folder.iterdir()))
        way = draw.choice(("damage", "damage", "retype", "remove", "head"))
        if way == "remove":
            path.unlink()
        elif way == "retype" and path.suffix == ".json":
            path.write_text(json.dumps(retype(json.loads(path.read_text(encoding="utf-8")), draw)), encoding="utf-8")
        elif way == "head":  # where the names and shapes stand
            content = path.read_bytes()
            path.write_bytes(damage(content[:1500], draw) + content[1500:])
        else:
            path.write_bytes(damage(path.read_bytes(), draw))
        before = sorted(tmp_path.rglob("*"))
        try:
            opened(folder)
        finally:
            assert sorted(tmp_path.rglob("*")) == before

    fuzz.each(cases, case)


NAMES = (
    "os.system", "builtins.eval", "posix.mkdir", "torch.load", "collections.OrderedDict", "torch.FloatStorage",
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "numpy.fromfile", "builtins.getattr",
)  # fmt: skip


@pytest.mark.parametrize("cases", [60, long(2000)])
def test_pickles_that_ask_for_anything(fuzz, damage, tmp_path, monkeypatch, cases):
    monkeypatch.chdir(tmp_path)
    array = np.arange(12, dtype=np.float32)

    def case(draw):
        def value(depth=0):
            made = draw.randrange(7 if depth < 3 else 3)
            if made == 0:
                return draw.choice((None, -1, 0, 7, 10**30, "harmed", b"x", 1.5, True))
            if made == 1:
                return files.tensor("0", array, draw.choice((0, 3, -1, 10**9)), (draw.choice((12, 3, 10**12)),), (1,))
            if made == 2:
                return files.Named(*draw.choice(NAMES).rsplit(".", 1))
            if made == 3:
                return [value(depth + 1) for _ in range(draw.randrange(4))]
            if made == 4:
                return {draw.choice(("a", "b", 5, None)): value(depth + 1) for _ in range(2)}
            if made == 5:
                return tuple(value(depth + 1) for _ in range(2))
            named = files.Named(*draw.choice(NAMES).rsplit(".", 1))
            return files.Call(named, *(value(depth + 1) for _ in range(draw.randrange(7))))

        state = {"weight": value(), "bias": files.tensor("0", array)}
        path = Path("x.bin")
        if draw.random() < 0.5:
            with zipfile.ZipFile(path, "w") as archive:
                pickled = files.pickled(state)
                archive.writestr("a/data.pkl", damage(pickled, draw) if draw.random() < 0.5 else pickled)
                archive.writestr("a/data/0", array.tobytes())
        else:
            files.write_legacy(path, state, {"0": array})
        try:
            for stored in weights_of(path).values():
                stored.read()
        finally:
            assert [each.name for each in tmp_path.iterdir()] == ["x.bin"]

    fuzz.each(cases, case)


def weights_of(path):
    from xlmr_flax.model.unpickle import read_bin

    return read_bin(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints of a training, and selected weights."""
    folder = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(folder, keep=2)
    for step in (1, 2):
        checkpoints.save(step, parts(step), {"best_step": None, "evaluations": [], "log": None})
    checkpoints.close()
    save_selected(folder, parts(2), {"step": 2})
    return folder


def parts(step):
    numbers = np.random.default_rng(step).integers(0, 2**32, (16, 8), np.uint32).view(np.float32)
    host = {"encoder": {"words": np.where(np.isfinite(numbers), numbers, np.float32(1))}, "step": np.int32(step)}
    return jax.device_put(host, jax.sharding.SingleDeviceSharding(jax.devices()[0]))


@pytest.mark.parametrize("cases", [10, long(300)])
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damaged_checkpoints(fuzz, damage, saved, tmp_path, capfd, cases):
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), parts(1))

    def case(draw):
        folder = tmp_path / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saved, folder)
        for path in draw.sample(sorted(path for path in folder.rglob("*") if path.is_file()), draw.choice((1, 2, 9))):
            if draw.random() < 0.3:
                path.unlink()
            else:
                path.write_bytes(damage(path.read_bytes(), draw))
        if draw.random() < 0.5:
            assert same(load_selected(folder, like), parts(2))
            return
        checkpoints = Checkpoints(folder, keep=2)
        try:
            found = checkpoints.restore(like)
            assert found is None or same(found.parts, parts(found.step))
        finally:
            checkpoints.close()

    fuzz.each(cases, case, allowed=(0, 3))
    gc.collect()


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folders of runs in which a phase of two tasks is done."""
    runs = tmp_path_factory.mktemp("finished")
    words = ("the cat sat on a mat", "a dog ran under the tree", "never near the red mat", "big blue dogs sat")
    train_tokenizer([f"{one} {other}" for one in words for other in words] * 8, 38, runs / "tokenizers" / "unigram-a")
    tokenizer = load_tokenizer(runs / "tokenizers" / "unigram-a")
    small = PRESETS["tiny"] | {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    arch, phase = Architecture(vocab_size=tokenizer.vocab_size, **small), runs / "phases" / "joint-b"
    each = {
        name: jax.jit(build(arch, HeadSpec(*spec), "float32").init_params)(jax.random.key(0))
        for name, spec in (("xnli", ("sequence", 3)), ("mlm", ("mlm",)))
    }
    params = {"encoder": each["xnli"]["encoder"], "head": {name: one["head"] for name, one in each.items()}}
    save_selected(phase / "checkpoints", params, {"step": 2})
    settings = Phase(name="joint", tasks=tuple(each), length=16, batch_size=4, steps=2, mixture=Mixture(mlm_frac=0.5))
    config = {
        "key": "b", "tasks": list(each), "phase": settings.model_dump(mode="json"), "seed": 0, "attempt_seed": 0,
        "parent": "scratch (tiny)", "train": {"xnli": "train", "mlm": "all"},
        "compute": "float32", "architecture": arch.model_dump(mode="json"),
        "heads": {"xnli": {"kind": "sequence", "labels": list(LABELS), "options": None},
                  "mlm": {"kind": "mlm", "labels": [], "options": None}},
        "tokenizer": {"folder": "tokenizers/unigram-a", "name": None, "revision": None,
                      "fingerprint": tokenizer.fingerprint},
        "sources": {}, "examples": {"xnli": "0" * 32, "mlm": "1" * 32},
    }  # fmt: skip
    write_json(phase / "config.json", config)
    write_json(phase / "DONE", {"step": 2})
    return runs


def test_a_finished_phase_is_opened(finished):
    assert open_phase(finished, "xnli").labels == LABELS


def open_phase(runs, name):
    """What every command on a finished phase does first."""
    mesh = make_mesh(MeshSizes(data=1), jax.devices()[:1])
    return load_trained(phase_folder(runs / "phases" / "joint-b", None, None), Folders(runs, runs, runs), mesh,
                        task(name))  # fmt: skip


@pytest.mark.parametrize("cases", [25, long(1500)])
def test_finished_phases(fuzz, damage, retype, finished, tmp_path, cases):
    path = tmp_path / "runs" / "phases" / "joint-b" / "config.json"
    shutil.copytree(finished, tmp_path / "runs")
    whole = path.read_bytes()

    def case(draw):
        if draw.random() < 0.7:
            path.write_text(json.dumps(retype(json.loads(whole), draw)), encoding="utf-8")
        else:
            path.write_bytes(damage(whole, draw))
        open_phase(tmp_path / "runs", draw.choice(("xnli", "mlm", "tatoeba")))

    fuzz.each(cases, case, allowed=(0, 2, 3))


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), one, other))
