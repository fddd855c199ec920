"""Where the tasks with answers find their files, and which questions each of them reads."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import found, paths, rows
from xlmr_flax.tasks.task import gold, scores

BLANK = [{"text": "", "answer_start": 0}]
TYDIQA_TRAIN = "tydiqa/tydiqa-goldp-v1.1-train"
TYDIQA_DEV = "tydiqa/tydiqa-goldp-v1.1-dev"
TRANSLATED = "xtreme_translations/SQuAD/translate-train/squad.translate.train.en"
TRANSLATED_TYDIQA = "xtreme_translations/TyDiQA-GoldP/translate-train/tydiqa.translate.train.en"


def qa(name, answers=({"text": "ja", "answer_start": 0},), **more):
    return {"id": name, "question": "q", "answers": list(answers)} | more


def squad(*questions):
    """An article for each question."""
    data = [{"title": f"t{n}", "paragraphs": [{"context": "ja", "qas": [one]}]} for n, one in enumerate(questions)]
    return json.dumps({"version": "1.1", "data": data})


@pytest.fixture
def write(tmp_path):
    def written(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return written


def ids(name, spec, lang, data):
    return [row.id for row in rows(task(name), spec, lang, data)]


def test_mlqa_comes_in_one_language_and_in_pairs_of_two(write):
    folder = "mlqa/MLQA_V1/test/test-context"
    data = write(
        **{
            f"{folder}-de-question-de.json": squad(qa("both")),
            f"{folder}-de-question-en.json": squad(qa("crossed")),
            f"{folder}-en-question-de.json": squad(qa("other")),
            "squad/train-v1.1.json": squad(qa("train")),
        }
    )
    assert ids("mlqa", "test", "de", data) == ["both"]
    assert ids("mlqa", "test", "de-en", data) == ["crossed"]
    assert ids("mlqa", "test", "en-de", data) == ["other"]
    assert ids("mlqa", "train", "en", data) == ["train"]
    with pytest.raises(InputError, match=r"no test files in vi-de: looked for .*context-vi-question-de\.json"):
        rows(task("mlqa"), "test", "vi-de", data)


@pytest.mark.parametrize(("lang", "f1", "exact_match"), [("de-en", 1.0, 1.0), ("en-de", 2 / 3, 0.0)])
def test_an_answer_in_mlqa_is_in_the_language_of_its_context(lang, f1, exact_match):
    # The German article is none in English.
    found = scores(task("mlqa"), [("Haus",)], ["das Haus"], lang)
    assert found == {"f1": pytest.approx(f1), "exact_match": exact_match}


def test_an_answer_in_a_language_that_mlqa_does_not_have_loses_no_articles():
    for lang in ("x1", "x1-de"):
        assert scores(task("mlqa"), [("das Haus!",)], ["Das Haus"], lang)["exact_match"] == 1.0
        for articles in ("das Haus", "the Haus"):
            assert scores(task("mlqa"), [("Haus",)], [articles], lang)["exact_match"] == 0.0


def test_xtremes_blanked_answers_can_be_predicted_and_not_scored(write):
    data = write(**{"mlqa/MLQA_V1/test/test-context-de-question-de.json": squad(qa("a", BLANK))})
    with pytest.raises(InputError, match=r"row a has no label, so mlqa can predict this file but neither train"):
        rows(task("mlqa"), "test", "de", data)
    assert [row.answers for row in rows(task("mlqa"), "test", "de", data, labels=False)] == [None]


def test_a_question_without_answer_is_scored_in_squad_2(write):
    questions = (qa("a", is_impossible=False), qa("b", (), is_impossible=True))
    data = write(**{"squad/dev-v2.0.json": squad(*questions)})
    wanted = [gold(task("squad_v2"), row) for row in rows(task("squad_v2"), "dev", "en", data)]
    assert wanted == [("ja",), ()]
    right, wrong = [Guess("ja", -1.0), Guess("ja", 1.0)], [Guess("ja", 1.0), Guess("ja", -1.0)]
    names = ("f1", "exact_match", "best_f1", "best_exact_match")
    assert [scores(task("squad_v2"), wanted, right, "en")[name] for name in names] == [1.0] * 4
    assert [scores(task("squad_v2"), wanted, wrong, "en")[name] for name in names] == [0.0, 0.0, 0.5, 0.5]


@pytest.mark.parametrize("place", [f"{TYDIQA_TRAIN}.json", f"{TYDIQA_TRAIN}/tydiqa-goldp-v1.1-train.json"])
def test_tydiqa_trains_on_its_english_questions_only(write, place):
    names = ["english-1-1", "arabic-2-1", "english-3-1", "telugu-4-1"]
    data = write(**{place: squad(*map(qa, names))})
    assert ids("tydiqa", "train", "en", data) == ["english-1-1", "english-3-1"]
    assert ids("tydiqa", "train", "te", data) == ["telugu-4-1"]


def test_tydiqas_files_by_language_serve_where_the_whole_one_is_not_there(write):
    parts = {f"{TYDIQA_TRAIN}/tydiqa.goldp.en.train.json": squad(qa("1"), qa("1"))}
    data = write(**parts)
    assert ids("tydiqa", "train", "en", data) == ["0-1", "1-1"]
    data = write(**{f"{TYDIQA_TRAIN}.json": squad(qa("english-1-1"))})
    assert ids("tydiqa", "train", "en", data) == ["english-1-1"]


def test_tydiqas_dev_set_with_answers_comes_before_the_blanked_one(write):
    data = write(**{f"{TYDIQA_DEV}/tydiqa.goldp.fi.dev.json": squad(qa("finnish-1-1", BLANK))})
    assert rows(task("tydiqa"), "dev", "fi", data, labels=False)[0].answers is None
    write(**{f"{TYDIQA_DEV}.json": squad(qa("finnish-2-1"), qa("korean-1-1"))})
    assert ids("tydiqa", "dev", "fi", data) == ["finnish-2-1"]
    write(**{f"{TYDIQA_DEV}/tydiqa-goldp-dev-finnish.json": squad(qa("finnish-3-1"))})
    assert ids("tydiqa", "dev", "fi", data) == ["finnish-3-1"]


def test_tydiqa_selects_on_articles_that_it_does_not_train_on(write):
    data = write(**{f"{TYDIQA_TRAIN}.json": squad(*(qa(f"english-{n}-1") for n in range(40)))})
    train, select = (
        {row.group for row in rows(task("tydiqa"), spec, "en", data)} for spec in ("train[:95%]", "train[95%:]")
    )
    assert (len(train), len(select), train & select) == (38, 2, set())
    assert (task("tydiqa").train, task("tydiqa").select) == ("train[:95%]", "train[95%:]")


def test_translated_questions_without_their_answer_are_left_out_and_counted(write):
    lost = qa("c", [{"text": "nein", "answer_start": 0}])
    data = write(**{f"{TRANSLATED}-de.json": squad(qa("a"), qa("b"), lost)})
    split = found(task("squad_translate"), "train", "de", data)
    assert [row.id for row in split.rows] == ["a", "b"]
    assert split.excluded == {"an answer that does not stand at its offset": 1}


def test_an_original_whose_answer_does_not_stand_is_an_error(write):
    data = write(**{"squad/train-v1.1.json": squad(qa("a"), qa("c", [{"text": "nein", "answer_start": 0}]))})
    for name in ("squad", "xquad", "mlqa", "squad_translate"):
        with pytest.raises(InputError, match="should stand at offset 0"):
            rows(task(name), "train", "en", data)


def test_what_is_excluded_does_not_move_the_border_between_articles(write):
    questions = [qa(f"q{n}") for n in range(10)]
    lost = [qa("q0", [{"text": "nein", "answer_start": 0}]), *questions[1:]]
    data = write(**{f"{TRANSLATED}-de.json": squad(*questions), f"{TRANSLATED}-ru.json": squad(*lost)})
    assert ids("squad_translate", "train[50%:]", "ru", data) == ids("squad_translate", "train[50%:]", "de", data)


def test_english_is_the_original_and_no_other_language_falls_back_to_it(write):
    data = write(
        **{
            "squad/train-v1.1.json": squad(qa("english")),
            f"{TYDIQA_TRAIN}.json": squad(qa("english-1-1"), qa("finnish-1-1")),
            "mlqa/mlqa-translate-train/vi_squad-translate-train-train-v1.1.json": squad(qa("vietnamese")),
        }
    )
    assert ids("squad_translate", "train", "en", data) == ["english"]
    assert ids("squad_translate", "train", "vi", data) == ["vietnamese"]
    assert ids("tydiqa_translate", "train", "en", data) == ["english-1-1"]
    for name, lang in (("squad_translate", "de"), ("tydiqa_translate", "fi")):
        with pytest.raises(InputError, match=rf"no train files in {lang}: looked for xtreme_translations/"):
            rows(task(name), "train", lang, data)
    write(**{f"{TRANSLATED_TYDIQA}-fi.json": squad(qa("translated"))})
    assert ids("tydiqa_translate", "train", "fi", data) == ["translated"]


def test_xtremes_translation_comes_before_mlqas(write):
    data = write(
        **{
            f"{TRANSLATED}-vi.json": squad(qa("xtreme")),
            "mlqa/mlqa-translate-train/vi_squad-translate-train-train-v1.1.json": squad(qa("mlqa")),
        }
    )
    assert paths(task("squad_translate"), "train", "vi", data)[1] == [data / f"{TRANSLATED}-vi.json"]


@pytest.mark.parametrize(("name", "number"), [("mlqa", 7), ("tydiqa", 9), ("xquad", 12), ("squad_translate", 12)])
def test_the_languages_are_those_of_the_benchmark(name, number):
    assert len(set(task(name).langs)) == len(task(name).langs) == number
