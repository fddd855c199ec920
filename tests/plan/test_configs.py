"""Every config under configs/plans fits the slice that its header names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs" / "plans").glob("*.toml"))


def command(path):
    """The words of the command in a config's header."""
    (words,) = re.findall(r"^# xlmr-flax (plan .*)$", path.read_text(encoding="utf-8"), re.M)
    return words.split()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_plan_names_itself_and_its_slice(path):
    words = command(path)
    assert words[:3] == ["plan", f"configs/plans/{path.name}", "--topology"]
    assert len(words) == 4


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_plan_fits_its_slice(path, tmp_path):
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_FLAGS", "JAX_", "NPROC"))}
    words = [sys.executable, "-m", "xlmr_flax.cli", *command(path), "--json", "--cache", str(tmp_path)]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one in found["programs"]:
        seconds = "unknown" if one["step_seconds"] is None else f"{one['step_seconds'] * 1e3:.1f} ms"
        print(
            f"\n{path.stem}, {found['topology']}, libtpu {found['libtpu']}: {one['phase']} {one['step']} "
            f"{one['rows']} x {one['length']}: {one['hbm_bytes_per_chip'] / 2**30:.2f} of "
            f"{one['hbm_limit_bytes'] / 2**30:.2f} GiB a chip, step {seconds}, estimated"
        )
        assert one["hbm_bytes_per_chip"] <= one["hbm_limit_bytes"]
        assert one["temporary_bytes"] is not None
