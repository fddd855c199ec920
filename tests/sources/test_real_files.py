"""Real files: as many rows as the files hold, counted another way."""

import csv
import json
import re

import pytest

from xlmr_flax.sources.commonsense import read_copa
from xlmr_flax.sources.conllu import read_conllu
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.lareqa import read_xquad_r, read_xquad_r_sentences
from xlmr_flax.sources.rows import Query
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.sources.tatoeba import read_tatoeba


def test_every_question_of_xquad_is_read(real_data):
    files = sorted(real_data.glob("xquad/*.json")) + sorted(real_data.glob("lareqa/xquad-r/*.json"))
    assert len(files) == 12
    for path in files:
        rows = read_squad(path)
        assert len(rows) == path.read_text(encoding="utf-8").count('"question"') == 1190
        assert len({row.group for row in rows}) == len(json.loads(path.read_bytes())["data"]) == 48
        assert all(len(row.answers) == 1 for row in rows)


def test_every_sentence_of_the_treebanks_is_read(real_data):
    files = sorted(real_data.glob("ud/*/*.conllu"))
    assert len(files) == 13
    for path in files:
        text = path.read_text(encoding="utf-8")
        rows = read_conllu(path)
        assert len(rows) == len(re.findall(r"^# text =", text, re.MULTILINE)), path
        covered = sum(int(b) - int(a) for a, b in re.findall(r"^(\d+)-(\d+)\t", text, re.MULTILINE))
        words = len(re.findall(r"^\d+\t", text, re.MULTILINE))
        assert sum(len(row.words) for row in rows) == words - covered, path


def test_a_sentence_with_fused_forms_reads_as_its_text(real_data):
    # What the words say is the text of the sentence, spaces aside, for every sentence.
    path = real_data / "ud/UD_French-GSD/fr_gsd-ud-test.conllu"
    texts = re.findall(r"^# text = (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    rows = read_conllu(path)
    assert ["".join(row.words) for row in rows] == [text.replace(" ", "") for text in texts]


def test_every_line_of_tatoeba_is_read(real_data):
    files = sorted(real_data.glob("tatoeba/*.eng"))
    assert len(files) == 10
    for english in files:
        foreign = english.with_suffix("." + english.name.split(".")[1].split("-")[0])
        assert len(read_tatoeba(foreign, english)) == foreign.read_bytes().count(b"\n")


def test_every_question_of_cosmos_qa_is_read(real_data):
    path = real_data / "cosmosqa/valid.csv"
    with path.open(encoding="utf-8", newline="") as file:
        contexts = [row["context"] for row in csv.DictReader(file)]
    rows = read_cosmosqa(path)
    assert len(rows) == len(contexts) == 2985
    assert len({row.group for row in rows}) == len(set(contexts))


def test_every_question_of_xcopa_is_read_with_its_label(real_data):
    files = sorted(real_data.glob("xcopa/*.jsonl"))
    assert len(files) == 18
    for path in files:
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = read_copa(path)
        assert len(rows) == len(records) == (100 if path.name.startswith("val") else 500)
        assert [row.label for row in rows] == [record["label"] for record in records]
        assert [row.options for row in rows] == [(record["choice1"], record["choice2"]) for record in records]


@pytest.mark.parametrize("lang", ["ar", "de", "en", "zh"])
def test_every_question_and_sentence_of_xquad_r_is_read(real_data, lang):
    path = real_data / f"lareqa/xquad-r/{lang}.json"
    paragraphs = [one for article in json.loads(path.read_bytes())["data"] for one in article["paragraphs"]]
    breaks = sum(len(paragraph["sentence_breaks"]) for paragraph in paragraphs)
    queries, documents = read_xquad_r(path, lang), read_xquad_r_sentences(path, lang)
    found = [query for query in queries if isinstance(query, Query)]
    print(f"{lang}: {len(found)} questions with a sentence, {len(queries) - len(found)} without; {breaks} sentences")
    assert len(queries) == 1190
    assert len(documents) == len({document.id for document in documents}) == breaks
    assert {name for query in found for name in query.relevant} <= {document.id for document in documents}
