"""The generated world's labels and answers are right, and not to be had without understanding.

The English sentences are parsed by a few lines that know nothing of how they were made.
"""

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from xlmr_flax.config.world import Sizes, WorldSettings
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.miniworld.words import COLOURS, DIGITS, KIND, OPPOSITE, PLACES, SIZES, TIMES
from xlmr_flax.sources.miniworld.world import make_world
from xlmr_flax.sources.miniworld.write import write_world
from xlmr_flax.sources.rows import Classified
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.sources.tsv import read_hypotheses, read_pairs

SEED = 4
JOB = make_world(SEED).job
SETTINGS = WorldSettings(
    seed=SEED,
    languages=("x1", "x2", "x3", "x4", "x5"),
    documents=0,
    retrieval_pairs=0,
    nli=Sizes(train=4000, dev=0, test=1500),
    paraphrase=Sizes(train=2000, dev=0, test=1500),
    tagging=Sizes(train=0, dev=0, test=0),
    questions=Sizes(train=1000, dev=0, test=400),
    choice=Sizes(train=1000, dev=600, test=0),
)
CODES = ("en", *SETTINGS.languages)


class Parsed(NamedTuple):
    """An English event, with its verb as what happened."""

    agent: str
    verb: str
    patient: str
    adjective: str | None
    count: str | None
    place: str | None
    time: str | None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("meaning")
    write_world(SETTINGS, place)
    return place


def parse(sentence: str) -> Parsed:
    words = [word for word in sentence.split() if word not in ("the", "a", ".")]
    place = next((word for word in words if word in PLACES), None)
    time = next((word for word in words if word in TIMES), None)
    words = [word for word in words if word not in (place, time, "in", "near")]
    negated = "never" in words
    words = [word for word in words if word != "never"]
    at = next(i for i, word in enumerate(words) if word in OPPOSITE)
    verb = OPPOSITE[words[at]] if negated else words[at]
    patient = words[at + 1 :]
    count = next((word for word in patient if word in DIGITS), None)
    adjective = next((word for word in patient if word in COLOURS + SIZES), None)
    noun = patient[-1].removesuffix("s") if count else patient[-1]
    return Parsed(words[at - 1], verb, noun, adjective, count, place, time)


def covers(told: str, noun: str) -> bool:
    """Whether the noun may be told so."""
    return told in (noun, JOB.get(noun), KIND.get(noun)) or (told == "someone" and KIND[noun] == "person")


def relation(premise: str, hypothesis: str) -> str:
    one, other = parse(premise), parse(hypothesis)
    same = covers(other.agent, one.agent) and covers(other.patient, one.patient) and one.count == other.count
    for name in ("adjective", "place", "time"):
        same = same and getattr(other, name) in (None, getattr(one, name))
    if not same:
        return "neutral"
    return "entailment" if one.verb == other.verb else "contradiction"


def test_inference_labels_are_right(folder):
    for name in ("train", "test"):
        rows = read_pairs(folder / f"xnli/{name}-en.tsv")
        assert [relation(row.text, row.pair) for row in rows] == [row.label for row in rows]


def test_paraphrase_labels_are_right(folder):
    for name in ("train", "test"):
        rows = read_pairs(folder / f"pawsx/{name}-en.tsv")
        assert [str(int(parse(row.text) == parse(row.pair))) for row in rows] == [row.label for row in rows]


@pytest.mark.parametrize("code", CODES)
def test_paraphrase_pairs_share_most_words_whatever_the_label(folder, code):
    rows = read_pairs(folder / f"pawsx/test-{code}.tsv")
    assert not any(row.text == row.pair for row in rows)
    overlap = {label: np.mean([shared(row) for row in rows if row.label == label]) for label in "01"}
    assert overlap["0"] > 0.65
    same_words = [sorted(row.text.split()) == sorted(row.pair.split()) for row in rows if row.label == "0"]
    assert np.mean(same_words) > 0.15  # who did it to whom is all that differs
    assert overlap["1"] - overlap["0"] < 0.25


