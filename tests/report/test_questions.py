"""What studies ask beyond a table: sizes, layers, perturbed texts, several baselines, and where it all comes from."""

import json
import re
import shutil

import pytest

from tests.report.toy import toy
from xlmr_flax.errors import InputError
from xlmr_flax.report.compare import ALL, OTHERS, compare
from xlmr_flax.report.evidence import Evidence
from xlmr_flax.report.headline import headline
from xlmr_flax.report.load import load
from xlmr_flax.report.main_tables import arms_by_targets, seeds
from xlmr_flax.report.provenance import as_json, data_table, is_xlmr, phase_table, phases, version_table
from xlmr_flax.report.scales import scale_headline, scale_tables, scales
from xlmr_flax.report.sizes import fit_table, size_curves, size_headline, size_pictures, size_table
from xlmr_flax.report.sweeps import (
    layer_pictures,
    layer_table,
    robustness_headline,
    robustness_languages,
    robustness_pictures,
    robustness_table,
)
from xlmr_flax.report.write import write_report

SIZES = (1_000, 10_000, 100_000, "all")
NAMES = ("none", *(f"{size} examples" for size in SIZES))
AXES = {"none": {"phases.middle": "skip"}} | {
    name: {"phases.middle": "keep", "phases.middle.max_examples": size}
    for name, size in zip(NAMES[1:], SIZES, strict=True)
}
WEIGHTS = "FacebookAI/xlm-roberta-large"


def changed(where, change):
    """The rows of a toy as `change` makes them of each."""
    results = json.loads((where / "results.json").read_text())
    results["rows"] = [new for row in results["rows"] for new in change(row)]
    (where / "results.json").write_text(json.dumps(results))
    return where


def evidence(where):
    return Evidence(load([where]), 100)


def phase(where, name, **told):
    """A finished phase beside the run."""
    folder = where.parent / "phases" / f"{name}-k"
    folder.mkdir(parents=True)
    config = {
        "phase": {
            "name": name, "tasks": ["mnli"], "max_examples": None, "epochs": 2.0, "steps": None, "batch_size": 32,
        },
        "seed": 0, "parent": WEIGHTS, "counts": {"rows": 392_702, "units": 392_702, "truncated": 12},
        "tokenizer": {"name": WEIGHTS}, "sources": {"mnli/train.tsv": "ab" * 32},
    }  # fmt: skip
    done = {"steps_run": 20, "selection": "last step", "flags": []}
    for file, value in (("config.json", config | told), ("DONE", done)):
        (folder / file).write_text(json.dumps(value))
    (folder / "host.json").write_text(json.dumps({"devices": "8 x TPU v5e (tpu)", "versions": {"jax": "0.10.2"}}))
    rows = [{"step": 10, "examples_per_second": 32.0}, {"step": 20, "examples_per_second": 16.0}]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 2')
    nodes = json.loads((where / "nodes.json").read_text())
    nodes.append({"kind": "phase", "name": name, "key": "k", "folder": f"phases/{name}-k"})
    (where / "nodes.json").write_text(json.dumps(nodes))


def test_a_line_of_a_log_that_is_no_row_is_named_and_half_a_row_at_its_end_is_not(tmp_path):
    where = toy(tmp_path)
    phase(where, "middle")
    assert phases(load([where]))[0].hours > 0
    log = where.parent / "phases" / "middle-k" / "train.jsonl"
    log.write_text('{"step": "ten"}\n' + log.read_text())
    with pytest.raises(InputError, match=r"train\.jsonl:1: step=ten: Input should be a valid integer; put it back"):
        phases(load([where]))


@pytest.fixture(scope="module")
def sized(tmp_path_factory):
    where = toy(
        tmp_path_factory.mktemp("sized"), arms=NAMES, ahead=(0, 0.05, 0.1, 0.14, 0.15), axes=AXES, baseline="none",
        question="size", examples=500, seed_spread=0.003,
    )  # fmt: skip
    phase(where, "middle")
    return where


