"""Equal text gives the equal example, whether it comes from official files, from the hub's Parquet or from TFDS."""

import io
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import List, Value
from rich.console import Console

from xlmr_flax.data.load import encode
from xlmr_flax.data.tokenizer import load_tokenizer, train_tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.execute.phase import releases_of
from xlmr_flax.report.results import release_flags
from xlmr_flax.report.table import print_results
from xlmr_flax.sources.rows import Aligned
from xlmr_flax.tasks import published
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.files import found, other_release, rows
from xlmr_flax.tasks.released import hub, tfds

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "releases.py")))
hf, tf, TEXT, kinds = files.hub_features, files.tfds_features, files.TEXT, files.kinds
STR, INT = kinds.Text(), Value("int64")

PAIRS = [
    ("The dog sleeps.", "An animal sleeps.", "entailment"),
    ("Er ging „heim“.", "Er ist alt; sehr alt.", "neutral"),
    ("天气很好", "今天 下雨", "contradiction"),
]
PARAPHRASES = [("Big dog", "Large dog", "1"), ("Big dog", "No cat", "0"), ("Größe ２", "Grosse 2", "1")]
CONTEXT = "The river rises in the hills. It flows east, 過去 and present."
QUESTIONS = [("a1", "Where does it rise?", "the hills", 19), ("a2", "Where does it flow?", "east", 39)]
SENTENCES = [(("John", "went", "to", "Köln"), ("B-PER", "O", "O", "B-LOC")), (("EU", "law"), ("B-ORG", "O"))]
NAMES = {"0": "different_meaning", "1": "paraphrase"}
QQP = {"0": "not_duplicate", "1": "duplicate"}


MLQA_TEST = "mlqa/MLQA_V1/test/test-context-de-question"
SQUADS = [
    (
        "squad", "dev", "en", "squad/dev-v1.1.json",
        "rajpurkar/squad/plain_text/validation", ("squad/v1.1", "3.0.0", "validation"),
    ),
    (
        "xquad", "test", "de", "xquad/xquad.de.json",
        "google/xquad/xquad.de/validation", ("xquad/de", "3.0.0", "test"),
    ),
    ("mlqa", "test", "de", f"{MLQA_TEST}-de.json", "facebook/mlqa/mlqa.de.de/test", ("mlqa/de", "1.0.0", "test")),
    ("mlqa", "test", "de-en", f"{MLQA_TEST}-en.json", "facebook/mlqa/mlqa.de.en/test", None),
    (
        "squad_translate", "train", "de",
        "xtreme_translations/SQuAD/translate-train/squad.translate.train.en-de.json",
        "facebook/mlqa/mlqa-translate-train.de/train", ("xquad/de", "3.0.0", "translate-train"),
    ),
]  # fmt: skip


def tsv(rows, header=None):
    return "".join("\t".join(row) + "\n" for row in ([header] if header else []) + rows)


def jsonl(records):
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def squad(impossible=None, prefix=""):
    qas = [
        {"id": prefix + name, "question": asked, "answers": [{"text": text, "answer_start": start}]}
        | ({"is_impossible": False} if impossible else {})
        for name, asked, text, start in QUESTIONS
    ]
    if impossible:
        qas.append({"id": "a3", "question": impossible, "answers": [], "is_impossible": True})
    return json.dumps({"data": [{"title": "River", "paragraphs": [{"context": CONTEXT, "qas": qas}]}]})


def squad_records(impossible=None, prefix="", title=True):
    asked = [(name, text, {"text": [answer], "answer_start": [start]}) for name, text, answer, start in QUESTIONS]
    asked += [("a3", impossible, {"text": [], "answer_start": []})] if impossible else []
    named = {"title": "River"} if title else {}
    return [
        {"id": prefix + name, **named, "context": CONTEXT, "question": text, "answers": answers}
        for name, text, answers in asked
    ]


def squad_hub(title=True):
    named = {"title": TEXT} if title else {}
    return hf(id=TEXT, **named, context=TEXT, question=TEXT, answers=files.ANSWERS)


def dicts(columns, values):
    return [dict(zip(columns, one, strict=True)) for one in values]


