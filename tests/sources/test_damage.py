"""Every reader, on files that are damaged in every way: rows, or one clear error that names the file."""

import importlib
import inspect
import json
import pkgutil
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xlmr_flax.sources
from xlmr_flax.errors import InputError
from xlmr_flax.sources import (
    bucc,
    commonsense,
    conll,
    conllu,
    cosmosqa,
    lareqa,
    mewslix,
    nli,
    pawsx,
    squad,
    tatoeba,
    translated,
    tsv,
    xnli,
)
from xlmr_flax.sources.rows import Excluded
from xlmr_flax.sources.text import read_text
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import check


class Case(NamedTuple):
    """A reader, whole files for it, and how many rows they hold; `at` is how an error says where the second row is."""

    read: Callable[..., list[Any]]
    files: tuple[str, ...]
    rows: int
    at: str = ":2"
    form: str = "text"  # how it is damaged: text, tsv, headed, jsonl, json
    task: str | None = None  # with whose labels its rows are compared


def jsonl(*rows: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def table(*rows: str) -> str:
    return "".join("\t".join(row.split("|")) + "\n" for row in rows)


def squad_file(*names: str, **more: Any) -> str:
    """Ä stands first and sixth in every context of two sentences."""
    qas = [
        {"id": name, "question": f"Wer {name}?", "answers": [{"text": "Ä", "answer_start": 0}], **more}
        for name in names
    ]
    paragraph = {"context": "Ä kam. B ging.", "qas": qas, "sentence_breaks": [[0, 6], [7, 14]]}
    return json.dumps({"data": [{"title": "T", "paragraphs": [paragraph]}]}, ensure_ascii=False)


SPANS = [{"start": 0, "end": 11}]
CONTEXT = {"text": "Smith kam ä", "language": "de", "sentence_spans": SPANS}


def mention(number: int) -> dict:
    span = {"start": 0, "end": 5, "text": "Smith"}
    return {"example_id": f"m{number}", "entity_id": f"Q{number}", "mention_span": span}


def entity(number: int) -> dict:
    return {"entity_id": f"Q{number}", "description": "Ein Schmied", "sentence_spans": SPANS}


def articles(**more: Any) -> str:
    return jsonl(*({"context": CONTEXT, "mentions": [mention(n) | more]} for n in (1, 2, 3)))


def questions(name: str) -> dict:
    choices = [{"label": letter, "text": f"{letter} ä"} for letter in "ABCDE"]
    return {"id": name, "question": {"stem": "Wo?", "choices": choices}, "answerKey": "B"}


NLI = table("A1|B1|neutral", '"Er sagt ""ja"""|Sie geht|entailment', "Ä|B3|contradiction").replace("\n", "\r\n")
PAWSX = table("id|sentence1|sentence2|label", "1|Ä|B|0", "2|C|D|1", "3|E|F|0")
XNLI = table(
    "language|gold_label|sentence1|sentence2|pairID", "de|neutral|Ä|B|1", "de|entailment|C|D|2", "en|neutral|a|b|1",
    "en|entailment|c|d|2",
)  # fmt: skip
CONLLU = (
    "# sent_id = a\n1-2\tim\t" + "_\t" * 7 + "_\n1\tin\tin\tADP\t_\t_\t2\tcase\t2:case\t_\n"
    "2\tÄ\tÄ\tX\t_\t_\t0\troot\t0:root\t_\n2.1\tx\tx\tX\t_\t_\t_\t_\t2:x\t_\n\n"
)
COSMOSQA = 'id,context,question,answer0,answer1,answer2,answer3,label\nq1,"Ä, ja",q,a,b,c,d,1\nq2,B,q,a,b,c,d,3\n'
CHOICES = jsonl(
    *({"prompt": "Ä", "question": "Wo?", "options": ["da", "dort", "hier", "fort"], "label": n} for n in range(3))
)
COPA = jsonl(*({"premise": "Ä", "choice1": "a", "choice2": "b", "question": "cause", "label": 1} for _ in range(3)))
SNLI = jsonl(*({"sentence1": f"Ä{n}", "sentence2": "B", "gold_label": "neutral"} for n in range(3)))
ANLI = jsonl(*({"uid": str(n), "context": f"Ä{n}", "hypothesis": "B", "label": "e"} for n in range(3)))
HELLASWAG = jsonl(*({"ctx_a": "Ä", "ctx_b": "er", "endings": list("abcd"), "label": n} for n in range(3)))
SOCIAL = {"context": "Ä", "question": "Wo?", "answerA": "a", "answerB": "b", "answerC": "c", "correct": "B"}
PAIRS = jsonl(*({"text": f"Ä{n}", "pair": "B", "label": "neutral"} for n in range(3)))
FIVE = table("a|b|Ä|B|neutral", "a|b|C|D|entailment", "a|b|E|F|contradictory")
TYDIQA = squad_file("english-1", "english-2", "finnish-1")
IN_QUESTION, IN_LINE = "qas[1]", ":3"

CASES = {
    "text": Case(read_text, ("eins\nzwei\nÄ drei\n",), 3),
    "pairs": Case(tsv.read_pairs, (NLI,), 3, form="tsv", task="xnli"),
    "hypotheses": Case(tsv.read_hypotheses, (NLI,), 3, form="tsv", task="xnli_hypothesis"),
    "crossed pairs": Case(tsv.read_crossed_pairs, (NLI, NLI), 3, form="tsv", task="xnli"),
    "glue": Case(
        tsv.read_glue_pairs,
        (table("x|sentence1|sentence2|gold_label", "1|Ä|B|neutral", "2|C|D|neutral"),),
        2,
        IN_LINE,
        "headed",
        "mnli",
    ),
    "qqp": Case(
        tsv.read_qqp,
        (table("id|question1|question2|is_duplicate", "1|Ä|B|0", "2|C|D|1", "3|E|F|0"),),
        3,
        IN_LINE,
        "headed",
        "qqp",
    ),
    "xnli": Case(partial(xnli.read_xnli, lang="de"), (XNLI,), 2, IN_LINE, "headed", "xnli"),
    "xnli hypotheses": Case(
        partial(xnli.read_xnli_hypotheses, lang="de"), (XNLI,), 2, IN_LINE, "headed", "xnli_hypothesis"
    ),
    "crossed xnli": Case(partial(xnli.read_xnli, lang="de-en"), (XNLI,), 2, IN_LINE, "headed", "xnli"),
    "pawsx": Case(pawsx.read_pawsx, (PAWSX,), 3, IN_LINE, "headed", "pawsx"),
    "crossed pawsx": Case(pawsx.read_crossed_pawsx, (PAWSX, PAWSX), 3, IN_LINE, "headed", "pawsx"),
    "xnli translated": Case(
        translated.read_xnli_translated,
        (table("premise|hypo|label", "Ä|B|neutral", "C|D|contradictory", "E|F|neutral"),),
        3,
        IN_LINE,
        "headed",
        "xnli_translate",
    ),
    "pawsx translated": Case(translated.read_pawsx_translated, (PAWSX,), 3, IN_LINE, "headed", "pawsx_translate"),
    "xtreme xnli": Case(translated.read_xtreme_xnli, (FIVE,), 3, form="tsv", task="xnli_translate"),
    "xtreme pawsx": Case(
        translated.read_xtreme_pawsx,
        (table("a|b|Ä|B|0", "a|b|C|D|1", "a|b|E|F|1"),),
        3,
        form="tsv",
        task="pawsx_translate",
    ),
    "translated pairs": Case(translated.read_translated_pairs, (PAIRS,), 3, form="jsonl", task="mnli_translated"),
    "translated choices": Case(
        translated.read_translated_choices, (CHOICES,), 3, form="jsonl", task="hellaswag_translated"
    ),
    "snli": Case(nli.read_nli, (SNLI,), 3, form="jsonl", task="snli"),
    "anli": Case(nli.read_anli, (ANLI,), 3, form="jsonl", task="anli"),
    "anli rounds": Case(nli.read_anli, (ANLI, ANLI), 6, form="jsonl", task="anli"),
    "hellaswag": Case(commonsense.read_hellaswag, (HELLASWAG,), 3, form="jsonl", task="hellaswag"),
    "commonsenseqa": Case(
        commonsense.read_commonsenseqa, (jsonl(*map(questions, "abc")),), 3, form="jsonl", task="commonsenseqa"
    ),
    "socialiqa": Case(commonsense.read_socialiqa, (jsonl(*[SOCIAL] * 3),), 3, form="jsonl", task="socialiqa"),
    "copa": Case(commonsense.read_copa, (COPA,), 3, form="jsonl", task="copa"),
    "copa test": Case(commonsense.read_copa_test, (COPA,), 3, form="jsonl", task="xcopa"),
    "cosmosqa": Case(cosmosqa.read_cosmosqa, (COSMOSQA,), 2, IN_LINE, task="cosmosqa"),
    "tagged": Case(conll.read_tagged, ("Er\tPRON\ngeht\tVERB\n\nÄ\tX\n",), 2, task="udpos"),
    "wikiann": Case(conll.read_wikiann, ("de:Er\tO\nde:Ä\tB-PER\n\nde:B\tO\n",), 2, task="panx"),
    "conllu": Case(conllu.read_conllu, (CONLLU + CONLLU.replace("= a", "= b"),), 2, task="udpos"),
    "squad": Case(squad.read_squad, (squad_file("q1", "q2", "q3"),), 3, IN_QUESTION, "json", "squad"),
    "squad v2": Case(
        squad.read_squad_v2, (squad_file("q1", "q2", "q3", is_impossible=False),), 3, IN_QUESTION, "json", "squad_v2"
    ),
    "translated squad": Case(
        squad.read_translated_squad, (squad_file("q1", "q2", "q3"),), 3, IN_QUESTION, "json", "squad_translate"
    ),
    "tydiqa": Case(partial(squad.read_tydiqa, lang="en"), (TYDIQA,), 2, IN_QUESTION, "json", "tydiqa"),
    "tydiqa part": Case(squad.read_tydiqa_part, (squad_file("1", "1", "2"),), 3, IN_QUESTION, "json", "tydiqa"),
    "xquad-r": Case(
        partial(lareqa.read_xquad_r, lang="de"), (squad_file("q1", "q2"),), 2, IN_QUESTION, "json", "lareqa"
    ),
    "xquad-r sentences": Case(
        partial(lareqa.read_xquad_r_sentences, lang="de"), (squad_file("q1", "q2"),), 2, IN_QUESTION, "json"
    ),
    "squad sentences": Case(lareqa.read_squad_sentences, (squad_file("q1", "q2"),), 2, IN_QUESTION, "json", "lareqa"),
    "tatoeba": Case(tatoeba.read_tatoeba, ("Ä\nB\n", "a\nb\n"), 2),
    "tatoeba sorted": Case(tatoeba.read_tatoeba_sorted, ("Ä\nB\n", "a\nb\n"), 4),
    "bucc": Case(
        bucc.read_bucc,
        (table("de-1|Ä", "de-2|B"), table("en-1|a", "en-2|b"), table("de-2|en-1")),
        4,
        form="tsv",
        task="bucc2018",
    ),
    "bucc hidden": Case(
        bucc.read_bucc, (table("de-1|Ä", "de-2|B"), table("en-1|a", "en-2|b")), 4, form="tsv", task="bucc2018"
    ),
    "mewslix pairs": Case(
        mewslix.read_mewslix_pairs,
        (
            jsonl(
                *(
                    {"contextual_mention": {"context": CONTEXT, "mention": mention(n)}, "entity": entity(n)}
                    for n in (1, 2, 3)
                )
            ),
        ),
        3,
        form="jsonl",
        task="mewslix",
    ),
    "mewslix mentions": Case(
        partial(mewslix.read_mewslix_mentions, lang="de"), (articles(),), 3, form="jsonl", task="mewslix"
    ),
    "mewslix part": Case(
        partial(mewslix.read_mewslix_part, lang="de"),
        (articles(entity_id=None), json.dumps({"m1": ["Q1"], "m2": ["Q2"], "m3": ["Q3"]})),
        3,
        form="jsonl",
        task="mewslix",
    ),
    "mewslix entities": Case(mewslix.read_mewslix_entities, (jsonl(*map(entity, (1, 2, 3))),), 3, form="jsonl"),
}

every_case = pytest.mark.parametrize("name", CASES)


def named(read: Any) -> str:
    return getattr(read, "func", read).__name__


def write(folder: Path, contents: Any) -> list[Path]:
    paths = [folder / f"file{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    return paths


def outcome(case: Case, paths: list[Path]) -> tuple[list[Any], str | None]:
    """The rows, or what is said instead; any other exception fails the test."""
    try:
        rows = case.read(*paths)
        if case.task:
            check(task(case.task), rows, paths[0], labels=False)
    except InputError as error:
        return [], str(error)
    return rows, None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


def test_every_reader_is_here():
    modules = pkgutil.iter_modules(xlmr_flax.sources.__path__, "xlmr_flax.sources.")
    readers = {
        name
        for module in modules
        for name, value in inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)
        if name.startswith("read_") and value.__module__ == module.name
    }
    # test_damage_records.py, and of dictionaries test_dictionary.py
    elsewhere = {"read_parquet", "read_array_record", "read_dictionary"}
    assert {named(case.read) for case in CASES.values()} == readers - elsewhere


@every_case
def test_whole_files_are_read_with_and_without_byte_order_marks_and_carriage_returns(folder, name):
    case = CASES[name]
    rows, problem = outcome(case, write(folder, case.files))
    assert problem is None
    assert len(rows) == case.rows
    assert not any(isinstance(row, Excluded) for row in rows)
    assert outcome(case, write(folder, [f"\ufeff{content}" for content in case.files])) == (rows, None)
    if name != "cosmosqa":  # whose quoted cells may hold either
        ends = [content.replace("\r\n", "\n").replace("\n", "\r\n") for content in case.files]
        assert outcome(case, write(folder, ends)) == (rows, None)


@every_case
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"", "the file is empty"),
        (lambda content: b" \r\n\t\n", "the file is empty"),
        (lambda content: content + b"\xc3", "0xc3, which is not UTF-8"),
        (lambda content: content[:3] + b"\0" + content[3:], r":\d: a NUL character"),
        (lambda content: content.decode().encode("utf-16"), "0xff, which is not UTF-8"),
        (lambda content: content.decode().encode("latin-1", "replace"), "which is not UTF-8"),
    ],
    ids=["empty", "blank", "invalid", "nul", "utf-16", "latin-1"],
)
def test_what_no_reader_accepts(folder, name, spoil, message):
    case = CASES[name]
    whole = [content.encode() for content in case.files]
    for number in range(len(whole)):
        if spoil(whole[number]) == whole[number]:
            continue  # ASCII is Latin-1, too
        paths = write(folder, [*whole[:number], spoil(whole[number]), *whole[number + 1 :]])
        _, problem = outcome(case, paths)
        assert problem is not None
        assert re.search(f"{re.escape(str(paths[number]))}.*{message}", problem)


