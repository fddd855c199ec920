import dataclasses
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from xlmr_flax.data.tokenizer import check_fits, load_tokenizer, train_tokenizer
from xlmr_flax.errors import InputError

LINES = [
    "The quick brown fox",
    "Über Füße, 中国 и чай",
    "",
    "   ",
    "ＡＢＣ　ｄｅｆ",
    "e\u0301te\u0301 a\u200bb",
    "½ ㎏ … ﬁ",
    "a <mask> b</s>c",
    "一二三四五六七八九十",
    "नमस्ते क़लम สุนัข",
]


def bare(text):
    return "".join(text.split()).replace("▁", "")


@pytest.fixture
def only_sentencepiece(tokenizer_folder, tmp_path):
    shutil.copy(tokenizer_folder / "sentencepiece.bpe.model", tmp_path)
    return tmp_path


def test_special_words_have_the_ids_of_xlm_r_and_the_mask_is_last(tokenizer):
    assert (tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk) == (0, 1, 2, 3)
    assert tokenizer.mask == tokenizer.vocab_size - 1 == 369
    assert [tokenizer.backend.id_to_token(i) for i in (0, 1, 2, 3, 369)] == ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.backend.id_to_token(4) not in ("<s>", "<pad>", "</s>", "<unk>", None)


def test_the_special_words_are_written_as_xlm_r_has_them(tokenizer_folder):
    added = json.loads((tokenizer_folder / "tokenizer.json").read_text())["added_tokens"]
    assert [(word["content"], word["lstrip"]) for word in added] == [
        ("<s>", False),
        ("<pad>", False),
        ("</s>", False),
        ("<unk>", False),
        ("<mask>", True),
    ]
    assert all(word["special"] and not word["rstrip"] and not word["normalized"] for word in added)


@pytest.mark.parametrize("both", [True, False], ids=["tokenizer.json", "only sentencepiece"])
def test_transformers_reads_a_trained_folder_and_gives_the_same_ids(
    tokenizer, tokenizer_folder, only_sentencepiece, both
):
    from transformers import AutoTokenizer

    folder = tokenizer_folder if both else only_sentencepiece
    shutil.copy(tokenizer_folder / "tokenizer_config.json", only_sentencepiece)
    theirs = AutoTokenizer.from_pretrained(folder)
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.mask_token_id == tokenizer.mask
    assert [theirs(line, add_special_tokens=False).input_ids for line in LINES] == [
        ids.tolist() for ids in tokenizer.ids(LINES)
    ]
    assert theirs("a", "b").input_ids == tokenizer.backend.encode("a", "b").ids


def test_a_folder_with_only_a_sentencepiece_model_gives_the_same_tokenizer(tokenizer, only_sentencepiece):
    converted = load_tokenizer(only_sentencepiece)
    ours, theirs = (json.loads(each.backend.to_str()) for each in (converted, tokenizer))
    (words, scores), (their_words, their_scores) = (
        zip(*each["model"].pop("vocab"), strict=True) for each in (ours, theirs)
    )
    assert words == their_words
    # Scores go through decimal text in tokenizer.json.
    np.testing.assert_allclose(scores, their_scores, rtol=1e-12)
    assert ours == theirs
    assert dataclasses.replace(converted, fingerprint="") == dataclasses.replace(tokenizer, fingerprint="")


def test_sentencepiece_itself_gives_the_same_pieces(tokenizer, tokenizer_folder):
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(tokenizer_folder / "sentencepiece.bpe.model"))
    lines = [line for line in LINES if "<mask>" not in line]
    # fairseq's shift: sentencepiece's unknown piece is 0, and its others stand one lower.
    shifted = [[piece + 1 if piece else 3 for piece in processor.encode(line)] for line in lines]
    assert shifted == [ids.tolist() for ids in tokenizer.ids(lines)]


