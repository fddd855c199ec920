"""Things with a number and a description, and sentences that mention them: what entity linking needs."""

import random
from typing import NamedTuple

from xlmr_flax.sources.miniworld.draws import stream
from xlmr_flax.sources.miniworld.language import Fact, Language, Token, joined, surface, tell, tell_fact
from xlmr_flax.sources.miniworld.words import ANIMALS, FOODS, KIND, NAMES, PLACES, TOOLS
from xlmr_flax.sources.miniworld.world import Event, Rates, Thing, World, draw_event

ENTITIES = (*NAMES, *ANIMALS, *FOODS, *TOOLS, *PLACES)
FIRST_NUMBER = 100  # Q100, Q101, …
RATES = Rates(place=0.7, time=0.2, adjective=0.2, count=0.0)
TRAIN, DEV = 0.6, 0.2  # of the entities; a test's are never trained on


class Entity(NamedTuple):
    """A thing of the world under the id that it is linked by."""

    id: str
    noun: str
    split: str


class Mentions(NamedTuple):
    """Two events, the first of which mentions an entity, in one slot."""

    events: tuple[Event, Event]
    slot: str
    entity: Entity


class Told(NamedTuple):
    """A text with the places of its sentences and of a mention in it, in code points."""

    text: str
    sentences: tuple[tuple[int, int], ...]
    mention: tuple[int, int]


def entities(seed: int) -> tuple[Entity, ...]:
    """Everything that can be linked; another seed gives other ids and splits."""
    nouns = list(ENTITIES)
    stream(seed, "entities").shuffle(nouns)
    train, dev = round(TRAIN * len(nouns)), round((TRAIN + DEV) * len(nouns))
    split = lambda i: "train" if i < train else "dev" if i < dev else "test"  # noqa: E731
    return tuple(Entity(f"Q{FIRST_NUMBER + i}", noun, split(i)) for i, noun in enumerate(nouns))


def draw_mention(world: World, rng: random.Random, wanted: dict[str, Entity]) -> Mentions:
    """An event with one of the wanted entities in it, and another event after it."""
    while True:
        event = draw_event(world, rng, RATES)
        told = {slot: getattr(event, slot).noun for slot in ("agent", "patient")} | {"place": event.place}
        found = [slot for slot, noun in told.items() if noun in wanted]
        if found:
            slot = rng.choice(found)
            return Mentions((event, draw_event(world, rng, RATES)), slot, wanted[told[slot]])


def describe_entity(world: World, rng: random.Random, entity: Entity, language: Language) -> list[list[Token]]:
    """Two sentences about it: what it is, and something that happens to it or there."""
    while True:
        event = draw_event(world, rng, RATES)
        if entity.noun in (event.agent.noun, event.patient.noun, event.place):
            break
    if entity.noun in PLACES:
        return [tell(language, event)]
    person = KIND[entity.noun] == "person"
    fact = Fact(Thing(entity.noun, None if person else "the"), world.job[entity.noun] if person else KIND[entity.noun])
    return [tell_fact(language, fact), tell(language, event)]


def tell_mention(language: Language, mentions: Mentions) -> Told:
    """The text in a language; the mention is the noun alone."""
    sentences = [tell(language, event) for event in mentions.events]
    word = language.lexicon.words[mentions.entity.noun]
    at = next(i for i, token in enumerate(sentences[0]) if token.slot == mentions.slot and token.word == word)
    start = len(surface(sentences[0][:at])) + (at > 0)
    text, spans = joined(sentences)
    return Told(text, tuple(spans), (start, start + len(word)))
