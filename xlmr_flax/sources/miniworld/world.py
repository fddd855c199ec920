"""What is so in the world, and what happens in it: persons with jobs, preferences, and events drawn from them."""

import math
import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from xlmr_flax.sources.miniworld.draws import stream
from xlmr_flax.sources.miniworld.words import (
    COLOURS,
    DIGITS,
    JOBS,
    KIND,
    NAMES,
    NOUNS,
    OPPOSITE,
    PLACES,
    SIZES,
    TIMES,
    VERBS,
)

# Sharp preferences, the same in every language, are what alignment feeds on: flatter ones align worse.
LOGIT_DEVIATION = 2.5
ZIPF_EXPONENT = 0.7
# The part of a preference's variance that persons with one job share: a job says what its holders do. Opposite verbs
# share nothing: where they did, a small model could not tell them apart, and learned no inference.
SHARED_VARIANCE = 0.6

MODIFIERS = ("place", "time")
Logits = Mapping[str, float]


class Weights(NamedTuple):
    """Choices and how usual each is."""

    items: tuple[str, ...]
    weights: tuple[float, ...]
    cumulative: tuple[float, ...]


class Thing(NamedTuple):
    """A participant: a name, "someone", or a noun with what is said of it."""

    noun: str
    determiner: str | None = None  # the, a; None for names and counted things
    adjective: str | None = None
    count: str | None = None  # a digit from 2


class Event(NamedTuple):
    """Something that happened, and how it is told: `negated` tells it as never having done the opposite."""

    agent: Thing
    verb: str
    patient: Thing
    place: str | None = None
    time: str | None = None
    front: tuple[str, ...] = ()  # the modifiers told before the clause, in order
    back: tuple[str, ...] = ()  # the others, in order
    negated: bool = False


class Rates(NamedTuple):
    """How often an event is told with a modifier."""

    place: float = 0.4
    time: float = 0.3
    adjective: float = 0.3
    count: float = 0.15


@dataclass(frozen=True)
class World:
    """All that is so in one world, as weights of choices given what has been chosen before."""

    job: Mapping[str, str]  # person → job
    agents: Weights
    verbs: Mapping[str, Weights]  # by agent
    agents_of: Mapping[str, Weights]  # by verb: the same joint distribution, the other way round
    patients: Mapping[str, Weights]  # by verb
    places: Mapping[str, Weights]  # by verb
    times: Mapping[str, Weights]  # by verb
    adjectives: Mapping[str, Weights]  # by noun