def test_training_in_another_process_gives_the_same_bytes_and_no_noise(texts, tokenizer_folder, tmp_path):
    script = (
        "import sys, pathlib; from xlmr_flax.data.tokenizer import train_tokenizer;"
        "train_tokenizer(sys.stdin.read().splitlines(), 370, pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, input="\n".join(texts), text=True, capture_output=True, check=True, cwd=root)
    assert (done.stdout, done.stderr) == ("", "")
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    names = ["sentencepiece.bpe.model", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(written) == names
    assert written == {name: (tokenizer_folder / name).read_bytes() for name in names}


def test_a_line_longer_than_sentencepieces_own_limit_is_trained_on(tmp_path):
    train_tokenizer(["a b " * 2000 + "ξενία " * 2000], 13, tmp_path)
    assert load_tokenizer(tmp_path).unk not in load_tokenizer(tmp_path).ids(["ξενία"])[0]


def test_a_vocabulary_larger_than_the_text_supports_names_the_largest_which_works(texts, tmp_path):
    with pytest.raises(
        InputError, match=r"a vocabulary of 100000 is more than the text supports, which is \d+"
    ) as error:
        train_tokenizer(texts, 100_000, tmp_path)
    largest = int(re.search(r"ask for at most (\d+)", str(error.value))[1])
    train_tokenizer(texts, largest, tmp_path)
    assert load_tokenizer(tmp_path).vocab_size == largest
    with pytest.raises(InputError, match=f"ask for at most {largest} "):
        train_tokenizer(texts, largest + 1, tmp_path)


def test_a_vocabulary_too_small_for_the_characters_names_the_smallest_which_works(texts, tmp_path):
    with pytest.raises(InputError, match="a vocabulary of 50 has no room for the characters of the text") as error:
        train_tokenizer(texts, 50, tmp_path)
    smallest = int(re.search(r"ask for at least (\d+)", str(error.value))[1])
    train_tokenizer(texts, smallest, tmp_path)
    assert load_tokenizer(tmp_path).vocab_size == smallest
    with pytest.raises(InputError, match=f"ask for at least {smallest}"):
        train_tokenizer(texts, smallest - 1, tmp_path)


@pytest.mark.parametrize("vocab_size", [-1, 0, 5])
def test_a_vocabulary_of_hardly_more_than_special_words_is_refused(texts, tmp_path, vocab_size):
    with pytest.raises(
        InputError, match=f"a vocabulary of {vocab_size} is no more than the special words: ask for at "
    ):
        train_tokenizer(texts, vocab_size, tmp_path)


@pytest.mark.parametrize("none", [[], ["", "  "]])
def test_training_on_no_text_is_refused(tmp_path, none):
    with pytest.raises(InputError, match="the text to train a tokenizer on is empty"):
        train_tokenizer(none, 100, tmp_path)
    assert not list(tmp_path.iterdir())


def test_half_a_character_is_refused_and_shown(tokenizer, texts, tmp_path):
    for use in (lambda text: tokenizer.ids([text]), lambda text: tokenizer.encode([text])):
        with pytest.raises(InputError, match=r"the text 'half \\ud83d' holds half of a surrogate pair"):
            use("half \ud83d")
    with pytest.raises(InputError, match="holds half of a surrogate pair"):
        train_tokenizer([*texts, "\udc00"], 400, tmp_path)


def misplaced(tokenizer, text, spans):
    """The tokens whose place in the text does not hold their characters."""
    tokens = tokenizer.backend.encode(text, add_special_tokens=False).tokens
    held = [bare(tokenizer.normalise(text[start:end])) for start, end in spans]
    return [token for token, source in zip(tokens, held, strict=True) if bare(token) not in source]


@pytest.mark.parametrize(
    "text",
    ["e\u0301te\u0301", "xa\u0308 b", "\u0001ＡＢＣ abc", "\u0002\u0003 日本"],
    ids=["combining", "combining inside", "control before full-width", "controls before all"],
)
def test_the_librarys_own_offsets_are_wrong_where_ours_are_right(tokenizer, text):
    own = tokenizer.backend.encode(text, add_special_tokens=False).offsets
    assert misplaced(tokenizer, text, own)
    assert not misplaced(tokenizer, text, tokenizer.encode([text])[0].spans)


def test_a_lone_word_mark_lies_without_length_before_its_word_where_the_librarys_overlaps_it(tokenizer):
    text = "x\u200b\u0e01 "
    encoding = tokenizer.backend.encode(text, add_special_tokens=False)
    assert encoding.tokens == ["▁", "x", "▁", "\u0e01"]
    assert encoding.offsets[2] == encoding.offsets[3] == (2, 3)
    assert tokenizer.encode([text])[0].spans.tolist() == [[0, 0], [0, 1], [2, 2], [2, 3]]
    assert tokenizer.encode([""])[0].spans.shape == (0, 2)


@pytest.mark.parametrize(
    "text",
    ["ＡＢＣ dog", "dog　ＡＢ", "e\u0301te\u0301 dog", "do\u200bg fox", "fox\u200d dog", "\ufeffdo\u00adg"],
    ids=["full-width", "full-width space", "combining", "zero-width space", "joiner", "byte order mark"],
)
def test_the_librarys_own_offsets_overlap_where_ours_do_not(tokenizer, text):
    own = np.array(tokenizer.backend.encode(text, add_special_tokens=False).offsets)
    ours = tokenizer.encode([text])[0].spans
    assert (own[1:, 0] < own[:-1, 1]).any()
    assert (ours[1:, 0] >= ours[:-1, 1]).all()


CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from("abc ABC  ＡＢ１，。（　ﾊﾟｶﾞ½㎏…ﬁ\u0301\u0308\u093c\u200b\u200d\ufeff\u00ad▁का한ᄒ\t\n"),
)


@settings(max_examples=400, deadline=None)
@given(text=st.text(CHARACTERS, max_size=40))
def test_every_token_lies_where_its_characters_come_from(tokenizer, text):
    pieces = tokenizer.encode([text])[0]
    tokens = tokenizer.backend.encode(text, add_special_tokens=False).tokens
    assert pieces.aligned
    assert pieces.spans.dtype == np.int32
    assert len(pieces.spans) == len(pieces.ids) == len(tokens)
    assert (np.diff(pieces.spans, axis=0) >= 0).all()
    for token, (start, end) in zip(tokens, pieces.spans.tolist(), strict=True):
        assert 0 <= start <= end <= len(text)
        source = bare(tokenizer.normalise(text[start:end]))
        # A cluster that became several tokens belongs to each of them whole.
        assert bare(token) in source
        if bare(token) != source:
            assert (pieces.spans == (start, end)).all(axis=1).sum() > 1 or shares_a_cluster(pieces.spans, start, end)


def shares_a_cluster(spans, start, end):
    return ((spans[:, 0] < end) & (spans[:, 1] > start) & (spans != (start, end)).any(axis=1)).any()


def test_a_tokenizer_whose_pieces_do_not_spell_the_text_keeps_its_own_offsets_and_says_so(tmp_path):
    backend = tokenizers.Tokenizer(models.WordLevel({"[x]": 0}, unk_token="[x]"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    pieces = load_tokenizer(tmp_path).encode(["né da"])[0]
    assert not pieces.aligned
    assert pieces.spans.tolist() == [[0, 2], [2, 5]]


def test_lengths_baked_into_a_published_file_are_not_followed(tokenizer_folder, tokenizer, tmp_path):
    content = json.loads((tokenizer_folder / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1}
    content["padding"] |= {"pad_type_id": 0, "pad_token": "<pad>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).ids(LINES[:1])[0].tolist() == tokenizer.ids(LINES[:1])[0].tolist()


def test_the_fingerprint_is_that_of_the_content(tokenizer, tokenizer_folder, tmp_path):
    content = (tokenizer_folder / "tokenizer.json").read_bytes()
    assert tokenizer.fingerprint == hashlib.sha256(content).hexdigest()
    (tmp_path / "tokenizer.json").write_bytes(content + b"\n")
    assert load_tokenizer(tmp_path).fingerprint != tokenizer.fingerprint


def test_more_texts_than_the_library_gets_at_once_keep_their_order(tokenizer, monkeypatch):
    whole = tokenizer.ids(LINES), tokenizer.encode(LINES)
    monkeypatch.setattr("xlmr_flax.data.tokenizer.TEXTS_AT_ONCE", 3)
    assert [ids.tolist() for ids in tokenizer.ids(LINES)] == [ids.tolist() for ids in whole[0]]
    assert [pieces.spans.tolist() for pieces in tokenizer.encode(LINES)] == [p.spans.tolist() for p in whole[1]]
    assert [pieces.ids.tolist() for pieces in whole[1]] == [ids.tolist() for ids in whole[0]]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"wanted a folder with tokenizer.json or sentencepiece.bpe.model"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match=r"nowhere: there is no such folder"):
        load_tokenizer(tmp_path / "nowhere")


def test_a_tokenizer_without_the_special_words_is_refused_by_their_names(tmp_path):
    backend = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "<s>": 1, "<mask>": 2}, unk_token="<unk>"))
    backend.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer.json: the tokenizer lacks <pad> </s>; wanted one of XLM-R's kind"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tokenizer.json", "is no tokenizer that the tokenizers library can read"),
        ("sentencepiece.bpe.model", "is no sentencepiece model"),
    ],
)
def test_a_file_of_other_content_is_refused(tmp_path, name, text):
    (tmp_path / name).write_bytes(b"\xff\xfe nothing of the kind")
    with pytest.raises(InputError, match=f"{name}: this {text}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [lambda text: text[:-3], lambda text: f"{text[:8]}]{text[9:]}", lambda text: ""],
    ids=["short", "letter", "none"],
)
def test_damage_at_which_the_library_panics_is_told_and_nothing_else_said(texts, tmp_path, capfd, spoil):
    train_tokenizer(texts, 300, tmp_path)
    path = tmp_path / "tokenizer.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    whole["normalizer"]["precompiled_charsmap"] = spoil(whole["normalizer"]["precompiled_charsmap"])
    path.write_text(json.dumps(whole), encoding="utf-8")
    capfd.readouterr()
    with pytest.raises(InputError, match=r"tokenizer\.json: this is no tokenizer that the tokenizers library can read"):
        load_tokenizer(tmp_path)
    assert "panicked" not in capfd.readouterr().err