def pairs_in(hub_path, tfds_name, version, tfds_split, columns, values, names, shown=None):
    """A pair task's hub file and TFDS builder, with classes that they call `names`."""
    first, second = columns
    records = [{first: a, second: b, "label": (shown or {}).get(word, word)} for a, b, word in values]
    return {
        "hub": (hub_path, hf(**{first: TEXT, second: TEXT, "label": names}), records),
        "tfds": tfds_name
        and (tfds_name, version, tf(**{first: STR, second: STR, "label": names}), {tfds_split: records}),
    }


def xnli_translations(values):
    """XNLI's records of all languages: the hypotheses are a list."""
    records = [
        {
            "premise": {"de": a, "en": "x"},
            "hypothesis": {"language": ["en", "de"], "translation": ["y", b]},
            "label": word,
        }
        for a, b, word in values
    ]
    schema = tf(
        premise=kinds.Translation(["de", "en"]),
        hypothesis=kinds.TranslationVariableLanguages(["de", "en"]),
        label=files.INFERENCE,
    )
    return schema, [
        record | {"hypothesis": {"de": record["hypothesis"]["translation"][1], "en": "y"}} for record in records
    ]


def choices():
    """Cosmos QA, HellaSwag, CommonsenseQA, Social IQa, COPA: official file, hub records, TFDS records."""
    cosmos = [
        ("c1", "It rained.", "What then?", "a", "b", "c", "d", "2"),
        ("c2", "Sun.", "And?", "e", "f", "g", "h", "0"),
    ]
    columns = ["id", "context", "question", "answer0", "answer1", "answer2", "answer3", "label"]
    texts = dict.fromkeys(columns[:-1], TEXT)
    shows = dict.fromkeys(columns[:-1], STR)
    yield (
        "cosmosqa",
        "valid",
        "en",
        {
            "official": {"cosmosqa/valid.csv": "\n".join(",".join(row) for row in [columns, *cosmos]) + "\n"},
            "hub": (
                "hub/allenai/cosmos_qa/data/validation-00000-of-00001.parquet",
                hf(**texts, label=Value("int32")),
                [record | {"label": int(record["label"])} for record in dicts(columns, cosmos)],
            ),
            "tfds": ("cosmos_qa", "1.0.0", tf(**shows, label=list("0123")), {"validation": dicts(columns, cosmos)}),
        },
    )
    endings = ["runs home.", "sings.", "falls.", "waits."]
    swag = {
        "ctx_a": "A man stands. He looks up.",
        "ctx_b": "the man",
        "endings": endings,
        "source_id": "activitynet~v_1",
    }
    how = {"ctx_a": "Open the box. Look in", "ctx_b": "", "endings": endings, "source_id": "wikihow~7"}
    yield (
        "hellaswag",
        "val",
        "en",
        {
            "official": {"hellaswag/hellaswag_val.jsonl": jsonl([swag | {"label": 1}, how | {"label": 3}])},
            "hub": (
                "hub/Rowan/hellaswag/data/validation-00000-of-00001.parquet",
                hf(ctx_a=TEXT, ctx_b=TEXT, endings=List(TEXT), source_id=TEXT, label=TEXT),
                [swag | {"label": "1"}, how | {"label": "3"}],
            ),
            "tfds": (
                "hellaswag",
                "1.1.0",
                tf(context=STR, endings=kinds.Sequence(STR), label=np.int32, source_id=STR),
                {
                    "validation": [
                        {
                            "context": f"{one['ctx_a']} {one['ctx_b']}".strip(),
                            "endings": endings,
                            "label": label,
                            "source_id": one["source_id"],
                        }
                        for one, label in ((swag, 1), (how, 3))
                    ]
                },
            ),
        },
    )
    options = [{"label": letter, "text": f"thing {letter}"} for letter in "ABCDE"]
    asked = {"answerKey": "D", "question": {"stem": "What?", "choices": options}}
    yield "commonsenseqa", "dev", "en", {
        "official": {"commonsenseqa/dev_rand_split.jsonl": jsonl([asked])},
        "hub": (
            "hub/tau/commonsense_qa/data/validation-00000-of-00001.parquet",
            hf(question=TEXT, choices={"label": List(TEXT), "text": List(TEXT)}, answerKey=TEXT),
            [
                {
                    "question": "What?", "answerKey": "D",
                    "choices": {"label": list("ABCDE"), "text": [one["text"] for one in options]},
                }
            ],
        ),
    }  # fmt: skip
    social = {"context": "Ann fell.", "question": "Why?", "answerA": "ice", "answerB": "luck", "answerC": "joy"}
    yield (
        "socialiqa",
        "dev",
        "en",
        {
            "official": {"siqa/socialIQa_v1.4_dev.jsonl": jsonl([social | {"correct": "B"}])},
            "hub": (
                "hub/allenai/social_i_qa/data/validation-00000-of-00001.parquet",
                hf(**dict.fromkeys(social, TEXT), label=TEXT),
                [social | {"label": "2"}],
            ),
        },
    )
    copa = [
        {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect", "label": 0},
        {"premise": "Wet.", "choice1": "It rained.", "choice2": "Sun.", "question": "cause", "label": 1},
    ]
    schema = hf(premise=TEXT, choice1=TEXT, choice2=TEXT, question=TEXT, label=["choice1", "choice2"])
    yield (
        "copa",
        "train",
        "en",
        {
            "official": {"xcopa/train-en.jsonl": jsonl(copa)},
            "hub": ("hub/aps/super_glue/copa/train-00000-of-00001.parquet", schema, copa),
        },
    )
    yield (
        "xcopa",
        "test",
        "it",
        {
            "official": {"xcopa/data/it/test.it.jsonl": jsonl(copa)},
            "hub": (
                "hub/cambridgeltl/xcopa/it/test-00000-of-00001.parquet",
                hf(premise=TEXT, choice1=TEXT, choice2=TEXT, question=TEXT, label=Value("int32")),
                copa,
            ),
        },
    )


def pair_cases():
    header = ["language", "gold_label", "sentence1", "sentence2", "pairID"]
    xnli = [["de", word, a, b, str(n)] for n, (a, b, word) in enumerate(PAIRS)]
    xnli_pairs = pairs_in(
        "hub/facebook/xnli/de/test-00000-of-00001.parquet",
        None,
        "",
        "",
        ("premise", "hypothesis"),
        PAIRS,
        files.INFERENCE,
    )
    schema, records = xnli_translations(PAIRS)
    for name in ("xnli", "xnli_hypothesis"):
        yield (
            name,
            "test",
            "de",
            {
                "official": {"XNLI-1.0/xnli.test.tsv": tsv(xnli, header)},
                **xnli_pairs,
                "tfds": ("xnli", "1.1.0", schema, {"test": records}),
            },
        )
    yield (
        "xnli_translate",
        "train",
        "de",
        {
            "official": {
                "XNLI-MT-1.0/multinli/multinli.train.de.tsv": tsv(list(map(list, PAIRS)), ["premise", "hypo", "label"])
            },
            "hub": ("hub/facebook/xnli/de/train-00000-of-00001.parquet", *xnli_pairs["hub"][1:]),
            "tfds": ("xtreme_xnli", "1.1.0", schema, {"train": records}),
        },
    )
    yield "mnli", "dev_matched", "en", {
        "official": {"mnli/dev_matched.tsv": tsv(list(map(list, PAIRS)), ["sentence1", "sentence2", "gold_label"])},
        **pairs_in(
            "hub/nyu-mll/glue/mnli/validation_matched-00000-of-00001.parquet", "glue/mnli", "2.0.0",
            "validation_matched", ("premise", "hypothesis"), PAIRS, files.INFERENCE,
        ),
    }  # fmt: skip
    agreed = [{"sentence1": a, "sentence2": b, "gold_label": word} for a, b, word in PAIRS]
    yield "snli", "dev", "en", {
        "official": {"snli/snli_1.0_dev.jsonl": jsonl([*agreed, agreed[0] | {"gold_label": "-"}])},
        **pairs_in(
            "hub/stanfordnlp/snli/plain_text/validation-00000-of-00001.parquet", "snli", "1.1.0", "validation",
            ("premise", "hypothesis"), [*PAIRS, (*PAIRS[0][:2], -1)], files.INFERENCE,
        ),
    }  # fmt: skip
    anli = [{"context": a, "hypothesis": b, "label": word[0]} for a, b, word in PAIRS]
    yield (
        "anli",
        "dev_r2",
        "en",
        {
            "official": {"anli/R2/dev.jsonl": jsonl(anli)},
            "hub": (
                "hub/facebook/anli/plain_text/dev_r2-00000-of-00001.parquet",
                hf(premise=TEXT, hypothesis=TEXT, label=files.INFERENCE),
                [{"premise": a, "hypothesis": b, "label": word} for a, b, word in PAIRS],
            ),
            "tfds": ("anli/r2", "0.1.0", tf(context=STR, hypothesis=STR, label=["e", "n", "c"]), {"validation": anli}),
        },
    )
    yield "qqp", "dev", "en", {
        "official": {"qqp/dev.tsv": tsv(list(map(list, PARAPHRASES)), ["question1", "question2", "is_duplicate"])},
        **pairs_in(
            "hub/nyu-mll/glue/qqp/validation-00000-of-00001.parquet", "glue/qqp", "2.0.0", "validation",
            ("question1", "question2"), PARAPHRASES, list(QQP.values()), QQP,
        ),
    }  # fmt: skip
    shown = [[str(n), *row] for n, row in enumerate(PARAPHRASES)]
    for name, split, file, theirs in (
        ("pawsx", "test", "x-final/de/test_2k.tsv", "test"),
        ("pawsx_translate", "train", "x-final/de/translated_train.tsv", "train"),
    ):
        case = pairs_in(
            f"hub/google-research-datasets/paws-x/de/{theirs}-00000-of-00001.parquet", "paws_x_wiki/de", "1.0.0",
            theirs, ("sentence1", "sentence2"), PARAPHRASES, list(NAMES.values()), NAMES,
        )  # fmt: skip
        numbers = [record | {"label": int(row[2])} for record, row in zip(case["hub"][2], PARAPHRASES, strict=True)]
        case["hub"] = (case["hub"][0], hf(sentence1=TEXT, sentence2=TEXT, label=["0", "1"]), numbers)
        yield (
            name,
            split,
            "de",
            {
                "official": {file: tsv(shown, ["id", "sentence1", "sentence2", "label"])},
                **case,
            },
        )


def other_cases():
    tagged = [{"tokens": list(words), "ner_tags": list(tags)} for words, tags in SENTENCES]
    lines = "\n".join("".join(f"de:{w}\t{t}\n" for w, t in zip(*one, strict=True)) for one in SENTENCES)
    yield (
        "panx",
        "test",
        "de",
        {
            "official": {"panx/de/test": lines},
            "hub": (
                "hub/unimelb-nlp/wikiann/de/test-00000-of-00001.parquet",
                hf(tokens=List(TEXT), ner_tags=List(files.datasets.ClassLabel(names=files.ENTITIES))),
                tagged,
            ),
            "tfds": (
                "wikiann/de",
                "1.0.0",
                tf(tokens=kinds.Sequence(STR), tags=kinds.Sequence(kinds.ClassLabel(names=files.ENTITIES))),
                {"test": [{"tokens": one["tokens"], "tags": one["ner_tags"]} for one in tagged]},
            ),
        },
    )
    upos = (("Das", "ist", "gut"), ("PRON", "AUX", "ADJ"))
    conllu = "".join(
        f"{n}\t{w}\t_\t{t}\t_\t_\t{n - 1}\tdep\t_\t_\n" for n, (w, t) in enumerate(zip(*upos, strict=True), 1)
    )
    yield (
        "udpos",
        "test",
        "de",
        {
            "official": {"ud/UD_German-X/de_x-ud-test.conllu": conllu + "\n"},
            "hub": (
                "hub/google/xtreme/udpos.German/test-00000-of-00001.parquet",
                hf(tokens=List(TEXT), pos_tags=List(files.datasets.ClassLabel(names=["ADJ", "PRON", "AUX", "_"]))),
                [{"tokens": list(upos[0]), "pos_tags": list(upos[1])}],
            ),
        },
    )
    for name, split, lang, official, path, builder in SQUADS:
        titled = path.startswith("rajpurkar")
        yield (
            name,
            split,
            lang,
            {
                "official": {official: squad()},
                "hub": (f"hub/{path}-00000-of-00001.parquet", squad_hub(titled), squad_records(title=titled)),
                "tfds": builder and (*builder[:2], files.squad_features(), {builder[2]: squad_records()}),
            },
        )
    yield "squad_v2", "dev", "en", {
        "official": {"squad/dev-v2.0.json": squad("Why not?")},
        "hub": (
            "hub/rajpurkar/squad_v2/squad_v2/validation-00000-of-00001.parquet", squad_hub(), squad_records("Why not?"),
        ),
        "tfds": ("squad/v2.0", "3.0.0", files.squad_features(), {"validation": squad_records("Why not?")}),
    }  # fmt: skip
    finnish = [record | {"id": f"finnish-{record['id']}"} for record in squad_records()]
    mixed = [*finnish, *(record | {"id": f"korean-{record['id']}"} for record in squad_records())]
    yield "tydiqa", "dev", "fi", {
        "official": {"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-finnish.json": squad(prefix="finnish-")},
        "hub": (
            "hub/google-research-datasets/tydiqa/secondary_task/validation-00000-of-00001.parquet", squad_hub(), mixed,
        ),
        "tfds": ("tydi_qa/goldp", "3.0.0", files.squad_features(), {"validation-fi": finnish}),
    }  # fmt: skip
    yield (
        "tydiqa_translate",
        "train",
        "fi",
        {
            "official": {"xtreme_translations/TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-fi.json": squad()},
            "tfds": ("tydi_qa/goldp", "3.0.0", files.squad_features(), {"translate-train-fi": squad_records()}),
        },
    )
    yield (
        "tatoeba",
        "test",
        "de",
        {
            "official": {"tatoeba/tatoeba.deu-eng.deu": "Ja.\nNein.\n", "tatoeba/tatoeba.deu-eng.eng": "Yes.\nNo.\n"},
            "hub": (
                "hub/google/xtreme/tatoeba.deu/validation-00000-of-00001.parquet",
                hf(source_sentence=TEXT, target_sentence=TEXT, source_lang=TEXT, target_lang=TEXT),
                [
                    {"source_sentence": a, "target_sentence": b, "source_lang": "deu", "target_lang": "eng"}
                    for a, b in (("Ja.\n", "Yes.\n"), ("Nein.\n", "No.\n"))
                ],
            ),
        },
    )


CASES = [*pair_cases(), *choices(), *other_cases()]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder, text = tmp_path_factory.mktemp("tokenizer"), CONTEXT
    texts = [text, *(word for row in (*PAIRS, *PARAPHRASES) for word in row), *(" ".join(row[0]) for row in SENTENCES)]
    train_tokenizer([*texts, *(one.replace(" ", "-") for one in texts)], 100, folder)
    return load_tokenizer(folder)


def write(data, case, kind):
    if kind == "official":
        for name, text in case["official"].items():
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_text(text, encoding="utf-8")
    elif kind == "hub":
        path, features, records = case["hub"]
        files.write_parquet(data / path, features, records)
    else:
        files.prepare(data, *case["tfds"])


def content(row):
    """A row without the names that a source gives it; what a question or a choice is grouped by is no text of it."""
    return row[2:]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}-{case[2]}")
