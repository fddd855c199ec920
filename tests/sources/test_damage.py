"""Every reader, on files that are damaged in every way: rows, or one clear error that names the file."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlmr_flax.errors import InputError
from xlmr_flax.sources.conll import read_tagged
from xlmr_flax.sources.conllu import read_conllu
from xlmr_flax.sources.cosmosqa import read_cosmosqa
from xlmr_flax.sources.squad import read_squad
from xlmr_flax.sources.tatoeba import read_tatoeba
from xlmr_flax.sources.text import read_text
from xlmr_flax.sources.tsv import read_glue_pairs, read_pairs

QUESTION = {"id": "q1", "question": "Wer?", "answers": [{"text": "Ä", "answer_start": 0}]}
WHOLE = {
    read_text: "eins\nzwei\n",
    read_pairs: '"Er sagt ""ja"""\tSie geht\tneutral\r\nA\tB\tentailment\r\n',
    read_glue_pairs: "sentence1\tsentence2\tgold_label\nÄ\tB\tneutral\n",
    read_squad: json.dumps({"data": [{"paragraphs": [{"context": "Ä kam", "qas": [QUESTION]}]}]}, ensure_ascii=False),
    read_tagged: "Er\tPRON\ngeht\tVERB\n\nÄ\tX\n",
    read_conllu: "# sent_id = a\n1-2\tim\t" + "_\t" * 7 + "_\n1\tin\tin\tADP\t_\t_\t2\tcase\t2:case\t_\n"
    "2\tÄ\tÄ\tX\t_\t_\t0\troot\t0:root\t_\n2.1\tx\tx\tX\t_\t_\t_\t_\t2:x\t_\n\n",
    read_cosmosqa: 'id,context,question,answer0,answer1,answer2,answer3,label\nq1,"Ä, ja",q,a,b,c,d,1\n',
}
READERS = list(WHOLE)


def named(reader):
    return reader.__name__


def outcome(reader, *paths):
    """The rows, or what is said instead; any other exception fails the test."""
    try:
        return reader(*paths), None
    except InputError as error:
        return [], str(error)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damage")


@pytest.mark.parametrize("reader", READERS, ids=named)
def test_the_whole_file_is_read_with_and_without_a_byte_order_mark(folder, reader):
    path = folder / "file"
    path.write_bytes(WHOLE[reader].encode())
    rows = reader(path)
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE[reader].encode())
    assert rows
    assert reader(path) == rows


@pytest.mark.parametrize("reader", READERS, ids=named)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"", "the file is empty"),
        (lambda content: content + b"\xc3", "0xc3, which is not UTF-8"),
        (lambda content: content[:3] + b"\0" + content[3:], ":1: a NUL character"),
        (lambda content: content.decode().encode("utf-16"), "0xff, which is not UTF-8"),
    ],
    ids=["empty", "invalid", "nul", "utf-16"],
)
def test_what_no_reader_accepts(folder, reader, spoil, message):
    path = folder / "spoilt"
    path.write_bytes(spoil(WHOLE[reader].encode()))
    with pytest.raises(InputError, match=r"spoilt.*" + message):
        reader(path)


@pytest.mark.parametrize("reader", READERS, ids=named)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_random_damage_gives_rows_or_one_error_that_names_the_file(folder, reader, data):
    content = bytearray(WHOLE[reader].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        match data.draw(st.sampled_from(["cut", "put", "drop", "double"])):
            case "cut":
                del content[at:]
            case "put":
                content[at:at] = data.draw(
                    st.sampled_from([b"\t", b"\n", b"\r", b'"', b"\0", b"\xff", b" ", b"9", b"]"])
                )
            case "drop":
                del content[at : at + data.draw(st.integers(1, 10))]
            case "double":
                content += content[at:]
    path = folder / "damaged"
    path.write_bytes(content)
    rows, problem = outcome(reader, path)
    assert bool(rows) != bool(problem)
    assert problem is None or str(path) in problem
    assert len({row.id for row in rows}) == len(rows)


@given(texts=st.tuples(st.binary(max_size=30), st.binary(max_size=30)))
def test_pairs_of_any_bytes_give_rows_or_one_error(folder, texts):
    paths = folder / "one", folder / "two"
    for path, content in zip(paths, texts, strict=True):
        path.write_bytes(content)
    rows, problem = outcome(read_tatoeba, *paths)
    if problem is None:
        assert len(rows) == texts[0].removesuffix(b"\n").count(b"\n") + 1
    else:
        assert any(str(path) in problem for path in paths)
