"""Plans of the small experiment: its own programs at its own shapes, with a compiler that answers at once."""

import dataclasses
import io
import json
from typing import NamedTuple

import numpy as np
import pytest
from rich.console import Console

from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.errors import InputError
from xlmr_flax.execute import planning
from xlmr_flax.execute.measured import estimate_path, read_estimate
from xlmr_flax.execute.phase import prepare
from xlmr_flax.execute.phase_programs import eval_programs, train_programs, work
from xlmr_flax.plan.chips import Slice, slice_of
from xlmr_flax.plan.compiler import Built
from xlmr_flax.train.sharding import make_mesh

GIB = 2**30
TEXT = 'HloModule x\n\nENTRY %main (p: f32[8]) -> f32[8] {\n  %a = f32[8] fusion(%p), {"estimated_cycles":"1500"}\n}\n'


class Quick(NamedTuple):
    """A compiler on the tests' own devices: what is laid out over more than `enough` chips fits."""

    slice_: Slice = slice_of("v5e:2x4")
    enough: int = 0
    version: str = "0"

    def hbm_limit(self):
        return 16 * GIB

    def mesh(self, sizes):
        return make_mesh(sizes)

    def build(self, lowered):
        shards = {leaf._aval.sharding.mesh.shape["fsdp"] for leaf in leaves(lowered.args_info)}
        fits = shards.pop() > self.enough
        needed = 1 * GIB if fits else 20 * GIB
        return Built(fits, GIB, GIB if fits else None, needed, 1.0, TEXT if fits else None)


def leaves(tree):
    return planning.jax.tree.leaves(tree)


@pytest.fixture
def planned(open_lab, tmp_path, monkeypatch):
    """Plans the experiment, or a changed one, with the quick compiler."""

    def plan(compiler=Quick(), lab=None, phase=None, searching=False, hlo=None, price=None, **changes):  # noqa: B008
        lab = lab or open_lab(tmp_path, **changes)
        monkeypatch.setattr(planning, "compiler", lambda slice_, cache: compiler)
        said = []
        found = planning.run_plan(
            lab.graph,
            lab.context.folders,
            topology="v5e:2x4",
            slices=1,
            phase=phase,
            searching=searching,
            price=price,
            hlo=hlo,
            say=said.append,
        )
        return found, said

    return plan


def test_a_phase_is_planned_at_the_shapes_that_it_trains_in(lab):
    one, mesh = work(lab.phase("nli"), lab.context.folders), lab.context.mesh
    material = prepare(lab.phase("nli"), lab.context)
    taken = material.parts[0].taken
    batches = TrainingBatches(taken.examples, taken.chosen, batch_size=16, micro_batches=1, seed=3)
    trained = {batches(step).tokens.ids_BL.shape[1:] for step in range(13)}
    found = [shape for shape, _ in train_programs(one, lab.context.experiment, mesh)]
    assert one.real
    assert {(shape.rows, shape.length) for shape in found} == trained
    assert sum(shape.share for shape in found) == pytest.approx(1)
    assert one.arch == material.arch
    real = np.mean([np.count_nonzero(batches(step).tokens.unit_BL >= 0) for step in range(13)])
    assert sum(shape.share * shape.tokens for shape in found) == pytest.approx(real)


def test_the_figures_of_a_plan_are_kept_for_a_run_of_it(planned, open_lab, tmp_path):
    lab = open_lab(tmp_path)
    found, _ = planned(lab=lab, phase="nli")
    path = estimate_path(lab.phase("nli"), lab.context.experiment, lab.context.mesh, lab.context.folders.cache)
    program = found.programs[0]
    assert read_estimate(path)["programs"] == [
        {"rows": 16, "length": 16, "step_seconds": program.step_seconds, "hbm_bytes": GIB}
    ]


def test_a_phase_without_its_files_is_planned_at_full_length(open_lab, tmp_path):
    lab = open_lab(tmp_path)
    one = work(lab.phase("choice"), lab.context.folders)
    ((shape, _),) = train_programs(one, lab.context.experiment, lab.context.mesh)
    assert not one.real
    assert (shape.rows, shape.length, shape.items, shape.tokens) == (64, 32, 16, 64 * 32)
    assert one.arch.vocab_size == 120


JOINT = {"name": "pretrain", "tasks": ["xnli", "mlm"], "length": 16, "batch_size": 16, "steps": 40,
         "mixture": {"mlm_frac": 0.25, "each": [{"task": "mlm", "batch_size": 24}]}}  # fmt: skip


def mixed(lab, open_lab, tmp_path, **mixture):
    """A mixture in the world of the experiment, whose files and tokenizer are there."""
    joint = JOINT | {"mixture": JOINT["mixture"] | mixture}
    other = open_lab(tmp_path, phases=[joint], evaluations=[], arms=[{"name": "all"}])
    return other._replace(context=dataclasses.replace(other.context, folders=lab.context.folders))


