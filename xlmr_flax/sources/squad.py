"""SQuAD's JSON: that of 1.1, in which XQuAD, MLQA and TyDiQA-GoldP come too, and of 2.0 with questions without answer.

An answer's offset counts code points, and the context must hold the answer's very text there.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import whole_text
from xlmr_flax.sources.rows import Answer, Excluded, Question

# How TyDiQA-GoldP's ids begin.
TYDIQA = {
    "ar": "arabic", "bn": "bengali", "en": "english", "fi": "finnish", "id": "indonesian", "ko": "korean",
    "ru": "russian", "sw": "swahili", "te": "telugu",
}  # fmt: skip


def read_squad(path: Path) -> list[Question]:
    """Every question of the file, grouped by article: its title, or its number where it has none.

    XTREME's download blanks the answers of its test sets to one empty text at 0: they are hidden, as in a list of none.
    """
    return [_question(asked, _answers(asked)) for asked in _unique(_asked(path), path)]


def read_squad_v2(path: Path) -> list[Question]:
    """The same of SQuAD 2.0: a question with `is_impossible` has no answer, every other has at least one."""
    return [_question(asked, _answers_or_none(asked)) for asked in _unique(_asked(path), path)]


def read_translated_squad(path: Path) -> list[Question | Excluded]:
    """The same of a machine's translation, in which not all questions can be used: the others are excluded.

    A translator that loses sight of an answer leaves its text or its offset wrong, or none at all.
    """
    return [_translated(asked) for asked in _unique(_asked(path), path)]


def read_tydiqa(path: Path, lang: str) -> list[Question]:
    """The questions in one language of TyDiQA-GoldP's file of nine; an id begins with its language's name."""
    prefix = TYDIQA.get(lang, lang)
    found, others = [], set()
    for asked in _unique(_asked(path), path):
        begins, hyphen, _ = asked.name.partition("-")
        if not hyphen:
            raise InputError(
                f"{path}: {asked.node.place}.id is {asked.name!r}, wanted the name of a language, a hyphen and "
                f"numbers, as in english-123-1"
            )
        if begins == prefix:
            found.append(_question(asked, _answers(asked)))
        others.add(begins)
    if not found:
        raise InputError(f"{path}: no question's id begins with {prefix}-; those here: {', '.join(sorted(others))}")
    return found


def read_tydiqa_part(path: Path) -> list[Question]:
    """TyDiQA-GoldP's training questions in one language, as XTREME's download writes them.

    It cuts ids to their last number, so that they may repeat, and parts articles into questions: here an id begins with
    the question's place in the file, and questions about one context are one group.
    """
    groups: dict[str, str] = {}
    rows = []
    for number, asked in enumerate(_asked(path)):
        group = groups.setdefault(asked.context.text(), f"context {len(groups)}")
        rows.append(_question(asked._replace(name=f"{number}-{asked.name}", group=group), _answers(asked)))
    return rows


class Node(NamedTuple):
    """A value in a JSON document, with its place for error messages."""

    path: Path
    place: str
    value: Any

    def table(self) -> "Node":
        return self._checked(dict, "an object")

    def field(self, key: str) -> "Node":
        place = key if self.place == "the file" else f"{self.place}.{key}"
        table = self.table().value
        if key not in table:
            raise InputError(f"{self.path}: {place} is missing; SQuAD's layout is wanted")
        return Node(self.path, place, table[key])

    def items(self) -> "list[Node]":
        values = self._checked(list, "a list").value
        return [Node(self.path, f"{self.place}[{index}]", value) for index, value in enumerate(values)]

    def string(self) -> str:
        """A string that holds only characters that a tokenizer can be given."""
        value = self._checked(str, "a string").value
        odd = next((letter for letter in value if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
        if odd is not None:
            raise InputError(f"{self.path}: {self.place} holds U+{ord(odd):04X}, which is no character of a text")
        return value

    def text(self) -> str:
        """Such a string that is not blank."""
        value = self.string()
        if not value.strip():
            raise InputError(f"{self.path}: {self.place} is blank, text is wanted")
        return value

    def _checked(self, kind: type, wanted: str) -> "Node":
        if not isinstance(self.value, kind) or (isinstance(self.value, bool) and kind is not bool):
            found = {dict: "an object", list: "a list"}.get(type(self.value)) or json.dumps(self.value)
            raise InputError(f"{self.path}: {self.place} is {found[:60]}, {wanted} is wanted (SQuAD's layout)")
        return self

    def whole_number(self) -> int:
        return self._checked(int, "a whole number").value

    def truth(self) -> bool:
        return self._checked(bool, "true or false").value


def root(path: Path) -> Node:
    """The object that the whole file is."""
    return Node(path, "the file", _parsed(path)).table()


class Asked(NamedTuple):
    """A question where it stands in the file, with what its article says about it."""

    node: Node
    name: str
    group: str
    context: Node


def _asked(path: Path) -> Iterator[Asked]:
    """Every question, in order. Raises InputError for a file without one."""
    count = 0
    for number, article in enumerate(root(path).field("data").items()):
        title = article.table().value.get("title")
        group = title if isinstance(title, str) and title.strip() else f"article {number}"
        for paragraph in article.field("paragraphs").items():
            context = paragraph.field("context")
            for node in paragraph.field("qas").items():
                count += 1
                yield Asked(node, node.field("id").text(), group, context)
    if not count:
        raise InputError(f"{path}: there is not one question in data[].paragraphs[].qas[]; at least one is wanted")


def _unique(every: Iterator[Asked], path: Path) -> Iterator[Asked]:
    """The same questions, whose ids occur once."""
    seen: set[str] = set()
    for asked in every:
        if asked.name in seen:
            raise InputError(f"{path}: {asked.node.place}: the question id {asked.name!r} occurs twice; ids are unique")
        seen.add(asked.name)
        yield asked


def _parsed(path: Path) -> Any:
    text = whole_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON at column {error.colno} ({error.msg}); was its download cut off?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: JSON that cannot be read ({error}); SQuAD's layout is wanted") from error


def _question(asked: Asked, answers: tuple[Answer, ...] | None) -> Question:
    return Question(asked.name, asked.group, asked.context.text(), asked.node.field("question").text(), answers)


def _answers(asked: Asked) -> tuple[Answer, ...] | None:
    """A question's answers; None where they are hidden."""
    nodes = asked.node.field("answers").items()
    answers = [_answer(node) for node in nodes]
    if asked.node.value.get("is_impossible") is True:
        raise InputError(
            f"{asked.node.path}: {asked.node.place} has no answer (is_impossible), which is SQuAD 2.0; every question "
            f"of this task has one"
        )
    if not answers or answers == [Answer("", 0)]:
        return None
    context = asked.context.text()
    for node, answer in zip(nodes, answers, strict=True):
        if not _stands(answer, context):
            raise InputError(
                f"{node.path}: {node.place}: the answer to question {asked.name!r} should stand at offset "
                f"{answer.start}: found {_at(answer, context)!r}, wanted {answer.text!r} (the context has "
                f"{len(context)} code points)"
            )
    return tuple(answers)


