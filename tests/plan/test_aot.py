"""Programs compiled for TPUs that are not there: the reference step holds its bounds, and `plan` says what is true."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.aot

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "configs" / "plans" / "reference_v5e.toml"
SLACK = 1.05


class Bound(NamedTuple):
    """What one libtpu said of the reference step when it was recorded."""

    compute_seconds: float
    temporary_bytes: int
    collective_bytes: int  # that a chip sends


BOUNDS = {"0.0.42.1": Bound(compute_seconds=0.1292, temporary_bytes=8_676_000_000, collective_bytes=2_586_000_000)}

SMALL = """
name = "small"
[model]
preset = "tiny"
architecture = {{ {architecture} }}
[tokenizer]
path = "nowhere"
{more}
[[phases]]
name = "target"
tasks = ["xnli"]
length = 128
batch_size = 64
steps = 100
[[evaluations]]
phase = "target"
tasks = ["xnli"]
"""
KEYS = {
    "phase", "step", "rows", "length", "share_of_steps", "compile_seconds", "hbm_bytes_per_chip", "hbm_limit_bytes",
    "argument_bytes", "temporary_bytes", "compute_seconds", "collectives", "collective_seconds", "step_seconds",
    "examples_per_second", "useful_tokens_per_second", "model_flops_utilisation",
}  # fmt: skip


def plan(*words, cache):
    """Runs `xlmr-flax plan` with none of the tests' settings of jax."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_FLAGS", "JAX_", "NPROC"))}
    command = [sys.executable, "-m", "xlmr_flax.cli", "plan", *map(str, words), "--cache", str(cache)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)


def figures(*words, cache):
    """The same, as the JSON that it prints."""
    done = plan(*words, "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def small(tmp_path):
    """Writes a config of a small model; returns its path."""

    def write(architecture="vocab_size = 250002, max_position_embeddings = 514", more=""):
        path = tmp_path / "small.toml"
        path.write_text(SMALL.format(architecture=architecture, more=more), encoding="utf-8")
        return path

    return write


def test_the_reference_step_holds_its_bounds(cache):
    found = figures(REFERENCE, "--topology", "v5e:2x4", cache=cache)
    assert found["libtpu"] in BOUNDS, f"no bounds are recorded for libtpu {found['libtpu']}"
    bound, (step,) = BOUNDS[found["libtpu"]], [one for one in found["programs"] if one["step"] == "train"]
    sent = sum(kind["bytes"] for kind in step["collectives"].values())
    print(
        f"\nreference step, libtpu {found['libtpu']}: compute {step['compute_seconds'] * 1e3:.1f} ms, temporaries "
        f"{step['temporary_bytes'] / 1e9:.2f} GB, a chip sends {sent / 1e6:.0f} MB, compiled in "
        f"{step['compile_seconds']:.0f} s"
    )
    assert step["compute_seconds"] <= bound.compute_seconds * SLACK
    assert step["temporary_bytes"] <= bound.temporary_bytes * SLACK
    assert sent <= bound.collective_bytes * SLACK


@pytest.mark.parametrize(
    ("topology", "chips"),
    [("v2-8", 4), ("v3:2x2", 4), ("v4-8", 4), ("v5litepod-4", 4), ("v5e:4x4", 16), ("v5p-8", 4), ("v6e-8", 8)]
    + [("tpu7x-8", 4)],
)
def test_a_small_step_is_planned_on_every_generation(small, cache, topology, chips):
    found = figures(small(), "--topology", topology, cache=cache)
    assert found["chips"] == chips
    assert [(one["step"], one["rows"], one["length"]) for one in found["programs"]] == [
        ("train", 64, 128),
        ("eval", 64, 128),
    ]
    for one in found["programs"]:
        assert one.keys() == KEYS
        assert 0 < one["argument_bytes"] < one["hbm_bytes_per_chip"] < one["hbm_limit_bytes"]
        known = topology.partition("-")[0] not in ("v6e", "tpu7x")
        assert (one["compute_seconds"] is not None) == known
        assert (one["step_seconds"] is not None) == known
    assert found["phases"][0].keys() == {"phase", "steps", "hours", "chip_hours"}


def test_nothing_but_our_own_words_reaches_the_user(small, tmp_path):
    done = plan(small(), cache=tmp_path / "fresh")
    assert done.returncode == 0
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["target"] * 3
    assert done.stdout.startswith("v5e:2x4, 8 chips · libtpu ")


def test_what_was_compiled_before_is_taken_from_the_cache(small, cache):
    first = figures(small(), cache=cache)
    assert figures(small(), cache=cache) == first  # with the same seconds of compiling


def test_the_programs_are_written_as_text(small, cache, tmp_path):
    figures(small(), "--hlo", tmp_path / "hlo", cache=cache)
    names = {path.name for path in (tmp_path / "hlo").iterdir()}
    assert names == {"target.train.64x128.txt", "target.eval.64x128.txt"}
    assert (tmp_path / "hlo" / "target.train.64x128.txt").read_text(encoding="utf-8").startswith("HloModule")


def test_slices_send_between_each_other_over_the_data_centre(small, cache):
    one, two = (figures(small(), "--slices", n, cache=cache)["programs"][0] for n in (1, 2))
    assert two["collective_seconds"] > 10 * one["collective_seconds"]


def test_what_does_not_fit_says_how_much_and_which_single_change_helps(small, cache):
    wide = "vocab_size = 250002, hidden_size = 4096, num_attention_heads = 32, intermediate_size = 4096"
    done = plan(small(wide), cache=cache)
    assert done.returncode == 0, done.stderr
    assert "target: the train step of 64 x 128 does not fit: " in done.stdout
    assert "more than the 15.75 GiB of a chip; with mesh.fsdp=2 it fits" in done.stdout


def test_the_search_prints_the_lines_of_the_fastest_layout(small, cache):
    done = plan(small("vocab_size = 250002"), "--search", "--topology", "v5litepod-1", cache=cache)
    assert done.returncode == 0, done.stderr
    assert "fastest for target:\n\n[model]\nremat = " in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--topology", "v5e:3x5"], "no slice of that shape; v5e: 1x1 (v5litepod-1), 2x2"),
        (["mesh.fsdp=3"], "set fsdp and tensor so that their product is one of 1, 2, 4, 8"),
        (["--phase", "nope"], "--phase nope: no such phase; small has target"),
    ],
)
def test_bad_input_is_told_in_a_sentence(small, cache, words, told):
    done = plan(small(), *words, cache=cache)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