def test_sizes_lie_on_a_curve_that_begins_at_the_baseline(sized):
    found = evidence(sized)
    curves = size_curves(found, phases(found.loaded))
    assert [curve.column.task for curve in curves] == ["xnli", "udpos"]
    assert list(curves[0].x) == [0, 1_000, 10_000, 100_000, 392_702]
    assert all(curve.fit and curve.needed and 1_000 < curve.needed.examples < 392_702 for curve in curves)
    table = size_table(found, curves)
    assert "Epochs of middle are held fixed: more examples are more updates." in table.notes
    assert len(table.rows) == 10
    assert fit_table(found, curves).rows[0][1].text in ("power law", "saturating")
    assert "90 % of the gain on" in size_headline(found, curves)[0]
    (first, _) = size_pictures(found, curves)
    assert "% with 392,702" in first.alternative
    assert first.files["png"].startswith(b"\x89PNG")


def test_a_gain_that_ends_only_with_the_sizes_is_said_to_grow_still(sized, tmp_path):
    said = "still grows at the largest size: more examples may give more."
    where = toy(tmp_path, arms=NAMES, ahead=(0, 0.0005, 0.005, 0.05, 0.2), axes=AXES, baseline="none", examples=500)
    phase(where, "middle")
    for folder, grows in ((where, True), (sized, False)):
        found = evidence(folder)
        curves = size_curves(found, phases(found.loaded))
        assert [curve.still_grows for curve in curves] == [grows] * 2
        assert size_headline(found, curves)[0].endswith(said) == grows
        assert any(" still grow " in note for note in fit_table(found, curves).notes) == grows


def test_no_curve_runs_through_sizes_whose_gain_may_be_none(tmp_path):
    where = toy(tmp_path, arms=NAMES, ahead=(0, 0.02, -0.02, 0.01, 0), axes=AXES, baseline="none")
    phase(where, "middle")
    found = evidence(where)
    curves = size_curves(found, phases(found.loaded))
    assert [(curve.fit, curve.needed) for curve in curves] == [(None, None)] * 2
    assert fit_table(found, curves).rows[0][1].text == "none: zero is in the interval of its gain"
    assert size_headline(found, curves)[0].endswith("no curve is fitted: zero is in the interval of its gain.")
    few = [curve._replace(points=curve.points[:3]) for curve in curves]
    assert fit_table(found, few).rows[0][1].text == "none: too few sizes"


def test_a_curve_that_falls_is_written_with_a_minus(tmp_path):
    where = toy(tmp_path, arms=NAMES, ahead=(0, -0.2, -0.22, -0.23, -0.23), axes=AXES, baseline="none")
    phase(where, "middle")
    found = evidence(where)
    row = fit_table(found, size_curves(found, phases(found.loaded))).rows[0]
    assert re.match(r"\d+\.\d − \d+", row[2].text)
    assert row[5].text == "no gain"


def test_there_is_no_band_where_the_examples_of_one_size_are_not_kept(sized, tmp_path):
    where = shutil.copytree(sized.parent, tmp_path / "runs") / sized.name
    for folder in (where.parent / "evals").glob("xnli-1000 examples*"):
        shutil.rmtree(folder)
    found = evidence(where)
    one, other = size_curves(found, phases(found.loaded))
    assert (one.draws, one.needed.low, one.needed.high) == (None, None, None)
    assert other.needed.low < other.needed.high


def test_a_size_that_is_not_known_is_left_out_and_said(tmp_path):
    found = evidence(toy(tmp_path, arms=NAMES, ahead=(0,) * 5, axes=AXES, baseline="none"))
    curve = size_curves(found, [])[0]
    assert list(curve.x) == [0, 1_000, 10_000, 100_000]
    assert "all examples is left out" in size_table(found, [curve]).notes[1]


def test_an_arm_of_which_no_size_depends_is_on_no_curve(tmp_path):
    axes = {**AXES, "none": {"phases.middle": "skip", "phases.middle.max_examples": None},
            "control": {"phases.middle": "skip", "phases.middle.max_examples": None, "steps": 5}}  # fmt: skip
    where = toy(tmp_path, arms=(*NAMES, "control"), ahead=(0,) * 6, axes=axes, baseline="none")
    phase(where, "middle")
    found = evidence(where)
    curve = size_curves(found, phases(found.loaded))[0]
    assert [point.arm for point in curve.points] == list(NAMES)


