"""From a data folder to checked rows."""

import dataclasses
import json

import pytest

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Choices, Text
from xlmr_flax.tasks.candidates import candidate_langs
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import check, paths, rows
from xlmr_flax.tasks.task import gold, texts

GLUE = "sentence1\tsentence2\tgold_label\n"
COSMOS = "id,context,question,answer0,answer1,answer2,answer3,label\n"


def conllu(*words, name="s1"):
    lines = [f"{n}\t{word}\t_\tX\t_\t_\t{n - 1}\tdep\t_\t_" for n, word in enumerate(words, start=1)]
    return "\n".join([f"# sent_id = {name}", *lines, "", ""])


def squad(*names, answer="ja", start=0, articles=1):
    qas = [{"id": x, "question": "q", "answers": [{"text": answer, "answer_start": start}]} for x in names]
    data = [{"title": f"t{n}", "paragraphs": [{"context": "ja", "qas": qas[n::articles]}]} for n in range(articles)]
    return json.dumps({"data": data})


FOLDER = {
    "xnli/train-en.tsv": "A\tB\tneutral\n",
    "xnli/dev-x1.tsv": "A\tB\tneutral\nC\tD\tentailment\n",
    "xnli/test-de.tsv": "A\tB\n",
    "mnli/train.tsv": GLUE + "A\tB\tneutral\n",
    "mnli/dev_matched.tsv": GLUE + "C\tD\tneutral\n",
    "mnli/dev_mismatched.tsv": GLUE + "E\tF\tneutral\n",
    "pawsx/test-en.tsv": "A\tB\t1\n",
    "udpos/dev-de.tsv": "Ja\tINTJ\n",
    "panx/en/test": "en:Bonn\tB-LOC\n",
    "ccg/test.tsv": "Ja\tS/S\n",
    "ud/UD_German-A/de_z-ud-dev.conllu": conllu("unread"),
    "ud/UD_German-A/de_z-ud-test.conllu": conllu("zuletzt"),
    "ud/UD_German-B/de_a-ud-test.conllu": conllu("zuerst"),
    "ud/UD_German-B/de_hdt-ud-train-a-1.conllu": conllu("Stück"),
    "ud/UD_Danish-DDT/da_de_x-ud-test.conllu": conllu("nej"),
    "squad/train-v1.1.json": squad("a", "b", "c", "d", articles=4),
    "squad/dev-v1.1.json": squad("e"),
    "xquad/xquad.x1.json": squad("f"),
    "xquad/xquad.de.json": squad("g", answer=""),
    "tatoeba/tatoeba.deu-eng.deu": "Ja.\nNein.\n",
    "tatoeba/tatoeba.deu-eng.eng": "Yes.\nNo.\n",
    "tatoeba/tatoeba.x1-eng.x1": "Blo.\n",
    "tatoeba/tatoeba.x1-eng.eng": "Yes.\n",
    "tatoeba/tatoeba.fra-eng.fra": "Oui.\n",
    "cosmosqa/valid.csv": COSMOS + "q1,c,q,a,b,c,d,1\n",
}


@pytest.fixture
def data(tmp_path):
    for name, text in FOLDER.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "spec", "lang", "ids"),
    [
        ("xnli", "dev", "x1", ["1", "2"]),
        ("xnli_hypothesis", "dev[50%:]", "x1", ["2"]),
        ("mnli", "train", "en", ["2"]),
        ("mnli", "dev_matched", "en", ["2"]),
        ("pawsx", "test", "en", ["1"]),
        ("squad", "train[:50%]", "en", ["a", "b"]),
        ("xquad", "train[50%:]", "en", ["c", "d"]),
        ("xquad", "test", "x1", ["f"]),
        ("tatoeba", "test", "de", ["1", "2"]),
        ("tatoeba", "test", "x1", ["1"]),
        ("cosmosqa", "valid", "en", ["q1"]),
        ("udpos", "dev", "de", ["1"]),
        ("udpos", "train", "de", ["s1"]),
    ],
)
def test_each_task_reads_its_official_files(data, name, spec, lang, ids):
    assert [row.id for row in rows(task(name), spec, lang, data)] == ids


@pytest.mark.parametrize("name", ["xnli", "xnli_hypothesis", "mnli", "pawsx", "cosmosqa", "udpos", "tatoeba"])
def test_gold_predictions_score_one(data, name):
    one = task(name)
    spec, lang = {"xnli": ("dev", "x1"), "xnli_hypothesis": ("dev", "x1")}.get(name, (one.test, one.train_lang))
    found = rows(one, spec, "de" if name in ("udpos", "tatoeba") else lang, data)
    wanted = [gold(one, row) for row in found]
    assert one.score(wanted, wanted)[one.metric] == 1.0


