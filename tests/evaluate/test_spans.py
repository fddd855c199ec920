import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.data.encode import Encoded, encode_span
from xlmr_flax.data.tokenizer import load_tokenizer, train_tokenizer
from xlmr_flax.evaluate import spans
from xlmr_flax.evaluate.spans import best_answers, guesses
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.sources.rows import Answer, Question

CONTEXTS = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the warm grass.",
    "敏捷的棕色狐狸跳过了懒狗，然后它在河边睡着了。１９９９年，今天天气很好。",
    "L'e\u0301te\u0301 dernier, où étiez-vous ? Nous étions près de la forêt, ça va de soi.",
    "الثعلب البني السريع يقفز فوق الكلب الكسول، ثم ينام الكلب في الحديقة.",
]


def question(context):
    return Question("1", "", context, "?", None)


def encoded_words(rows, windows):
    """Units with a question of one token and the words from `first` to `last` of a row's context."""
    where, start, example = [], [0], []
    for row, first, last in windows:
        begin = 0
        spans = []
        for word in rows[row].context.split(" "):
            spans.append((begin, begin + len(word)))
            begin += len(word) + 1
        where += [(-1, -1)] * 4 + spans[first:last] + [(-1, -1)]
        start.append(len(where))
        example.append(row)
    empty = np.zeros(0, np.int32)
    places = np.array(where, np.int32).reshape(-1, 2)
    return Encoded(np.zeros(len(where), np.int32), np.array(start), np.array(example, np.int32), empty, places, {})


def logits(encoded, peaks):
    """Zeros, and the given values at (unit, word of the unit's window)."""
    units = [np.zeros(length, np.float32) for length in np.diff(encoded.start)]
    for (unit, word), value in peaks.items():
        units[unit][4 + word] = value
    return units


ROWS = [question("a b c d e f g h")]
ONE = encoded_words(ROWS, [(0, 0, 8)])


def test_the_answer_is_the_text_between_the_two_best_tokens():
    assert best_answers(ROWS, ONE, logits(ONE, {(0, 2): 5}), logits(ONE, {(0, 4): 5})) == ["c d e"]


def test_the_best_pair_is_in_order_even_where_the_single_best_are_not():
    start, end = logits(ONE, {(0, 6): 5, (0, 1): 3}), logits(ONE, {(0, 2): 5, (0, 7): 1})
    assert best_answers(ROWS, ONE, start, end) == ["b c"]


@pytest.mark.parametrize(("limit", "answer"), [(4, "c d e f"), (3, "g h")])
def test_an_answer_has_at_most_so_many_tokens(limit, answer):
    start, end = logits(ONE, {(0, 2): 5, (0, 6): 2}), logits(ONE, {(0, 5): 5, (0, 7): 4})
    assert best_answers(ROWS, ONE, start, end, max_answer_tokens=limit) == [answer]


def test_the_question_and_the_null_answer_are_never_chosen():
    start, end = logits(ONE, {(0, 3): 1}), logits(ONE, {(0, 3): 1})
    for values in (start, end):
        values[0][[0, 1, 2, 3, -1]] = 100
    assert best_answers(ROWS, ONE, start, end) == ["d"]


def test_both_ends_are_among_the_best_of_their_kind_unless_those_make_no_answer():
    # b alone has the highest sum, but b is only the third of the starts.
    start, end = logits(ONE, {(0, 0): 9, (0, 2): 8, (0, 1): 7}), logits(ONE, {(0, 1): 9, (0, 2): 1})
    assert best_answers(ROWS, ONE, start, end, max_answer_tokens=1, n_best=2) == ["c"]
    assert best_answers(ROWS, ONE, start, end, max_answer_tokens=1, n_best=3) == ["b"]
    # Both best starts come after both best ends.
    start, end = logits(ONE, {(0, 6): 9, (0, 7): 8, (0, 1): 2}), logits(ONE, {(0, 0): 9, (0, 1): 8})
    assert best_answers(ROWS, ONE, start, end, n_best=2) == ["b"]


