"""SQuAD 1.1's JSON, in which XQuAD, MLQA and TyDiQA-GoldP come too."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import whole_text
from xlmr_flax.sources.rows import Answer, Question


def read_squad(path: Path) -> list[Question]:
    """Every question of the file, grouped by article: its title, or its number where it has none.

    An answer's offset counts code points, and the context must hold the answer's very text there. XTREME's download
    blanks the answers of its test sets to one empty text at 0: such a question has no answers here.
    """
    root = Node(path, "the file", _parsed(path)).table()
    rows: list[Question] = []
    seen: set[str] = set()
    for number, article in enumerate(root.field("data").items()):
        title = article.table().value.get("title")
        group = title if isinstance(title, str) and title.strip() else f"article {number}"
        for paragraph in article.field("paragraphs").items():
            context = paragraph.field("context").text()
            for node in paragraph.field("qas").items():
                name = node.field("id").text()
                if name in seen:
                    raise InputError(f"{path}: {node.place}: the question id {name!r} occurs twice; ids are unique")
                seen.add(name)
                question = node.field("question").text()
                rows.append(Question(name, group, context, question, _answers(node, name, context)))
    if not rows:
        raise InputError(f"{path}: there is not one question in data[].paragraphs[].qas[]; at least one is wanted")
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
            raise InputError(f"{self.path}: {place} is missing; SQuAD 1.1's layout is wanted")
        return Node(self.path, place, table[key])

    def items(self) -> "list[Node]":
        values = self._checked(list, "a list").value
        return [Node(self.path, f"{self.place}[{index}]", value) for index, value in enumerate(values)]

    def text(self) -> str:
        """A string that is not blank and holds only characters that a tokenizer can be given."""
        value = self._checked(str, "a string").value
        if not value.strip():
            raise InputError(f"{self.path}: {self.place} is blank, text is wanted")
        return self.encodable(value)

    def encodable(self, value: str) -> str:
        odd = next((letter for letter in value if letter == "\0" or "\ud800" <= letter <= "\udfff"), None)
        if odd is not None:
            raise InputError(f"{self.path}: {self.place} holds U+{ord(odd):04X}, which is no character of a text")
        return value

    def _checked(self, kind: type, wanted: str) -> "Node":
        if not isinstance(self.value, kind) or isinstance(self.value, bool):
            found = {dict: "an object", list: "a list"}.get(type(self.value)) or json.dumps(self.value)
            raise InputError(f"{self.path}: {self.place} is {found[:60]}, {wanted} is wanted (SQuAD 1.1's layout)")
        return self

    def whole_number(self) -> int:
        return self._checked(int, "a whole number").value


def _parsed(path: Path) -> Any:
    text = whole_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON at column {error.colno} ({error.msg}); was its download cut off?"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: JSON that cannot be read ({error}); SQuAD 1.1's layout is wanted") from error


def _answers(question: Node, name: str, context: str) -> tuple[Answer, ...]:
    nodes = question.field("answers").items()
    answers = [Answer(_answer_text(node), node.field("answer_start").whole_number()) for node in nodes]
    if answers == [Answer("", 0)]:
        return ()
    for node, (text, start) in zip(nodes, answers, strict=True):
        found = context[start : start + len(text)] if start >= 0 else ""
        if not text or found != text:
            raise InputError(
                f"{node.path}: {node.place}: the answer to question {name!r} should stand at offset {start}: "
                f"found {found!r}, wanted {text!r} (the context has {len(context)} code points)"
            )
    return tuple(answers)


def _answer_text(answer: Node) -> str:
    node = answer.field("text")
    return node.encodable(node._checked(str, "a string").value)
