"""What a step eats and what a loss gives: host and device agree on these bundles and on nothing else.

Letters as in encoder.py; S is 1 unless rows are packed.
"""

from typing import NamedTuple

import jax

IGNORED = -100  # the label of a position that has none, as everywhere in PyTorch's world


class Tokens(NamedTuple):
    """Rows of tokens; several units (encoded sequences) may share a row, and none sees another.

    A unit's number counts within the whole step, over all rows, hosts and micro-batches, and is -1 on padding.
    Positions are 0, 1, 2 … within the unit.
    """

    ids_BL: jax.Array  # int32
    unit_BL: jax.Array  # int32
    position_BL: jax.Array  # int32


class SequenceTarget(NamedTuple):
    """One class for each unit; `first` is where in its row its <s> stands, `weight` 0.0 where there is no unit."""

    first_BS: jax.Array
    label_BS: jax.Array
    weight_BS: jax.Array


class ChoiceTarget(NamedTuple):
    """One right option for each example; `place` says where each option's unit is in the flattened (B · S)."""

    first_BS: jax.Array
    place_EN: jax.Array
    label_E: jax.Array
    weight_E: jax.Array


class TokenTarget(NamedTuple):
    """A tag for each token that carries one, IGNORED elsewhere."""

    label_BL: jax.Array


class SpanTarget(NamedTuple):
    """Positions in the row where each unit's answer starts and ends; the null answer is `first` twice."""

    first_BS: jax.Array
    start_BS: jax.Array
    end_BS: jax.Array
    weight_BS: jax.Array


class DualTarget(NamedTuple):
    """Which document each query is to find: that of its own item; `place` is both units' in the flattened (B · S).

    `document` is a hash of the document's id, so that one which stands in the batch twice is known.
    """

    first_BS: jax.Array
    place_E2: jax.Array
    document_E: jax.Array
    weight_E: jax.Array


class MaskedTarget(NamedTuple):
    """Positions in the row whose word is to be guessed, filled up with 0, and the words, filled up with IGNORED."""

    masked_BG: jax.Array
    label_BG: jax.Array


class EmbeddingTarget(NamedTuple):
    """Nothing to be learnt: where the <s> stands of each unit that gets a vector."""

    first_BS: jax.Array


Target = SequenceTarget | ChoiceTarget | TokenTarget | SpanTarget | MaskedTarget | DualTarget | EmbeddingTarget


class Batch(NamedTuple):
    """One step's rows, and whose they are in a phase of several tasks: that decides which step is taken with them."""

    tokens: Tokens
    target: Target
    task: str | None = None


class Tally(NamedTuple):
    """A mean that has not been divided yet. Tallies add; means do not."""

    total: jax.Array
    count: jax.Array

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.total + other.total, self.count + other.count)


class Outcome(NamedTuple):
    """What a training step tells: the sum and the count of its losses, and how the training fares until now.

    `skipped` steps were not applied, because their loss or their gradients were not finite; of these the last `in_row`
    came one after the other, so that 0 says that this step was applied.
    """

    total: jax.Array
    count: jax.Array
    skipped: jax.Array  # int32
    in_row: jax.Array  # int32