def test_null_is_measured_at_the_first_token_against_the_best_answer():
    start, end = logits(ONE, {(0, 2): 5}), logits(ONE, {(0, 4): 3})
    start[0][0], end[0][0] = 6, 1.5
    # Nothing else is null: not the question's tokens, not the separator.
    start[0][[1, 2, 3, -1]] = end[0][[1, 2, 3, -1]] = 100
    assert guesses(ROWS, ONE, start, end) == [Guess("c d e", -0.5)]


def test_null_is_that_of_the_window_in_which_it_is_least_probable():
    encoded = encoded_words(ROWS, [(0, 0, 5), (0, 3, 8)])
    start, end = logits(encoded, {(0, 1): 4}), logits(encoded, {(0, 1): 4})
    start[0][0], end[0][0], start[1][0], end[1][0] = 9, 9, 2, -3
    assert guesses(ROWS, encoded, start, end) == [Guess("b", -9.0)]


def test_each_question_has_its_own_null():
    rows = [question("a b"), question("c d")]
    encoded = encoded_words(rows, [(0, 0, 2), (1, 0, 2), (1, 1, 2)])
    start, end = logits(encoded, {(0, 0): 1, (1, 1): 1}), logits(encoded, {(0, 0): 1, (1, 1): 1})
    start[0][0], start[1][0], start[2][0] = 3, 5, 4
    assert guesses(rows, encoded, start, end) == [Guess("a", 1.0), Guess("d", 2.0)]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_guesses_are_the_best_answers_and_what_transformers_calls_the_score_difference(seed):
    random = np.random.default_rng(seed)
    rows = [question(" ".join(f"{row}w{word}" for word in range(random.integers(1, 9)))) for row in range(3)]
    windows = [(row, first, first + 4) for row in range(3) for first in range(0, rows[row].context.count(" ") + 1, 2)]
    encoded = encoded_words(rows, windows)
    start, end = ([random.normal(size=length) for length in np.diff(encoded.start)] for _ in range(2))
    found = guesses(rows, encoded, start, end)
    assert [guess.text for guess in found] == best_answers(rows, encoded, start, end)
    for row, guess in enumerate(found):
        units = np.flatnonzero(encoded.example == row)
        highest = max(
            start[unit][a] + end[unit][b]
            for unit in units
            for a in range(len(start[unit]))
            for b in range(a, len(start[unit]))
            if min(encoded.where[encoded.start[unit] + place, 0] for place in (a, b)) >= 0
        )
        null = min(start[unit][0] + end[unit][0] for unit in units)
        assert guess.null_score == pytest.approx(null - highest)


def test_a_context_without_words_prefers_neither():
    rows = [question("")]
    encoded = encoded_words(rows, [(0, 0, 0)])
    assert guesses(rows, encoded, logits(encoded, {}), logits(encoded, {})) == [Guess("", 0.0)]


def brute(rows, encoded, start, end, max_answer_tokens, n_best):
    """The definition, pair by pair."""
    best = {}
    for unit, row in enumerate(encoded.example):
        where = encoded.where[encoded.start[unit] : encoded.start[unit + 1]]
        inside = [place for place in range(len(where)) if where[place, 0] >= 0]
        few = [sorted(inside, key=lambda place, by=by: -by[unit][place])[:n_best] for by in (start, end)]
        for begins, closes in (few, (inside, inside)):
            pairs = [
                (float(start[unit][a]) + float(end[unit][b]), where[a, 0], where[b, 1])
                for a in begins
                for b in closes
                if a <= b < a + max_answer_tokens
            ]
            if pairs:
                break
        if pairs and (row not in best or max(pairs)[0] > best[row][0]):
            best[row] = max(pairs)
    return [rows[row].context[best[row][1] : best[row][2]] if row in best else "" for row in range(len(rows))]


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), limit=st.integers(1, 6), n_best=st.integers(1, 9))
def test_the_answer_is_that_of_trying_all_pairs(seed, limit, n_best):
    random = np.random.default_rng(seed)
    rows = [question(" ".join(f"{row}w{word}" for word in range(random.integers(1, 12)))) for row in range(4)]
    windows = [
        (row, first, min(first + 5, rows[row].context.count(" ") + 1))
        for row in range(4)
        for first in range(0, rows[row].context.count(" ") + 1, 3)
    ]
    encoded = encoded_words(rows, windows)
    start, end = ([random.normal(size=length) for length in np.diff(encoded.start)] for _ in range(2))
    wanted = brute(rows, encoded, start, end, limit, n_best)
    assert best_answers(rows, encoded, start, end, limit, n_best) == wanted


