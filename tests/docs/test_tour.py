"""The tour of docs/tour.md, block after block, as a reader would type it in a folder that `init` has laid."""

import re
from pathlib import Path

import pytest

from xlmr_flax.config.shipped import lay

TOUR = Path(__file__).resolve().parents[2] / "docs" / "tour.md"


@pytest.mark.long
def test_the_tour_can_be_taken(tmp_path, monkeypatch, capsys):
    lay(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.delenv(f"XLMR_FLAX_{name}", raising=False)
    found = re.findall(r"^```python\n(.*?)^```$", TOUR.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 6
    names, told = {}, []
    for block in found:
        exec(compile(block, str(TOUR), "exec"), names)
        told.append(capsys.readouterr().out)
    assert told[0] == "['pretrain', 'inference']\n"
    assert [line.split()[:3] for line in told[1].splitlines()] == [
        ["xnli", "en", "accuracy"],
        ["xnli", "x1", "accuracy"],
    ]
    assert float(told[2]) == names["done"].results["rows"][1]["score"]
    assert [line.split()[0] for line in told[3].splitlines()] == ["1", "mine"]
    assert told[4] == "(2, 32)\n"
    assert "read back by xlmr_flax" in told[5]
    again = names["run"](names["config"])
    assert again.results == names["done"].results


@pytest.mark.parametrize("name", ["load_config", "run", "evaluate", "predict", "load_encoder", "export"])
def test_the_tour_shows_every_function(name):
    assert f"{name}(" in TOUR.read_text(encoding="utf-8")
