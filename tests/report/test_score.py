"""Folders of predictions in XTREME's layout: its own mock ones, and what is missing or wrong."""

import io
import json

import pytest
from rich.console import Console

from xlmr_flax.errors import InputError
from xlmr_flax.report.score import print_scores, score_folders
from xlmr_flax.report.xtreme import GROUPS, xtreme

# What XTREME's evaluate.py prints for its mock predictions, with seqeval 0.0.12.
MOCK = {
    "xnli accuracy": "30.6667", "pawsx accuracy": "51.4286", "panx f1": "57.5079", "udpos f1": "70.2175",
    "bucc2018 f1": "55.0000", "tatoeba accuracy": "53.6111", "xquad f1": "79.9587", "xquad exact_match": "77.2727",
    "mlqa f1": "81.7687", "mlqa exact_match": "57.1429", "tydiqa f1": "97.2222", "tydiqa exact_match": "88.8889",
    "classification": "41.0476", "tagging": "63.8627", "qa": "80.3757", "retrieval": "54.3056", "all": "62.1732",
}  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    """Writes files of both sides and gives their folders."""

    def write(task, files):
        for side, name, content in files:
            path = tmp_path / side / task / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return tmp_path / "p", tmp_path / "l"

    (tmp_path / "p").mkdir()
    (tmp_path / "l").mkdir()
    return write


def whole(task, label, version="xtreme"):
    """The same content for every language of a task, on both sides."""
    official = xtreme(version)[task]
    return [(side, f"test-{lang}.{official.suffix}", label) for side in "pl" for lang in official.langs]


def questions(*rows):
    return {"data": [{"paragraphs": [{"qas": [{"id": name, "answers": answers} for name, answers in rows]}]}]}


def printed(found):
    file = io.StringIO()
    print_scores(found, Console(width=200, file=file))
    return file.getvalue()


def test_the_mock_folders_score_as_the_official_scorer_says(real_data):
    found = score_folders(real_data / "xtreme_mock/predictions", real_data / "xtreme_mock/labels")
    averages = {
        f"{name} {metric}": value for name, one in found["tasks"].items() for metric, value in one["average"].items()
    }
    ours = {name: f"{value:.4f}" for name, value in {**averages, **found["groups"], "all": found["all"]}.items()}
    assert {name: ours[name] for name in MOCK} == MOCK
    assert not any(task["missing"] or task["unanswered"] for task in found["tasks"].values())
    text = printed(found)
    assert all(score in text for score in MOCK.values())


def test_the_mock_mentions_score_where_their_entities_stand(real_data):
    folder = real_data / "xtreme_mock"
    found = score_folders(folder / "predictions", folder / "labels", version="xtreme-r")["tasks"]["mewslix"]
    assert found["langs"]["ar"]["mrr@20"] == 100 / 16  # the sixteenth of twenty
    assert found["missing"] == {}


def test_a_missing_language_is_named_and_its_average_left_out(folders):
    files = [one for one in whole("pawsx", "1\n0\n") if one[:2] != ("p", "test-ko.tsv")]
    found = score_folders(*folders("pawsx", [*files, ("p", "test-de.tsv", "1\n1\n")]))
    assert found["tasks"]["pawsx"]["missing"] == {"ko": ["predictions"]}
    assert found["tasks"]["pawsx"]["langs"]["de"] == {"accuracy": 50.0}
    assert found["tasks"]["pawsx"]["average"] == {}
    assert found["tasks"]["pawsx"]["score"] is found["groups"]["classification"] is found["all"] is None
    assert "pawsx: no average, there is no file for ko (predictions)\n" in printed(found)
    assert "not in both folders: xnli, udpos" in printed(found)


def test_a_whole_task_has_an_average_without_the_others(folders):
    alone = score_folders(*folders("pawsx", whole("pawsx", "1\n0\n")))
    assert (alone["tasks"]["pawsx"]["score"], alone["groups"]["classification"]) == (100.0, None)
    found = score_folders(*folders("xnli", whole("xnli", "neutral\n")))
    assert found["groups"]["classification"] == 100.0
    assert found["groups"]["tagging"] is None


