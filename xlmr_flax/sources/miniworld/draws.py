"""Named streams of randomness, and sets of distinct examples of an exact size."""

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from typing import TypeVar

from xlmr_flax.errors import InputError

Example = TypeVar("Example")
Value = TypeVar("Value")

SPLIT_OF_TENTH = ("test", "dev") + ("train",) * 8
TRIES = 20_000


def stream(seed: int, *names: str) -> random.Random:
    """The randomness of one named use; adding a use shifts no other."""
    return random.Random("/".join((str(seed), *names)))


def balanced(rng: random.Random, values: Sequence[Value]) -> Iterator[Value]:
    """Endless values in shuffled blocks that hold each once, so that any number of them is balanced."""
    while True:
        block = list(values)
        rng.shuffle(block)
        yield from block


def split_of(key: str) -> str:
    """The split that an example belongs to, by its own text: splits are disjoint whatever their sizes."""
    return SPLIT_OF_TENTH[zlib.crc32(key.encode()) % 10]


def distinct(
    field: str,
    count: int,
    draw: Callable[[Value], Example],
    key: Callable[[Example], str],
    wanted: Iterator[Value] | None = None,
) -> list[Example]:
    """Exactly `count` examples with different keys, of the split that `field` ends in, if it does.

    `wanted` gives each example something that it must have, as its label, through all attempts.
    """
    split = field.rpartition(".")[2]
    examples: dict[str, Example] = {}
    for value in islice(wanted or repeat(None), count):
        for _ in range(TRIES):
            example = draw(value)
            text = key(example)
            if text not in examples and split in (split_of(text), field):
                examples[text] = example
                break
        else:
            raise InputError(
                f"{field}={count}: the world has no more than {len(examples)} different ones; ask for fewer"
            )
    return list(examples.values())