def test_curves_stand_in_results_json(sized, tmp_path):
    said = write_report([sized], tmp_path, draws=50).headline
    assert any("90 % of the gain" in line for line in said)
    sizes = json.loads((tmp_path / "results.json").read_text())["sizes"]
    assert [point["examples"] for point in sizes[0]["points"]] == [0, 1_000, 10_000, 100_000, 392_702]
    assert sizes[0]["examples_low"] < sizes[0]["examples_for_90_percent"] < sizes[0]["examples_high"]


def sweep(row):
    layers = [(layer, pooling) for layer in (0, 1, 2) for pooling in ("mean with <s> and </s>", "<s>")]
    return [
        row | {"task": "tatoeba", "metric": "accuracy", "setting": f"layer {layer}, {pooling}",
               "score": row["score"] * (0.5 + 0.25 * layer)}
        for layer, pooling in layers if row["lang"] != "en" and row["task"] == "xnli"
    ]  # fmt: skip


def test_retrieval_by_layer_and_pooling(tmp_path):
    found = evidence(changed(toy(tmp_path), sweep))
    assert [column.setting for column in found.columns] == ["layer 0, mean with <s> and </s>"]
    table = layer_table(found)
    assert len(table.rows) == 3 * 3 * 2
    assert {row[2].text for row in table.rows} == {"0", "1", "2"}
    (picture,) = layer_pictures(found)
    assert "direct, <s>: best at layer 2 with" in picture.alternative


def test_other_metrics_are_told_by_language_and_are_no_headline(tmp_path):
    def more(row):
        return [row, row | {"metric": "token_accuracy", "score": 0.5}] if row["task"] == "udpos" else [row]

    where = changed(toy(tmp_path), more)
    assert [column.metric for column in evidence(where).other_columns] == ["token_accuracy"]
    write_report([where], tmp_path / "out", draws=20)
    told = (tmp_path / "out/csv/languages_udpos_target_token_accuracy.csv").read_text().splitlines()
    assert told[:2] == ["arm,en,de,sw,yo", "direct,50.0,50.0,50.0,50.0"]
    assert "POS (UD) token accuracy by language" in (tmp_path / "out/report.md").read_text()


def perturbed(row):
    return [row] + [
        row | {"perturbation": {"kind": "typos", "strength": strength}, "setting": f"typos {100 * strength:g} %",
               "score": row["score"] - strength, "eval_key": None}
        for strength in (0.1, 0.2)
    ]  # fmt: skip


def test_perturbed_texts_stand_beside_the_clean_ones_and_not_among_them(tmp_path):
    found = evidence(changed(toy(tmp_path), perturbed))
    assert len(found.columns) == 2
    clean = arms_by_targets(found, compare(found, (ALL,)), ALL, None)
    alone = evidence(toy(tmp_path / "clean"))
    assert clean.rows == arms_by_targets(alone, compare(alone, (ALL,)), ALL, None).rows
    table = robustness_table(found)
    assert len(table.rows) == 2 * 2 * 3
    lost = table.columns.index("lost")
    assert {row[lost].text for row in table.rows} == {"−10.0", "−20.0"}
    assert len(robustness_pictures(found)) == 2
    (said,) = robustness_headline(found)
    assert re.match(r"Under typos of strength 0.2, mnli is \d\.\d points above direct in the mean of 2 tasks ", said)
    assert "(95 % interval " in said


