"""A report on toy results: what it says, what it must say beside it, and its files."""

import json
import re
import statistics
from pathlib import Path

import jsonschema
import pytest

import xlmr_flax.report.write
from tests.report.toy import toy
from xlmr_flax.report.cells import Table
from xlmr_flax.report.compare import ALL, OTHERS, compare
from xlmr_flax.report.evidence import Evidence
from xlmr_flax.report.fresh import still_said
from xlmr_flax.report.headline import headline
from xlmr_flax.report.load import load
from xlmr_flax.report.main_tables import arms_by_targets, by_language, differences, seeds, transfer
from xlmr_flax.report.more_tables import benchmark, by_group
from xlmr_flax.report.write import write_report
from xlmr_flax.report.xtreme import xtreme

DRAWS = 100


def evidence(where):
    return Evidence(load([where]), DRAWS)


def grid(table: Table):
    return {
        " ".join(cell.text for cell in row[: table.head]): [cell.text for cell in row[table.head :]]
        for row in table.rows
    }


@pytest.fixture(scope="module")
def clear(tmp_path_factory):
    """An effect that nothing hides."""
    return toy(tmp_path_factory.mktemp("clear"), ahead=(0.0, 0.12, 0.0), seed_spread=0.001, examples=1000)


def test_the_baseline_is_absolute_and_the_others_are_differences(clear):
    found = evidence(clear)
    shown = grid(arms_by_targets(found, compare(found, (OTHERS,)), OTHERS, None))
    assert all(re.fullmatch(r"\d+\.\d", text) for text in shown["direct"])
    assert all(re.fullmatch(r"\+1[0-4]\.\d", text) for text in shown["mnli"])
    assert all(text.endswith("°") for text in shown["squad"])
    assert all("(mnli)" in text for text in shown["best per target"])


def test_differences_have_intervals_p_and_verdicts(clear):
    found = evidence(clear)
    table = differences(found, compare(found, (OTHERS,)))
    shown = grid(table)
    assert shown["mnli average not English"][4] == "yes"
    assert shown["squad average not English"][4] == "no °"
    assert any("One bootstrap draws seeds and, within them, examples" in note for note in table.notes)
    assert any(note.startswith("Selection: English dev") for note in table.notes)


def test_english_others_gap_and_the_worst_language(clear):
    found = evidence(clear)
    shown = grid(transfer(found, None))
    english, others, gap, worst, which, spread, languages = shown["XNLI direct"]
    assert float(english) - float(others) == pytest.approx(float(gap), abs=0.11)
    assert (which, languages) == ("yo", "4")
    means = [100 * found.line("direct", found.columns[0]).average([lang]) for lang in ("de", "sw", "yo")]
    assert float(spread) == pytest.approx(statistics.stdev(means), abs=0.051)
    assert float(worst) < float(others)


@pytest.mark.parametrize(("langs", "over"), [(("de", "sw"), "languages other than English"), (("en",), "English")])
def test_what_is_scored_in_english_alone_or_not_at_all_stands_there_once(tmp_path, langs, over):
    written = write_report([toy(tmp_path, langs=langs)], tmp_path / "out", draws=20)
    told = (tmp_path / "out" / "report.md").read_text()
    assert [line for line in told.splitlines() if line.startswith("### Arm × target")] == [f"### Arm × target, {over}"]
    assert f"in {over if langs == ('en',) else f'2 {over}'} by" in written.headline[0]
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["comparisons"]
    assert {row["over"] for row in rows} == {over}


def test_few_seeds_are_said_to_carry_no_test(tmp_path):
    found = evidence(toy(tmp_path, seeds=range(3)))
    compared = compare(found, (ALL,))
    assert {one.excludes_zero for one in compared} == {None}
    table = differences(found, compared)
    assert any("With 3 seeds here (fewer than 5), seeds cannot carry a test" in note for note in table.notes)
    assert "3 seeds cannot carry a test" in " ".join(headline(found, compared))


def test_old_runs_without_examples_are_over_seeds_only_and_say_so(tmp_path):
    found = evidence(toy(tmp_path, kept=False))
    compared = compare(found, (ALL,))
    assert {one.found.drawn for one in compared} == {"seeds"}
    assert any("over seeds only" in note for note in differences(found, compared).notes)
    assert "over seeds only: no scores of single examples were kept" in headline(found, compared)[0]


def test_degenerate_runs_are_marked_counted_and_never_averaged_silently(tmp_path):
    def flags(arm, task, lang, seed):
        return ["at chance level"] if (arm, task, lang, seed) == ("mnli", "xnli", "en", 2) else []

    found = evidence(toy(tmp_path, flags=flags))
    table = arms_by_targets(found, compare(found, (ALL,)), ALL, None)
    assert "*" in grid(table)["mnli"][0]
    assert "*" not in grid(table)["mnli"][1]
    assert any("mnli on XNLI, seed 2" in note for note in table.notes)
    shown = grid(seeds(found, None))
    assert shown["XNLI mnli"][6] == "2"
    assert shown["XNLI direct"][6] == "none"
    assert shown["XNLI mnli"][7] != shown["XNLI mnli"][1].rstrip("*")


