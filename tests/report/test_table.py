"""The table as it is printed."""

import io

from rich.console import Console

from xlmr_flax.report.results import summary
from xlmr_flax.report.table import print_results


def row(**changed):
    return {
        "arm": "whole", "asked_phase": "target", "phase": "target", "task": "xnli", "setting": "", "lang": "en",
        "metric": "accuracy", "score": 0.5, "n_scored": 1234, "n_dataset": 1234, "seed": 7, "phase_key": "k",
        "selection": "last step", "flags": [],
    } | changed  # fmt: skip


def printed(rows, **more):
    out = io.StringIO()
    print_results({"rows": rows, "summary": summary(rows)} | more, Console(file=out, width=160))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def cells(lines, first):
    return next(line.split() for line in lines if line.split()[:1] == [first])


def test_languages_stand_across_with_english_first():
    lines = printed([row(lang="de", score=0.25), row(score=0.5), row(lang="fr", score=0.375)])
    assert lines[0] == "xnli, in %"
    assert cells(lines, "arm") == ["arm", "phase", "metric", "en", "de", "fr", "others", "gap"]
    assert cells(lines, "whole") == ["whole", "target", "accuracy", "50.0", "25.0", "37.5", "31.2", "18.8"]
    assert cells(lines, "examples") == ["examples", "1,234", "1,234", "1,234"]


def test_arms_stand_below_each_other_and_their_difference_below_the_table():
    rows = [row(arm=arm, lang=lang, score=score) for arm, lang, score in (
        ("whole", "en", 0.75), ("whole", "de", 0.5), ("direct", "en", 0.5), ("direct", "de", 0.625))]  # fmt: skip
    lines = printed(rows)
    assert cells(lines, "direct")[3:] == ["50.0", "62.5", "62.5", "-12.5"]
    assert "Differences between arms, in points (English · mean of the other languages)" in lines
    assert "  xnli accuracy: whole − direct: +25.0 · -12.5" in lines


def test_a_study_says_how_far_each_arm_is_ahead_of_its_baseline():
    rows = [row(arm=arm, lang=lang, score=score) for arm, lang, score in (
        ("none", "en", 0.75), ("none", "de", 0.5), ("mnli", "en", 0.5), ("mnli", "de", 0.625))]  # fmt: skip
    assert "  xnli accuracy: mnli − none: -25.0 · +12.5" in printed(rows, study={"baseline": "none"})
    assert "  xnli accuracy: none − mnli: +25.0 · -12.5" in printed(rows, study={"baseline": None})
    arms = [{"arm": "none", "baseline": None}, {"arm": "mnli", "baseline": "none"}]
    assert "  xnli accuracy: mnli − none: -25.0 · +12.5" in printed(rows, study={"baseline": None, "arms": arms})


def test_a_difference_without_english_is_a_dash():
    rows = [row(task="tatoeba", arm=arm, lang="de", score=score) for arm, score in (("whole", 0.5), ("direct", 0.25))]
    assert "  tatoeba accuracy: whole − direct: – · +25.0" in printed(rows)


def test_one_arm_has_no_differences():
    assert not [line for line in printed([row(), row(lang="de")]) if "Differences" in line]


def test_each_task_has_its_table_and_metrics_have_names():
    rows = [row(), row(task="squad", metric="f1"), row(task="squad", metric="exact_match", score=0.25),
            row(task="squad", metric="recall")]  # fmt: skip
    lines = printed(rows)
    assert "squad, in %" in lines
    metrics = [line.split()[2:-1] for line in lines if line.split()[:1] == ["whole"]]
    assert metrics == [["accuracy"], ["F1"], ["exact", "match"]]
    assert not any("recall" in line for line in lines)


def test_a_setting_stands_in_the_title_or_where_there_are_several_in_the_line():
    one = [row(task="tatoeba", lang="de", setting="layer 1")]
    assert printed(one)[0] == "tatoeba, in % (layer 1)"
    two = printed([*one, row(task="tatoeba", lang="de", setting="layer 2", score=0.25)])
    assert two[0] == "tatoeba, in %"
    assert any("accuracy (layer 1)" in line and "50.0" in line for line in two)
    assert any("accuracy (layer 2)" in line and "25.0" in line for line in two)


def test_what_must_be_known_stands_below():
    rows = [
        row(selection="best accuracy on xnli dev (en), step 40", flags=["transductive"]),
        row(task="udpos", phase="tags", asked_phase="tags", flags=["split test[50%:]"]),
        row(task="pawsx", phase="tags", asked_phase="tags", flags=["transductive"]),
        row(task="snli", phase="middle", asked_phase="middle", flags=["trained in de, fr"], n_scored=1230),
        row(task="qqp", phase="runs", selection="mean of 2 runs (seeds 1, 2), of each: last step"),
    ]
    lines = printed(rows)
    assert "target: selected as best accuracy on xnli dev (en)" in lines
    assert "tags: weights of the last step" in lines
    assert "runs: the mean of 2 runs (seeds 1, 2), of each: last step" in lines
    assert "seed 7; others: the mean over all languages but English" in lines
    assert "transductive: masked LM saw the texts (not the labels) that are scored for pawsx, xnli" in lines
    assert "udpos: scored on the split test[50%:] only" in lines
    assert "middle: trained in de, fr" in lines
    assert "snli: rows left out: 4 in en" in lines


def test_a_language_that_an_arm_lacks_is_left_blank():
    lines = printed([row(), row(lang="de"), row(arm="direct")])
    assert cells(lines, "direct") == ["direct", "target", "accuracy", "50.0"]


def test_nothing_scored_is_said():
    assert printed([]) == ["no scores yet"]


def test_of_a_model_whose_making_is_not_known_nothing_is_said():
    lines = printed([row(selection="", seed=None)])
    assert lines[-1] == "others: the mean over all languages but English"
    assert not [line for line in lines if line.startswith("target:")]


def test_sick_scores_have_a_star_and_the_mean_without_them_stands_in_brackets():
    sick = {"flags": ["at chance level"]}
    rows = [row(), row(lang="de", score=0.25, **sick), row(lang="fr", score=0.375),
            row(arm="direct", lang="en", score=0.25, **sick), row(arm="direct", lang="de", score=0.25, **sick),
            row(arm="direct", lang="fr", score=0.25, **sick)]  # fmt: skip
    lines = printed(rows)
    assert cells(lines, "whole")[3:] == ["50.0", "25.0*", "37.5", "31.2", "(37.5)", "18.8"]
    assert cells(lines, "direct")[3:] == ["25.0*", "25.0*", "25.0*", "25.0", "(–)", "0.0"]
    assert "  xnli accuracy: whole − direct: +25.0 · +6.2 *" in lines
    assert "* nothing learnt, or nothing that transfers; in brackets the mean over the others without these" in lines
    assert "* xnli, whole, target: at chance level: de" in lines
    assert "* xnli, direct, target: at chance level: en, de, fr" in lines


def test_how_a_phase_was_trained_is_told_once():
    told = ["retried with seed 9 (seed 7: training loss never fell)", "3 of 40 steps skipped, not finite"]
    lines = printed([row(flags=told), row(lang="de", flags=told)])
    assert [line for line in lines if "seed 9" in line or "skipped" in line] == [f"target: {one}" for one in told]
    assert not [line for line in lines if line.startswith("*")]