@pytest.mark.parametrize(("name", "lang"), [("squad", "en"), ("xquad", "x1")])
def test_a_gold_answer_scores_one(data, name, lang):
    one = task(name)
    wanted = [gold(one, row) for row in rows(one, one.test, lang, data)]
    assert one.score(wanted, [answers[0] for answers in wanted]) == {"f1": 1.0, "exact_match": 1.0}


def test_the_first_source_that_exists_is_taken(data):
    files, found = paths(task("udpos"), "dev", "de", data)
    assert files is task("udpos").files[0]
    assert found == [data / "udpos/dev-de.tsv"]


def test_treebanks_are_read_in_the_order_of_their_names_and_their_rows_told_apart(data):
    found = rows(task("udpos"), "test", "de", data)
    assert [row.words for row in found] == [("zuerst",), ("zuletzt",)]
    assert [row.id for row in found] == ["de_a-ud-test.conllu:s1", "de_z-ud-test.conllu:s1"]
    assert [row.group for row in found] == [row.id for row in found]
    assert [path.name for path in paths(task("udpos"), "test", "de", data)[1]] == [
        "de_a-ud-test.conllu",
        "de_z-ud-test.conllu",
    ]


def test_one_treebank_in_two_folders_is_refused(data):
    twin = data / "ud/UD_German-C/de_a-ud-test.conllu"
    twin.parent.mkdir()
    twin.write_text(conllu("noch", "einmal"), encoding="utf-8")
    with pytest.raises(InputError, match=r"the row 'de_a-ud-test\.conllu:s1' of .*UD_German-C.* occurs twice"):
        rows(task("udpos"), "test", "de", data)


def test_a_file_without_labels_can_be_predicted_only(data):
    with pytest.raises(InputError, match=r"test-de\.tsv: row 1 has no label, so xnli can predict .* XNLI-1\.0\.zip"):
        rows(task("xnli"), "test", "de", data)
    (row,) = rows(task("xnli"), "test", "de", data, labels=False)
    assert row.label is None
    with pytest.raises(InputError, match="xnli: row 1 has no label to score against"):
        gold(task("xnli"), row)


def test_blanked_answers_cannot_be_scored(data):
    with pytest.raises(InputError, match=r"xquad\.de\.json: row g has no label"):
        rows(task("xquad"), "test", "de", data)
    (row,) = rows(task("xquad"), "test", "de", data, labels=False)
    with pytest.raises(InputError, match="xquad: row g has no label to score against"):
        gold(task("xquad"), row)


def test_tags_may_be_missing_to_predict(data):
    (data / "udpos/test-fr.tsv").write_text("Oui\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"test-fr\.tsv: row 1 has no label"):
        rows(task("udpos"), "test", "fr", data)
    assert rows(task("udpos"), "test", "fr", data, labels=False)[0].words == ("Oui",)


def test_splits_with_made_up_labels_are_refused_whatever_they_hold(data):
    guarded = dataclasses.replace(task("pawsx"), unlabelled=frozenset({"test"}))
    with pytest.raises(InputError, match="pawsx: the labels of the split 'test' are hidden"):
        rows(guarded, "test[:100%]", "en", data)
    assert len(rows(guarded, "test", "en", data, labels=False)) == 1


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize(
    ("name", "file", "text", "message"),
    [
        ("xnli", "xnli/test-en.tsv", "A\tB\tneutral\nC\tD\tneutrl\n", r"row 2: the label 'neutrl' is unknown, wanted: "
         r"entailment, neutral, contradiction$"),
        ("pawsx", "pawsx/test-en.tsv", "A\tB\t2\n", r"row 1: the label '2' is unknown, wanted: 0, 1$"),
        ("udpos", "udpos/test-en.tsv", "a\tX\nb\tCONJ\n", r"row 1: the tag 'CONJ' is unknown, wanted: ADJ, .*, CCONJ,"),
    ],
)  # fmt: skip
def test_unknown_labels_are_named_with_file_and_row(data, name, file, text, message, labels):
    (data / file).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=file.split("/")[1] + ": " + message):
        rows(task(name), "test", "en", data, labels=labels)