def test_questions_without_a_prediction_score_nothing_and_are_counted(folders):
    gold = questions(("q1", [{"text": "Rot"}]), ("q2", [{"text": "Blau"}, {"text": "das Blau"}]))
    found = score_folders(
        *folders("mlqa", [("l", "test-de.json", gold), ("p", "test-de.json", {"q2": "blau", "q9": ""})])
    )
    assert found["tasks"]["mlqa"]["langs"]["de"] == {"f1": 50.0, "exact_match": 50.0}
    assert found["tasks"]["mlqa"]["unanswered"] == {"de": 1}
    assert "mlqa: without a prediction, which scores 0: de 1 of 2" in printed(found)


def test_xquad_is_scored_in_english_and_sanely_on_request(folders):
    gold = questions(("q", [{"text": "北京"}]))
    both = folders("xquad", [("l", "test-zh.json", gold), ("p", "test-zh.json", {"q": "北京。"})])
    assert score_folders(*both)["tasks"]["xquad"]["langs"]["zh"] == {"f1": 0.0, "exact_match": 0.0}
    sane = score_folders(*both, sane=True)["tasks"]["xquad"]["langs"]["zh"]
    assert sane == {"f1": 0.0, "exact_match": 0.0, "f1_sane": 100.0, "exact_match_sane": 100.0}


def test_pairs_choices_and_rankings_are_read(folders):
    folders("bucc2018", [("l", "test-de.tsv", "de-1\ten-1\nde-2\ten-2\n"), ("p", "test-de.tsv", "de-1\ten-1\n")])
    found = score_folders(*folders("bucc2018", [("l", "test-fr.tsv", "fr-1\ten-1\n"), ("p", "test-fr.tsv", "")]))
    langs = found["tasks"]["bucc2018"]["langs"]
    assert langs["de"] == pytest.approx({"f1": 200 / 3, "precision": 100.0, "recall": 50.0})
    assert langs["fr"]["f1"] == 0.0  # nothing was mined
    folders(
        "xcopa", [("l", "test-et.jsonl", '{"label": 1}\n{"label": 0}\n'), ("p", "test-et.jsonl", '{"label": 1}\n' * 2)]
    )
    folders("mewslix", [("l", "test-de.json", {"a": ["Q1"], "b": ["Q2"]}), ("p", "test-de.json", {"a": ["Q2", "Q1"]})])
    found = score_folders(*folders("lareqa", []), version="xtreme-r")
    assert found["tasks"]["xcopa"]["langs"]["et"] == {"accuracy": 50.0}
    assert found["tasks"]["mewslix"]["langs"]["de"] == {"mrr@20": 25.0}
    assert found["tasks"]["mewslix"]["unanswered"] == {"de": 1}


def test_lareqa_is_averaged_over_questions(folders):
    one, two = {"q": ["s"]}, {"q": ["s"], "r": ["t"], "u": ["v"]}
    files = [("l", f"test-{lang}.json", two) for lang in xtreme("xtreme-r")["lareqa"].langs]
    files += [("p", f"test-{lang}.json", {}) for lang in xtreme("xtreme-r")["lareqa"].langs]
    found = score_folders(
        *folders("lareqa", [*files, ("l", "test-de.json", one), ("p", "test-de.json", one)]), version="xtreme-r"
    )
    assert found["tasks"]["lareqa"]["average"] == pytest.approx({"map@20": 100 * 1 / 31})


def test_every_task_of_xtreme_r_together_has_an_average(folders):
    gold = {
        "tsv": "a\n", "jsonl": '{"label": 1}\n', "json": {"q": ["s"]},
        "qa": questions(("q", [{"text": "x y"}])),
    }  # fmt: skip
    for task, official in xtreme("xtreme-r").items():
        qa = task in GROUPS["xtreme-r"]["qa"]
        folders(task, whole(task, gold["qa" if qa else official.suffix], "xtreme-r"))
        for lang in official.langs if qa else ():
            folders(task, [("p", f"test-{lang}.json", {"q": "y x"})])
    found = score_folders(*folders("xnli", []), version="xtreme-r")
    # Words in the wrong order: F1 is whole and exact match nothing, so that each of three tasks has a half.
    assert found["groups"] == {"classification": 100.0, "tagging": 100.0, "qa": 50.0, "retrieval": 100.0}
    assert found["all"] == pytest.approx((7 * 100 + 3 * 50) / 10)


