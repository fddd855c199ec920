"""data show: what a step is trained on, told from the phase's folder and the cache alone."""

import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.execute.phase import prepare
from xlmr_flax.execute.show import show_batch
from xlmr_flax.tasks.files import rows


@pytest.fixture(scope="module")
def shown(lab):
    """The lines about each item of a step, by phase."""

    def lines(name, step=1):
        head, *rest = show_batch(str(lab.folder(name)), None, step, lab.context.folders)
        return head, [block.split("\n") for block in "\n".join(rest).strip().split("\n\n")]

    return lines


def split_rows(lab, name):
    node = lab.phase(name)
    found = rows(prepare(node, lab.context).parts[0].task, node.train, "en", lab.context.folders.data_of(node))
    return {row.id: row for row in found}


def test_every_item_of_a_batch_is_told_with_its_id_label_and_text(lab, shown):
    head, items = shown("nli", 3)
    assert re.fullmatch(r"nli-\w+, step 3 of 13: 16 examples of xnli train, in \d+ rows of \d+ tokens", head)
    known = split_rows(lab, "nli")
    assert len(items) == 16
    for number, (first, text) in enumerate(items, start=1):
        place, name, label = re.match(r" *(\d+)  en (\S+)  ·  (\w+)  ·  row \d+, tokens \d+ to \d+", first).groups()
        assert (int(place), label) == (number, known[name].label)
        held = text.split("<s>")[1].split("</s>")[0].strip()
        assert "<unk>" in held or known[name].text.startswith(held)  # cut in the midst of a word


def test_units_lie_beside_each_other_and_never_in_the_same_place(shown):
    _, items = shown("nli")
    places = [tuple(map(int, re.search(r"row (\d+), tokens (\d+) to (\d+)", first).groups())) for first, *_ in items]
    taken = {(row, token) for row, first, last in places for token in range(first, last + 1)}
    assert len(taken) == sum(last - first + 1 for _, first, last in places)


def test_what_is_cut_or_parted_is_told(shown, lab):
    _, items = shown("nli")
    examples = prepare(lab.phase("nli"), lab.context).parts[0].examples
    assert 0 < examples.encoded.counts["truncated"] == examples.encoded.cut.sum()
    assert any("truncated" in first for first, *_ in items)
    assert any(re.search(r"part \d of \d", first) for first, *_ in shown("tags")[1])


def test_each_kind_of_head_shows_what_it_is_taught(shown):
    assert all(re.search(r"option [1-4] is right$", item[0]) and len(item) == 9 for item in shown("choice")[1])
    assert all(re.fullmatch(r"     (\S+/[A-Z]+ ?)+", item[2]) for item in shown("tags")[1])
    answers = [item[2].strip() for item in shown("spans")[1]]
    assert any(one.startswith("answer: ") for one in answers)
    for _, text, hidden in shown("pretrain")[1]:
        assert hidden.count(", ") + 1 >= text.count("<mask>") > 0 or not text.count("<mask>")
    assert any("<mask>" in text for _, text, _ in shown("pretrain")[1])


def test_steps_outside_of_the_phase_and_phases_that_have_not_begun_are_refused(lab, shown, tmp_path):
    elsewhere = dataclasses.replace(lab.context.folders, cache=tmp_path)
    with pytest.raises(InputError, match=r"--step 14: nli-\w+ has the steps 1 to 13"):
        shown("nli", 14)
    with pytest.raises(InputError, match=r"--step 0: "):
        shown("nli", 0)
    with pytest.raises(InputError, match=r"not the encoded examples that were trained on .*--cache"):
        list(show_batch(str(lab.folder("nli")), None, 1, elsewhere))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="nothing is trained here, or not yet"):
        list(show_batch(str(tmp_path), None, 1, elsewhere))


def test_the_command_touches_no_device(lab):
    folders = lab.context.folders
    nodes = [{"kind": "phase", "name": "nli", "key": "k", "folder": f"phases/{lab.folder('nli').name}"}]
    run = folders.runs / "small-run"
    run.mkdir()
    (run / "nodes.json").write_text(json.dumps(nodes))
    command = [sys.executable, "-m", "xlmr_flax.cli", "data", "show", str(run), "--phase", "nli", "--step", "2"]
    done = subprocess.run(
        [*command, "--cache", str(folders.cache), "--data", "nowhere"],
        capture_output=True, text=True, check=False, env={**os.environ, "JAX_PLATFORMS": "none_such"},
    )  # fmt: skip
    (run / "nodes.json").unlink()
    run.rmdir()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith(lab.folder("nli").name)
