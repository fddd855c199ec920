"""From files to scores where the labels are those of the training file, and where questions have no answer."""

import json
from typing import NamedTuple

import pytest

from xlmr_flax.data.load import load_examples
from xlmr_flax.errors import InputError
from xlmr_flax.execute.answer import predict_inputs
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.execute.phase import prepare
from xlmr_flax.execute.target import evaluate_target
from xlmr_flax.execute.trained import tokenizer_in, tokenizer_of
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.labels import with_labels

WORDS = ["the", "cat", "sees", "a", "dog", "and", "the", "dog", "sees", "it"]
TAGS = ("NP/N", "N", "(S\\NP)/NP", "NP/N", "N", "conj", "NP/N", "N", "(S\\NP)/NP", "NP")


def ccg(count, last="NP"):
    """Sentences of the same words, of which the last has another tag."""
    tags = (*TAGS[:-1], last)
    return "\n".join("".join(f"{word}\t{tag}\n" for word, tag in zip(WORDS, tags, strict=True)) for _ in range(count))


def squad_v2(count):
    """Every third question has no answer."""
    context = " ".join(WORDS)
    qas = [
        {"id": f"q{n}", "question": "who sees it", "is_impossible": n % 3 == 0}
        | {"answers": [] if n % 3 == 0 else [{"text": "dog", "answer_start": context.index("dog")}]}
        for n in range(count)
    ]
    return json.dumps(
        {"data": [{"title": f"t{n}", "paragraphs": [{"context": context, "qas": [one]}]} for n, one in enumerate(qas)]}
    )


def phase(name, **more):
    return {"name": name, "length": 32, "batch_size": 16, "steps": 2, "optim": {"peak_lr": 1e-3}} | more


class Gaps(NamedTuple):
    lab: object
    data: object


@pytest.fixture(scope="module")
def gaps(open_lab, tmp_path_factory):
    root = tmp_path_factory.mktemp("gaps")
    files = {
        "ccg/train.tsv": ccg(20), "ccg/dev.tsv": ccg(5), "ccg/test.tsv": ccg(7, last="NEW"),
        "squad/train-v2.0.json": squad_v2(40), "squad/dev-v2.0.json": squad_v2(9),
        "text/a.txt": "\n".join(" ".join(WORDS[n:] + WORDS[:n]) for n in range(9)) + "\nwho\n",
    }  # fmt: skip
    for name, text in files.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    lab = open_lab(
        root, world=None, tokenizer={"vocab_size": 25}, arms=[{"name": "all"}],
        phases=[
            phase("tags", tasks=["ccg"], selection={"every_steps": 1}),
            phase("kept", tasks=["ccg"], parent="tags", keep_head=True),
            phase("answers", tasks=["squad_v2"], selection={"every_steps": 2, "metric": "best_f1"}),
        ],
        evaluations=[{"phase": "tags", "tasks": ["ccg"]}, {"phase": "answers", "tasks": ["squad_v2"]}],
    )  # fmt: skip
    run_nodes(lab.graph, lab.context)
    return Gaps(lab, root / "data")


def scores(lab, name):
    return next(
        json.loads(path.read_text())["langs"]["en"]
        for path in lab.context.folders.runs.glob(f"evals/{name}-*/scores.json")
    )


def test_a_phase_records_the_labels_that_it_read(gaps):
    for name in ("tags", "kept"):
        config = json.loads((gaps.lab.folder(name) / "config.json").read_text())
        assert config["head"]["labels"] == sorted(set(TAGS))


def test_a_label_that_training_does_not_have_is_wrong_and_counted(gaps):
    found = scores(gaps.lab, "ccg")
    assert found["n_scored"] == 7
    assert found["counts"]["tags_not_in_training"] == 7
    assert found["scores"]["accuracy"] <= 0.9


def test_scores_of_questions_without_answer_stand_beside_those_at_the_best_threshold(gaps):
    found = scores(gaps.lab, "squad_v2")
    assert found["scores"].keys() >= {"f1", "exact_match", "best_f1", "best_exact_match", "no_answer_f1"}
    assert found["scores"]["best_f1"] >= found["scores"]["f1"]
    assert (found["n_scored"], found["counts"]["questions_without_answer"]) == (9, 3)
    (file,) = gaps.lab.context.folders.runs.glob("evals/squad_v2-*/predictions/test-en.json")
    assert set(json.loads(file.read_text())) == {f"q{n}" for n in range(9)}
    assert "best best_f1 on squad_v2" in json.loads((gaps.lab.folder("answers") / "DONE").read_text())["selection"]


def test_a_finished_phase_scores_and_predicts_with_its_own_labels(gaps):
    folders, console = gaps.lab.context.folders, gaps.lab.context.console
    target = str(gaps.lab.folder("tags"))
    found = evaluate_target(target, ["ccg"], None, folders, console)["rows"]
    assert [row["score"] for row in found] == [scores(gaps.lab, "ccg")["scores"]["accuracy"]]
    (answer,) = predict_inputs(target, "ccg", ["the cat sees it"], folders, console)
    assert len(answer["tags"]) == 4
    assert set(answer["tags"]) <= set(TAGS)


def test_a_prediction_that_may_be_null_says_by_how_much(gaps):
    folders, console = gaps.lab.context.folders, gaps.lab.context.console
    asked = {"context": "the cat sees a dog", "question": "who"}
    (told,) = predict_inputs(str(gaps.lab.folder("answers")), "squad_v2", [asked], folders, console)
    assert (told["answer"] == "") == (told["null_score"] > 0)


def test_a_head_of_other_labels_or_another_kind_is_not_used(gaps):
    folders, console = gaps.lab.context.folders, gaps.lab.context.console
    with pytest.raises(InputError, match=r"its head is token \(\(S\\NP\)/NP, .*but udpos needs token \(ADJ"):
        predict_inputs(str(gaps.lab.folder("tags")), "udpos", ["a cat"], folders, console)
    with pytest.raises(InputError, match=r"its head is span \(no labels\), but ccg needs token"):
        evaluate_target(str(gaps.lab.folder("answers")), ["ccg"], None, folders, console)


def test_a_head_whose_labels_have_changed_is_not_kept(gaps):
    path = gaps.data / "ccg/train.tsv"
    before = path.read_text()
    try:
        path.write_text(ccg(20, last="NEW"))
        with pytest.raises(
            InputError, match=r"phases\.kept\.keep_head: the head of tags has 5 labels and .* have 5, which are not"
        ):
            prepare(gaps.lab.phase("kept"), gaps.lab.context)
    finally:
        path.write_text(before)


def test_what_is_encoded_with_other_labels_is_another_entry_of_the_cache(gaps, tmp_path):
    path = gaps.data / "ccg/train.tsv"
    before, lab = path.read_text(), gaps.lab
    tokenizer = tokenizer_in(tokenizer_of(lab.phase("tags"), lab.context.folders))
    encoded = []
    try:
        for text in (before, ccg(20, last="A")):
            path.write_text(text)
            one = with_labels(task("ccg"), "train", ("en",), gaps.data)
            examples = load_examples(one, "dev", "en", data=gaps.data, tokenizer=tokenizer, length=32, cache=tmp_path)
            encoded.append(examples.encoded.label.tolist())
    finally:
        path.write_text(before)
    assert encoded[0] != encoded[1]