@pytest.mark.parametrize(
    ("task", "gold", "predicted", "message"),
    [
        ("pawsx", "1\n0\n", "1\n", r"p/pawsx/test-de\.tsv: 1 predictions for 2 gold values"),
        ("udpos", "X\n\nX\n", "X\n\n\nX\n", r"3 sentences for 2 gold ones; an extra blank line is an empty sentence"),
        ("udpos", "X\nX\n", "X\n", r"test-de\.tsv: sentence 1: 1 predicted tags for 2 gold tags"),
        ("mlqa", questions(("q", [{"text": ""}])), {"q": "a"}, r"every answer is empty: these are hidden labels"),
        ("mlqa", {"data": [{}]}, {"q": "a"}, r"not questions as SQuAD 1\.1 has them \(KeyError\('paragraphs'\)\)"),
        (
            "mlqa",
            questions(("q", [{"text": "a"}])),
            ["a"],
            r"p/mlqa/test-de\.json: a JSON list, wanted one object with",
        ),
        (
            "mlqa",
            questions(("q", [{"text": "a"}])),
            {"q": 1},
            r"the value of 'q' is '1', wanted one object with a text",
        ),
        ("mlqa", questions(("q", [{"text": "a"}])), "{", r"test-de\.json: not JSON: "),
        ("bucc2018", "", "de-1\ten-1\n", r"no gold pairs: there is nothing to score"),
    ],
)
def test_a_file_that_cannot_be_scored_is_told(folders, task, gold, predicted, message):
    suffix = xtreme("xtreme")[task].suffix
    both = folders(task, [("l", f"test-de.{suffix}", gold), ("p", f"test-de.{suffix}", predicted)])
    with pytest.raises(InputError, match=message):
        score_folders(*both)


def test_all_bad_files_are_told_together(folders):
    files = [(side, f"test-{lang}.tsv", "1\n" * (side == "l") + "0\n") for side in "pl" for lang in ("de", "fr")]
    with pytest.raises(InputError, match=r"(?s)- .*test-de.tsv: 1 predictions for 2.*\n- .*test-fr.tsv: 1 predictions"):
        score_folders(*folders("pawsx", files))


def test_folders_without_a_common_task_and_unknown_versions_are_refused(folders, tmp_path):
    both = folders("other", [])
    with pytest.raises(InputError, match="no task's folder in common; the tasks are xnli, pawsx, udpos"):
        score_folders(*both)
    with pytest.raises(InputError, match="--version r: wanted xtreme or xtreme-r"):
        score_folders(*both, version="r")
    with pytest.raises(InputError, match="absent: not a folder; wanted one with TASK/test-LANG files"):
        score_folders(tmp_path / "absent", both[1])


@pytest.mark.parametrize(("task", "version"), [("xquad", "xtreme"), ("xcopa", "xtreme-r")])
def test_a_file_of_brackets_without_end_is_told(folders, task, version):
    predictions, labels = folders(task, whole(task, "[" * 100_000, version))
    with pytest.raises(InputError, match=f"{task}/test-.*not"):
        score_folders(predictions, labels, version=version)


@pytest.mark.parametrize(
    ("task", "predicted", "gold", "message"),
    [
        ("xquad", {"q": "a"}, questions(("q", [{"text": 5}])), "'5' stands where the id of a question or the text"),
        (
            "mlqa",
            {"q": "a"},
            questions(("q", [{"text": None}])),
            "'None' stands where the id of a question or the text",
        ),
        ("xquad", {"q": "a"}, questions((["q"], [{"text": "a"}])), r"\"\['q'\]\" stands where the id"),
        ("lareqa", {"q": ["a", ["b"]]}, {"q": ["a"]}, r"the value of 'q' is .* wanted one object with a list of texts"),
        ("mewslix", {"q": ["a"]}, {"q": [{}]}, r"the value of 'q' is '\[\{\}\]', wanted"),
    ],
)
def test_values_of_other_types_are_told(folders, task, predicted, gold, message):
    name = whole(task, "", "xtreme-r")[0][1]
    sides = folders(task, [("p", name, predicted), ("l", name, gold)])
    with pytest.raises(InputError, match=message):
        score_folders(*sides, version="xtreme-r")
