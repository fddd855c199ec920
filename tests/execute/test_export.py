"""Exported folders: what their cards say, and that transformers scores as we do."""

import re

import pytest

from xlmr_flax.execute import card, parity
from xlmr_flax.execute.target import export_target

PHASES = ("pretrain", "choice", "nli", "tags", "spans")


def exported(lab, name, out):
    """The card of an exported phase."""
    export_target(str(lab.folder(name)), out, None, lab.context.folders, lab.context.console)
    return (out / "README.md").read_text(encoding="utf-8")


def differences(text):
    """What was compared, and the largest difference of each."""
    return {
        what: float(largest) for what, largest in re.findall(r"^- (.+): [\d,]+ numbers, largest .* (\S+)$", text, re.M)
    }


def test_a_card_says_what_the_model_was_trained_on_and_what_was_compared(lab, tmp_path, monkeypatch):
    for module in (card, parity):
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    text = exported(lab, "nli", tmp_path / "out")
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("- `")] == ["pretrain", "choice", "nli"]
    assert "AutoModelForSequenceClassification.from_pretrained" in text
    assert differences(text) == {"read back by xlmr_flax": 0.0}
    assert "transformers' own class was not run here: torch is not installed." in text


def test_a_wrong_number_in_an_exported_file_shows_in_its_card(lab, tmp_path, monkeypatch):
    monkeypatch.setattr(parity.importlib.util, "find_spec", lambda name: None)
    load = parity.weights.load

    def spoilt(*args, **options):
        back = load(*args, **options)
        head = back.params["head"]["out"]
        head["bias"] = head["bias"] + 1.0
        return back

    monkeypatch.setattr(parity.weights, "load", spoilt)
    assert differences(exported(lab, "nli", tmp_path / "out"))["read back by xlmr_flax"] == pytest.approx(1, abs=0.1)


@pytest.mark.parity
@pytest.mark.parametrize("name", PHASES)
def test_every_head_scores_the_same_in_transformers(lab, tmp_path, name):
    found = differences(exported(lab, name, tmp_path / "out"))
    assert len(found) == 2
    assert max(found.values()) < 1e-5
