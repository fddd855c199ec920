"""Tasks of choices, from every layout in which their files come, to rows."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import found, rows
from xlmr_flax.tasks.task import gold, scores, texts


def lines(*records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def hellaswag(label=None, **more):
    told = {"ind": 1, "ctx_a": "He sits.", "ctx_b": "He", "endings": ["runs.", "eats.", "is.", "was."]}
    return told | ({} if label is None else {"label": label}) | more


def commonsense(answer=None):
    choices = [{"label": letter, "text": letter.lower()} for letter in "ABCDE"]
    question = {"stem": "Where is it?", "choices": choices, "question_concept": "it"}
    return {"id": "x", "question": question} | ({"answerKey": answer} if answer else {})


def social(correct, context="Ann fell."):
    answers = {f"answer{letter}": letter.lower() for letter in "ABC"}
    return {"context": context, "question": "Why?", **answers, "correct": correct}


def copa(label, question="cause", premise="It rained."):
    told = {"premise": premise, "choice1": "eins", "choice2": "zwei", "question": question, "idx": 0}
    return told if label is None else told | {"label": label}


FOLDER = {
    "hellaswag/hellaswag_train.jsonl": lines(
        *(hellaswag(n % 4, source_id=f"wiki~{n // 2}") for n in range(40)), hellaswag(1, ctx_b="", source_id="z")
    ),
    "hellaswag/hellaswag_val.jsonl": lines(hellaswag(3)),
    "hellaswag/hellaswag_test.jsonl": lines(hellaswag()),
    "translated/hellaswag/train-de.jsonl": lines(
        *({"prompt": "Er sitzt.", "options": ["a", "b", "c", "d"], "label": 2, "id": str(n)} for n in range(3)),
        {"prompt": "Er sitzt.", "options": ["a", "b", "", "d"], "label": 2},
    ),
    "translated/hellaswag/test-de.jsonl": lines({"prompt": "Er.", "options": ["a", "b", "c", "d"], "label": 0}),
    "commonsenseqa/train_rand_split.jsonl": lines(commonsense("E")),
    "commonsenseqa/dev_rand_split.jsonl": lines(commonsense("C")),
    "commonsenseqa/test_rand_split_no_answers.jsonl": lines(commonsense()),
    "siqa/socialIQa_v1.4_trn.jsonl": lines(social("A"), social("C"), social("B", "Bob won.")),
    "siqa/socialIQa_v1.4_dev.jsonl": lines(social("B")),
    "siqa/socialIQa_v1.4_tst.jsonl": lines(social("B")),
    "xcopa/train-en.jsonl": lines(*(copa(n % 2, "effect") for n in range(20))),
    "xcopa/val-en.jsonl": lines(copa(1), copa(0, "effect")),
    "xcopa/val-et.jsonl": lines(copa(0)),
    "xcopa/test-et.jsonl": lines(copa(0), copa(0)),
    "xcopa/test-ht.jsonl": lines(copa(0), copa(1)),
    "xcopa/data/id/test.id.jsonl": lines(copa(0), copa(0, "effect")),
    "xcopa/test-id.jsonl": lines(copa(0), copa(0)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, text in FOLDER.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "spec", "lang", "prompt", "question", "options", "label"),
    [
        ("hellaswag", "val", "en", "He sits.", "", ("He runs.", "He eats.", "He is.", "He was."), 3),
        ("hellaswag_translated", "test", "de", "Er.", "", ("a", "b", "c", "d"), 0),
        ("hellaswag_translated", "test", "en", "He sits.", "", ("He runs.", "He eats.", "He is.", "He was."), 3),
        ("commonsenseqa", "dev", "en", "", "Where is it?", ("a", "b", "c", "d", "e"), 2),
        ("socialiqa", "dev", "en", "Ann fell.", "Why?", ("a", "b", "c"), 1),
        ("copa", "val", "en", "It rained.", "What was the cause?", ("eins", "zwei"), 1),
        ("xcopa", "train", "en", "It rained.", "What was the effect?", ("eins", "zwei"), 0),
        ("xcopa", "val", "et", "It rained.", "What was the cause?", ("eins", "zwei"), 0),
        ("xcopa", "test", "ht", "It rained.", "What was the cause?", ("eins", "zwei"), 0),
        ("xcopa", "test", "id", "It rained.", "What was the cause?", ("eins", "zwei"), 0),
    ],
)
def test_each_layout_is_read(data, name, spec, lang, prompt, question, options, label):
    row = rows(task(name), spec, lang, data)[0]
    assert (row.prompt, row.question, row.options, row.label) == (prompt, question, options, label)
    wanted = [gold(task(name), row)]
    assert scores(task(name), wanted, wanted, lang)["accuracy"] == 1.0


def test_an_ending_without_a_beginning_has_no_space_before_it(data):
    last = rows(task("hellaswag"), "train", "en", data)[-1]
    assert last.options == ("runs.", "eats.", "is.", "was.")


def test_training_and_selection_of_hellaswag_share_no_source_text(data):
    train, select = (
        {row.group for row in rows(task("hellaswag"), spec, "en", data)} for spec in ("train[:95%]", "train[95%:]")
    )
    assert train
    assert select
    assert not train & select


def test_questions_about_one_context_make_a_group(data):
    assert [row.group for row in rows(task("socialiqa"), "train", "en", data)] == ["1", "1", "3"]


def test_a_translation_to_nothing_is_left_out_and_counted(data):
    split = found(task("hellaswag_translated"), "train", "de", data)
    assert (len(split.rows), split.excluded) == (3, {"a text is translated to nothing": 1})


@pytest.mark.parametrize("name", ["hellaswag", "commonsenseqa"])
def test_hidden_labels_can_be_predicted_only(data, name):
    with pytest.raises(InputError, match=f"{name}: the labels of the split 'test' are hidden"):
        rows(task(name), "test", "en", data)
    assert rows(task(name), "test", "en", data, labels=False)[0].label is None


def test_the_zeros_that_xtreme_writes_over_xcopas_labels_are_no_labels(data):
    with pytest.raises(InputError, match=r"test-et\.jsonl: row 1 has no label, so xcopa can predict .*cambridgeltl"):
        rows(task("xcopa"), "test", "et", data)
    assert [row.label for row in rows(task("xcopa"), "test", "et", data, labels=False)] == [None, None]
    assert [row.label for row in rows(task("xcopa"), "test", "id", data)] == [0, 0]  # the authors' file is believed


def test_copa_is_in_english_only(data):
    with pytest.raises(InputError, match="copa: the split 'val' comes in en only, not in et"):
        rows(task("copa"), "val", "et", data)


def test_copa_is_read_from_its_own_archive_too(tmp_path):
    (tmp_path / "COPA").mkdir()
    (tmp_path / "COPA/val.jsonl").write_text(lines(copa(1)), encoding="utf-8")
    assert [row.label for row in rows(task("xcopa"), "val", "en", tmp_path)] == [1]
    with pytest.raises(InputError, match="xcopa: no val files in et"):
        rows(task("xcopa"), "val", "et", tmp_path)


def test_all_text_of_a_choice_is_its_prompt_with_its_question_and_its_options(data):
    assert texts(rows(task("socialiqa"), "dev", "en", data)[0]) == ("Ann fell. Why?", "a", "b", "c")
    assert texts(rows(task("commonsenseqa"), "dev", "en", data)[0]) == ("Where is it?", "a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("lang", "val", "test"), [("et", 100, 500), ("zh", 100, 500), ("qu", 100, 500), ("sw", 100, 500)]
)
def test_the_real_xcopa_is_read_whole(real_data, lang, val, test):
    for split, count in (("val", val), ("test", test)):
        found_rows = rows(task("xcopa"), split, lang, real_data)
        assert len(found_rows) == count
        assert {row.label for row in found_rows} == {0, 1}
