"""Pairs of sentences: inference and paraphrase.

The second sentence alone cannot tell the label, because it is drawn before the label is. The first is then made from
it by exchanging what is usual for what is usual, so it tells little; and negation does not look at the label at all.
"""

import random
from typing import NamedTuple

from xlmr_flax.sources.miniworld.words import KIND, OPPOSITE
from xlmr_flax.sources.miniworld.world import (
    MODIFIERS,
    Event,
    Rates,
    Thing,
    World,
    arrange,
    draw_event,
    exchange,
    with_job,
    with_kind,
)

NLI_LABELS = ("entailment", "neutral", "contradiction")
PARAPHRASE_LABELS = ("0", "1")

NEGATED = 0.25  # of the second sentences
# Of the pairs, those in which one sentence alone is negated, whatever the label: what it takes is a parity of the
# verbs' agreement and the negations', which a small model hardly learns. Often, and it learns no contradiction.
RESTATED = 0.1
NEUTRAL_OPPOSITE = 0.25  # of the neutral pairs, so that opposite verbs alone are no contradiction

# A paraphrase always has both modifiers: with fewer there would be too few other orders to tell it in.
PARAPHRASE_RATES = Rates(place=1.0, time=1.0)
PREMISE_RATES = Rates(place=0.6, time=0.4, adjective=0.4)
SWAPPED = 0.8  # of the non-paraphrases whose participants are alike: the same words, and another meaning
DROPPED = 0.5  # of the premise's modifiers and adjectives in the hypothesis


class Pair(NamedTuple):
    """Two events and what holds between them."""

    first: Event
    second: Event
    label: str


def draw_nli(world: World, rng: random.Random, label: str) -> Pair:
    """A premise and a hypothesis that follows from it, is excluded by it, or neither."""
    event = _either_verb(rng, draw_event(world, rng, PREMISE_RATES))
    hypothesis = abstracted(world, rng, event)._replace(negated=rng.random() < NEGATED)
    if label == "contradiction":
        event = event._replace(verb=OPPOSITE[event.verb])
    if label == "neutral":
        event = _otherwise(world, rng, event, hypothesis)
    return Pair(_told_like(rng, arrange(rng, event), hypothesis), hypothesis, label)


def abstracted(world: World, rng: random.Random, event: Event) -> Event:
    """The event told with less: a job or "someone" for a name, a kind for a thing, fewer modifiers."""
    agent, patient = event.agent, event.patient
    if KIND[agent.noun] == "person":
        agent = rng.choice((agent, agent, agent, with_job(world, agent), Thing("someone")))
    if KIND[patient.noun] == "person":
        patient = rng.choice((patient, patient, patient, with_job(world, patient)))
    elif rng.random() < 0.25:
        patient = with_kind(patient)
    if rng.random() < DROPPED:
        patient = patient._replace(adjective=None)
    kept = {name: getattr(event, name) if rng.random() >= DROPPED else None for name in MODIFIERS}
    return arrange(rng, event._replace(agent=agent, patient=patient, **kept))


def draw_paraphrase(world: World, rng: random.Random, label: str) -> Pair:
    """Two sentences of nearly the same words in another order, which mean the same or do not."""
    event = _either_verb(rng, draw_event(world, rng, PARAPHRASE_RATES))
    if _alike(event) and rng.random() < 0.5:
        event = _swapped(event)
    second = event._replace(negated=rng.random() < NEGATED)
    if label == "0":
        event = _changed(world, rng, event)
    return Pair(_told_like(rng, arrange(rng, event, other_than=second), second), second, label)


def _either_verb(rng: random.Random, event: Event) -> Event:
    """The event or its opposite, so that how usual an event is says nothing about what is made from it."""
    return event._replace(verb=OPPOSITE[event.verb]) if rng.random() < 0.5 else event


def _told_like(rng: random.Random, event: Event, second: Event) -> Event:
    return event._replace(negated=second.negated != (rng.random() < RESTATED))


def _otherwise(world: World, rng: random.Random, event: Event, hypothesis: Event) -> Event:
    """The event with something else where the hypothesis says something, so that the hypothesis is left open."""
    said = ["patient", *(name for name in MODIFIERS if getattr(hypothesis, name))]
    if hypothesis.agent.noun != "someone":
        said.append("agent")
    if hypothesis.patient.adjective:
        said.insert(0, "adjective")  # before the patient, which may lose it
    for slot in [name for name in said if rng.random() < 0.5] or [rng.choice(said)]:
        told = getattr(hypothesis, slot).noun if slot in ("agent", "patient") else None
        event = exchange(world, rng, event, slot, without=_covered(world, told) if told else ())
    return event._replace(verb=OPPOSITE[event.verb]) if rng.random() < NEUTRAL_OPPOSITE else event


def _covered(world: World, told: str) -> tuple[str, ...]:
    """The nouns that may be told so."""
    same_job = tuple(name for name, job in world.job.items() if told in (name, job))
    return (told, *same_job, *(noun for noun, kind in KIND.items() if kind == told))


def _changed(world: World, rng: random.Random, event: Event) -> Event:
    if _alike(event) and rng.random() < SWAPPED:
        return _swapped(event)
    slots = ["verb", "agent", "patient", *MODIFIERS]
    slot = rng.choice([*slots, "adjective"] if event.patient.adjective else slots)
    if slot == "verb":
        return event._replace(verb=OPPOSITE[event.verb])
    return exchange(world, rng, event, slot)


def _alike(event: Event) -> bool:
    return KIND[event.agent.noun] == KIND[event.patient.noun]


def _swapped(event: Event) -> Event:
    return event._replace(agent=event.patient, patient=event.agent)