def test_equal_text_gives_the_equal_example_from_every_source(tmp_path, case, tokenizer):
    name, split, lang, sources = case
    one, read, encoded = task(name), {}, {}
    for kind in (kind for kind in ("official", "hub", "tfds") if sources.get(kind)):
        data = tmp_path / kind
        write(data, sources, kind)
        # TFDS shuffles; an order of our own makes them comparable.
        read[kind] = sorted(rows(one, split, lang, data), key=lambda row: str(content(row)))
        assert bool(other_release(one, split, lang, data)) is (kind != "official")
        if not isinstance(read[kind][0], Aligned):
            encoded[kind] = encode(one.head, read[kind], tokenizer, 96)
    assert len(read) >= 2
    for kind in read:
        assert list(map(content, read[kind])) == list(map(content, read["official" if "official" in read else "hub"]))
    for kind in encoded:
        for own, other in zip(encoded["official"], encoded[kind], strict=True):
            assert own == other if isinstance(own, dict) else np.array_equal(own, other)


def test_every_published_data_set_is_tried():
    """Each hub or TFDS source of a task is read by a case above, but those that differ from another in name only."""
    tried = {
        path for case in CASES for path in [case[3].get("hub", [""])[0], "/".join((case[3].get("tfds") or [""])[:1])]
    }
    names = {release.name.split()[0] for one in TASKS.values() for files in one.files if (release := files.release)}
    untried = {name for name in names if not any(name in path for path in tried)}
    assert untried == {"multi_nli", "xtreme_pawsx"}