@every_case
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    case = CASES[name]
    _, problem = outcome(case, [tmp_path / "nowhere" for _ in case.files])
    assert problem is not None
    assert str(tmp_path / "nowhere") in problem


PIECES = [b"\t", b"\n", b"\r", b'"', b"\0", b"\xff", b" ", b"9", b"]", b"\xe2\x80\xa8", b"\\ud83d", b"-", b"null"]


@every_case
@settings(max_examples=40)
@given(data=st.data())
def test_random_damage_gives_rows_or_one_error_that_names_the_file(folder, name, data):
    case = CASES[name]
    contents = [bytearray(content.encode()) for content in case.files]
    content = data.draw(st.sampled_from(contents))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        match data.draw(st.sampled_from(["cut", "put", "drop", "double"])):
            case "cut":
                del content[at:]
            case "put":
                content[at:at] = data.draw(st.sampled_from(PIECES))
            case "drop":
                del content[at : at + data.draw(st.integers(1, 10))]
            case "double":
                content += content[at:]
    paths = write(folder, contents)
    rows, problem = outcome(case, paths)
    assert bool(rows) != bool(problem)
    assert problem is None or any(str(path) in problem for path in paths)
    assert all(row.id for row in rows)


def of_form(*forms: str) -> Any:
    return pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.form in forms])


