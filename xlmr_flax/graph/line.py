"""The way up from a phase to what it starts from, past what an arm skips."""

from collections.abc import Mapping, Sequence

from xlmr_flax.config.schema import Phase


def passed(by_name: Mapping[str, Phase], name: str | None, skip: Sequence[str]) -> list[str]:
    """The phases that are skipped on the way up from `name`, the lowest first."""
    found: list[str] = []
    while name is not None and name in skip:
        found.append(name)
        name = by_name[name].parent
    return found


def nearest(by_name: Mapping[str, Phase], name: str | None, skip: Sequence[str]) -> str | None:
    """The first phase from `name` upwards that is not skipped; the phases must not go round in a circle."""
    while name is not None and name in skip:
        name = by_name[name].parent
    return name
