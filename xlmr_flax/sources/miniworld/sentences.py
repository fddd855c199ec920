"""Sentences by themselves: plain text, tagging and retrieval."""

import random

from xlmr_flax.sources.miniworld.language import (
    Fact,
    Language,
    Query,
    Token,
    ask,
    full_stop,
    phrase,
    tell,
    tell_both,
    tell_fact,
)
from xlmr_flax.sources.miniworld.pairs import abstracted
from xlmr_flax.sources.miniworld.questions import SLOTS, query_of
from xlmr_flax.sources.miniworld.words import KIND
from xlmr_flax.sources.miniworld.world import (
    Event,
    Rates,
    Thing,
    World,
    arrange,
    choose,
    draw_event,
    with_job,
    with_kind,
)

Meaning = Event | Fact | Query | tuple[Event, Event]

NEGATED = 0.25
# What comes after the first sentence of a document. Mostly something that can be told from it: comparing two
# sentences is what inference needs, and a small model learns it here or nowhere.
FOLLOWS = ("nothing", "less", "less", "opposite", "opposite", "question", "fact", "event")
# No digits, and enough said that three hundred differ in more than one word.
RETRIEVAL_RATES = Rates(place=0.7, time=0.5, adjective=0.6, count=0.0)


def draw_document(world: World, rng: random.Random, language: Language) -> list[Token]:
    """One or two sentences of plain text: an event, and often something that has to do with it."""
    follow = rng.choice(FOLLOWS)
    event = draw_event(world, rng, Rates())._replace(negated=rng.random() < NEGATED)
    if follow == "less":
        less = event
        while less == event:
            less = abstracted(world, rng, event)
        return tell(language, event) + tell(language, less)
    if follow == "fact":
        noun = rng.choice((event.agent.noun, event.patient.noun))
        return tell(language, event) + tell_fact(language, draw_fact(world, rng, noun))
    event = casual(world, rng, event)
    if follow == "opposite":
        return tell(language, event) + tell(language, arrange(rng, event._replace(negated=not event.negated)))
    if follow == "question":
        query = query_of(event, rng.choice(said(event)))
        return tell(language, event) + ask(language, query) + answer(language, query)
    if follow == "nothing":
        return tell(language, event)
    other = casual(world, rng, draw_event(world, rng, Rates()))
    return tell_both(language, event, other) if rng.random() < 0.5 else tell(language, event) + tell(language, other)


def draw_meaning(world: World, rng: random.Random) -> Meaning:
    """A sentence of any sort, for tagging."""
    event = casual(world, rng, draw_event(world, rng, Rates()))
    sort = rng.choice(("event", "event", "event", "fact", "question", "both"))
    if sort == "fact":
        return draw_fact(world, rng, choose(rng, world.agents if rng.random() < 0.5 else world.patients[event.verb]))
    if sort == "question":
        return query_of(event, rng.choice(said(event)))
    if sort == "both":
        return event, casual(world, rng, draw_event(world, rng, Rates()))
    return event


def casual(world: World, rng: random.Random, event: Event) -> Event:
    """The event with some persons told by their job and some things by their kind, and some of it by the opposite."""
    parts = {}
    for slot, thing in (("agent", event.agent), ("patient", event.patient)):
        if rng.random() < 0.3 and KIND[thing.noun] == "person":
            parts[slot] = with_job(world, thing)
        elif rng.random() < 0.1 and KIND[thing.noun] != "person":
            parts[slot] = with_kind(thing)
    return event._replace(**parts, negated=rng.random() < NEGATED)


def said(event: Event) -> list[str]:
    """The slots that the event fills."""
    return [slot for slot in SLOTS if getattr(event, slot)]


def answer(language: Language, query: Query) -> list[Token]:
    """The short answer to a question, as a sentence."""
    value = getattr(query.event, query.slot)
    return [*phrase(language, value if isinstance(value, Thing) else Thing(value)), full_stop(language)]


def tell_meaning(language: Language, meaning: Meaning) -> list[Token]:
    """A sentence of any sort in words."""
    if isinstance(meaning, Event):
        return tell(language, meaning)
    if isinstance(meaning, Fact):
        return tell_fact(language, meaning)
    if isinstance(meaning, Query):
        return ask(language, meaning)
    return tell_both(language, *meaning)


def draw_fact(world: World, rng: random.Random, noun: str) -> Fact:
    """What a person's job is, or what kind a thing is of, or what it is like."""
    if KIND[noun] == "person":
        return Fact(Thing(noun), world.job[noun])
    if rng.random() < 0.5:
        return Fact(Thing(noun, "the"), KIND[noun])
    return Fact(Thing(noun, "the"), None, choose(rng, world.adjectives[noun]))


def draw_anchor_free(world: World, rng: random.Random) -> Event:
    """An event without names or digits."""
    event = draw_event(world, rng, RETRIEVAL_RATES)
    parts = {
        slot: with_job(world, thing) if KIND[thing.noun] == "person" else thing._replace(determiner="the")
        for slot, thing in (("agent", event.agent), ("patient", event.patient))
    }
    return event._replace(**parts, negated=rng.random() < NEGATED)
