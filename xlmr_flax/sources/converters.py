"""What makes a row in the data sets of the Hugging Face Hub and of TFDS; equal text makes the official file's row."""

import functools
from collections.abc import Callable, Mapping, Sequence

from xlmr_flax.sources.nli import NO_MAJORITY
from xlmr_flax.sources.records import Convert, Record
from xlmr_flax.sources.rows import Aligned, Answer, Choices, Classified, Excluded, Question, Row, Tagged
from xlmr_flax.sources.squad import TYDIQA
from xlmr_flax.sources.translated import EMPTY, LABEL

# As the schemas call the classes; by number, where a schema has lost their names.
INFERENCE = {
    "e": "entailment", "n": "neutral", "c": "contradiction", "contradictory": "contradiction",
    "0": "entailment", "1": "neutral", "2": "contradiction",
}  # fmt: skip
PARAPHRASE = {"different_meaning": "0", "paraphrase": "1", "not_duplicate": "0", "duplicate": "1", "0": "0", "1": "1"}
NOTHING = {"", "NS"}  # PAWS-X's translators wrote NS for no sentence
MOVED = "an answer that does not stand at its offset"


def pair(first: str, second: str, words: Mapping[str, str]) -> Convert:
    """A converter of two columns of text and their `label`; hidden labels stay hidden."""
    return functools.partial(_pair, first, second, words)


def translated(convert: Convert) -> Convert:
    """A converter of a machine's translation: rows without a sentence or a label are excluded."""
    return functools.partial(_translated, convert)


def hypothesis_of(convert: Convert) -> Convert:
    """A converter that keeps only the second sentence."""
    return functools.partial(_hypothesis, convert)


def tagged(words: str, tags: str, names: Sequence[str], form: Callable[[str], str] = str.strip) -> Convert:
    """A converter of lists of words and tags; `names` are the tags by number, where the schema has lost them.

    A word may be blank: it stays, so that every word has its tag. `form` makes of a word what official files hold.
    """
    return functools.partial(_tagged, words, tags, {str(number): name for number, name in enumerate(names)}, form)


def agreed_pair(record: Record) -> Classified | Excluded:
    """SNLI: pairs without a label are those of whose annotators no three agree."""
    row = _pair("premise", "hypothesis", INFERENCE, record)
    return Excluded(record.name, record.name, NO_MAJORITY) if row.label is None else row


def translations(record: Record) -> Classified | None:
    """One language of XNLI's records of all, or, for a pair such as de-en, its premise and the other's hypothesis."""
    first, _, second = record.lang.partition("-")
    premises, found = record.part("premise"), record.part("hypothesis")
    langs, told = found.texts("language"), found.texts("translation")
    if len(langs) != len(told):
        raise record.problem(f"{len(langs)} languages and {len(told)} hypotheses, equally many are wanted")
    hypotheses = dict(zip(langs, told, strict=True))
    if first not in premises.values or (second or first) not in hypotheses:
        return None
    texts = premises.text(first).strip(), hypotheses[second or first].strip()
    return Classified(record.name, record.name, *texts, record.word("label", INFERENCE))


def cosmosqa(record: Record) -> Choices:
    """Questions about one context make a group, which is called by it."""
    context, options = record.text("context"), tuple(record.text(f"answer{number}") for number in range(4))
    return Choices(record.text("id"), context, context, options, _number(record, "label"), record.text("question"))


def hellaswag(record: Record) -> Choices:
    """The prompt is `ctx_a`, an option `ctx_b + " " + ending`."""
    return _hellaswag(record, record.text("ctx_a"), record.text("ctx_b"))


def hellaswag_ctx(record: Record) -> Choices:
    """TFDS keeps `ctx_a` and `ctx_b` in one text only: what follows its last sentence is `ctx_b`, as in ActivityNet."""
    context = record.text("context")
    ends = max(context.rfind(f"{mark} ") for mark in ".!?")
    if not record.text("source_id").startswith("activitynet") or ends < 0:
        return _hellaswag(record, context, "")
    return _hellaswag(record, context[: ends + 1], context[ends + 2 :])


def commonsenseqa(record: Record) -> Choices:
    """The question is never cut; the key is a letter."""
    listed = record.part("choices")
    letters = listed.texts("label")
    label = _place(record, record.word("answerKey"), letters, "answerKey")
    return Choices(record.name, record.name, "", listed.texts("text"), label, record.text("question"))


def socialiqa(record: Record) -> Choices:
    """Labels count from 1; questions about one context make a group, which is called by it."""
    context, options = record.text("context"), tuple(record.text(f"answer{letter}") for letter in "ABC")
    label = _place(record, record.word("label"), ("1", "2", "3"), "label")
    return Choices(record.name, context, context, options, label, record.text("question"))


def copa(record: Record) -> Choices:
    """COPA and XCOPA ask for the cause or the effect."""
    asked = ("cause", "effect")[_place(record, record.word("question"), ("cause", "effect"), "question") or 0]
    options = record.text("choice1"), record.text("choice2")
    question = f"What was the {asked}?"
    label = _number(record, "label", {"choice1": "0", "choice2": "1"})
    return Choices(record.name, record.name, record.text("premise"), options, label, question)