def test_a_sentencepiece_model_of_another_kind_is_refused(texts, tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(tmp_path / "bpe"),
        model_type="bpe",
        vocab_size=300,
        minloglevel=2,
    )
    (tmp_path / "bpe.model").rename(tmp_path / "sentencepiece.bpe.model")
    with pytest.raises(InputError, match="this sentencepiece model is not a Unigram model"):
        load_tokenizer(tmp_path)


def test_a_tokenizer_fits_weights_of_its_size_and_a_few_spare_rows_only(tokenizer):
    check_fits(tokenizer, 370)
    check_fits(tokenizer, 512)
    for vocab_size in (369, 250_002):
        with pytest.raises(InputError, match=f"has 370 words and the weights have vocab_size={vocab_size}"):
            check_fits(tokenizer, vocab_size)


def test_importing_the_encoders_imports_neither_transformers_nor_jax():
    script = (
        "import sys, xlmr_flax.data.encode, xlmr_flax.data.cache; print({'transformers', 'jax'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True, cwd=root)
    assert done.stdout == "set()\n"


def test_a_frequent_word_is_one_piece_though_no_other_word_holds_it(tmp_path):
    # sentencepiece's own candidates are what different words share: "the" would be "t" and "he".
    train_tokenizer(["the cat saw the dog", "the dog saw the cat", "the bird saw"] * 20, 24, tmp_path)
    pieces = load_tokenizer(tmp_path).backend.encode("the dog", add_special_tokens=False).tokens
    assert pieces == ["▁the", "▁dog"]
