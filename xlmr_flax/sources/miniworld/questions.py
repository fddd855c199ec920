"""Questions: spans of a paragraph, and one of four options.

Every paragraph holds another event with another answer of the same slot, which shares the agent or the verb with the
event in question: finding a place is not finding where it happened.
"""

import random
from typing import NamedTuple

from xlmr_flax.sources.miniworld.language import Language, Query, Token, ask, phrase, surface, tell
from xlmr_flax.sources.miniworld.words import KIND, OPPOSITE
from xlmr_flax.sources.miniworld.world import (
    Event,
    Rates,
    Thing,
    World,
    arrange,
    choose,
    describe,
    draw_event,
    exchange,
)

SLOTS = ("agent", "patient", "place", "time")
OPTIONS = 4
RATES = Rates(place=0.5, time=0.4, adjective=0.2)
NEGATED = 0.1  # rarer than in pairs: where to look is hard enough


class Paragraph(NamedTuple):
    """What happened, and questions about it by the number of the event."""

    events: tuple[Event, ...]
    queries: tuple[tuple[int, Query], ...]


class Choice(NamedTuple):
    """What happened, a question about it, and values of its slot of which `label` is the right one."""

    events: tuple[Event, ...]
    query: Query
    options: tuple[Thing | str, ...]
    label: int


class Span(NamedTuple):
    """An answer and where it starts, in code points."""

    text: str
    start: int


def draw_paragraph(world: World, rng: random.Random, questions: int) -> Paragraph:
    """Two or three events with that many questions, each about another slot."""
    asked = rng.sample(SLOTS, questions)
    event = _with_slots(world, rng, draw_event(world, rng, RATES), asked)
    events = [event, companion(world, rng, event, asked)]
    if rng.random() < 0.5:
        events.append(companion(world, rng, event, asked))
    rng.shuffle(events)
    number = events.index(event)
    told = tuple(one._replace(negated=rng.random() < NEGATED) for one in events)
    return Paragraph(told, tuple((number, query_of(event, slot)) for slot in asked))


def draw_doubted(world: World, rng: random.Random, questions: int) -> Paragraph:
    """A paragraph whose every second question is changed so that no event answers it; the slot stays the same."""
    told = draw_paragraph(world, rng, questions)
    queries = [
        (number, _unanswered(world, rng, told.events, query) if i % 2 else query)
        for i, (number, query) in enumerate(told.queries)
    ]
    return Paragraph(told.events, tuple(queries))


def draw_choice(world: World, rng: random.Random, label: int, options: int = OPTIONS) -> Choice:
    """A question with so many options; they are drawn before it is known which of them is right."""
    slot = rng.choice(SLOTS)
    event = _with_slots(world, rng, draw_event(world, rng, RATES), [slot])
    offered = _options(world, rng, event, slot, options)
    event = arrange(rng, event._replace(**{slot: offered[label]}))
    wrong = rng.choice([option for option in offered if option != offered[label]])
    other = companion(world, rng, event, [slot], value=wrong)
    events = [one._replace(negated=rng.random() < NEGATED) for one in (event, other)]
    rng.shuffle(events)
    return Choice(tuple(events), query_of(event, slot), offered, label)


def companion(
    world: World, rng: random.Random, event: Event, slots: list[str], value: Thing | str | None = None
) -> Event:
    """Another event with the same agent or verb, and with another value in each slot that is asked for."""
    while True:
        given = {"agent": event.agent.noun} if rng.random() < 0.5 and "agent" not in slots else {"verb": event.verb}
        other = _with_slots(world, rng, draw_event(world, rng, RATES, **given), slots)
        if value is not None:
            other = arrange(rng, other._replace(**{slots[0]: value}))
        differs = all(_noun(getattr(other, slot)) != _noun(getattr(event, slot)) for slot in slots)
        if (
            differs
            and other.agent.noun != other.patient.noun
            and not any(_answers(other, event, slot) for slot in slots)
        ):
            return other