def test_snli_without_a_majority_is_counted_in_every_source(tmp_path):
    (case,) = (case[3] for case in CASES if case[0] == "snli")
    for kind in ("official", "hub", "tfds"):
        write(tmp_path / kind, case, kind)
        assert found(task("snli"), "dev", "en", tmp_path / kind).excluded == {"the annotators agree on no label": 1}


def test_rounds_of_anli_are_read_together(tmp_path):
    for number in (1, 2, 3):
        records = [{"premise": f"p{number}", "hypothesis": "h", "label": "neutral"}]
        path = tmp_path / f"hub/facebook/anli/plain_text/test_r{number}-00000-of-00001.parquet"
        files.write_parquet(path, hf(premise=TEXT, hypothesis=TEXT, label=files.INFERENCE), records)
    read = rows(task("anli"), "test", "en", tmp_path)
    assert [(row.id, row.text) for row in read] == [("1:1", "p1"), ("2:1", "p2"), ("3:1", "p3")]


def test_pairs_of_languages_come_from_records_of_all(tmp_path):
    schema, records = xnli_translations(PAIRS)
    files.prepare(tmp_path, "xnli", "1.1.0", schema, {"test": records})
    read = rows(task("xnli"), "test", "de-en", tmp_path)
    assert sorted(row.text for row in read) == sorted(first for first, _, _ in PAIRS)
    assert {row.pair for row in read} == {"y"}


