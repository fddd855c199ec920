"""LAReQA: questions, and the sentences of paragraphs among which each finds the one that holds its answer.

XQuAD-R is XQuAD with the places of its sentences; to train on, SQuAD's paragraphs are cut into sentences here.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.rows import Document, Excluded, Matched, Query
from xlmr_flax.sources.squad import Node, root

Span = tuple[int, int]  # code points of a context

# A sentence may end here: after its mark come closing quotes and brackets, a space, and how another one begins.
_END = re.compile(r"[.?!](?:[\"'”’)\]]|\[[^\]\s]{1,8}\])*\s+(?=[\"'“‘(\[]*[A-Z0-9])")
# … unless the mark belongs to a shortened word, to an initial or to several letters with their marks (U.S., A.D.).
_SHORTENED = re.compile(
    r"(?:^|[\s(\"'“‘\[])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sta|Fr|Rev|Lt|Gen|Col|Maj|Adm|Capt|Sgt|Cpt"
    r"|Rep|Sen|Gov|Pres|Hon|Mt|Ft|vs|cf|ca|c|al|pp|p|approx|No|no|Nos|Vol|vol|Art|Sec|ch|Op|Jan|Feb|Aug|Sept|Sep|Oct"
    r"|Nov|Dec)$"
)


class Paragraph(NamedTuple):
    """A paragraph, the article that it comes from and its place in the file, from 1."""

    node: Node
    group: str
    number: int
    context: str


def read_xquad_r(path: Path, lang: str) -> list[Query | Excluded]:
    """The questions of one language's file, each with the sentences of this language that hold its answer.

    These are the sentence in which the answer starts, and any of its paragraph that says the same, as XTREME-R counts
    (utils_lareqa.py). A question whose answer starts in none is excluded, as there.
    """
    return [
        _query(paragraph, asked, spans, lang)
        for paragraph in _paragraphs(path)
        for spans in [_breaks(paragraph)]
        for asked in paragraph.node.field("qas").items()
    ]


def read_xquad_r_sentences(path: Path, lang: str) -> list[Document]:
    """Every sentence of one language's file, in its paragraph; an id is the language and the two places."""
    return [
        Document(_name(lang, paragraph, place), paragraph.group, paragraph.context[start:end], paragraph.context)
        for paragraph in _paragraphs(path)
        for place, (start, end) in enumerate(_breaks(paragraph))
    ]


def read_squad_sentences(path: Path) -> list[Matched]:
    """SQuAD's questions, each with the sentence in which its first answer starts, in its paragraph."""
    rows = []
    for paragraph in _paragraphs(path):
        spans = sentence_spans(paragraph.context)
        for asked in paragraph.node.field("qas").items():
            start = _answer_start(paragraph, asked)
            place = next(number for number, (_, end) in enumerate(spans) if start < end)
            sentence = paragraph.context[slice(*spans[place])]
            name, question = asked.field("id").text(), asked.field("question").text()
            document = _name("squad", paragraph, place)
            rows.append(Matched(name, paragraph.group, question, sentence, document, paragraph.context))
    return rows


def sentence_spans(text: str) -> list[Span]:
    """Where the sentences of an English text lie, without the spaces around them; together they hold all the rest.

    A rule of ours for SQuAD, whose sentences nobody has marked: XTREME-R uses another, and the two may differ.
    """
    cuts = [found.end() for found in _END.finditer(text) if not _SHORTENED.search(text[: found.start()])]
    spans = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        part = text[start:end]
        spans.append((start + len(part) - len(part.lstrip()), start + len(part.rstrip())))
    return spans


def _paragraphs(path: Path) -> Iterator[Paragraph]:
    """Every paragraph, in order. Raises InputError for a file without a question, or with one id for two."""
    number, seen = 0, set()
    for place, article in enumerate(root(path).field("data").items()):
        title = article.table().value.get("title")
        group = title if isinstance(title, str) and title.strip() else f"article {place}"
        for node in article.field("paragraphs").items():
            number += 1
            for asked in node.field("qas").items():
                name = asked.field("id").text()
                if name in seen:
                    raise InputError(f"{path}: {asked.place}: the question id {name!r} occurs twice; ids are unique")
                seen.add(name)
            yield Paragraph(node, group, number, node.field("context").text())
    if not seen:
        raise InputError(f"{path}: there is not one question in data[].paragraphs[].qas[]; at least one is wanted")


def _query(paragraph: Paragraph, asked: Node, spans: Sequence[Span], lang: str) -> Query | Excluded:
    name, start = asked.field("id").text(), _answer_start(paragraph, asked)
    sentence = next((paragraph.context[a:b] for a, b in spans if a <= start < b), None)
    if sentence is None:
        return Excluded(name, paragraph.group, "an answer that starts in no sentence")
    same = [place for place, (a, b) in enumerate(spans) if paragraph.context[a:b] == sentence]
    relevant = tuple(_name(lang, paragraph, place) for place in same)
    return Query(name, paragraph.group, asked.field("question").text(), relevant)


def _answer_start(paragraph: Paragraph, asked: Node) -> int:
    """Where the first answer starts; the context must hold its very text there."""
    answers = asked.field("answers").items()
    if not answers:
        raise InputError(f"{asked.path}: {asked.place}.answers is empty; LAReQA needs where the answer stands")
    text, start = answers[0].field("text").text(), answers[0].field("answer_start").whole_number()
    found = paragraph.context[start : start + len(text)] if start >= 0 else ""
    if found != text:
        raise InputError(
            f"{asked.path}: {answers[0].place} should stand at offset {start}: found {found!r}, wanted {text!r} "
            f"(the context has {len(paragraph.context)} code points)"
        )
    return start


def _breaks(paragraph: Paragraph) -> list[Span]:
    """The places of a paragraph's sentences, which rise and lie in its context."""
    node, spans, before = paragraph.node.field("sentence_breaks"), [], 0
    for item in node.items():
        ends = [end.whole_number() for end in item.items()]
        if len(ends) != 2 or not before <= ends[0] < ends[1] <= len(paragraph.context):
            raise InputError(
                f"{node.path}: {item.place} is {ends}, wanted a sentence's start and end, after the one before "
                f"(at {before}) and within the context's {len(paragraph.context)} code points"
            )
        if not paragraph.context[ends[0] : ends[1]].strip():
            raise InputError(f"{node.path}: {item.place} is a blank sentence, text is wanted")
        spans.append((ends[0], ends[1]))
        before = ends[1]
    if not spans:
        raise InputError(f"{node.path}: {node.place} is empty, at least one sentence is wanted")
    return spans


def _name(source: str, paragraph: Paragraph, place: int) -> str:
    return f"{source}_{paragraph.number}_{place}"
