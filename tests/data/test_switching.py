"""Words of encoded examples replaced by translations: labels stay with their words, and nothing is lost."""

import numpy as np
import pytest

from xlmr_flax.data.batches import TrainingBatches
from xlmr_flax.data.encode import encode_choice, encode_sequence, encode_span, encode_token
from xlmr_flax.data.encoded import named
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.switching import Switch
from xlmr_flax.sources.rows import Answer, Choices, Classified, Question, Tagged

DICTIONARY = {"dog": (("hund",), ("chien", "le chien noir")), "lazy": (("faul",),), "the": (("der", "die"),),
              "river": (("fluss",),), "noon": (("mittag",),)}  # fmt: skip
TAGS = ("D", "A", "N", "V", "P")


@pytest.fixture(scope="module")
def switch(tokenizer):
    def make(rate=1.0, dictionary=DICTIONARY):
        return Switch(tokenizer, {"en": dictionary}, rate)

    return make


@pytest.fixture(scope="module")
def text_of(tokenizer):
    return lambda ids: tokenizer.backend.decode([int(one) for one in ids])


def examples_of(kind, encoded, rows, tokenizer, length=96, lang="en"):
    per = len(rows[0].options) if kind == "choice" else 1
    return Examples(kind, named(encoded, [row.id for row in rows], lang), length, tokenizer.pad, units_per_item=per)


@pytest.fixture(scope="module")
def pairs(tokenizer):
    rows = [Classified(str(n), str(n), f"the lazy dog, number {n}, sleeps.", "(the river) at noon.", "b")
            for n in range(12)]  # fmt: skip
    return examples_of("sequence", encode_sequence(rows, ("a", "b"), tokenizer, 96), rows, tokenizer)


def units(examples):
    return [examples.encoded.ids[a:b] for a, b in zip(examples.encoded.start, examples.encoded.start[1:], strict=False)]


def noise(seed=0):
    return np.random.default_rng(seed)


def test_every_word_of_the_dictionary_is_replaced_and_no_other(switch, pairs, text_of):
    found = switch()(pairs, np.array([3, 7]), noise())
    said = {text_of(unit) for unit in units(found)}
    assert all(" faul " in text and "number" in text and "fluss)" in text and "mittag." in text for text in said)
    assert not any(word in text for text in said for word in (" dog", "lazy", "river", "noon", "the "))
    assert found.encoded.label.tolist() == [1, 1]
    many = [text_of(unit) for seed in range(30) for unit in units(switch()(pairs, np.array([0]), noise(seed)))]
    assert {"hund,", "chien,", "noir,"} <= {word for text in many for word in text.split()}
    assert {text.split()[0].removeprefix("<s>") for text in many} == {"der", "die"}


def test_the_rate_is_the_share_of_the_words_that_are_replaced(switch, pairs, text_of):
    every = np.repeat(np.arange(12), 20)
    texts = [text_of(unit) for unit in units(switch(0.3)(pairs, every, noise()))]
    for word in ("lazy", "river", "noon"):
        assert abs(np.mean([word not in text for text in texts]) - 0.3) < 4 * np.sqrt(0.21 / len(texts))


def test_without_a_dictionary_of_its_language_an_item_stays_as_it_is(switch, pairs):
    found = Switch(switch().tokenizer, {"de": DICTIONARY}, 1.0)(pairs, np.arange(12), noise())
    np.testing.assert_array_equal(found.encoded.ids, pairs.encoded.ids)


def test_a_tag_stays_with_its_word(switch, tokenizer, text_of):
    words = ("the", "lazy", "dog", "sleeps", ".")
    rows = [Tagged(str(n), str(n), words, TAGS) for n in range(3)]
    examples = examples_of("token", encode_token(rows, TAGS, tokenizer, 96), rows, tokenizer)
    seen = set()
    for seed in range(20):
        found = switch()(examples, np.array([2, 0]), noise(seed))
        assert len(found.encoded.label) == len(found.encoded.ids)
        for start, stop in zip(found.encoded.start[:-1], found.encoded.start[1:], strict=True):
            label, ids = found.encoded.label[start:stop], found.encoded.ids[start:stop]
            places = np.flatnonzero(label >= 0)
            assert [TAGS[tag] for tag in label[places]] == list(TAGS)
            parts = [text_of(part).strip() for part in np.split(ids[1:-1], places[1:] - 1)]
            assert (parts[0] in ("der", "die"), parts[1], parts[3], parts[4]) == (True, "faul", "sleeps", ".")
            seen.add(parts[2])
    assert seen == {"hund", "chien", "le chien noir"}


