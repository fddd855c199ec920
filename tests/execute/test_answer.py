"""Answers to single rows, with scores: the same predictions as an evaluation's, as soon as their inputs come."""

import itertools
import json
import threading

import numpy as np
import pytest

from xlmr_flax.config.schema import Model
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.answers import batch_rows
from xlmr_flax.execute import answer
from xlmr_flax.execute.answer import WAITING, predict_inputs
from xlmr_flax.execute.target import text_encoder
from xlmr_flax.graph.check import architecture
from xlmr_flax.graph.nodes import EvalNode
from xlmr_flax.sources.rows import Classified
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.train.sharding import row_shards


def asked(row):
    """A row of a file as a user would give it."""
    return {"id": row.id} | {
        name: getattr(row, name)
        for name in ("text", "pair", "words", "prompt", "question", "options", "context")
        if getattr(row, name, None)
    }


def written(lab, name):
    """What the run's evaluation predicted in English, as its file has it."""
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and node.task == name)
    (path,) = (lab.context.folders.of(node) / "predictions").glob("test-en.*")
    return path.read_text(encoding="utf-8")


def predicted(lab, phase, name, inputs):
    return predict_inputs(str(lab.folder(phase)), name, inputs, lab.context.folders, lab.context.console)


def of_task(lab, phase, name):
    """The answers to a task's English test rows, and these."""
    declared = task(name)
    found = rows(declared, declared.test, "en", lab.context.folders.data_of(lab.phase(phase)))
    return list(predicted(lab, phase, name, [asked(row) for row in found])), found


def test_labels_are_those_of_the_evaluation_with_the_probabilities_of_all(lab):
    told, found = of_task(lab, "nli", "xnli")
    assert [one["label"] for one in told] == written(lab, "xnli").split()
    assert [one["id"] for one in told] == [row.id for row in found]
    for one in told:
        assert sum(one["scores"].values()) == pytest.approx(1, abs=1e-5)
        assert max(one["scores"], key=one["scores"].get) == one["label"]


def test_tags_are_those_of_the_evaluation_one_for_each_word(lab):
    told, found = of_task(lab, "tags", "udpos")
    assert [tag for one in told for tag in one["tags"]] == written(lab, "udpos").split()
    for one, row in zip(told, found, strict=True):
        assert len(one["tags"]) == len(one["scores"]) == len(row.words)
        assert all(1 / 17 < score <= 1 for score in one["scores"])


def test_answers_are_those_of_the_evaluation_with_their_place_in_the_context(lab):
    told, found = of_task(lab, "spans", "xquad")
    assert {one["id"]: one["answer"] for one in told} == json.loads(written(lab, "xquad"))
    for one, row in zip(told, found, strict=True):
        assert row.context[one["start"] : one["end"]] == one["answer"]
        assert 0 <= one["score"] <= 1


def test_options_are_numbered_and_compete(lab):
    told, _ = of_task(lab, "choice", "cosmosqa")
    for one in told:
        assert one["label"] == int(np.argmax(one["scores"]))
        assert sum(one["scores"]) == pytest.approx(1, abs=1e-5)


def test_hidden_words_are_guessed_in_their_order(lab):
    (told,) = predicted(lab, "pretrain", "mlm", ["a <mask> b <mask>"])
    (alone,) = predicted(lab, "pretrain", "mlm", ["a <mask> b <mask>"])
    assert told == alone
    assert [len(words) for words in told["words"]] == [5, 5]
    for words in told["words"]:
        scores = [word["score"] for word in words]
        assert scores == sorted(scores, reverse=True)
    with pytest.raises(InputError, match=r"input 1: there is no <mask> to fill"):
        list(predicted(lab, "pretrain", "mlm", ["a b"]))


def test_vectors_are_those_of_the_encoder_in_the_layer_that_the_run_evaluates(lab):
    texts = ["a", "b c d", "e f"]
    told = list(predicted(lab, "choice", "tatoeba", texts))
    encoder = text_encoder(str(lab.folder("choice")), None, lab.context.folders, lab.context.console)
    vectors_ND = encoder.vectors(texts, layer=1)
    np.testing.assert_allclose([one["vector"] for one in told], vectors_ND, rtol=1e-5, atol=1e-6)
    assert not np.allclose(vectors_ND, encoder.vectors(texts, layer=1, pooling="cls"))
    with pytest.raises(InputError, match="takes a list of texts, and was given one text"):
        encoder.vectors("a")
    with pytest.raises(InputError, match="pooling='max': wanted one of mean, cls"):
        encoder.vectors(texts, pooling="max")


def test_a_kind_of_head_stands_for_a_models_own_labels(lab):
    text = "a b\tc d"
    assert list(predicted(lab, "nli", "sequence", [text])) == list(predicted(lab, "nli", "xnli", [text]))
    with pytest.raises(InputError, match=r"its head is sequence \(entailment.*but token needs token"):
        predicted(lab, "nli", "token", [text])


def test_an_answer_comes_before_the_next_input(lab):
    answered = threading.Event()

    def inputs():
        yield "a b\tc d"
        assert answered.wait(timeout=60)
        yield "e\tf"

    told = predicted(lab, "nli", "xnli", inputs())
    assert next(told)["id"] == "1"
    answered.set()
    assert next(told)["id"] == "2"
    assert list(told) == []


def test_inputs_without_end_are_read_no_further_than_is_waited_for(lab):
    taken = itertools.count()
    told = predicted(lab, "nli", "xnli", (f"a\tb {next(taken)}" for _ in itertools.count()))
    assert [one["id"] for one in itertools.islice(told, 3)] == ["1", "2", "3"]
    told.close()
    assert next(taken) <= 2 * WAITING + 2


def test_what_stands_before_a_bad_input_is_answered(lab):
    told = predicted(lab, "nli", "xnli", ["a\tb", "", {"txt": "a"}])
    assert next(told)["label"]
    with pytest.raises(InputError, match=r"input 3: unknown key 'txt'; did you mean 'text'\?"):
        next(told)


def test_an_error_of_the_inputs_themselves_is_raised(lab):
    def inputs():
        yield "a\tb"
        raise OSError("gone")

    told = predicted(lab, "nli", "xnli", inputs())
    assert next(told)["id"] == "1"
    with pytest.raises(OSError, match="gone"):
        next(told)


def test_a_row_that_is_cut_says_so(lab):
    told = list(predicted(lab, "nli", "xnli", ["a b", "a b c d e f g h i j k l m n o p q r\tb"]))
    assert "truncated" not in told[0]
    assert told[1]["truncated"] is True
    assert "1 of 2 were longer than 16 tokens and were truncated" in lab.said()


def test_rows_that_wait_are_given_together():
    feed = iter(answer._gathered(task("xnli").head, ["a\tb", "", "c"], "line "))
    rows_, problem, ended = [], None, False
    while not ended:
        waiting = next(feed)
        rows_, problem, ended = rows_ + waiting.rows, waiting.problem, waiting.ended
    assert (rows_, problem) == ([Classified("1", "1", "a", "b", None), Classified("3", "3", "c", None, None)], None)


def test_large_models_are_computed_in_fewer_rows(lab):
    mesh, arch = lab.context.mesh, architecture(Model(preset="tiny"), 120)
    large = arch.model_copy(update={"hidden_size": 1024, "num_attention_heads": 16, "intermediate_size": 4096})
    huge = arch.model_copy(update={"hidden_size": 4096, "num_attention_heads": 32, "intermediate_size": 16384})
    found = [batch_rows(*shape, mesh) // row_shards(mesh) for shape in ((arch, 128), (large, 512), (huge, 512))]
    assert found == [64, 16, 4]
