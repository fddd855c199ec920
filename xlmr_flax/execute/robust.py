"""What robust training adds to a phase: noise in its step, words of other languages in its batches."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlmr_flax.config.schema import Phase
from xlmr_flax.data.switching import Switch
from xlmr_flax.data.tokenizer import Tokenizer
from xlmr_flax.errors import InputError
from xlmr_flax.graph.origins import dictionary_paths
from xlmr_flax.model.smoothing import Smoothing
from xlmr_flax.sources.dictionaries import check_dictionary, dictionary_fingerprints, load_dictionary


def smoothing_of(phase: Phase) -> Smoothing | None:
    """The noise on the vectors of words; None where there is none."""
    robust = phase.robust
    return Smoothing(robust.noise, robust.noise_scale, robust.consistency) if robust.noise else None


def switch_of(phase: Phase, langs: tuple[str, ...], tokenizer: Tokenizer, data: Path) -> Switch | None:
    """What replaces words of the training rows; None where nothing does.

    Raises InputError when there is no dictionary of any of the languages.
    """
    robust = phase.robust
    if robust.dictionary is None:
        return None
    check_dictionary(robust.dictionary, langs, robust.switch_to, data)
    return _switch(phase, dictionary_paths(phase, langs, data), tokenizer)


def recorded_switch(config: Mapping[str, Any], phase: Phase, tokenizer: Tokenizer, folder: Path) -> Switch | None:
    """The same from a phase's config.json. Raises InputError when a dictionary is gone or is another."""
    if phase.robust.dictionary is None:
        return None
    named = {lang: [Path(path) for path in paths] for lang, paths in config["dictionaries"].items()}
    for path in (path for paths in named.values() for path in paths):
        name, digest = next(iter(dictionary_fingerprints([path]).items())) if path.is_file() else (path.name, None)
        if digest is None or config["sources"].get(name) != digest:
            why = "gone" if digest is None else "another"
            raise InputError(f"{folder}: the dictionary {path} that this phase was trained with is {why}; put it back")
    return _switch(phase, config["dictionaries"], tokenizer)


def _switch(phase: Phase, paths: Mapping[str, list[str]], tokenizer: Tokenizer) -> Switch:
    words = {lang: load_dictionary([Path(path) for path in some]) for lang, some in paths.items()}
    return Switch(tokenizer, words, phase.robust.switch_rate)