def make_world(seed: int) -> World:
    """The world of a seed, the same for every language and every family."""
    rng = stream(seed, "world")
    job = dict(zip(NAMES, _shuffled(rng, JOBS * (len(NAMES) // len(JOBS))), strict=True))
    popularity = {noun: weight for nouns in NOUNS.values() for noun, weight in _zipf(rng, nouns).items()}
    agents = {noun: popularity[noun] for kind in ("person", "beast") for noun in NOUNS[kind]}
    verbs = _verbs_by_agent(rng, {agent: job.get(agent, "beast") for agent in agents})
    acting = {verb: {agent: agents[agent] * verbs[agent].get(verb, 0.0) for agent in agents} for verb in OPPOSITE}
    return World(
        job=job,
        agents=_weights(agents),
        verbs={agent: _weights(usual) for agent, usual in verbs.items()},
        agents_of={verb: _weights(usual) for verb, usual in acting.items()},
        patients={verb: _weights(usual) for verb, usual in _patients_by_verb(rng, popularity).items()},
        places={verb: _weights(_softmax(_logits(rng, PLACES))) for verb in OPPOSITE},
        times={verb: _weights(_softmax(_logits(rng, TIMES))) for verb in OPPOSITE},
        adjectives={
            noun: _weights(_softmax(_logits(rng, (*COLOURS, *SIZES)))) for noun in popularity if noun not in NAMES
        },
    )


def choose(rng: random.Random, usual: Weights, without: Collection[str] = ()) -> str:
    """One of the choices by its weight, none of `without`."""
    drawn = rng.choices(usual.items, cum_weights=usual.cumulative)[0]
    if drawn not in without:
        return drawn
    left = [(item, weight) for item, weight in zip(usual.items, usual.weights, strict=True) if item not in without]
    return rng.choices([item for item, _ in left], [weight for _, weight in left])[0]


def draw_event(
    world: World, rng: random.Random, rates: Rates, *, agent: str | None = None, verb: str | None = None
) -> Event:
    """An event as it happens in the world, with its participants named; `agent` or `verb` may be given."""
    if agent is None:
        agent = choose(rng, world.agents if verb is None else world.agents_of[verb])
    verb = verb or choose(rng, world.verbs[agent])
    event = Event(
        agent=describe(world, rng, agent, rates._replace(count=0.0)),
        verb=verb,
        patient=describe(world, rng, choose(rng, world.patients[verb], (agent,)), rates),
        place=choose(rng, world.places[verb]) if rng.random() < rates.place else None,
        time=choose(rng, world.times[verb]) if rng.random() < rates.time else None,
    )
    return arrange(rng, event)


def describe(world: World, rng: random.Random, noun: str, rates: Rates) -> Thing:
    """The noun as a participant, perhaps with an adjective or a count."""
    if KIND[noun] == "person":
        return Thing(noun)
    adjective = choose(rng, world.adjectives[noun]) if rng.random() < rates.adjective else None
    if rng.random() < rates.count:
        return Thing(noun, None, adjective, rng.choice(DIGITS))
    return Thing(noun, "a" if rng.random() < 0.2 else "the", adjective)


def arrange(rng: random.Random, event: Event, other_than: Event | None = None) -> Event:
    """The event with its modifiers in any order before and after the clause, but not as in `other_than`.

    There must be a modifier where another order is wanted.
    """
    while True:
        present = _shuffled(rng, [name for name in MODIFIERS if getattr(event, name)])
        cut = rng.randint(0, len(present))
        arranged = event._replace(front=tuple(present[:cut]), back=tuple(present[cut:]))
        if other_than is None or (arranged.front, arranged.back) != (other_than.front, other_than.back):
            return arranged


def exchange(world: World, rng: random.Random, event: Event, slot: str, *, without: Collection[str] = ()) -> Event:
    """The event with something else in one slot, drawn from what is usual given the verb."""
    if slot in MODIFIERS:
        usual = {"place": world.places, "time": world.times}[slot][event.verb]
        return event._replace(**{slot: choose(rng, usual, (getattr(event, slot), *without))})
    old = getattr(event, "patient" if slot == "adjective" else slot)
    if slot == "adjective":
        return event._replace(patient=old._replace(adjective=choose(rng, world.adjectives[old.noun], (old.adjective,))))
    usual = {"agent": world.agents_of, "patient": world.patients}[slot][event.verb]
    noun = choose(rng, usual, (event.agent.noun, event.patient.noun, *without))
    if KIND[noun] == "person":
        return event._replace(**{slot: Thing(noun)})
    adjective = choose(rng, world.adjectives[noun]) if old.adjective else None
    return event._replace(**{slot: Thing(noun, None if old.count else old.determiner or "the", adjective, old.count)})


def with_job(world: World, thing: Thing) -> Thing:
    """A person told by the job."""
    return Thing(world.job[thing.noun], "the")


def with_kind(thing: Thing) -> Thing:
    """A thing told by its kind, as "the beast" for "the dog"."""
    return thing._replace(noun=KIND[thing.noun])


def _verbs_by_agent(rng: random.Random, group: Mapping[str, str]) -> dict[str, Logits]:
    shared = {name: _logits(rng, OPPOSITE) for name in (*JOBS, "beast")}
    able = {agent: [verb for verb, (doers, _) in VERBS.items() if KIND[agent] in doers] for agent in group}
    return {agent: _softmax(_mixed(shared[group[agent]], _logits(rng, able[agent]))) for agent in group}


def _patients_by_verb(rng: random.Random, popularity: Mapping[str, float]) -> dict[str, dict[str, float]]:
    patients = {}
    for verb, (_, kinds) in VERBS.items():
        liking = _softmax(_logits(rng, [noun for kind in kinds for noun in NOUNS[kind]]))
        patients[verb] = {noun: weight * popularity[noun] for noun, weight in liking.items()}
    return patients


def _shuffled(rng: random.Random, items: Iterable[str]) -> list[str]:
    order = list(items)
    rng.shuffle(order)
    return order


def _zipf(rng: random.Random, nouns: Iterable[str]) -> dict[str, float]:
    return {noun: rank**-ZIPF_EXPONENT for rank, noun in enumerate(_shuffled(rng, nouns), start=1)}


def _logits(rng: random.Random, items: Iterable[str]) -> dict[str, float]:
    return {item: rng.gauss(0, LOGIT_DEVIATION) for item in items}


def _mixed(shared: Logits, own: Logits) -> dict[str, float]:
    common, rest = math.sqrt(SHARED_VARIANCE), math.sqrt(1 - SHARED_VARIANCE)
    return {item: common * shared[item] + rest * own[item] for item in own}


def _softmax(logits: Logits) -> dict[str, float]:
    exponentials = {item: math.exp(logit) for item, logit in logits.items()}
    total = sum(exponentials.values())
    return {item: exponential / total for item, exponential in exponentials.items()}


def _weights(usual: Mapping[str, float]) -> Weights:
    possible = {item: weight for item, weight in usual.items() if weight}
    return Weights(tuple(possible), tuple(possible.values()), tuple(accumulate(possible.values())))