def second_row_replaced(case: Case, line: str) -> list[str]:
    """The case's first file with another second row."""
    first, *rest = case.files
    lines = first.split("\n")
    lines[1 + (case.form == "headed")] = line
    return ["\n".join(lines), *rest]


@of_form("tsv", "headed")
@pytest.mark.parametrize("line", ["", "one", "\t\t\t\t\t\t\t\t\t", "a\tb\tc\td\te\tf\tg\th"])
def test_a_row_of_wrong_columns_is_refused_with_its_line_or_counted(folder, name, line):
    case = CASES[name]
    paths = write(folder, second_row_replaced(case, line))
    rows, problem = outcome(case, paths)
    if problem is None:
        assert len(rows) == case.rows
        assert [type(row) is Excluded for row in rows] == [False, True, False]
    else:
        assert f"{paths[0]}{case.at}:" in problem


@of_form("tsv")
@pytest.mark.parametrize("line", ['"open\tB\tneutral', 'a "b" c\tB\tneutral', '"a" b\tB\tneutral'])
def test_a_wrong_quote_swallows_no_row(folder, name, line):
    case = CASES[name]
    paths = write(folder, second_row_replaced(case, line))
    rows, problem = outcome(case, paths)
    assert problem is not None or len(rows) == case.rows
    assert problem is None or str(paths[0]) in problem


