"""Tasks of pairs, from every layout in which their files come, to rows; and what is left out of them."""

import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Excluded
from xlmr_flax.sources.tsv import COLUMNS
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import excluded_text, found, rows
from xlmr_flax.tasks.task import gold, scores

XNLI = "language\tgold_label\tsentence1\tsentence2\tpromptID\tpairID\n"
MT = "premise\thypo\tlabel\n"
PAWSX = "id\tsentence1\tsentence2\tlabel\n"
GLUE = "index\tsentence1\tsentence2\tgold_label\n"
QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
OWN = {"text": "Eins", "pair": "Zwei"}


def nli(label, one="A", two="B"):
    return json.dumps({"gold_label": label, "sentence1": one, "sentence2": two, "annotator_labels": [label]}) + "\n"


def anli(label, one="A", two="B"):
    return json.dumps({"uid": "u", "context": one, "hypothesis": two, "label": label, "reason": ""}) + "\n"


FOLDER = {
    "XNLI-1.0/xnli.dev.tsv": XNLI + "de\tneutral\t Ja \tNein\t1\t1\nen\tneutral\tYes\tNo\t1\t1\n",
    "XNLI-1.0/xnli.test.tsv": XNLI
    + "de\tcontradictory\tHund\tKatze\t1\t7\nde\tneutral\tGut\tBös\t2\t9\n"
    + "en\tneutral\tGood\tBad\t2\t9\nen\tcontradiction\tDog\tCat\t1\t7\n",
    "XNLI-MT-1.0/multinli/multinli.train.en.tsv": MT + "Yes .\tNo .\tentailment\n",
    "XNLI-MT-1.0/multinli/multinli.train.de.tsv": MT
    + "Ja .\tNein .\tcontradictory\nJa .\t\tneutral\nJa .\tneutral\nJa .\tNein .\tJa .\tneutral\n"
    + "Ja .\tNein .\tneutral\nJa .\tNein .\thmm\nNein .\tJa .\tneutral\nEs .\tEs .\tentailment\nSo .\tSo .\tneutral\n",
    "xtreme_translations/XNLI/translate-train/en-fr-translated.tsv": "A\tB\tOui\tNon\tcontradictory\n"
    'A\tB\t\tNon\tneutral\nA\tB\t"Ha\tNon\tneutral\n',
    "xnli/test-fr.tsv": "Oui\tNon\tneutral\r\n",
    "xnli/test-es.tsv": "Sí\tNo\tneutral\r\n",
    "x-final/en/train.tsv": PAWSX + "1\tOne .\tTwo .\t0\n2\tOne .\tOne .\t1\n",
    "x-final/de/translated_train.tsv": PAWSX + "1\tEins .\tZwei .\t0\n2\tNS\tEins .\t1\n3\tEins .\tEins .\t1\n"
    "4\tEins .\tEins .\tEins .\n5\tEins . 1\n6\tZwei\tZwei\t1\n7\tDrei\tDrei\t1\n",
    "x-final/de/test_2k.tsv": PAWSX + "1\tEins\tZwei\t0\n2\tNS\t\t1\n",
    "x-final/ja/test_2k.tsv": PAWSX + "1\t一\t二\t0\n2\t三\t四\t1\n",
    "xtreme_translations/PAWSX/translate-train/en-ko-translated.tsv": "A\tB\t일\t이\t1\n"
    "A\tB\t일\t이\thm\nA\tB\t삼\t사\t0\n",
    "snli/snli_1.0_train.jsonl": nli("neutral") + nli("-") + nli("entailment"),
    "snli/snli_1.0_dev.jsonl": nli("neutral"),
    "snli/snli_1.0_test.jsonl": nli("neutral"),
    "mnli/train.tsv": GLUE + "0\tA\tB\tneutral\n",
    "mnli/dev_matched.tsv": GLUE + "0\tC\tD\tneutral\n",
    "mnli/dev_mismatched.tsv": GLUE + "0\tE\tF\tentailment\n",
    "anli/R1/train.jsonl": anli("e"),
    "anli/R2/train.jsonl": anli("n") + anli("c"),
    "anli/R3/train.jsonl": anli("c"),
    "anli/R1/dev.jsonl": anli("e"),
    "anli/R2/dev.jsonl": anli("e"),
    "anli/R3/dev.jsonl": anli("e"),
    "anli/R1/test.jsonl": anli("e"),
    "anli/R2/test.jsonl": anli("e"),
    "qqp/train.tsv": QQP
    + "".join(f"{n}\t1\t2\tWhy ?\tHow ?\t{n % 2}\n" for n in range(98))
    + "98\t1\t2\tbroken\nhere ?\tHow ?\t1\n",
    "qqp/dev.tsv": QQP + '0\t1\t2\t"Why\tWhy ?\t1\n1\t1\t2\tWho ?\tWhy ?\t0\n',
    "qqp/test.tsv": "id\tquestion1\tquestion2\n0\tWhy ?\tHow ?\n",
    "translated/mnli/train-de.jsonl": json.dumps({**OWN, "label": "neutral", "id": "7"}) + "\n",
    "translated/qqp/train-sw.jsonl": "".join(json.dumps({**OWN, "label": "1"}) + "\n" for _ in range(60)),
    "translated/qqp/test-sw.jsonl": json.dumps({"text": "Ndiyo", "pair": " ", "label": "1"})
    + "\n"
    + json.dumps({**OWN, "label": "0"})
    + "\n",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, text in FOLDER.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return folder


@pytest.mark.parametrize(
    ("name", "spec", "lang", "wanted"),
    [
        ("xnli", "train", "en", [("Yes .", "No .", "entailment")]),
        ("xnli", "dev", "de", [("Ja", "Nein", "neutral")]),
        ("xnli", "test", "de", [("Hund", "Katze", "contradiction"), ("Gut", "Bös", "neutral")]),
        ("xnli_hypothesis", "test", "de", [("Katze", None, "contradiction"), ("Bös", None, "neutral")]),
        ("xnli_translate", "train", "fr", [("Oui", "Non", "contradiction"), ('"Ha', "Non", "neutral")]),
        ("xnli_translate", "train", "en", [("Yes .", "No .", "entailment")]),
        ("xnli_translate", "dev", "en", [("Yes", "No", "neutral")]),
        ("pawsx", "train", "en", [("One .", "Two .", "0"), ("One .", "One .", "1")]),
        ("pawsx", "test", "de", [("Eins", "Zwei", "0"), ("NS", "", "1")]),
        ("pawsx_translate", "train", "en", [("One .", "Two .", "0"), ("One .", "One .", "1")]),
        ("pawsx_translate", "train", "ko", [("일", "이", "1"), ("삼", "사", "0")]),
        ("snli", "train", "en", [("A", "B", "neutral"), ("A", "B", "entailment")]),
        ("anli", "test_r2", "en", [("A", "B", "entailment")]),
        ("mnli_translated", "train", "de", [("Eins", "Zwei", "neutral")]),
        ("mnli_translated", "train", "en", [("A", "B", "neutral")]),
        ("mnli_translated", "dev", "en", [("C", "D", "neutral")]),
        ("qqp", "dev", "en", [('"Why', "Why ?", "1"), ("Who ?", "Why ?", "0")]),
        ("qqp_translated", "test", "sw", [("Eins", "Zwei", "0")]),
        ("qqp_translated", "test", "en", [('"Why', "Why ?", "1"), ("Who ?", "Why ?", "0")]),
    ],
)
def test_each_layout_is_read(data, name, spec, lang, wanted):
    assert [(row.text, row.pair, row.label) for row in rows(task(name), spec, lang, data)] == wanted


@pytest.mark.parametrize(
    ("name", "spec", "lang", "count", "excluded"),
    [
        ("snli", "train", "en", 2, {"the annotators agree on no label": 1}),
        (
            "xnli_translate", "train", "de", 5,
            {"a text is translated to nothing": 1, COLUMNS: 2, "a label that does not exist": 1},
        ),
        (
            "pawsx_translate", "train", "de", 4,
            {"a text is translated to nothing": 1, COLUMNS: 1, "a label that does not exist": 1},
        ),
        ("qqp", "train", "en", 98, {COLUMNS: 2}),
        ("qqp_translated", "test", "sw", 1, {"a text is translated to nothing": 1}),
        ("mnli", "train", "en", 1, {}),
    ],
)  # fmt: skip
def test_what_is_left_out_is_counted_with_its_reason(data, name, spec, lang, count, excluded):
    split = found(task(name), spec, lang, data)
    assert (len(split.rows), split.excluded) == (count, excluded)
    assert split.counts.get("excluded", 0) == sum(excluded.values())
    assert all(f"{n:,} × {reason}" in excluded_text(split.counts) for reason, n in excluded.items())
    assert bool(excluded_text(split.counts)) == bool(excluded)


def test_excluded_rows_are_counted_in_the_slice_that_they_fall_into(data):
    first, last = (found(task("qqp"), spec, "en", data) for spec in ("train[:60%]", "train[60%:]"))
    assert (len(first.rows), first.excluded) == (60, {})
    assert (len(last.rows), last.excluded) == (38, {COLUMNS: 2})


def test_a_file_that_is_mostly_excluded_is_refused(tmp_path):
    path = tmp_path / "snli" / "snli_1.0_train.jsonl"
    path.parent.mkdir()
    path.write_text(nli("-") * 2 + nli("neutral"), encoding="utf-8")
    with pytest.raises(
        InputError, match=r"train\.jsonl: 2 of 3 rows cannot be used, most because of: the annot.*right"
    ):
        rows(task("snli"), "train", "en", tmp_path)


def test_the_rounds_of_anli_are_read_together_and_a_missing_one_is_told(data):
    together = rows(task("anli"), "train", "en", data)
    assert [(row.id, row.label) for row in together] == [
        ("R1:1", "entailment"), ("R2:1", "neutral"), ("R2:2", "contradiction"), ("R3:1", "contradiction"),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"1 of anli/R2/test\.jsonl and 0 of anli/R3/test\.jsonl; equally many"):
        rows(task("anli"), "test", "en", data)


def test_anli_plus_is_its_members_and_what_is_left_out_of_them(data):
    split = found(task("anli_plus"), "train", "en", data)
    assert [row.id for row in split.rows] == [
        "anli:R1:1", "anli:R2:1", "anli:R2:2", "anli:R3:1", "mnli:2", "snli:1", "snli:3",
    ]  # fmt: skip
    assert split.excluded == {"the annotators agree on no label": 1}
    assert len(rows(task("anli_plus"), "select", "en", data)) == 5


def test_generalised_transfer_has_each_sentence_in_its_own_language(data):
    crossed = rows(task("xnli"), "test", "de-en", data)
    assert [tuple(row) for row in crossed] == [
        ("7", "7", "Hund", "Cat", "contradiction"),
        ("9", "9", "Gut", "Bad", "neutral"),
    ]
    assert [(row.text, row.pair) for row in rows(task("xnli"), "test", "en-de", data)] == [
        ("Good", "Bös"),
        ("Dog", "Katze"),
    ]
    assert [tuple(row)[2:] for row in rows(task("pawsx"), "test", "ja-de", data)] == [
        ("一", "Zwei", "0"),
        ("三", "", "1"),
    ]
    wanted = [gold(task("xnli"), row) for row in crossed]
    assert scores(task("xnli"), wanted, wanted, "de-en")["accuracy"] == 1.0


def test_xtremes_files_cross_row_by_row(tmp_path):
    folder = tmp_path / "xnli"
    folder.mkdir()
    (folder / "dev-fr.tsv").write_text("Oui\tNon\tneutral\nBon\tMal\tentailment\n", encoding="utf-8")
    (folder / "dev-es.tsv").write_text("Sí\tNo\tneutral\nBien\tMal\tentailment\n", encoding="utf-8")
    assert [(row.text, row.pair) for row in rows(task("xnli"), "dev", "fr-es", tmp_path)] == [
        ("Oui", "No"),
        ("Bon", "Mal"),
    ]
    (folder / "dev-es.tsv").write_text("Sí\tNo\tneutral\nBien\tMal\tneutral\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"dev-es\.tsv: row 2 is labelled 'entailment' in one language and 'neutral'"):
        rows(task("xnli"), "dev", "fr-es", tmp_path)
    (folder / "dev-es.tsv").write_text("Sí\tNo\tneutral\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"2 rows in one language and 1 in the other, and row 2 is in one only"):
        rows(task("xnli"), "dev", "fr-es", tmp_path)


def test_pairs_of_languages_are_refused_where_there_are_none(data):
    with pytest.raises(InputError, match=r"snli: the split 'test' has no pairs of languages such as de-en"):
        rows(task("snli"), "test", "de-en", data)
    with pytest.raises(InputError, match=r"xnli\.test\.tsv: no row in 'th'; its column language has: de, en"):
        rows(task("xnli"), "test", "de-th", data)


def test_a_language_that_the_archive_lacks_is_told_with_those_it_has(data):
    with pytest.raises(InputError, match=r"xnli\.test\.tsv: no row in 'vi'; its column language has: de, en"):
        rows(task("xnli"), "test", "vi", data)


def test_qqp_is_scored_by_accuracy_f1_and_their_mean():
    found = scores(task("qqp"), ["1", "1", "0", "0"], ["1", "0", "0", "0"], "en")
    assert found == {"accuracy": 0.75, "f1": pytest.approx(2 / 3), "accuracy_and_f1": pytest.approx((0.75 + 2 / 3) / 2)}


def test_an_excluded_row_has_an_id_a_group_and_a_reason():
    assert Excluded("3", "3", "why")._fields == ("id", "group", "reason")
