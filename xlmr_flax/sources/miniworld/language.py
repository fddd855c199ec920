"""How each language tells what happened: grammars, and meanings turned into tagged words."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from xlmr_flax.sources.miniworld.lexicon import Lexicon, english, invented
from xlmr_flax.sources.miniworld.words import OPPOSITE, PLACES, TAGS
from xlmr_flax.sources.miniworld.world import Event, Thing


class Token(NamedTuple):
    """A word of a sentence, its tag, and the slot of the event that it names."""

    word: str
    tag: str
    slot: str | None = None  # agent, patient, place, time; None for all that is no answer to a question


@dataclass(frozen=True)
class Grammar:
    """Where a language puts its words."""

    order: Literal["SVO", "SOV", "VSO"] = "SVO"
    adjective_after: bool = False
    negation_after: bool = False  # of the verb
    postpositions: bool = False
    articles: bool = True
    plural: Literal["suffix", "prefix", "none"] = "suffix"
    question_first: bool = True  # the question word opens its clause, or stays where the answer would stand


# From near to far from English: transfer is graded.
GRAMMARS = (
    Grammar(),
    Grammar(adjective_after=True, negation_after=True),
    Grammar(order="SOV", question_first=False),
    Grammar(order="VSO", adjective_after=True, negation_after=True, plural="prefix"),
    Grammar(order="SOV", postpositions=True, articles=False, plural="none", question_first=False),
)


@dataclass(frozen=True)
class Language:
    """A code, a grammar and the words."""

    code: str
    grammar: Grammar
    lexicon: Lexicon


class Query(NamedTuple):
    """What is asked about an event: one slot, by a question word."""

    event: Event
    slot: str
    word: str  # who, what, where, when


class Fact(NamedTuple):
    """What a thing is: a noun with its article, or an adjective."""

    subject: Thing
    noun: str | None
    adjective: str | None = None


def make_language(seed: int, code: str, *, cognate_frac: float, shared_anchors: bool) -> Language:
    """English, or the invented language of that code: its grammar by its number, its words by the seed."""
    if code == "en":
        return Language(code, Grammar(), english())
    number = int(code[1:])
    words = invented(seed, number, cognate_frac=cognate_frac, shared_anchors=shared_anchors)
    return Language(code, grammar_of(number), words)


def grammar_of(number: int) -> Grammar:
    """The grammar of x`number`: one of the five above, or a combination of its own for those after."""
    if number <= len(GRAMMARS):
        return GRAMMARS[number - 1]
    rng = random.Random(f"grammar/{number}")
    return Grammar(
        order=rng.choice(("SVO", "SOV", "VSO")),
        adjective_after=rng.random() < 0.5,
        negation_after=rng.random() < 0.5,
        postpositions=rng.random() < 0.5,
        articles=rng.random() < 0.5,
        plural=rng.choice(("suffix", "prefix", "none")),
        question_first=rng.random() < 0.5,
    )


def surface(tokens: Iterable[Token]) -> str:
    """The words of a sentence with spaces between them, before punctuation too."""
    return " ".join(token.word for token in tokens)


def joined(sentences: Iterable[Iterable[Token]]) -> tuple[str, list[tuple[int, int]]]:
    """A text of several sentences, and where each of them begins and ends in it, in code points."""
    texts = [surface(sentence) for sentence in sentences]
    starts = [sum(map(len, texts[:i])) + i for i in range(len(texts))]
    return " ".join(texts), [(start, start + len(text)) for start, text in zip(starts, texts, strict=True)]


def full_stop(language: Language) -> Token:
    """What ends a sentence that asks nothing."""
    return fixed(language, ".")


def fixed(language: Language, english_word: str) -> Token:
    """A word by itself."""
    return _word(language, english_word)


def tell(language: Language, event: Event) -> list[Token]:
    """The event as a sentence."""
    return [*clause(language, event), full_stop(language)]


def tell_both(language: Language, first: Event, second: Event) -> list[Token]:
    """Two events as one sentence."""
    return [*clause(language, first), _word(language, "and"), *clause(language, second), full_stop(language)]


def tell_fact(language: Language, fact: Fact) -> list[Token]:
    """The fact as a sentence."""
    subject = phrase(language, fact.subject)
    said = phrase(language, Thing(fact.noun, "a")) if fact.noun else [_word(language, fact.adjective)]
    return [*_ordered(language, subject, [_word(language, "is")], said), full_stop(language)]


def ask(language: Language, query: Query) -> list[Token]:
    """The question, as "say who …": English needs no other verb form for it."""
    told = query.event._replace(front=(), back=(query.slot,) if query.slot in ("place", "time") else ())
    asked = [_word(language, query.word)]
    if language.grammar.question_first:
        words = [*asked, *clause(language, told, {query.slot: []})]
    else:
        words = clause(language, told, {query.slot: asked})
    say = [_word(language, "say")]
    words = [*words, *say] if language.grammar.order == "SOV" else [*say, *words]
    return [*words, _word(language, "?")]


def clause(language: Language, event: Event, instead: dict[str, list[Token]] | None = None) -> list[Token]:
    """The event's words without punctuation; `instead` gives other words for a slot."""
    parts = {slot: _slot(language, event, slot) for slot in ("agent", "patient", *event.front, *event.back)}
    parts |= instead or {}
    verb = [_word(language, OPPOSITE[event.verb] if event.negated else event.verb)]
    if event.negated:
        never = _word(language, "never")
        verb = [*verb, never] if language.grammar.negation_after else [never, *verb]
    front = [token for name in event.front for token in parts[name]]
    back = [token for name in event.back for token in parts[name]]
    if language.grammar.order == "SOV":  # nothing follows the verb: what English tells last stands before the patient
        return [*front, *parts["agent"], *back, *parts["patient"], *verb]
    return [*front, *_ordered(language, parts["agent"], verb, parts["patient"]), *back]


def phrase(language: Language, thing: Thing, slot: str | None = None) -> list[Token]:
    """A participant's words; the article is no part of an answer."""
    noun = _word(language, thing.noun, slot)
    if thing.count:
        noun = noun._replace(word=_plural(language, noun.word))
    words = [noun]
    if thing.adjective:
        adjective = _word(language, thing.adjective, slot)
        words = [noun, adjective] if language.grammar.adjective_after else [adjective, noun]
    if thing.count:
        words = [_word(language, thing.count, slot), *words]
    if thing.determiner and language.grammar.articles:
        words = [_word(language, thing.determiner), *words]
    return words


def _slot(language: Language, event: Event, slot: str) -> list[Token]:
    if slot == "time":
        return [_word(language, event.time, slot)]
    if slot == "place":
        place = phrase(language, Thing(event.place, "the"), slot)
        adposition = [_word(language, PLACES[event.place])]
        return [*place, *adposition] if language.grammar.postpositions else [*adposition, *place]
    return phrase(language, getattr(event, slot), slot)


def _ordered(language: Language, subject: list[Token], verb: list[Token], rest: list[Token]) -> list[Token]:
    parts = {"S": subject, "V": verb, "O": rest}
    return [token for letter in language.grammar.order for token in parts[letter]]


def _word(language: Language, english_word: str, slot: str | None = None) -> Token:
    return Token(language.lexicon.words[english_word], TAGS[english_word], slot)


def _plural(language: Language, word: str) -> str:
    mark, where = language.lexicon.plural, language.grammar.plural
    return {"suffix": word + mark, "prefix": mark + word, "none": word}[where]
