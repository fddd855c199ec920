"""From files to encoded examples: each file is read once, and again when it or what reads it has changed."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from xlmr_flax.config.schema import TextFiles
from xlmr_flax.data import load as module
from xlmr_flax.data.encode import Encoded
from xlmr_flax.data.encoded import together
from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import (
    encode,
    load_examples,
    load_languages,
    load_sentences,
    load_text,
)
from xlmr_flax.sources.rows import Answer, Choices, Classified, Question, Tagged
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.fingerprints import fingerprints, text_fingerprints
from xlmr_flax.tasks.task import Head

NLI = ["the fox jumps\tthe dog sleeps\tneutral", "a river\tthe grass\tentailment", "the lazy dog\tnoon\tcontradiction"]


@pytest.fixture
def folders(tmp_path):
    """Arguments that name a data folder with a few files and an empty cache."""
    data = tmp_path / "data"
    (data / "xnli").mkdir(parents=True)
    (data / "xnli" / "dev-en.tsv").write_text("".join(f"{line}\n" for line in NLI))
    (data / "text").mkdir()
    for name, lines in (("a", ["the fox jumps over", "the dog sleeps on"]), ("b", ["ça va de soi"])):
        (data / "text" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return {"data": data, "cache": tmp_path / "cache"}


def test_several_languages_are_one_after_the_other_and_kept_whole(folders, tokenizer, monkeypatch):
    (folders["data"] / "xnli" / "dev-de.tsv").write_text("ein Fuchs\tder Hund\tneutral\n")
    how = {"tokenizer": tokenizer, "length": 16, **folders}
    parts = [load_examples(task("xnli"), "dev", lang, **how).encoded for lang in ("de", "en")]
    found = load_languages(task("xnli"), "dev", ("de", "en"), **how)
    assert (found.items, found.kind, found.length, found.units_per_item) == (4, "sequence", 16, 1)
    assert found.encoded.example.tolist() == [0, 1, 2, 3]
    assert found.encoded.label.tolist() == [1, 1, 0, 2]
    units = [list(found.encoded.ids[a:b]) for a, b in itertools.pairwise(found.encoded.start)]
    assert units == [list(part.ids[a:b]) for part in parts for a, b in itertools.pairwise(part.start)]
    assert found.encoded.counts["rows"] == 4
    assert found.encoded.counts["tokens"] == len(found.encoded.ids)
    for name in ("found", "encode", "together"):
        monkeypatch.setattr(module, name, refuse)
    again = load_languages(task("xnli"), "dev", ("de", "en"), **how)
    np.testing.assert_array_equal(again.encoded.ids, found.encoded.ids)
    with pytest.raises(AssertionError, match="again"):
        load_languages(task("xnli"), "dev", ("en", "de"), **how)


@pytest.mark.parametrize("kind", ["sequence", "choice", "token", "span"])
def test_parts_together_are_as_if_all_rows_stood_in_one_file(kind, tokenizer):
    head, make = ROWS[kind]
    rows = [make(str(number)) for number in range(6)]
    whole = encode(head, rows, tokenizer, 16)
    found = together([encode(head, rows[start:stop], tokenizer, 16) for start, stop in ((0, 1), (1, 4), (4, 6))])
    for name in set(Encoded._fields) - {"counts"}:
        np.testing.assert_array_equal(np.asarray(getattr(found, name)), np.asarray(getattr(whole, name)), err_msg=name)
    assert found.counts == whole.counts


def test_rows_that_were_left_out_are_counted_in_the_cache(folders, tokenizer):
    path = folders["data"] / "snli" / "snli_1.0_dev.jsonl"
    path.parent.mkdir()
    row = {"sentence1": "the fox", "sentence2": "the dog"}
    path.write_text("".join(json.dumps({**row, "gold_label": label}) + "\n" for label in ("neutral", "-", "neutral")))
    for _ in range(2):
        found = load_examples(task("snli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
        counts = found.encoded.counts
        assert (found.items, counts["excluded"], counts["excluded: the annotators agree on no label"]) == (2, 1, 1)
    text = load_text(TextFiles(tasks=("snli",)), tokenizer=tokenizer, length=16, mask_rate=0.3, **folders)
    assert (text.items, text.encoded.counts["excluded"]) == (2, 1)


def refuse(*args, **kwargs):
    raise AssertionError("read or encoded again")


def test_rows_are_encoded_once_and_then_read_from_the_cache(folders, tokenizer, monkeypatch):
    first = load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    assert (first.items, first.kind, first.length, first.pad, first.units_per_item) == (3, "sequence", 16, 1, 1)
    assert first.encoded.label.tolist() == [1, 0, 2]
    for name in ("found", "encode"):
        monkeypatch.setattr(module, name, refuse)
    again = load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    np.testing.assert_array_equal(again.encoded.ids, first.encoded.ids)
    for change in ({"length": 8}, {"spec": "dev[:50%]"}):
        with pytest.raises(AssertionError, match="again"):
            load_examples(
                task("xnli"), change.get("spec", "dev"), "en",
                tokenizer=tokenizer, length=change.get("length", 16), **folders,
            )  # fmt: skip


def test_a_changed_file_is_encoded_again(folders, tokenizer):
    load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    before = fingerprints(task("xnli"), "dev", "en", folders["data"])
    with (folders["data"] / "xnli" / "dev-en.tsv").open("a") as file:
        file.write("one\tmore\tneutral\n")
    found = load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    assert found.items == 4
    after = fingerprints(task("xnli"), "dev", "en", folders["data"])
    assert before.keys() == after.keys() == {"xnli/dev-en.tsv"}
    assert before != after


def test_another_tokenizer_is_another_entry(folders, tokenizer, monkeypatch):
    load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    monkeypatch.setattr(module, "found", refuse)
    other = dataclasses.replace(tokenizer, fingerprint="another")
    with pytest.raises(AssertionError, match="again"):
        load_examples(task("xnli"), "dev", "en", tokenizer=other, length=16, **folders)


def test_text_is_masked_but_never_its_special_tokens(folders, tokenizer, monkeypatch):
    text = TextFiles(files=("text/*.txt",))
    found = load_text(text, tokenizer=tokenizer, length=16, mask_rate=0.3, **folders)
    assert (found.kind, found.items, found.masking.rate) == ("mlm", 3, 0.3)
    specials = {tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk, tokenizer.mask}
    assert set(found.masking.specials) == specials
    assert found.masking.mask_id == tokenizer.mask
    assert set(found.masking.words) == set(range(tokenizer.vocab_size)) - specials
    assert set(text_fingerprints(text, folders["data"])) == {"text/a.txt", "text/b.txt"}
    monkeypatch.setattr(module, "text_found", refuse)
    # The rate is no part of what is cached: it hides other tokens of the same ids.
    again = load_text(text, tokenizer=tokenizer, length=16, mask_rate=0.5, **folders)
    np.testing.assert_array_equal(again.encoded.ids, found.encoded.ids)


def test_sentences_are_kept_under_the_key_that_is_given(folders, tokenizer, monkeypatch):
    how = {"tokenizer": tokenizer, "length": 16, "cache": folders["cache"]}
    found = load_sentences(["the fox", "a dog sleeps"], key={"side": "source"}, **how)
    assert (found.kind, found.items) == ("embedding", 2)
    monkeypatch.setattr(module, "encode_sentences", refuse)
    assert load_sentences(["never read"], key={"side": "source"}, **how).items == 2
    with pytest.raises(AssertionError, match="again"):
        load_sentences(["the fox"], key={"side": "target"}, **how)


def tagged(name):
    times = 1 + 4 * int(name)
    return Tagged(name, name, ("the", "dog") * times, ("A", "B") * times)


def question(name):
    return Question(name, name, "the brown fox jumps " * (1 + 3 * int(name)), "who", (Answer("fox", 10),))


ROWS = {
    "sequence": (Head("sequence", ("x", "y")), lambda n: Classified(n, n, "the fox " * (1 + int(n) % 3), None, "y")),
    "choice": (Head("choice", options=2), lambda n: Choices(n, n, "the dog", ("sleeps", "jumps on"), 1)),
    "token": (Head("token", ("A", "B")), tagged),
    "span": (Head("span"), question),
}


@pytest.mark.parametrize("kind", ROWS)
def test_the_first_rows_are_as_if_the_file_had_no_others(kind, tokenizer):
    head, make = ROWS[kind]
    rows = [make(str(number)) for number in range(6)]

    def encoded(count):
        return Examples(kind, encode(head, rows[:count], tokenizer, 16), 16, 1, units_per_item=head.options or 1)

    whole = encoded(6)
    for count in (1, 2, 5, 6):
        found, wanted = whole.first_rows(count), encoded(count)
        assert found.items == wanted.items
        for name in set(Encoded._fields) - {"counts"}:
            one, other = (np.asarray(getattr(each.encoded, name)) for each in (found, wanted))
            np.testing.assert_array_equal(one, other, err_msg=f"{name} of {count}")
    assert kind not in ("token", "span") or whole.items > 6


@pytest.mark.parametrize("kind", ROWS)
def test_a_subset_is_of_whole_examples_and_nested(kind, tokenizer):
    head, make = ROWS[kind]
    examples = Examples(
        kind, encode(head, [make(str(n)) for n in range(6)], tokenizer, 16), 16, 1, units_per_item=head.options or 1
    )
    of_item = np.asarray(examples.encoded.example)[:: examples.units_per_item]
    before: set[int] = set()
    for limit in range(1, 7):
        items = examples.subset(limit, seed=5)
        taken = set(of_item[items])
        assert len(taken) == limit
        assert sorted(items) == np.flatnonzero(np.isin(of_item, list(taken))).tolist()
        assert before <= taken
        before = taken
    assert examples.subset(None, seed=5).tolist() == list(range(examples.items))


def test_masked_lm_has_no_labelled_rows(tokenizer):
    with pytest.raises(ValueError, match="a mlm head trains on no labelled rows"):
        encode(Head("mlm"), [], tokenizer, 16)


def test_what_is_cached_says_what_it_is(folders, tokenizer):
    load_examples(task("xnli"), "dev", "en", tokenizer=tokenizer, length=16, **folders)
    (manifest,) = folders["cache"].rglob("manifest.json")
    key = json.loads(manifest.read_text())["identity"]["key"]
    assert (key["rows"]["task"], key["rows"]["split"], key["length"]) == ("xnli", "dev", 16)
    assert [name for name, _ in key["files"]] == ["xnli/dev-en.tsv"]
