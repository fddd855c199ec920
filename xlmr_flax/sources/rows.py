"""What the readers give: one row of a data set, whatever file it came from.

`id` is unique in its file. `group` is what a slice of a split never parts: an article, or else the row itself.
"""

from typing import Literal, NamedTuple


class Classified(NamedTuple):
    """A text or a pair of texts with a label word; None where the file has no labels."""

    id: str
    group: str
    text: str
    pair: str | None
    label: str | None


class Choices(NamedTuple):
    """A prompt with several continuations, of which `label` counts the right one from 0.

    `question` ends the prompt; where a length does not hold all, what stands before it is cut first.
    """

    id: str
    group: str
    prompt: str
    options: tuple[str, ...]
    label: int | None
    question: str = ""


class Tagged(NamedTuple):
    """A sentence in words, with a tag for each; None where the file has no tags."""

    id: str
    group: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None


class Answer(NamedTuple):
    """An answer and where it starts in its context, in code points."""

    text: str
    start: int


class Question(NamedTuple):
    """A question about a context; `group` is the article that the context comes from.

    `answers` is None where the file hides them, and () where the context holds none (SQuAD 2.0).
    """

    id: str
    group: str
    context: str
    question: str
    answers: tuple[Answer, ...] | None


class Aligned(NamedTuple):
    """A sentence in another language and its English translation."""

    id: str
    group: str
    source: str
    target: str


class Text(NamedTuple):
    """A line of plain text."""

    id: str
    group: str
    text: str


class Mined(NamedTuple):
    """A sentence of one side of a comparable corpus, whose translation is to be mined from the other side.

    `translations` are the ids of the sentences that translate it; None where the file hides them.
    """

    id: str
    group: str
    text: str
    side: Literal["source", "target"]
    translations: tuple[str, ...] | None


class Matched(NamedTuple):
    """A query and the document that answers it, to train two vectors to be near; `document_id` names the document.

    `context` is what surrounds the document and is read with it, where there is something.
    """

    id: str
    group: str
    query: str
    document: str
    document_id: str
    context: str | None = None


class Query(NamedTuple):
    """A query and the ids of the documents that answer it; None where the file hides them.

    Queries of the same id in files of several languages ask the same: each finds the documents of all.
    """

    id: str
    group: str
    text: str
    relevant: tuple[str, ...] | None


class Document(NamedTuple):
    """One of the documents among which queries find theirs; `context` as in Matched."""

    id: str
    group: str
    text: str
    context: str | None = None


class Excluded(NamedTuple):
    """In a row's place where official data is known to be dirty: what `reason` says is wrong with it, in a few words.

    Readers return it among their rows; it is never trained on or scored, and every report counts it.
    """

    id: str
    group: str
    reason: str


Row = Classified | Choices | Tagged | Question | Aligned | Text | Mined | Matched | Query | Document