def shared(row: Classified) -> float:
    one, other = set(row.text.split()), set(row.pair.split())
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(
    ("family", "labels"), [("xnli", {"entailment", "neutral", "contradiction"}), ("pawsx", {"0", "1"})]
)
def test_labels_and_negation_are_balanced(folder, family, labels):
    for name in ("train", "test"):
        rows = read_pairs(folder / f"{family}/{name}-en.tsv")
        counts = Counter(row.label for row in rows)
        assert counts.keys() == labels
        assert max(counts.values()) - min(counts.values()) <= 1
        for side in ("text", "pair"):
            rates = [
                np.mean(["never" in getattr(row, side) for row in rows if row.label == label])
                for label in sorted(labels)
            ]
            # 500 throws and more of 0.3: a standard deviation of a rate is 0.021 at most.
            assert max(rates) - min(rates) < 0.08
            assert 0.2 < np.mean(rates) < 0.36


def test_labels_are_the_same_in_every_language(folder):
    for family in ("xnli", "pawsx"):
        told = [[row.label for row in read_pairs(folder / f"{family}/test-{code}.tsv")] for code in CODES]
        assert all(labels == told[0] for labels in told)


def test_a_hypothesis_alone_tells_nothing(folder):
    train, test = (read_hypotheses(folder / f"xnli/{split}-en.tsv") for split in ("train", "test"))
    assert bag_of_words_accuracy(train, test) < 0.38  # chance 0.333, with a standard deviation of 0.012


def test_a_premise_alone_tells_little(folder):
    train, test = (read_pairs(folder / f"xnli/{split}-en.tsv") for split in ("train", "test"))
    alone = [[row._replace(pair=None) for row in rows] for rows in (train, test)]
    assert bag_of_words_accuracy(*alone) < 0.46


@pytest.mark.parametrize("side", ["text", "pair"])
def test_one_sentence_of_a_paraphrase_tells_nothing(folder, side):
    train, test = (read_pairs(folder / f"pawsx/{split}-en.tsv") for split in ("train", "test"))
    alone = [[row._replace(text=getattr(row, side)) for row in rows] for rows in (train, test)]
    assert bag_of_words_accuracy(*alone) < 0.55  # chance 0.5, with a standard deviation of 0.013


def test_the_bag_of_words_finds_what_one_word_gives_away(folder):
    train, test = (read_hypotheses(folder / f"xnli/{split}-en.tsv") for split in ("train", "test"))
    given = [
        [row._replace(text=row.text + " never") if row.label == "neutral" else row for row in rows]
        for rows in (train, test)
    ]
    assert bag_of_words_accuracy(*given) > 0.5


def bag_of_words_accuracy(train: list[Classified], test: list[Classified]) -> float:
    """What a logistic regression over the words of `text` reaches on the test rows."""
    words = {word: i for i, word in enumerate(sorted({word for row in train for word in row.text.split()}))}
    labels = sorted({row.label for row in train})

    def bags(rows: list[Classified]) -> np.ndarray:
        bag_RW = np.zeros((len(rows), len(words)), np.float32)
        for i, row in enumerate(rows):
            bag_RW[i, [words[word] for word in row.text.split() if word in words]] = 1
        return bag_RW

    bag_RW = bags(train)
    wanted_RC = np.eye(len(labels), dtype=np.float32)[[labels.index(row.label) for row in train]]
    weight_WC, speed_WC = np.zeros((2, len(words), len(labels)), np.float32)
    for _ in range(600):
        guess_RC = np.exp(bag_RW @ weight_WC)
        guess_RC /= guess_RC.sum(axis=1, keepdims=True)
        speed_WC = 0.95 * speed_WC - 0.05 * (bag_RW.T @ (guess_RC - wanted_RC) / len(train) + 1e-3 * weight_WC)
        weight_WC = weight_WC + speed_WC
    guessed = (bags(test) @ weight_WC).argmax(axis=1)
    return float(np.mean([labels[g] == row.label for g, row in zip(guessed, test, strict=True)]))