def query_of(event: Event, slot: str) -> Query:
    """The question that asks for one slot and tells the rest of agent, verb and patient."""
    if slot in ("place", "time"):
        return Query(event._replace(negated=False), slot, {"place": "where", "time": "when"}[slot])
    word = "who" if KIND[getattr(event, slot).noun] == "person" else "what"
    return Query(event._replace(negated=False), slot, word)


def spans(language: Language, paragraph: Paragraph) -> tuple[str, list[tuple[str, Span]]]:
    """The paragraph's text, and its questions with the answer of each."""
    sentences = [tell(language, event) for event in paragraph.events]
    starts = [sum(len(surface(before)) + 1 for before in sentences[:i]) for i in range(len(sentences))]
    context = " ".join(map(surface, sentences))
    answered = []
    for number, query in paragraph.queries:
        span = _span(sentences[number], query.slot)
        answered.append((surface(ask(language, query)), Span(span.text, starts[number] + span.start)))
    return context, answered


def option_text(language: Language, option: Thing | str) -> str:
    """An option in words: a participant with its article, a place or a time."""
    return surface(phrase(language, option if isinstance(option, Thing) else Thing(option)))


def _span(sentence: list[Token], slot: str) -> Span:
    numbers = [i for i, token in enumerate(sentence) if token.slot == slot]
    first, last = numbers[0], numbers[-1]
    assert numbers == list(range(first, last + 1)), f"{surface(sentence)}: {slot} is in pieces"
    return Span(surface(sentence[first : last + 1]), len(surface(sentence[:first])) + (first > 0))


def _with_slots(world: World, rng: random.Random, event: Event, slots: list[str]) -> Event:
    """The event with its place and its time told where they are asked for."""
    usual = {"place": world.places[event.verb], "time": world.times[event.verb]}
    missing = [slot for slot in usual if slot in slots and not getattr(event, slot)]
    return arrange(rng, event._replace(**{slot: choose(rng, usual[slot]) for slot in missing}))


def _unanswered(world: World, rng: random.Random, events: tuple[Event, ...], query: Query) -> Query:
    """The question with another verb or participant, so that it fits none of the events."""
    told = [name for name in ("agent", "patient") if name != query.slot]
    while True:
        name = rng.choice(("verb", *told))
        if name == "verb":
            event = query.event._replace(verb=OPPOSITE[query.event.verb])
        else:
            event = exchange(world, rng, query.event, name)
        if not any(_answers(other, event, query.slot) for other in events):
            return query._replace(event=event)


def _options(world: World, rng: random.Random, event: Event, slot: str, options: int) -> tuple[Thing | str, ...]:
    tables = {"agent": world.agents_of, "patient": world.patients, "place": world.places, "time": world.times}
    usual = tables[slot][event.verb]
    # Neither the other participant nor, so that "who" and "what" fit all options alike, what is no person.
    barred = {event.agent.noun, event.patient.noun} if slot in ("agent", "patient") else set()
    if barred:
        person = KIND[choose(rng, usual, barred)] == "person"
        barred |= {noun for noun in usual.items if (KIND[noun] == "person") != person}
    nouns: list[str] = []
    for _ in range(options):
        nouns.append(choose(rng, usual, {*barred, *nouns}))
    rng.shuffle(nouns)
    if slot in ("place", "time"):
        return tuple(nouns)
    return tuple(describe(world, rng, noun, Rates(adjective=0.0, count=0.0)) for noun in nouns)


def _answers(other: Event, event: Event, slot: str) -> bool:
    """Whether the question for the event's slot fits the other event too."""
    told = {"agent", "patient"} - {slot}
    return other.verb == event.verb and all(getattr(other, name).noun == getattr(event, name).noun for name in told)


def _noun(value: Thing | str) -> str:
    return value.noun if isinstance(value, Thing) else value