def test_an_answer_keeps_its_words_and_its_place(switch, tokenizer, text_of):
    context = "the dog sleeps at the river until noon, and the lazy dog sleeps on."
    start = context.index("the lazy dog")
    rows = [Question("q", "g", context, "which dog sleeps at noon?", (Answer("the lazy dog", start),)),
            Question("n", "g", context, "which dog is it?", ())]  # fmt: skip
    examples = examples_of("span", encode_span(rows, tokenizer, 96), rows, tokenizer, length=96)
    for seed in range(10):
        found = switch()(examples, np.array([0, 1]), noise(seed))
        ids, (first, last) = units(found)[0], found.encoded.label[0]
        assert text_of(ids[first : last + 1]).strip() == "the lazy dog"
        assert text_of(ids).count("dog") == 1
        assert "mittag?" in text_of(ids)
        assert found.encoded.label[1].tolist() == [0, 0]


def test_a_word_is_not_replaced_where_its_unit_would_no_longer_fit(switch, tokenizer, pairs):
    longest = int(pairs.lengths().max())
    tight = Examples("sequence", pairs.encoded, longest, tokenizer.pad)
    found = switch(dictionary={"dog": (("a much longer word than it",),)})(tight, np.arange(12), noise())
    full = pairs.lengths() == longest
    assert full.any()
    np.testing.assert_array_equal(found.lengths()[full], longest)
    assert found.lengths().max() <= longest


def test_what_options_have_in_common_stays_in_common(switch, tokenizer, text_of):
    rows = [Choices(str(n), str(n), "the lazy dog and the river.", ("it was noon.", "no dog slept."), 1)
            for n in range(8)]  # fmt: skip
    examples = examples_of("choice", encode_choice(rows, tokenizer, 96), rows, tokenizer)
    found = switch(0.5)(examples, np.arange(8), noise())
    prompts = [text_of(unit).split("</s>")[0] for unit in units(found)]
    before = [text_of(unit).split(".")[0] for unit in units(found)]
    assert before[::2] == before[1::2]
    assert len(set(before)) > 3
    assert prompts
    assert found.encoded.label.tolist() == [1] * 8


@pytest.mark.parametrize("packed_over", [None, 2])
def test_a_batch_depends_on_its_number_and_every_shape_takes_it(switch, pairs, packed_over):
    def batches(seed=3, over=packed_over):
        return TrainingBatches(pairs, np.arange(12), batch_size=6, micro_batches=2, seed=seed, packed_over=over,
                               switch=switch(0.5))  # fmt: skip

    one, two = batches(), batches()
    late = two(5)
    for step in range(6):
        batch = one(step)
        rows, length = one.shape(step)
        assert (batch.tokens.ids_BL.shape[0] * batch.tokens.ids_BL.shape[1], batch.tokens.ids_BL.shape[2]) == (
            rows, length,
        )  # fmt: skip
        assert (rows // 2, length) in {tuple(shape) for shape in one.shapes}
    np.testing.assert_array_equal(late.tokens.ids_BL, one(5).tokens.ids_BL)
    epochs = [np.sort(one.made(step)[1].encoded.ids) for step in (0, 2)]  # the first batches of two epochs
    assert len(epochs[0]) != len(epochs[1]) or (epochs[0] != epochs[1]).any()


def test_packed_and_unpacked_batches_hold_the_same_units(switch, pairs):
    found = [
        TrainingBatches(pairs, np.arange(12), batch_size=6, micro_batches=1, seed=3, packed_over=over,
                        switch=switch(0.5))(1).tokens
        for over in (None, 2)
    ]  # fmt: skip
    held = [
        [tokens.ids_BL[tokens.unit_BL == unit].tolist() for unit in range(6)] for tokens in found
    ]  # fmt: skip
    assert held[0] == held[1]