def test_perturbed_texts_are_told_by_language_and_strength(tmp_path):
    def half(row):
        clean, *worse = perturbed(row)
        return [clean, *(one | ({"score": row["score"], "flags": ["unchanged by typos: no letters in it"]}
                                if row["lang"] == "yo" else {}) for one in worse)]  # fmt: skip

    xnli, udpos = robustness_languages(evidence(changed(toy(tmp_path), half)))
    assert (xnli.title, udpos.title) == (
        "XNLI under perturbation, by language", "POS (UD) F1 under perturbation, by language",
    )  # fmt: skip
    assert xnli.columns == ("arm", "perturbation", "strength", "en", "de", "sw", "yo")
    shown = {tuple(cell.text for cell in row[:3]): [cell.text for cell in row[3:]] for row in xnli.rows}
    assert shown["mnli", "typos", "0.1"] == ["−10.0", "−10.0", "−10.0", "+0.0="]
    assert shown["mnli", "typos", "0.2"] == ["−20.0", "−20.0", "−20.0", "+0.0="]
    assert all(re.fullmatch(r"\d\d\.\d", text) for text in shown["mnli", "none", "0"])
    assert len(shown) == 3 * 3
    assert any("nothing to change" in note for note in xnli.notes)
    assert robustness_languages(evidence(toy(tmp_path / "clean"))) == []


def by_model(where):
    """Two models, each with a baseline of its own."""
    results = json.loads((where / "results.json").read_text())
    results["study"] |= {"baseline": None, "arms": [
        {"arm": f"{size} {middle}", "axes": {"model": size}, "baseline": f"{size} none"}
        for size in ("base", "large") for middle in ("none", "mnli")]}  # fmt: skip
    (where / "results.json").write_text(json.dumps(results))
    return where


MODELS = ("base none", "large none", "base mnli", "large mnli")


def test_arms_with_baselines_of_their_own_stand_below_them(tmp_path):
    found = evidence(by_model(toy(tmp_path, arms=MODELS, ahead=(0, 0.1, 0.02, 0.12))))
    assert found.loaded.arms == ["base none", "base mnli", "large none", "large mnli"]
    compared = compare(found, (ALL,))
    assert {one.arm for one in compared} == {"base mnli", "large mnli"}
    table = arms_by_targets(found, compared, ALL, None)
    assert [row[1].text[0] in "+−" for row in table.rows] == [False, True, False, True]
    assert " mnli raises" in headline(found, compared)[0]


def test_what_no_seed_changes_is_compared_with_the_runs_of_every_seed(tmp_path):
    def once(row):
        if (row["arm"], row["task"]) != ("direct", "xnli"):
            return [row]
        return [row | {"axes": {"seed": None}, "seed": None}] if row["seed"] == 0 else []

    found = evidence(changed(toy(tmp_path, seeds=range(3)), once))
    compared = compare(found, (ALL,))
    assert {one.found.seeds for one in compared} == {3}
    assert all(one.found.low is not None for one in compared)
    assert any(one.column is None for one in compared)
    table = seeds(found, None)
    told = {(row[0].text, row[1].text): (row[2].text, row[5].text == "–") for row in table.rows}
    assert told["XNLI", "direct"] == ("1", True)
    assert {one for place, one in told.items() if place != ("XNLI", "direct")} == {("3", False)}


def test_phases_tell_their_data_versions_and_chip_hours(sized):
    loaded = load([sized])
    (one,) = phases(loaded)
    assert one.hours == pytest.approx((10 * 32 / 32 + 10 * 32 / 16) / 3600)
    assert one.chip_hours == pytest.approx(8 * one.hours)
    told = as_json(loaded, [one])["phases"][0]
    assert (told["examples"], told["left_out"], told["versions"]) == (392_702, {"truncated": 12}, {"jax": "0.10.2"})
    assert "chip-hours together" in phase_table([one]).notes[0]
    assert data_table([one]).rows[0][1].text == "abababababababab"
    assert version_table([one]).rows[0][1].text == "0.10.2"
    assert is_xlmr([one])


def test_what_a_phase_read_and_used_is_not_among_what_it_left_out(tmp_path):
    where = toy(tmp_path)
    used = {"rows": 90, "units": 95, "tokens": 900, "words": 700, "answers": 80, "questions_without_answer": 10}
    phase(where, "questions", counts=used | {"documents": 7, "answers_not_exact": 2, "windows_without_answer": 0})
    (one,) = phases(load([where]))
    (row,) = phase_table([one]).rows
    assert row[5].text == "answers_not_exact 2"
    assert (row[9].text, row[10].text) == ("0.008", "0.067")


