"""Sub-words word by word: the library's own, and each distinct word asked for once."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers

from xlmr_flax.data import words
from xlmr_flax.data.tokenizer import load_tokenizer
from xlmr_flax.data.words import WordByWord, is_word_by_word

# What could part words otherwise than the library does: spaces of all kinds, control characters, marks that join.
ODD = "  \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u200b\u200d\ufeff▁"
MARKS = "\u0301\u0308\u093c\u0e33\uff9e\U0001f3fb\u0600か\u3099"
PARTS = st.one_of(
    st.sampled_from(["<s>", "</s>", "<mask>", " <mask> ", "<unk>", "<pad>", "dog", "the", "Füße", "ＡＢＣ", "日本語"]),
    st.text(st.sampled_from(ODD + MARKS + "abc <>"), max_size=4),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
TEXTS = st.lists(st.lists(PARTS, max_size=8).map("".join), max_size=4)


def of_the_library(backend, texts):
    return [backend.encode(text, add_special_tokens=False).ids for text in texts]


@settings(max_examples=400, deadline=None)
@given(texts=TEXTS)
def test_word_by_word_gives_the_librarys_ids_for_any_text(tokenizer, texts):
    assert is_word_by_word(tokenizer.backend)
    remembers = WordByWord(tokenizer.backend)
    wanted = of_the_library(tokenizer.backend, texts)
    assert remembers.ids(texts) == wanted
    assert remembers.ids(texts) == wanted
    assert [ids.tolist() for ids in tokenizer.ids(texts)] == wanted


def test_every_character_that_may_join_or_part_words_does_so_as_in_the_library(tokenizer):
    ranges = (range(1, 0x3100), range(0xA600, 0xAC00), range(0xFB00, 0xFFFE), range(0x1F000, 0x1FB00))
    texts = [f"a{chr(code)}b {chr(code)}c{chr(code)} d" for codes in ranges for code in codes]
    found = WordByWord(tokenizer.backend).ids(texts)
    wanted = [encoding.ids for encoding in tokenizer.backend.encode_batch(texts, add_special_tokens=False)]
    assert [text for text, one, other in zip(texts, found, wanted, strict=True) if one != other] == []


def test_a_word_is_asked_for_once_however_often_it_occurs(tokenizer, monkeypatch):
    asked = []

    def spy(backend, texts):
        asked.extend(texts)
        return of_the_library(backend, texts)

    monkeypatch.setattr(words, "library_ids", spy)
    remembers = WordByWord(tokenizer.backend)
    remembers.ids(["the dog the fox", "dog  fox"])
    remembers.ids(["the lazy dog", "a <mask> dog"])
    assert asked == ["▁the", "▁dog", "▁fox", "▁lazy", "a <mask> dog"]


def test_what_is_remembered_is_bounded(tokenizer, texts, monkeypatch):
    monkeypatch.setattr(words, "REMEMBERED", 3)
    remembers = WordByWord(tokenizer.backend)
    for text in texts:
        assert remembers.ids([text]) == of_the_library(tokenizer.backend, [text])
        assert len(remembers.known) <= 3 + len(text.split())


def changed(tokenizer_folder, **fields):
    content = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    return tokenizers.Tokenizer.from_str(json.dumps(content | fields))


def test_tokenizers_of_other_kinds_are_left_to_the_library(tokenizer_folder, tmp_path):
    spaces = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}
    assert not is_word_by_word(changed(tokenizer_folder, pre_tokenizer=spaces))
    assert not is_word_by_word(changed(tokenizer_folder, pre_tokenizer=None))
    plain = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert not is_word_by_word(plain)
    joined = changed(tokenizer_folder)
    joined.add_tokens([tokenizers.AddedToken("dog", normalized=True)])
    assert not is_word_by_word(joined)
    joined.save(str(tmp_path / "tokenizer.json"))
    texts = ["the dog, the hotdog", "dog"]
    found = load_tokenizer(tmp_path).ids(texts)
    assert [ids.tolist() for ids in found] == of_the_library(joined, texts)
    assert all(ids.dtype == np.int32 for ids in found)


@pytest.mark.parametrize("normaliser", [None, {"type": "NFKC"}])
def test_other_normalisers_go_word_by_word_too(tokenizer_folder, normaliser):
    backend = changed(tokenizer_folder, normalizer=normaliser)
    assert is_word_by_word(backend)
    texts = [
        "ＡＢＣ　ｄｅｆ \x1c x\x1fy",
        "e\u0301 \u200b dog",
        "\x1f",
        "▁a",
        "a▁b ▁▁",
        "＜s＞ the <s> dog",
        "a <s>\u0338 b",
    ]
    assert WordByWord(backend).ids(texts) == of_the_library(backend, texts)