def test_a_mixture_is_planned_with_each_tasks_share_of_the_steps(lab, open_lab, tmp_path):
    other = mixed(lab, open_lab, tmp_path)
    one = work(other.phase("pretrain"), other.context.folders)
    found = [shape for shape, _ in train_programs(one, other.context.experiment, other.context.mesh)]
    assert one.real
    shares = {name: sum(shape.share for shape in found if shape.task == name) for name in ("xnli", "mlm")}
    assert shares == pytest.approx({"xnli": 0.75, "mlm": 0.25})
    assert {shape.items for shape in found if shape.task == "mlm"} == {24}
    assert len({(shape.rows, shape.length) for shape in found}) <= 4


def test_without_its_files_a_mixtures_shares_are_unknown_and_so_are_its_hours(planned):
    joint = {"phases": [JOINT], "evaluations": [], "arms": [{"name": "all"}]}
    found, said = planned(**joint)
    programs = found.as_json()["programs"]
    assert [(one["task"], one["share_of_steps"], one["rows"]) for one in programs] == [
        ("xnli", None, 16),
        ("mlm", None, 24),
    ]
    assert (found.phases[0]["steps"], found.phases[0]["hours"]) == (40, None)
    assert said[0].startswith("pretrain: no encoded examples of xnli here, so every one counts as 16 tokens")
    joint["phases"] = [JOINT | {"mixture": {"sampling": "weights", "weights": [1.0, 3.0]}}]
    found, _ = planned(**joint)
    assert [one["share_of_steps"] for one in found.as_json()["programs"]] == [0.75, 0.25]


def test_every_head_has_its_programs(lab):
    for name in ("pretrain", "choice", "nli", "tags", "spans"):
        one = work(lab.phase(name), lab.context.folders)
        assert list(eval_programs(one, lab.graph, lab.context.folders, lab.context.mesh))


def test_the_figures_come_as_one_document_and_as_a_table(planned, tmp_path):
    found, said = planned(phase="nli", hlo=tmp_path / "hlo", price=1.5)
    document = json.loads(json.dumps(found.as_json()))
    assert document.keys() == {"libtpu", "jax", "topology", "chips", "programs", "phases"}
    assert [one["step"] for one in document["programs"]] == ["train", "eval"]
    assert document["programs"][0]["compute_seconds"] == pytest.approx(1e-6)
    assert document["phases"][0].keys() == {"phase", "steps", "hours", "chip_hours", "price"}
    assert said[0].startswith("nli: no encoded examples here, so every one counts as 16 tokens")
    assert sorted(path.name for path in (tmp_path / "hlo").iterdir()) == ["nli.eval.64x16.txt", "nli.train.16x16.txt"]
    out = Console(file=io.StringIO(), width=100)
    found.print(out)
    rows = [line.split() for line in out.file.getvalue().splitlines()]
    assert ["of", "the", "computing"] in rows
    assert rows[-1] == ["nli", "13", "0.00", "0.00", "0.00", "2", "s"]


def test_arms_do_not_repeat_a_phase(planned):
    found, _ = planned()
    assert [one["phase"] for one in found.phases] == ["pretrain", "choice", "nli", "probe", "tags", "spans"]


def test_a_phase_that_is_not_there_lists_those_that_are(planned):
    with pytest.raises(InputError, match="--phase nope: no such phase; small has pretrain, choice, nli, probe, tags"):
        planned(phase="nope")


def test_what_does_not_fit_names_the_first_single_change_that_helps(planned):
    found, said = planned(Quick(enough=2), phase="tags", mesh={"data": 4, "fsdp": 2})
    assert found.told[0] == (
        "tags: the train step of 16 x 16 does not fit: 4.00 GiB more than the 16.00 GiB of a chip; "
        "with mesh.fsdp=4 it fits"
    )
    assert said[-1] == "tags: with mesh.fsdp=4?"
    train = found.as_json()["programs"][0]
    assert (train["compute_seconds"], train["hbm_bytes_per_chip"]) == (None, 20 * GIB)


def test_where_no_single_change_helps_that_is_said(planned):
    found, said = planned(Quick(enough=8), phase="tags", mesh={"data": 8})
    assert found.told[0].endswith(
        "no single change of remat, fsdp or accumulation makes it fit: try --search, or more chips"
    )
    tried = [text for text in said if text.endswith("?")]
    assert tried == [f"tags: with {change}?" for change in (
        "mesh.fsdp=2", "mesh.fsdp=4", "mesh.fsdp=8", "model.remat=elementwise", "model.remat=layers",
        "phases.tags.accumulation=2",
    )]  # fmt: skip


def test_a_crash_of_the_compiler_is_told_and_leaves_figures_unknown(planned):
    class Crashing(Quick):
        def build(self, lowered):
            return Built(None, None, None, None, None, None)

    found, _ = planned(Crashing(), phase="tags")
    assert "tags: libtpu 0 crashed while it compiled the train step of 16 x 16" in found.told[0]
    train = found.as_json()["programs"][0]
    assert {train[name] for name in train if name.endswith(("bytes", "seconds", "chip", "second"))} == {16 * GIB, None}


def test_the_search_ends_with_the_lines_of_a_config(planned):
    found, _ = planned(Quick(enough=2), phase="tags", searching=True, mesh={"data": 8})
    best = found.searched["tags"][0]
    assert best.whole.built.fits
    assert best.layout.fsdp > 2
    assert found.told == [f"\nfastest for tags:\n\n{best.layout.toml('tags')}"]
    assert found.as_json()["search"]["tags"][0]["fits"] is True