@of_form("headed")
def test_a_header_without_a_column_is_refused_with_the_column(folder, name):
    case = CASES[name]
    header, *rest = case.files[0].split("\n")
    for column in header.split("\t"):
        paths = write(folder, ["\n".join([header.replace(column, "other"), *rest]), *case.files[1:]])
        rows, problem = outcome(case, paths)
        if problem is None:  # not a column that this reader needs, or that of the labels
            assert len(rows) == case.rows
        elif "crossed" not in name or column != "label":  # there the other file's labels are others
            assert f"{paths[0]}:1: the header has no column" in problem
            assert column in problem


@of_form("jsonl")
@pytest.mark.parametrize("line", ["", "nul", "[]", "5", '"text"', "{}", '{"a": 1}', "[" * 100_000, "{" + "9" * 5000])
def test_a_line_that_is_no_record_is_refused_with_its_number(folder, name, line):
    case = CASES[name]
    paths = write(folder, second_row_replaced(case, line))
    _, problem = outcome(case, paths)
    assert problem is not None
    assert f"{paths[0]}:2" in problem


@of_form("json")
@pytest.mark.parametrize("value", [None, 5, "text", [], {}, True, {"id": 5, "question": "Wer?", "answers": []}])
def test_a_question_of_another_shape_is_refused_with_its_place(folder, name, value):
    case = CASES[name]
    whole = json.loads(case.files[0])
    whole["data"][0]["paragraphs"][0]["qas"][1] = value
    paths = write(folder, [json.dumps(whole)])
    _, problem = outcome(case, paths)
    assert problem is not None
    assert str(paths[0]) in problem
    assert "data[0].paragraphs[0].qas[1]" in problem