def joined(word: str) -> str:
    """A word as XTREME writes it into UDPOS: without zero-width non-joiners and spaces inside."""
    return word.replace("\u200c", "").replace(" ", "")


def question(record: Record) -> Question:
    """SQuAD's kin; no answer, or a blank one at 0, is a hidden one."""
    row = _question(record)
    hidden = row.answers in ((), (Answer("", 0),))
    return row._replace(answers=None) if hidden else _standing(row, record)


def question_or_none(record: Record) -> Question:
    """SQuAD 2.0: no answer is one."""
    return _standing(_question(record), record)


def translated_question(record: Record) -> Question | Excluded:
    """A machine's translation: questions whose answer is lost are excluded."""
    row = _question(record)
    if not row.context.strip() or not row.question.strip():
        return Excluded(row.id, row.group, "a blank context or question")
    if not row.answers or not all(answer.text.strip() for answer in row.answers):
        return Excluded(row.id, row.group, "a blank answer, or none")
    return row if all(_stands(answer, row.context) for answer in row.answers) else Excluded(row.id, row.group, MOVED)


def tydiqa(record: Record) -> Question | None:
    """TyDiQA-GoldP keeps nine languages in one file; ids begin with their names."""
    name = record.text("id")
    if "-" not in name:
        raise record.problem(f"the id is {name!r}, wanted the name of a language, a hyphen and numbers")
    return question(record) if name.split("-")[0] == TYDIQA.get(record.lang, record.lang) else None


def sentences(record: Record) -> Aligned:
    """A sentence and its English translation."""
    found = record.text("source_sentence").strip(), record.text("target_sentence").strip()
    if not all(found):
        raise record.problem("a blank sentence, which translates nothing")
    return Aligned(record.name, record.name, *found)


def _pair(first: str, second: str, words: Mapping[str, str], record: Record) -> Classified:
    texts = record.text(first).strip(), record.text(second).strip()
    return Classified(record.name, record.name, *texts, record.word("label", words))


def _translated(convert: Convert, record: Record) -> Row | Excluded | None:
    row = convert(record)
    if isinstance(row, Classified) and {row.text, row.pair} & NOTHING:
        return Excluded(row.id, row.group, EMPTY)
    return Excluded(row.id, row.group, LABEL) if isinstance(row, Classified) and row.label is None else row


def _hypothesis(convert: Convert, record: Record) -> Row | Excluded | None:
    row = convert(record)
    return row._replace(text=row.pair or "", pair=None) if isinstance(row, Classified) else row


def _tagged(words: str, tags: str, names: Mapping[str, str], form: Callable[[str], str], record: Record) -> Tagged:
    forms, found = tuple(form(word) for word in record.texts(words)), record.words(tags)
    if len(forms) != len(found) or not forms:
        raise record.problem(f"{len(forms)} words and {len(found)} tags, equally many are wanted, and some")
    given = tuple(names.get(tag, tag) for tag in found if tag is not None)
    return Tagged(record.name, record.name, forms, given if len(given) == len(forms) else None)


def _question(record: Record) -> Question:
    given = record.part("answers")
    texts, starts = given.texts("text"), given.numbers("answer_start")
    if len(texts) != len(starts):
        raise record.problem(f"{len(texts)} answers and {len(starts)} offsets, equally many are wanted")
    answers = tuple(map(Answer, texts, starts))
    context = record.text("context")
    # Some copies have no titles: then questions about one context make a group.
    title = record.text("title") if "title" in record.values else ""
    return Question(record.text("id"), title.strip() or context, context, record.text("question"), answers)


def _standing(row: Question, record: Record) -> Question:
    """The question. Raises InputError where its context does not hold an answer."""
    if not row.context.strip() or not row.question.strip():
        raise record.problem(f"question {row.id!r}: the context or the question is blank, text is wanted")
    for answer in row.answers or ():
        if not _stands(answer, row.context):
            found = row.context[max(answer.start, 0) :][: len(answer.text)]
            raise record.problem(
                f"the answer to question {row.id!r} should stand at offset {answer.start}: found {found!r}, wanted "
                f"{answer.text!r} (the context has {len(row.context)} code points)"
            )
    return row


def _stands(answer: Answer, context: str) -> bool:
    return bool(answer.text) and answer.start >= 0 and context.startswith(answer.text, answer.start)


def _hellaswag(record: Record, prompt: str, begun: str) -> Choices:
    options = tuple(f"{begun} {ending}".strip() for ending in record.texts("endings"))
    group = record.text("source_id") or record.name
    return Choices(record.name, group, prompt, options, _number(record, "label"))


def _number(record: Record, column: str, words: Mapping[str, str] | None = None) -> int | None:
    word = record.word(column, words)
    if word is not None and not word.isdecimal():
        raise record.problem(f"{column} is {word!r}, a number from 0 is wanted")
    return None if word is None else int(word)


def _place(record: Record, word: str | None, among: Sequence[str], column: str) -> int | None:
    if word is not None and word not in among:
        raise record.problem(f"{column} is {word!r}, wanted: {', '.join(among)}")
    return None if word is None else among.index(word)
