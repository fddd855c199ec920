"""Universal Dependencies' CoNLL-U, turned into the words and UPOS tags that XTREME makes of it."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.sources.lines import lines
from xlmr_flax.sources.rows import Tagged

# Which word of a fused form gives it its tag where several stand equally high in the tree; from the converter
# that XTREME runs (ud-conversion-tools). A tag that is not listed comes last.
_PRECEDENCE = {
    "default": "VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT",
    "es": "VERB AUX PRON ADP DET",
    "fr": "VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it": "VERB AUX ADV PRON ADP DET INTJ",
}
_COLUMNS = 10


class Word(NamedTuple):
    """A syntactic word; `parents` are its head and its heads in the enhanced graph, by their numbers as written."""

    form: str
    tag: str
    parents: frozenset[str]


class Fused(NamedTuple):
    """A form that stands for the words `first` to `last`, counted from 1."""

    form: str
    first: int
    last: int


class Sentence(NamedTuple):
    """One block of the file, and the line on which it starts."""

    line: int
    name: str
    words: list[Word]
    fused: list[Fused]


def read_conllu(path: Path) -> list[Tagged]:
    """Each sentence's words and UPOS tags as XTREME's conversion gives them; its id is its sent_id, or `line N`.

    - A multiword token takes the place of its words (`zum`, not `zu dem`), with the tag of the word nearest the root:
      that with the fewest ancestors in the graph of basic and enhanced heads; among equals, by a precedence of tags
      that depends on the language, which is the file's name up to its first `_`.
    - Empty nodes (`8.1`) are left out.
    - Zero-width non-joiners and spaces inside words go (Vietnamese `họ tên` becomes `họtên`).
    - A sentence whose words are all `_`, or all but one, is dropped and counted in a warning: some treebanks come
      without their text.
    """
    precedence = _PRECEDENCE.get(path.name.split("_")[0], _PRECEDENCE["default"]).split()
    rows: list[Tagged] = []
    seen: dict[str, int] = {}
    dropped = 0
    for sentence in _sentences(path):
        if seen.setdefault(sentence.name, sentence.line) != sentence.line:
            raise InputError(
                f"{path}:{sentence.line}: the sent_id {sentence.name!r} is that of line {seen[sentence.name]} already; "
                f"ids are unique in a file"
            )
        pairs = _surface(sentence, precedence)
        blanks = sum(form == "_" for form, _ in pairs)
        if blanks and blanks >= len(pairs) - 1:
            dropped += 1
            continue
        words = tuple(_joined(form, f"{path}:{sentence.line}") for form, _ in pairs)
        rows.append(Tagged(sentence.name, sentence.name, words, tuple(tag for _, tag in pairs)))
    if dropped:
        logging.getLogger(__name__).warning(
            "%s: %d of %d sentences dropped: their words are not in the file (`_`)", path, dropped, dropped + len(rows)
        )
    return rows


def _sentences(path: Path) -> Iterator[Sentence]:
    sentence: Sentence | None = None
    body = lines(path)
    for number, line in enumerate(body, start=1):
        if line:
            sentence = sentence or Sentence(number, f"line {number}", [], [])
            if line.startswith("#"):
                found = re.fullmatch(r"#\s*sent_id\s*=\s*(.*\S)\s*", line)
                sentence = sentence._replace(name=found[1]) if found else sentence
            else:
                _add(sentence, line.split("\t"), f"{path}:{number}")
        elif sentence is None:
            raise InputError(f"{path}:{number}: an empty sentence (two blank lines together); delete the line")
        else:
            yield _complete(sentence, path)
            sentence = None
    if sentence is not None:
        raise InputError(
            f"{path}:{len(body)}: the file ends within a sentence, a blank line is wanted after it; "
            f"was its download cut off?"
        )


def _add(sentence: Sentence, cells: list[str], where: str) -> None:
    """Adds one line of ten columns to the sentence."""
    if len(cells) != _COLUMNS:
        raise InputError(f"{where}: {len(cells)} columns between TABs, CoNLL-U's {_COLUMNS} are wanted")
    number, form, _, tag, _, _, head, _, enhanced, _ = cells
    if not form.strip() or not tag.strip():
        raise InputError(f"{where}: FORM is {form!r} and UPOS is {tag!r}, neither may be blank")
    if re.fullmatch(r"[0-9]+\.[0-9]+", number):
        return
    following = len(sentence.words) + 1
    if span := re.fullmatch(r"([0-9]{1,9})-([0-9]{1,9})", number):
        first, last = int(span[1]), int(span[2])
        if first != following or last <= first or (sentence.fused and sentence.fused[-1].last >= first):
            raise InputError(f"{where}: the range {number} is out of place, the next word is {following}")
        sentence.fused.append(Fused(form.strip(), first, last))
    elif number == str(following):
        secondary = (part.split(":")[0] for part in enhanced.split("|") if enhanced != "_")
        sentence.words.append(Word(form.strip(), tag.strip(), frozenset({head, *filter(str.isdigit, secondary)})))
    else:
        raise InputError(f"{where}: the ID is {number!r}, {following} is wanted: words count from 1")


def _complete(sentence: Sentence, path: Path) -> Sentence:
    if not sentence.words:
        raise InputError(f"{path}:{sentence.line}: a sentence without words (comments only)")
    if sentence.fused and sentence.fused[-1].last > len(sentence.words):
        first, last = sentence.fused[-1][1:]
        raise InputError(
            f"{path}:{sentence.line}: the range {first}-{last} goes beyond the sentence's {len(sentence.words)} words"
        )
    return sentence


def _surface(sentence: Sentence, precedence: list[str]) -> list[tuple[str, str]]:
    """The forms as they stand in the text, each with its tag."""
    fused_at = {fused.first: fused for fused in sentence.fused}
    pairs: list[tuple[str, str]] = []
    number = 1
    while number <= len(sentence.words):
        if fused := fused_at.get(number):
            span = range(fused.first, fused.last + 1)
            pairs.append((fused.form, _tag(sentence.words, span, precedence)))
            number = fused.last + 1
        else:
            word = sentence.words[number - 1]
            pairs.append((word.form, word.tag))
            number += 1
    return pairs


def _tag(words: list[Word], span: range, precedence: list[str]) -> str:
    """The tag of the span's highest word, ties broken by precedence and then by order."""
    ancestors = {number: _ancestors(words, number) for number in span}
    fewest = min(ancestors.values())
    tags = [words[number - 1].tag for number in span if ancestors[number] == fewest]
    return min(tags, key=lambda tag: precedence.index(tag) if tag in precedence else len(precedence))


def _ancestors(words: list[Word], number: int) -> int:
    """How many nodes lead to this one; heads may form cycles in the enhanced graph."""
    parents = {str(place): word.parents for place, word in enumerate(words, start=1)}
    reached: set[str] = set()
    waiting = [str(number)]
    while waiting:
        new = parents.get(waiting.pop(), frozenset()) - reached
        reached |= new
        waiting += new
    return len(reached - {str(number)})


def _joined(form: str, where: str) -> str:
    word = form.replace("\u200c", "").replace(" ", "")
    if not word:
        raise InputError(f"{where}: a word of the sentence is made of zero-width non-joiners only")
    return word