def test_the_best_of_several_windows_wins_and_the_first_of_equals():
    encoded = encoded_words(ROWS, [(0, 0, 5), (0, 3, 8)])
    start, end = logits(encoded, {(0, 1): 2, (1, 3): 3}), logits(encoded, {(0, 1): 2, (1, 4): 3})
    assert best_answers(ROWS, encoded, start, end) == ["g h"]
    start, end = logits(encoded, {(0, 1): 3, (1, 3): 3}), logits(encoded, {(0, 1): 3, (1, 4): 3})
    assert best_answers(ROWS, encoded, start, end) == ["b"]


def test_answers_do_not_depend_on_how_many_windows_are_scored_at_once(monkeypatch):
    random = np.random.default_rng(0)
    rows = [question(" ".join(f"{row}w{word}" for word in range(12))) for row in range(5)]
    encoded = encoded_words(rows, [(row, first, first + 6) for row in range(5) for first in (0, 3, 6)])
    start, end = ([random.normal(size=length) for length in np.diff(encoded.start)] for _ in range(2))
    whole = best_answers(rows, encoded, start, end)
    monkeypatch.setattr(spans, "WINDOWS", 2)
    assert best_answers(rows, encoded, start, end) == whole
    assert all(answer.startswith(f"{row}w") for row, answer in enumerate(whole))


def test_a_context_without_words_has_the_empty_answer_and_no_rows_have_none():
    rows = [question(""), question("a b")]
    encoded = encoded_words(rows, [(0, 0, 0), (1, 0, 2)])
    assert best_answers(rows, encoded, logits(encoded, {}), logits(encoded, {})) == ["", "a"]
    assert best_answers([], encoded_words([], []), [], []) == []


def test_a_lone_word_mark_is_part_of_an_answer_and_never_one_alone():
    encoded = ONE._replace(where=ONE.where.copy())
    encoded.where[4 + 2] = (6, 6)  # ▁ before the fourth word
    high = logits(encoded, {(0, 2): 9})
    assert best_answers(ROWS, encoded, high, logits(encoded, {(0, 2): 9, (0, 3): 5})) == ["d"]


def test_white_space_that_a_token_brings_along_is_no_part_of_the_answer():
    encoded = ONE._replace(where=ONE.where.copy())
    encoded.where[4 + 2] = (3, 6)
    high = logits(encoded, {(0, 2): 9})
    assert best_answers(ROWS, encoded, high, high) == ["c"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(CONTEXTS, 105, folder)
    return load_tokenizer(folder)


@settings(max_examples=200, deadline=None)
@given(data=st.data(), context=st.sampled_from(CONTEXTS), length=st.integers(24, 80), stride=st.integers(1, 40))
def test_logits_that_point_at_the_label_give_the_answer_back(tokenizer, data, context, length, stride):
    spans = tokenizer.encode([context])[0].spans
    words = [span for span in spans.tolist() if span[0] < span[1]]
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 4, len(words) - 1)))
    start, end = words[first][0], words[last][1]
    rows = [Question("1", "", context, "?", (Answer(context[start:end], start),))]
    encoded = encode_span(rows, tokenizer, length, stride)
    if not encoded.label.any():
        return
    begins, closes = ([np.zeros(size) for size in np.diff(encoded.start)] for _ in range(2))
    for unit, (begin, close) in enumerate(encoded.label):
        begins[unit][begin] = closes[unit][close] = 1.0
    assert best_answers(rows, encoded, begins, closes) == [context[start:end]]
