"""What counts as having learnt nothing, for every kind of head."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.report.chance import AT_CHANCE, chance, is_sick, judged, never_fell
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.task import scores

LABELS = ["entailment", "neutral", "contradiction"]


def flags(name, gold, predicted, lang="en"):
    return judged(task(name), gold, predicted, scores(task(name), gold, predicted, lang), lang)


def test_one_class_for_all_is_collapsed_and_at_chance():
    assert flags("xnli", LABELS * 20, ["neutral"] * 60) == [AT_CHANCE, "collapsed: always neutral"]
    assert flags("xcopa", [0, 1] * 20, [1] * 40) == [AT_CHANCE, "collapsed: always 1"]


def test_the_majority_and_what_luck_adds_to_it_are_chance_and_more_is_not():
    gold = ["1"] * 56 + ["0"] * 44  # 0.56 + 1.645 · 0.0496
    assert chance(task("pawsx"), gold, "en") == pytest.approx(0.6417, abs=1e-4)
    for right, wanted in ((64, [AT_CHANCE]), (65, [])):
        assert flags("pawsx", gold, [*gold[:right], *("0" if one == "1" else "1" for one in gold[right:])]) == wanted


def test_of_a_mean_with_f1_the_better_of_all_single_answers_is_chance():
    gold = ["1"] * 37 + ["0"] * 63
    always_yes = (0.37 + 2 * 0.37 / 1.37) / 2  # always "0": 0.315
    assert chance(task("qqp"), gold, "en") == pytest.approx(
        always_yes + 1.645 * (always_yes * (1 - always_yes) / 100) ** 0.5
    )
    assert flags("qqp", gold, ["1"] * 100) == [AT_CHANCE, "collapsed: always 1"]


def test_tags_that_are_all_o_are_collapsed():
    gold = [("B-PER", "I-PER", "O"), ("O", "O")] * 5
    assert flags("panx", gold, [("O", "O", "O"), ("O", "O")] * 5) == [AT_CHANCE, "collapsed: always O"]
    assert flags("panx", gold, gold) == []


def test_one_part_of_speech_for_every_word_is_chance():
    gold = [("NOUN", "VERB", "NOUN", "DET")] * 6
    assert flags("udpos", gold, [("NOUN",) * 4] * 6) == [AT_CHANCE, "collapsed: always NOUN"]
    assert flags("udpos", gold, [("NOUN", "VERB", "NOUN", "NOUN")] * 6) == []


@pytest.mark.parametrize(("name", "empty"), [("xquad", ""), ("xquad", None), ("squad_v2", Guess("x", 2.0))])
def test_questions_that_get_no_answer_are_collapsed(name, empty):
    assert flags(name, [("a",), ("b",)], [empty] * 2) == [AT_CHANCE, "collapsed: always no answer"]


def test_questions_without_an_answer_may_all_be_given_none():
    assert flags("squad_v2", [(), ()], [Guess("x", 2.0)] * 2) == [AT_CHANCE]


def test_one_sentence_for_all_is_collapsed_and_mined_pairs_are_not_judged():
    ids = [str(number) for number in range(30)]
    assert flags("tatoeba", ids, ["4"] * 30, "de") == [AT_CHANCE, "collapsed: always 4"]
    assert flags("tatoeba", ids, ids[:8] + ["0"] * 22, "de") == []
    pairs = [(("a", "b"),), ()]
    assert judged(task("bucc2018"), pairs, [("a", "b")], {"f1": 0.0}, "de") == []


def test_one_document_for_every_query_is_collapsed():
    gold, ranking = [("a",), ("b",)], ["a", "b"]
    assert flags("lareqa", gold, [ranking, ranking]) == ["collapsed: always a"]
    assert flags("lareqa", gold, [ranking, ranking[::-1]]) == []


@given(st.lists(st.sampled_from(LABELS), min_size=2, max_size=200), st.sampled_from(LABELS))
def test_no_single_answer_is_ever_above_chance(gold, answer):
    assert AT_CHANCE in flags("xnli", gold, [answer] * len(gold))


@given(st.tuples(*[st.integers(5, 40)] * 3))
def test_right_answers_are_not_sick(sizes):
    gold = [label for label, size in zip(LABELS, sizes, strict=True) for _ in range(size)]
    assert flags("xnli", gold, gold) == []


def test_every_task_that_is_scored_can_be_judged():
    examples = {"span": (("a",), ("b",)), "token": (("X", "Y"), ("Y", "X")), "dual": (("a",), ("b",)), "choice": (0, 1)}
    for declared in TASKS.values():
        if declared.test and declared.head.kind not in ("mlm", "embedding"):
            gold = list(examples.get(declared.head.kind, ("0", "1")))
            level = chance(declared, gold, declared.train_lang)
            assert level is None if declared.head.kind == "dual" else level >= 0, declared.name


@pytest.mark.parametrize(("first", "last", "wanted"), [(1.1, 1.0986, True), (1.1, 1.3, True), (1.1, 1.0, False)])
def test_a_loss_that_ends_where_it_began_never_fell(first, last, wanted):
    assert never_fell(first, last) == wanted


def test_what_is_sick_among_flags():
    assert is_sick(["transductive", "collapsed: always neutral"])
    assert is_sick(["training loss never fell"])
    assert not is_sick(["transductive", "3 of 40 steps skipped, not finite"])