STRANGE = (None, True, 0, -1, 10**30, 2.5, float("nan"), "", " ", "\ud83d", "\0", "zzz", [], {}, [[]], [None], {"a": 1})


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where every value in a document stands."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inside for place in places(one, (*path, key)))]


def changed(value: Any, path: tuple, new: Any) -> Any:
    """The document with another value in a place, or, where `new` is `changed`, with none there."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is changed:
        del copy[path[0]]
    else:
        copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@of_form("json", "jsonl")
def test_any_value_of_another_type_or_missing_gives_rows_or_one_error_and_no_row_is_lost(folder, name):
    case = CASES[name]
    documents = [[json.loads(line) for line in content.splitlines()] for content in case.files]
    draw = random.Random(name)
    for number, rows_of_file in enumerate(documents):
        row = rows_of_file[min(1, len(rows_of_file) - 1)]
        for place in places(row):
            for new in (changed, *draw.sample(STRANGE, 5)):
                if not place and new is changed:
                    continue
                rows_new = [changed(row, place, new) if one is row else one for one in rows_of_file]
                contents = list(case.files)
                contents[number] = "".join(json.dumps(one) + "\n" for one in rows_new)
                paths = write(folder, contents)
                rows, problem = outcome(case, paths)
                assert bool(rows) != bool(problem), (place, new)
                assert problem is None or str(paths[number]) in problem or str(paths[0]) in problem, (place, new)
                listed = isinstance(place[-1], int) if place else False
                if problem is None and not (listed and new is changed) and not lists_rows(place, new):
                    assert len(rows) == case.rows, (place, new, rows)


def lists_rows(place: tuple, new: Any) -> bool:
    """Whether the change is an emptied list of rows, which is a file of fewer rows; or one in another language."""
    return new == [] or place[-1:] == ("language",) or (place[-1:] == ("id",) and isinstance(new, str))


LABELS = "|".join(
    (
        "neutral",
        "PRON",
        "B-PER",
        r"(?<=\t)[01](?=\n)",
        r"(?<=,)3$",
        r'(?<="label": )\d',
        '(?<="label": ")e',
        '(?<="answerKey": ")B',
        '(?<="correct": ")B',
    )
)


@pytest.mark.parametrize(
    "name", [n for n, case in CASES.items() if case.task and re.search(LABELS, case.files[0], re.M)]
)
def test_a_label_outside_the_set_is_refused_or_counted(folder, name):
    case = CASES[name]
    labels = re.compile(LABELS, re.MULTILINE)
    contents = [labels.sub("7", content, count=1) for content in case.files]
    if contents == list(case.files):
        contents = [labels.sub("8", content, count=1) for content in case.files]
    rows, problem = outcome(case, write(folder, contents))
    if problem is None:
        assert len(rows) == case.rows
        assert sum(isinstance(row, Excluded) for row in rows) == 1
    else:
        assert str(folder / "file0") in problem
        assert re.search("[78]", problem)


@pytest.mark.parametrize(
    "name", ["squad", "squad v2", "translated squad", "tydiqa", "tydiqa part", "squad sentences", "xquad-r"]
)
@pytest.mark.parametrize("start", [1, -1, 13, 10**12])
def test_an_answer_that_does_not_stand_in_its_context_is_refused_or_counted(folder, name, start):
    case = CASES[name]
    whole = json.loads(case.files[0])
    whole["data"][0]["paragraphs"][0]["qas"][1]["answers"][0]["answer_start"] = start
    paths = write(folder, [json.dumps(whole)])
    rows, problem = outcome(case, paths)
    if name == "translated squad":
        assert [type(row) is Excluded for row in rows] == [False, True, False]
    else:
        assert problem is not None
        assert f"{paths[0]}: data[0].paragraphs[0].qas[1].answers[0]" in problem
        assert str(start) in problem


@pytest.mark.parametrize(
    "name", ["cosmosqa", "squad", "squad v2", "translated squad", "tydiqa", "xquad-r", "squad sentences", "bucc"]
)
def test_an_id_that_occurs_twice_is_refused_with_its_row(folder, name):
    case = CASES[name]
    contents = [re.sub("q2|english-2|de-2", lambda m: m[0].replace("2", "1"), content) for content in case.files]
    paths = write(folder, contents)
    _, problem = outcome(case, paths)
    assert problem is not None
    assert re.search(f"{re.escape(str(paths[0]))}.*(q1|english-1|de-1)", problem)


@pytest.mark.parametrize(
    "name", ["xnli", "pawsx", "mewslix pairs", "mewslix mentions", "crossed xnli", "crossed pawsx"]
)
def test_ids_that_other_readers_leave_to_the_task_stay_to_be_seen(folder, name):
    # `tasks.files.found` refuses a split in which an id occurs twice; a reader must not drop either row before.
    case = CASES[name]
    twice = re.sub(r"(?m)^2(?=\t)|2$|(?<=m)2", "1", case.files[0])
    assert twice != case.files[0]
    paths = write(folder, [twice, *case.files[1:]])
    rows, problem = outcome(case, paths)
    assert (problem is not None and str(paths[0]) in problem) or len(rows) == case.rows
