"""One right option of several, beside the questions about a context: endings, what someone is, causes and effects.

Options alone tell nothing: all that is said of the right one is said of a wrong one too, or drawn as wrong ones are.
"""

import random
from typing import Literal, NamedTuple

from xlmr_flax.sources.miniworld.language import Language, Token, fixed, phrase
from xlmr_flax.sources.miniworld.words import JOBS, KIND, NAMES, OPPOSITE
from xlmr_flax.sources.miniworld.world import Event, Rates, Thing, World, arrange, draw_event, exchange

ENDINGS = 4
BEINGS = 5

# The laws of this world: what someone does leads the same person to do the next to the same thing.
LEADS_TO = {
    "bought": "lifted", "lifted": "sold", "sold": "dropped", "dropped": "bought",
    "loved": "followed", "followed": "hated", "hated": "avoided", "avoided": "loved",
}  # fmt: skip
LED_BY = {effect: cause for cause, effect in LEADS_TO.items()}


class Story(NamedTuple):
    """What happened, and ways to go on, of which `label` is the right one: it says the same, by the opposite."""

    event: Event
    endings: tuple[Event, ...]
    label: int


class Being(NamedTuple):
    """A question what a person is, or who has a job, with options of which `label` is the right one."""

    asked: str
    options: tuple[str, ...]
    label: int


class Law(NamedTuple):
    """What happened, and two events of which `label` is what it led to, or what led to it."""

    event: Event
    options: tuple[Event, Event]
    question: Literal["cause", "effect"]
    label: int


def draw_story(world: World, rng: random.Random, label: int) -> Story:
    """Of four endings two have the event's participant and two its place or time; one of them has both."""
    event = draw_event(world, rng, Rates(place=1.0, time=1.0))
    who, when = rng.choice(("agent", "patient")), rng.choice(("place", "time"))
    other, later = exchange(world, rng, event, who), exchange(world, rng, event, when)
    wrong = [other, later, other._replace(**{when: getattr(later, when)})]
    rng.shuffle(wrong)
    told = [*wrong[:label], event, *wrong[label:]]
    return Story(event, tuple(arrange(rng, one._replace(negated=True)) for one in told), label)


def draw_being(world: World, rng: random.Random, label: int) -> Being:
    """A person's job among jobs, or the holder of a job among persons."""
    if rng.random() < 0.5:
        asked = rng.choice(NAMES)
        right, others = world.job[asked], [job for job in JOBS if job != world.job[asked]]
    else:
        asked = rng.choice(JOBS)
        right = rng.choice([name for name in NAMES if world.job[name] == asked])
        others = [name for name in NAMES if world.job[name] != asked]
    wrong = rng.sample(others, BEINGS - 1)
    return Being(asked, (*wrong[:label], right, *wrong[label:]), label)


def draw_law(world: World, rng: random.Random, label: int) -> Law:
    """Both options are verbs of the same pair of opposites: it takes the law to tell which."""
    while True:
        event = draw_event(world, rng, Rates(count=0.0), verb=rng.choice(list(LEADS_TO)))
        if KIND[event.patient.noun] != "food" or event.verb not in ("loved", "hated"):  # food is not followed
            break
    question = rng.choice(("cause", "effect"))
    right = {"cause": LED_BY, "effect": LEADS_TO}[question][event.verb]
    options = [event._replace(verb=verb, place=None, time=None, front=(), back=()) for verb in (right, OPPOSITE[right])]
    if label:
        options.reverse()
    return Law(event, (options[0], options[1]), question, label)


def ask_being(language: Language, being: Being) -> list[Token]:
    """The question, as "say what Anna is ?" or "say who is the baker ?"."""
    is_name = being.asked in NAMES
    asked = phrase(language, Thing(being.asked, None if is_name else "the"))
    words = [*asked, fixed(language, "is")] if is_name else [fixed(language, "is"), *asked]
    return [fixed(language, "say"), fixed(language, "what" if is_name else "who"), *words, fixed(language, "?")]


def being_text(language: Language, option: str) -> list[Token]:
    """A person's name, or a job with its article."""
    return phrase(language, Thing(option, None if option in NAMES else "a"))
