"""The reference work, XLM-R Large on v5e:2x4, and `xlmr-flax plan` as a process of its own that says what it costs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from xlmr_flax.data.tokenizer import train_tokenizer

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "configs" / "plans" / "reference_v5e.toml"
# What the project promises of this step, whatever was recorded.
COMPUTE_AT_MOST, HBM_AT_MOST, PACKED_AT_MOST = 0.085, 10e9, 0.035
# XLM-R Large without its weights, so that other things of it may be changed.
LARGE = ["model.weights=none", "model.preset=large", "model.architecture.vocab_size=250002"]


def plan(*words, cache):
    """Runs `xlmr-flax plan` with none of the tests' settings of jax."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_FLAGS", "JAX_", "NPROC"))}
    command = [sys.executable, "-m", "xlmr_flax.cli", "plan", *map(str, words), "--cache", str(cache)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1700)


def figures(*words, cache):
    """The same, as the JSON that it prints."""
    done = plan(*words, "--json", cache=cache)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def trained(*words, cache):
    """The only training step of a config."""
    (step,) = [one for one in figures(*words, cache=cache)["programs"] if one["step"] == "train"]
    return step


def sent(step):
    """Bytes that a chip sends in a step."""
    return sum(kind["bytes"] for kind in step["collectives"].values())


def packed(folder):
    """What to tell plan, so that it takes the reference lengths, of 256 examples packed into rows of one shape.

    XNLI's English training file, of a word that is one token: log-normal lengths, median 38, clipped to 8…128.
    """
    drawn = np.exp(np.log(38) + 0.45 * np.random.default_rng(0).standard_normal(20_000))
    words = np.clip(np.rint(drawn), 8, 128).astype(int) - 4  # <s> and three </s>
    lines = [f"{'abcd ' * (n // 2)}\t{'abcd ' * (n - n // 2)}\tneutral" for n in words]
    (folder / "xnli").mkdir(parents=True)
    (folder / "xnli" / "train-en.tsv").write_text("\n".join(lines).replace(" \t", "\t") + "\n", encoding="utf-8")
    train_tokenizer(["abcd " * 4 + f"ab{letter}" for letter in "efghijklmnop"] * 20, 30, folder / "tokenizer")
    # no other shape is compiled in one step
    return [*LARGE, f"tokenizer.path={folder / 'tokenizer'}", "phases.reference.steps=1", "--data", folder]