def test_a_machines_blank_rows_are_counted(tmp_path):
    records = [{"sentence1": a, "sentence2": "b", "label": 1} for a in ("NS", " ", "ja", "nein", "doch")]
    path = tmp_path / "hub/google-research-datasets/paws-x/de/train-00000-of-00001.parquet"
    files.write_parquet(path, hf(sentence1=TEXT, sentence2=TEXT, label=["0", "1"]), records)
    read = found(task("pawsx_translate"), "train", "de", tmp_path)
    assert len(read.rows) == 3
    assert read.excluded == {"a text is translated to nothing": 2}


def test_a_hidden_label_is_predicted_not_scored(tmp_path):
    path = tmp_path / "hub/google-research-datasets/paws-x/de/test-00000-of-00001.parquet"
    records = [{"sentence1": "a", "sentence2": "b", "label": -1}]
    files.write_parquet(path, hf(sentence1=TEXT, sentence2=TEXT, label=["0", "1"]), records)
    with pytest.raises(InputError, match=r"test-00000-of-00001\.parquet: row 1 has no label, so pawsx can predict"):
        rows(task("pawsx"), "test", "de", tmp_path)
    assert rows(task("pawsx"), "test", "de", tmp_path, labels=False)[0].label is None


def test_official_files_are_read_before_others_and_others_before_those_without_labels(tmp_path):
    path = tmp_path / "hub/facebook/xnli/de/test-00000-of-00001.parquet"
    record = {"premise": "hub", "hypothesis": "b", "label": "neutral"}
    files.write_parquet(path, hf(premise=TEXT, hypothesis=TEXT, label=files.INFERENCE), [record])
    (tmp_path / "xnli").mkdir()
    (tmp_path / "xnli/test-de.tsv").write_text("blank\tlabels\n", encoding="utf-8")
    assert rows(task("xnli"), "test", "de", tmp_path)[0].text == "hub"
    assert other_release(task("xnli"), "test", "de", tmp_path) == "hub facebook/xnli"
    (tmp_path / "XNLI-1.0").mkdir()
    header = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
    (tmp_path / "XNLI-1.0/xnli.test.tsv").write_text(header + "de\tneutral\tofficial\tb\t1\n", encoding="utf-8")
    assert rows(task("xnli"), "test", "de", tmp_path)[0].text == "official"
    assert other_release(task("xnli"), "test", "de", tmp_path) == ""


