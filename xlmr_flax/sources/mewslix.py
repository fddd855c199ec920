"""Mewsli-X: mentions of entities in articles, and the descriptions of entities among which each finds its own.

Texts are made of both as XTREME-R's baseline makes them (third_party/utils_mewslix.py), but keep their capitals: its
script for XLM-R lower-cases them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xlmr_flax.errors import InputError
from xlmr_flax.sources.jsonl import Record, records
from xlmr_flax.sources.lines import whole_text
from xlmr_flax.sources.rows import Document, Matched, Query

_BRACES = re.compile(r"\{(.*?)\}")

Span = tuple[int, int]  # code points


def read_mewslix_pairs(path: Path) -> list[Matched]:
    """The pairs to train on: a mention in a Wikipedia article, and the description of its entity."""
    rows = []
    for record in records(path):
        told = _inside(record, "contextual_mention")
        context, mention, entity = _inside(told, "context"), _inside(told, "mention"), _inside(record, "entity")
        name, entity_id = mention.text("example_id"), entity.text("entity_id")
        if mention.text("entity_id") != entity_id:
            raise InputError(
                f"{record.where}: {name} mentions {mention.text('entity_id')}, but stands beside entity {entity_id}"
            )
        rows.append(Matched(name, name, mention_text(context, mention), description_text(entity), entity_id))
    return rows


def read_mewslix_mentions(path: Path, lang: str) -> list[Query]:
    """The mentions in articles in one language, from the release's file of all languages."""
    return list(_queries(path, lang, None))


def read_mewslix_part(path: Path, labels: Path, lang: str) -> list[Query]:
    """The same from a file of one language, whose entities stand in a file beside it: {example_id: [entity_id]}."""
    return list(_queries(path, lang, _labels(labels)))


def read_mewslix_entities(path: Path) -> list[Document]:
    """The candidate set: every entity's description, in whatever language it is."""
    rows = []
    for record in records(path):
        name = record.text("entity_id")
        rows.append(Document(name, name, description_text(record)))
    return rows


def mention_text(context: Record, mention: Record) -> str:
    """`Smith: The verdict came back for { Smith }.`: the mention, and the sentence around it with the mention marked.

    The mention stands first, so that cutting the end cannot lose it. Braces that the sentence has become parentheses.
    """
    text, span = context.text("text"), _inside(mention, "mention_span")
    start, end = _span(span, text)
    if span.text("text") != text[start:end]:
        raise InputError(
            f"{span.where}: {span.text('text')!r} should stand at {start}, found {text[start:end]!r}; the released "
            f"files of Wikinews have no text until get-mewsli-x.sh has restored it"
        )
    for first, last in _spans(context, text):
        if first <= start and end <= last:
            left, right = (_BRACES.sub(r"(\1)", part) for part in (text[first:start], text[end:last]))
            return _one_line(f"{text[start:end]}: {left} {{ {text[start:end]} }} {right}")
    raise InputError(f"{span.where}: {text[start:end]!r} at {start} lies in no sentence of 'sentence_spans'")


def description_text(entity: Record) -> str:
    """The sentences of an entity's description on one line."""
    text = entity.text("description")
    return _one_line(" ".join(text[start:end] for start, end in _spans(entity, text)))


def _queries(path: Path, lang: str, labels: Mapping[str, tuple[str, ...]] | None) -> Iterator[Query]:
    found, others = 0, set()
    for record in records(path):
        context = _inside(record, "context")
        others.add(context.text("language"))
        if context.text("language") != lang:
            continue
        for number, fields in enumerate(_listed(record, "mentions")):
            mention = _record(fields, record, f"mentions[{number}]")
            name = mention.text("example_id")
            found += 1
            yield Query(name, name, mention_text(context, mention), _relevant(mention, name, labels))
    if not found:
        raise InputError(f"{path}: no mention in {lang}; its articles are in: {', '.join(sorted(others))}")


def _relevant(mention: Record, name: str, labels: Mapping[str, tuple[str, ...]] | None) -> tuple[str, ...] | None:
    own = (mention.text("entity_id"),) if mention.fields.get("entity_id") else None
    if labels is None:
        return own
    if name not in labels:
        raise InputError(f"{mention.where}: {name!r} is not in the file of labels beside it; one for each is wanted")
    if own and own != labels[name]:
        raise InputError(f"{mention.where}: {name!r} is {own[0]} here and {', '.join(labels[name])} in its labels")
    return labels[name]


def _labels(path: Path) -> dict[str, tuple[str, ...]]:
    text = whole_text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise InputError(f"{path}: not JSON ({problem}); an object of lists of entity ids is wanted") from problem
    record = _record(found, Record(str(path), "", {}), "the file")
    labels = {name: tuple(label.strip() for label in record.texts(name)) for name in record.fields}
    if empty := [name for name, of_it in labels.items() if not all(of_it) or not of_it]:
        raise InputError(f"{path}: {empty[0]!r} has no entity, or a blank one; at least one entity id is wanted")
    return labels


def _spans(record: Record, text: str) -> list[Span]:
    """The places of sentences in a text."""
    listed = _listed(record, "sentence_spans")
    return [_span(_record(span, record, f"sentence_spans[{n}]"), text) for n, span in enumerate(listed)]


def _span(record: Record, text: str) -> Span:
    start, end = record.number("start"), record.number("end")
    if start is None or end is None or not 0 <= start < end <= len(text):
        raise InputError(
            f"{record.where} goes from {start} to {end}, which is no part of a text of {len(text)} code points"
            + ("; get-mewsli-x.sh restores the texts of Wikinews" if not text else "")
        )
    return start, end


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).replace("  ", " ").strip()


def _inside(record: Record, name: str) -> Record:
    return _record(record.there(name), record, name)


def _record(value: Any, outer: Record, name: str) -> Record:
    where = f"{outer.where}: {name}" if outer.line else outer.where
    if not isinstance(value, dict):
        raise InputError(f"{where} is {json.dumps(value)[:40]}, an object with fields is wanted")
    return Record(where, outer.line, value)


def _listed(record: Record, name: str) -> list[Any]:
    found = record.there(name)
    if not isinstance(found, list):
        raise InputError(f"{record.where}: {name!r} is {json.dumps(found)[:40]}, a list is wanted")
    return found
