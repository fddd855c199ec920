"""Choices as their authors publish them in JSON Lines: HellaSwag, CommonsenseQA, Social IQa, COPA and XCOPA."""

from pathlib import Path

from xlmr_flax.errors import InputError
from xlmr_flax.sources.jsonl import Record, records
from xlmr_flax.sources.rows import Choices

_LETTERS = ("A", "B", "C", "D", "E")
_ASKED = ("cause", "effect")


def read_hellaswag(path: Path) -> list[Choices]:
    """The prompt is `ctx_a`, an option `ctx_b + " " + ending`, as in jiant; rows of one source text make a group."""
    rows = []
    for record in records(path):
        begun = record.text("ctx_b")
        options = tuple(f"{begun} {ending}".strip() for ending in record.texts("endings"))
        group = record.text("source_id") if "source_id" in record.fields else record.line
        rows.append(Choices(record.line, group, record.text("ctx_a"), options, record.number("label")))
    return rows


def read_commonsenseqa(path: Path) -> list[Choices]:
    """The question is the whole prompt; `answerKey` is a letter, or not there in the test file."""
    rows = []
    for record in records(path):
        asked = record.there("question")
        if not isinstance(asked, dict):
            raise InputError(f"{record.where}: 'question' is not an object with a stem and choices")
        question = record._replace(fields=asked)
        options = tuple(_option(question, number, letter) for number, letter in enumerate(_LETTERS))
        label = record.among("answerKey", _LETTERS)
        rows.append(Choices(record.line, record.line, "", options, label, question.text("stem")))
    return rows


def read_socialiqa(path: Path) -> list[Choices]:
    """The prompt is the context and then the question, as in XTREME-R; questions about one context make a group.

    `correct` is A, B or C. The group's name is the line of its first question.
    """
    rows, group_of = [], {}
    for record in records(path):
        context = record.text("context")
        options = tuple(record.text(f"answer{letter}") for letter in _LETTERS[:3])
        group = group_of.setdefault(context, record.line)
        label = record.among("correct", _LETTERS[:3])
        rows.append(Choices(record.line, group, context, options, label, record.text("question")))
    return rows


def read_copa(path: Path) -> list[Choices]:
    """COPA and XCOPA: the prompt is the premise and then "What was the cause?" or "What was the effect?".

    That is how XTREME-R's run_xcopa.py asks, in English in every language.
    """
    return [_copa(record) for record in records(path)]


def read_copa_test(path: Path) -> list[Choices]:
    """The same, of XTREME's download, which sets every label of a test file to 0: a file of nothing else has none."""
    rows = read_copa(path)
    hidden = all(row.label in (0, None) for row in rows)
    return [row._replace(label=None) for row in rows] if hidden else rows


def _copa(record: Record) -> Choices:
    asked = record.among("question", _ASKED)
    if asked is None:
        raise InputError(f"{record.where}: no field 'question'; wanted: cause or effect")
    options = (record.text("choice1"), record.text("choice2"))
    question = f"What was the {_ASKED[asked]}?"
    return Choices(record.line, record.line, record.text("premise"), options, record.number("label"), question)


def _option(question: Record, number: int, letter: str) -> str:
    listed = question.there("choices")
    if not isinstance(listed, list) or len(listed) != len(_LETTERS):
        raise InputError(f"{question.where}: 'choices' is not a list of {len(_LETTERS)} objects")
    if not isinstance(listed[number], dict):
        raise InputError(f"{question.where}: choice {letter} is not an object with a label and a text")
    choice = question._replace(fields=listed[number])
    if choice.text("label") != letter:
        raise InputError(f"{question.where}: choice {letter} is labelled {choice.text('label')!r}; put them in order")
    return choice.text("text")