def test_options_and_their_label_fit_the_head(tmp_path):
    with pytest.raises(InputError, match=r"f\.csv: row q: 3 options, 4 are wanted"):
        check(task("cosmosqa"), [Choices("q", "q", "p", ("a", "b", "c"), 0)], tmp_path / "f.csv")
    for label in (-1, 4):
        with pytest.raises(InputError, match=rf"f\.csv: row q: the label is {label}, which counts none of 4 options"):
            check(task("cosmosqa"), [Choices("q", "q", "p", ("a", "b", "c", "d"), label)], tmp_path / "f.csv")
    with pytest.raises(InputError, match=r"f\.csv: row q has no label"):
        check(task("cosmosqa"), [Choices("q", "q", "p", ("a", "b", "c", "d"), None)], tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("name", "spec", "lang", "message"),
    [
        (
            "xnli",
            "test",
            "fr",
            r"xnli: no test files in fr: looked for XNLI-1\.0/xnli\.test\.tsv and xnli/test-fr\.tsv in .*\. scripts/",
        ),
        (
            "udpos",
            "test",
            "vi",
            r"looked for ud/UD_\*/vi_\*-ud-test\*\.conllu and udpos/test-vi\.tsv in .*universal",
        ),
        (
            "tatoeba",
            "test",
            "fr",
            r"has 1 of tatoeba/tatoeba\.fra-eng\.fra and 0 of tatoeba/tatoeba\.fra-eng\.eng; eq",
        ),
        ("xquad", "train", "de", r"xquad: the split 'train' comes in en only, not in de"),
        ("xquad", "tset", "de", r"xquad has no split 'tset', it has train, test; did you mean 'test'\?"),
        ("xnli", "dev[:50]", "x1", r"the split 'dev\[:50\]' cannot be read"),
        ("xnli", "dev[:40%]", "x1", r"xnli: dev\[:40%\] of .*dev-x1\.tsv is empty: 2 rows in 2 groups, .* widen the"),
        ("xnli", "dev", "../x", r"xnli: '\.\./x' is not a language code"),
        ("xnli", "dev", "*", r"xnli: '\*' is not a language code"),
        ("mlm", "train", "en", r"mlm has no files of its own\. Its text is named in the experiment"),
    ],
)
def test_what_is_not_there_is_named_with_the_way_to_get_it(data, name, spec, lang, message):
    with pytest.raises(InputError, match=message):
        rows(task(name), spec, lang, data)


def test_a_data_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: the data folder does not exist; name it with --data"):
        rows(task("xnli"), "dev", "en", tmp_path / "nowhere")


def test_all_text_of_a_row_is_given(data):
    def first(name, spec, lang):
        return texts(rows(task(name), spec, lang, data)[0])

    assert first("xnli", "dev", "x1") == ("A", "B")
    assert first("xnli_hypothesis", "dev", "x1") == ("B",)
    assert first("cosmosqa", "valid", "en") == ("c q", "a", "b", "c", "d")
    assert first("udpos", "test", "de") == ("zuerst",)
    assert first("xquad", "test", "x1") == ("ja", "q")
    assert first("tatoeba", "test", "de") == ("Ja.", "Yes.")
    assert texts(Text("1", "1", "ja")) == ("ja",)


@pytest.mark.parametrize(
    ("name", "spec", "langs", "count"),
    [
        ("xquad", "test", "en de es ru zh hi ar tr", 8 * 1190),
        ("tatoeba", "test", "de fr ru zh hi ar sw tr fi ja", 9 * 1000 + 390),
        ("udpos", "test", "en de fr tr vi yo zh", 2077 + 977 + 416 + 1100 + 800 + 317 + 500),
        ("cosmosqa", "valid", "en", 2985),
    ],
)
def test_real_files_are_read_whole_and_their_labels_fit(real_data, name, spec, langs, count):
    assert sum(len(rows(task(name), spec, lang, real_data)) for lang in langs.split()) == count


def test_halves_of_xquad_hold_the_same_articles_in_every_language(real_data):
    halves = [rows(task("xquad"), "test[:50%]", lang, real_data) for lang in ("en", "zh", "ar")]
    assert len({tuple(row.id for row in half) for half in halves}) == 1
    other = rows(task("xquad"), "test[50%:]", "zh", real_data)
    assert not {row.group for row in other} & {row.group for row in halves[0]}
    assert len(other) + len(halves[1]) == 1190


def test_the_languages_of_candidates_are_those_whose_files_are_there(tmp_path):
    (tmp_path / "lareqa/xquad-r").mkdir(parents=True)
    with pytest.raises(InputError, match=r"lareqa: no files of candidates: looked for lareqa/xquad-r/\{lang\}\.json"):
        candidate_langs(task("lareqa"), tmp_path)
    for name in ("zh.json", "ar.json", "zh.json.part", "README"):
        (tmp_path / "lareqa/xquad-r" / name).touch()
    assert candidate_langs(task("lareqa"), tmp_path) == ("ar", "zh")
    assert candidate_langs(task("mewslix"), tmp_path) == ("en",)