def matching(context: str, question: str) -> list[tuple[str, Parsed]]:
    """The slot that the question asks for, beside each event of the context that it may be about."""
    words = question.split()[1:-1]  # less say, ?
    asked = words[0]
    if asked in ("where", "when"):
        slot, wanted = {"where": "place", "when": "time"}[asked], parse(" ".join(words[1:]))
        fits = lambda event: (event.agent, event.verb, event.patient) == (wanted.agent, wanted.verb, wanted.patient)  # noqa: E731
    elif words[-1] in OPPOSITE:  # what Anna bought
        slot, fits = "patient", lambda event: (event.agent, event.verb) == (words[-2], words[-1])
    else:  # who bought the dog
        slot, wanted = "agent", parse(" ".join(words))
        fits = lambda event: (event.verb, event.patient) == (wanted.verb, wanted.patient)  # noqa: E731
    return [(slot, event) for event in map(parse, context.split(" . ")) if fits(event)]


def test_every_english_question_has_one_answer_and_it_is_the_given_one(folder):
    rows = read_squad(folder / "squad/train-v1.1.json") + read_squad(folder / "xquad/xquad.en.json")
    assert len(rows) == 1400
    for row in rows:
        [(slot, event)] = matching(row.context, row.question)
        assert bare(row.answers[0].text) == getattr(event, slot)


def bare(answer: str) -> str:
    words = answer.split()
    return words[-1].removesuffix("s") if words[0] in DIGITS else words[-1]


def test_every_question_has_a_distractor(folder):
    for row in read_squad(folder / "squad/train-v1.1.json"):
        [(slot, event)] = matching(row.context, row.question)
        others = [other for other in map(parse, row.context.split(" . ")) if other != event]
        values = {getattr(other, slot) for other in others} - {None}
        assert values
        assert getattr(event, slot) not in values
        assert any(event.agent == other.agent or event.verb == other.verb for other in others)


@pytest.mark.parametrize("code", CODES)
def test_answers_stand_at_their_offsets(folder, code):
    rows = read_squad(folder / f"xquad/xquad.{code}.json")
    assert len(rows) == 400
    for row in rows:
        [(text, start)] = row.answers
        assert text
        assert row.context[start : start + len(text)] == text
        # Whole words: nothing but a space or an end of the text beside them.
        assert (" " + row.context + " ")[start] == (" " + row.context + " ")[start + 1 + len(text)] == " "


def test_answers_stand_anywhere_in_the_context(folder):
    for word in ("who", "what", "where", "when"):
        rows = [row for row in read_squad(folder / "squad/train-v1.1.json") if f"say {word}" in row.question]
        where = np.histogram([row.answers[0].start / len(row.context) for row in rows], bins=4, range=(0, 1))[0]
        assert len(rows) > 100
        assert where.max() < 0.5 * len(rows)


def test_questions_are_the_same_in_every_language(folder):
    lexicon = json.loads((folder / "world.json").read_text())["lexicon"]
    english = read_squad(folder / "xquad/xquad.en.json")
    for code in SETTINGS.languages:
        told = read_squad(folder / f"xquad/xquad.{code}.json")
        assert [row.id for row in told] == [row.id for row in english]
        for row, other in zip(english, told, strict=True):
            assert lexicon[code][row.question.split()[1]] in other.question.split()


def test_choices_have_one_right_option_and_it_is_the_label(folder):
    rows = read_cosmosqa(folder / "cosmosqa/train.csv")
    counts = Counter(row.label for row in rows)
    assert max(counts.values()) - min(counts.values()) <= 1
    for row in rows:
        context = row.prompt.removesuffix(" .")
        [(slot, event)] = matching(context, row.question)
        right = [i for i, option in enumerate(row.options) if option.split()[-1] == getattr(event, slot)]
        assert right == [row.label]
        assert len({option.split()[-1] for option in row.options}) == 4
        others = {getattr(other, slot) for other in map(parse, context.split(" . "))} - {getattr(event, slot)}
        assert others & {option.split()[-1] for option in row.options}  # a wrong option that occurs


def test_options_alone_tell_nothing(folder):
    train, valid = (read_cosmosqa(folder / f"cosmosqa/{name}.csv") for name in ("train", "valid"))
    right = Counter(row.options[row.label] for row in train)
    offered = Counter(option for row in train for option in row.options)
    guesses = [
        max(range(4), key=lambda i, row=row: right[row.options[i]] / (offered[row.options[i]] or 1)) for row in valid
    ]
    assert (
        np.mean([guess == row.label for guess, row in zip(guesses, valid, strict=True)]) < 0.32
    )  # chance 0.25 ± 0.018