def test_a_language_at_chance_makes_no_run_degenerate(tmp_path):
    found = evidence(toy(tmp_path, flags=lambda arm, task, lang, seed: ["at chance level"] if lang == "yo" else []))
    assert not any(line.degenerate for line in found.lines)
    table = by_language(found, found.columns[0], [], None)
    assert [text.endswith("*") for text in grid(table)["direct"]] == [False, False, False, True]


def selected_twice(where):
    """The rows of a toy beside those of the models that all languages have selected, which are worse."""
    results = json.loads((where / "results.json").read_text())
    told = {"setting": "selected in all languages", "selection": "best f1 on panx dev (all 9 languages), step 30"}
    again = [
        row
        | told
        | {"setting": ", ".join(filter(None, (row["setting"], told["setting"]))), "score": row["score"] - 0.2}
        for row in results["rows"]
    ]
    (where / "results.json").write_text(json.dumps(results | {"rows": results["rows"] + again}))
    return where


def test_both_selections_are_reported_where_rows_carry_both(tmp_path):
    found = evidence(selected_twice(toy(tmp_path, seeds=range(2))))
    assert found.protocols == ["English dev", "dev of all languages"]
    assert len(found.columns) == 2
    for chosen in found.protocols:
        table = arms_by_targets(found, compare(found, (ALL,), chosen=chosen), ALL, chosen)
        assert chosen in table.title
        assert f"Selection: {chosen}." in table.notes


def test_where_there_is_nothing_to_compare_it_is_said_once_for_both_selections(tmp_path):
    where = selected_twice(toy(tmp_path, arms=("direct",), ahead=(0,), seeds=[0], examples=5))
    said = write_report([where], tmp_path / "out", draws=5).headline
    assert said == ["toy: one arm, so there is nothing to compare; its scores are over 1 seed."]


ABOUT_PHASES = {"phases", "data", "left_out", "versions", "language_facts"}  # the first has it by phase


def test_every_table_names_the_selection_and_stands_there_for_each(tmp_path):
    sizes = {"direct": {"phases.middle": "skip"}} | {
        name: {"phases.middle": "keep", "phases.middle.max_examples": size}
        for name, size in (("mnli", 9), ("squad", 99))
    }
    where = toy(tmp_path, axes=sizes, question="size", seeds=range(3), examples=20)
    results = json.loads((where / "results.json").read_text())
    swept = [row | {"task": "tatoeba", "metric": "accuracy", "setting": f"layer {layer}, <s>"}
             for row in results["rows"] for layer in (1, 2)]  # fmt: skip
    (where / "results.json").write_text(json.dumps(results | {"rows": results["rows"] + swept}))
    rows = json.loads((selected_twice(where) / "results.json").read_text())["rows"]
    worse = [
        row | {"perturbation": {"kind": "typos", "strength": 0.1},
               "setting": ", ".join(filter(None, (row["setting"], "typos 10 %")))}
        for row in rows if row["task"] != "tatoeba"
    ]  # fmt: skip
    (where / "results.json").write_text(json.dumps(results | {"rows": rows + worse}))
    said = write_report([where], tmp_path / "out", draws=20).headline
    tables = json.loads((tmp_path / "out/results.json").read_text())["tables"]
    named = {table["name"]: [note for note in table["notes"] if note.startswith("Selection: ")] for table in tables}
    assert {name for name, notes in named.items() if not notes} <= ABOUT_PHASES
    twice = {name.removesuffix("_english_dev") for name in named if name.endswith("_english_dev")}
    assert twice >= {"targets_all_languages", "differences", "medians", "transfer", "seeds", "sizes", "fits",
                     "robustness", "layers", "groups_family", "languages_xnli_target_accuracy"}  # fmt: skip
    for name in twice:
        assert named[f"{name}_english_dev"] == ["Selection: English dev."]
        assert named[f"{name}_dev_of_all_languages"] == ["Selection: dev of all languages."]
    assert [line.split(":")[0] for line in said if line.startswith("Selection by")] == [
        "Selection by English dev",
        "Selection by dev of all languages",
    ]


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        ((0.0, 0.05, 0.0), "It is the highest of 2 differences, so it is more likely too high than too low."),
        ((0.1, 0.05, 0.0), "It is the smallest of 2 losses, so it is more likely too small than too large."),
    ],
)
def test_a_picked_difference_is_called_what_it_is(tmp_path, ahead, said):
    found = evidence(toy(tmp_path, ahead=ahead, seeds=range(3), seed_spread=0.001))
    told = headline(found, compare(found, (OTHERS,)))
    assert told[1] == said
    assert (" lowers " in told[0]) == ("losses" in said)