def _answers_or_none(asked: Asked) -> tuple[Answer, ...]:
    """SQuAD 2.0's answers, which are none exactly where a question is impossible."""
    node, count = asked.node, len(asked.node.field("answers").items())
    impossible = node.field("is_impossible").truth()
    if impossible == bool(count):
        raise InputError(
            f"{node.path}: {node.place}: is_impossible is {json.dumps(impossible)} but question {asked.name!r} has "
            f"{count} answers; wanted none where it is true, and one or more where it is false"
        )
    if impossible:
        return ()
    answers = _answers(asked)
    if answers is None:
        raise InputError(f"{node.path}: {node.place}: the answer to question {asked.name!r} is blank; text is wanted")
    return answers


def _translated(asked: Asked) -> Question | Excluded:
    context, question = asked.context.string(), asked.node.field("question").string()
    answers = tuple(_answer(node) for node in asked.node.field("answers").items())
    if not context.strip() or not question.strip():
        return Excluded(asked.name, asked.group, "a blank context or question")
    if not answers or not all(answer.text.strip() for answer in answers):
        return Excluded(asked.name, asked.group, "a blank answer, or none")
    if not all(_stands(answer, context) for answer in answers):
        return Excluded(asked.name, asked.group, "an answer that does not stand at its offset")
    return Question(asked.name, asked.group, context, question, answers)


def _answer(node: Node) -> Answer:
    return Answer(node.field("text").string(), node.field("answer_start").whole_number())


def _stands(answer: Answer, context: str) -> bool:
    return bool(answer.text) and _at(answer, context) == answer.text


def _at(answer: Answer, context: str) -> str:
    """What the context holds where the answer should stand."""
    return context[answer.start : answer.start + len(answer.text)] if answer.start >= 0 else ""