def test_a_release_that_differs_says_how(tmp_path):
    path = tmp_path / "hub/google/xtreme/udpos.German/test-00000-of-00001.parquet"
    tags = List(files.datasets.ClassLabel(names=["ADP", "DET"]))
    files.write_parquet(path, hf(tokens=List(TEXT), pos_tags=tags), [{"tokens": ["zu", "dem"], "pos_tags": [0, 1]}])
    told = other_release(task("udpos"), "test", "de", tmp_path)
    assert told.startswith("hub google/xtreme (the words of fused forms stand apart there")


@pytest.mark.parametrize("builder", ["xtreme_pos/{lang}", "bucc/bucc_{lang}", "universal_dependencies/{lang}"])
def test_unsound_builders_are_refused_with_the_reason(builder):
    with pytest.raises(InputError, match=r"TFDS's \w+ is no source for a task: .*(Tamil|mining|2\.10)"):
        tfds(builder, "1.0.0", {"test": "test"}, published.PANX[0].read)
    assert {"udpos", "bucc2018"} <= set(published.NOT_USED)


def test_a_source_is_named_by_its_patterns():
    source = hub("name/space", "default", {"dev": "validation"}, published.PANX[0].read)
    assert source.read.__name__ == "read_hub"
    assert source.splits == {"dev": ("hub/name/space/data/validation-*.parquet",)}