def test_what_phases_do_not_say_is_not_known(sized, tmp_path):
    where = toy(tmp_path)
    phase(where, "bare", tokenizer=None, sources={}, counts={})
    folder = where.parent / "phases" / "bare-k"
    for name in ("host.json", "train.jsonl", "DONE"):
        (folder / name).unlink()
    (one,) = phases(load([where]))
    assert (one.hours, one.chip_hours, one.devices) == (None, None, None)
    assert "of 1 phases it is not known" in phase_table([one]).notes[0]
    assert not is_xlmr([one])


def test_a_mean_of_runs_took_no_time_and_what_was_selected_on_beside_is_among_the_data(tmp_path):
    where = toy(tmp_path)
    phase(where, "mean", also_sources={"xnli/dev-de.tsv": "cd" * 32}, seed=None)
    folder = where.parent / "phases" / "mean-k"
    (folder / "DONE").write_text(json.dumps({"steps_run": 0, "selection": "mean of 2 runs", "flags": []}))
    (folder / "host.json").unlink()
    (one,) = phases(load([where]))
    assert (one.hours, one.chip_hours) == (0.0, 0.0)
    assert "took 0.00 chip-hours together:" in phase_table([one]).notes[0]
    assert [row[0].text for row in data_table([one]).rows] == ["mnli/train.tsv", "xnli/dev-de.tsv"]


def test_the_groups_of_xlmr_s_text_are_for_xlmr_s_weights_only(sized, tmp_path):
    """The toy has a phase of XLM-R, and the same rows without it have none."""
    write_report([sized], tmp_path / "xlmr", draws=20)
    (sized / "nodes.json").rename(tmp_path / "nodes.json")
    write_report([sized], tmp_path / "other", draws=20)
    (tmp_path / "nodes.json").rename(sized / "nodes.json")
    for name, there in (("xlmr", True), ("other", False)):
        assert (tmp_path / name / "csv/groups_family.csv").is_file()
        assert (tmp_path / name / "csv/groups_size.csv").is_file() is there


def test_how_an_effect_goes_with_the_model_is_a_difference_of_differences(tmp_path):
    where = by_model(
        toy(tmp_path, arms=MODELS, ahead=(0, 0.1, 0.15, 0.12), question="scale", seed_spread=0.003, examples=2000)
    )
    found = evidence(where)
    told = scales(found)
    assert [(one.change.column and one.change.column.task, list(one.effects)) for one in told] == [
        (task, ["base mnli", "large mnli"]) for task in ("xnli", "udpos", None)
    ]
    for one in told:
        base, large = (effect.value for effect in one.effects.values())
        assert one.change.found.value == pytest.approx(large - base)
        assert (base, large) == (pytest.approx(0.15, abs=0.02), pytest.approx(0.02, abs=0.02))
        assert one.change.excludes_zero
    assert {one.effects["base mnli"].value for one in told if one.change.column} == {
        one.found.value for one in compare(found, (OTHERS,)) if one.arm == "base mnli" and one.column
    }
    (said,) = scale_headline(told, found)
    assert re.match(
        r"The effect on the mean of 2 tasks is \+1\d\.\d with base mnli, \+\d\.\d with large mnli: \d+\.\d points less "
        r"with large mnli than with base mnli \(95 % interval of the change −\d+\.\d to −\d+\.\d; 5 seeds\)\.$",
        said,
    ), said
    (shown,) = scale_tables(told, found)
    assert shown.columns == ("target", "base mnli", "large mnli", "change", "95 % interval", "seeds")
    assert [row[0].text for row in shown.rows] == ["XNLI", "POS (UD) F1", "the mean of 2 tasks"]
    written = write_report([where], tmp_path / "out", draws=20)
    assert any(line.startswith("The effect on the mean of 2 tasks is") for line in written.headline)
    assert "### The effect by model" in (tmp_path / "out" / "report.md").read_text()


def test_only_a_study_of_models_tells_of_models(tmp_path):
    found = evidence(by_model(toy(tmp_path, arms=MODELS, ahead=(0, 0.1, 0.15, 0.12))))
    assert (scales(found), scale_headline([], found), scale_tables([], found)) == ([], [], [])