def test_where_seeds_carry_a_test_the_losses_that_are_real_are_counted(tmp_path):
    found = evidence(toy(tmp_path, ahead=(0.2, 0.1, 0.0), seed_spread=0.001))
    told = headline(found, compare(found, (OTHERS,)))
    assert told[1] == "It is the smallest of 2 losses; 2 of them are told from zero after Holm's correction."


def test_xtreme_s_averages_take_whole_tasks_only(tmp_path):
    tasks = (("xnli", "accuracy"), ("pawsx", "accuracy"))
    where = toy(tmp_path, tasks=tasks, langs=xtreme("xtreme")["xnli"].langs, seeds=[0], examples=10)
    table = benchmark(evidence(where), "xtreme", None)
    shown = dict(zip(table.columns, [cell.text for cell in table.rows[0]], strict=True))
    assert shown["XNLI"]
    assert (shown["PAWS-X"], shown["classification"], shown["all"]) == ("", "", "")
    assert any("PAWS-X ja ko" in note for note in table.notes)
    rows = [row for row in load([where]).rows if row["task"] == "xnli" and row["arm"] == "direct"]
    assert float(shown["XNLI"]) == pytest.approx(100 * sum(row["score"] for row in rows) / 15, abs=0.051)
    assert benchmark(evidence(toy(tmp_path / "few")), "xtreme", None) is None


def test_groups_name_their_members_and_source(clear):
    table = by_group(evidence(clear), "family", None)
    assert table.columns == ("target", "arm", "Atlantic-Congo", "Indo-European")
    assert any("Atlantic-Congo: sw yo" in note for note in table.notes)
    assert any("languageGroups" in note for note in table.notes)


def test_a_column_without_the_baseline_shows_the_arm_s_own_score(tmp_path):
    where = toy(tmp_path)
    results = json.loads((where / "results.json").read_text())
    results["rows"] = [row for row in results["rows"] if (row["arm"], row["task"]) != ("direct", "xnli")]
    (where / "results.json").write_text(json.dumps(results))
    found = evidence(where)
    table = arms_by_targets(found, compare(found, (ALL,)), ALL, None)
    assert re.fullmatch(r"\(\d\d\.\d\)", grid(table)["mnli"][table.columns.index("XNLI") - 1])


@pytest.fixture(scope="module")
def written(clear, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return out, write_report([clear], out, draws=DRAWS)


def test_the_headline_has_the_effect_its_interval_and_the_number_of_seeds(written):
    first = written[1].headline[0]
    assert re.search(r"mnli raises the mean of 2 tasks in 3 languages other than English by 1\d\.\d points", first)
    assert re.search(r"against direct \(95 % interval of the difference \+\d+\.\d to \+\d+\.\d", first)
    assert "5 seeds" in first


def test_every_table_is_there_in_every_form(written):
    out, found = written
    assert [path.name for path in found.paths] == ["index.html", "report.md", "results.json"]
    results = json.loads((out / "results.json").read_text())
    page, text = ((out / name).read_text() for name in ("index.html", "report.md"))
    for table in results["tables"]:
        assert (out / "csv" / f"{table['name']}.csv").read_text().count("\n") == len(table["rows"]) + 1
        latex = (out / "latex" / f"{table['name']}.tex").read_text()
        assert all(rule in latex for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
        assert f"### {table['title']}" in text
        assert f'id="table-{table["name"]}"' in page


def test_the_page_needs_nothing_but_itself(written):
    page = (written[0] / "index.html").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", page)
    assert "@import" not in page
    assert "url(" not in re.sub(r"url\(#", "", page)


def test_a_report_is_written_again_when_its_results_have_changed(clear, tmp_path):
    assert still_said(clear, tmp_path) is None
    said = write_report([clear], tmp_path, draws=DRAWS).headline
    assert still_said(clear, tmp_path) == said
    (tmp_path / "results.json").write_text((tmp_path / "results.json").read_text()[:-9])
    assert still_said(clear, tmp_path) is None
    assert still_said(clear, write_report([clear], tmp_path, draws=DRAWS).paths[0].parent) == said
    (clear / "results.json").write_text((clear / "results.json").read_text() + "\n")
    assert still_said(clear, tmp_path) is None


def test_the_same_results_give_the_same_report(clear, tmp_path):
    for name in "ab":
        write_report([clear], tmp_path / name, draws=DRAWS)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_results_json_has_the_form_of_its_schema(written):
    schema = json.loads((Path(xlmr_flax.report.write.__file__).parent / "results.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads((written[0] / "results.json").read_text()), schema)