def test_reading_a_release_needs_neither_jax_nor_tensorflow():
    assert "tensorflow" not in sys.modules


def test_an_official_file_of_another_translation_is_named_and_one_of_another_layout_is_not(tmp_path):
    name = "xtreme_translations/XNLI/translate-train/en-de-translated.tsv"
    write(tmp_path, {"official": {name: "a\tb\tc\td\tneutral\n"}}, "official")
    told = other_release(task("xnli_translate"), "train", "de", tmp_path)
    assert told.endswith("en-{lang}-translated.tsv (XTREME's translation, not that of XNLI-MT-1.0)")
    write(tmp_path, {"official": {"xnli/test-de.tsv": "a\tb\tneutral\n"}}, "official")
    assert other_release(task("xnli"), "test", "de", tmp_path) == ""


def test_results_name_a_release_that_is_not_the_first(tmp_path):
    path = tmp_path / "hub/stanfordnlp/snli/plain_text/train-00000-of-00001.parquet"
    record = {"premise": "a", "hypothesis": "b", "label": 0}
    files.write_parquet(path, hf(premise=TEXT, hypothesis=TEXT, label=files.INFERENCE), [record])
    node = SimpleNamespace(text=None, task="snli", train="train[:50%]", langs=("en",), mixed=())
    context = SimpleNamespace(folders=SimpleNamespace(data_of=lambda _: tmp_path))
    assert releases_of(node, context) == ["hub stanfordnlp/snli"]
    flags = release_flags({"release": "hub facebook/xnli"}, {"releases": ["hub stanfordnlp/snli"]})
    assert flags == ["scored on hub facebook/xnli", "trained on hub stanfordnlp/snli"]
    assert release_flags({"release": ""}, {}) == release_flags({}, {"releases": []}) == []
    told = {
        "task": "xnli",
        "lang": "en",
        "metric": "accuracy",
        "flags": flags,
        "phase": "p",
        "selection": "",
        "seed": 0,
    }
    console = Console(file=io.StringIO(), width=200)
    print_results({"rows": [told | {"n_scored": 1, "n_dataset": 1, "score": 1.0}], "summary": []}, console)
    assert "xnli: scored on hub facebook/xnli, not the source that the task names first" in console.file.getvalue()


def test_an_article_that_goes_on_in_the_next_shard_is_not_parted(tmp_path):
    for shard in (0, 1):
        records = [record | {"id": f"{shard}{record['id']}"} for record in squad_records()]
        path = tmp_path / f"hub/rajpurkar/squad/plain_text/train-{shard:05}-of-00002.parquet"
        files.write_parquet(path, squad_hub(), records)
    read = rows(task("squad"), "train", "en", tmp_path)
    assert [row.id for row in read] == ["0a1", "0a2", "1a1", "1a2"]
    assert {row.group for row in read} == {"River"}
