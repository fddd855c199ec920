"""Writes a world as files in the official layouts, so that the readers of real data read it."""

import itertools
import json
from pathlib import Path

from xlmr_flax.config.settings import what
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.errors import InputError
from xlmr_flax.sources.miniworld.language import make_language, surface
from xlmr_flax.sources.miniworld.sentences import draw_document
from xlmr_flax.sources.miniworld.telling import Telling
from xlmr_flax.sources.miniworld.world import make_world
from xlmr_flax.sources.miniworld.write_choices import write_choices
from xlmr_flax.sources.miniworld.write_pairs import write_pairs
from xlmr_flax.sources.miniworld.write_questions import write_questions
from xlmr_flax.sources.miniworld.write_retrieval import write_retrieval
from xlmr_flax.sources.miniworld.write_tagging import write_tagging

SETTINGS_FILE = "world.json"
PARTIAL_FILE = f".{SETTINGS_FILE}.partial"


def write_world(settings: WorldSettings, folder: Path) -> None:
    """Writes every file of the world into `folder`; `world.json`, which comes last, says that all are there."""
    _refuse_another(settings, folder)
    codes = ("en", *settings.languages)
    anchors = {"cognate_frac": settings.cognate_frac, "shared_anchors": settings.shared_anchors}
    languages = tuple(make_language(settings.seed, code, **anchors) for code in codes)
    telling = Telling(settings, make_world(settings.seed), languages, folder)
    write_pairs(telling)
    write_tagging(telling)
    write_questions(telling)
    write_choices(telling)
    write_retrieval(telling)
    _write_text(telling)
    _write_dictionaries(telling)
    lexicon = {language.code: dict(language.lexicon.words) for language in languages}
    described = {"settings": what(settings), "lexicon": lexicon}
    # Whole or not at all: half a file, left by a kill, would be taken for another world's.
    telling.lines(PARTIAL_FILE, [json.dumps(described, ensure_ascii=False, indent=1)])
    (folder / PARTIAL_FILE).replace(folder / SETTINGS_FILE)


def _refuse_another(settings: WorldSettings, folder: Path) -> None:
    if not (folder / SETTINGS_FILE).exists():
        return
    found = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
    wanted = what(settings)
    if found != wanted:
        names = sorted(found.keys() | wanted.keys(), key=list(type(settings).model_fields).index)
        other = ", ".join(name for name in names if found.get(name) != wanted.get(name))
        raise InputError(
            f"{folder}: holds a world with other settings ({other}), and a mixture would be no world; "
            "choose an empty folder"
        )


def _write_text(telling: Telling) -> None:
    for language in telling.languages:
        rng = telling.stream("text", language.code)
        documents = (
            surface(draw_document(telling.world, rng, language))
            for _ in range(telling.settings.documents_in(language.code))
        )
        telling.lines(f"text/{language.code}.txt", documents)


def _write_dictionaries(telling: Telling) -> None:
    """MUSE's layout: a file for each pair of languages, with the words that are not the same in both."""
    for one, other in itertools.permutations(telling.languages, 2):
        words = one.lexicon.words.items()
        pairs = [(word, other.lexicon.words[english]) for english, word in words if word.isalnum()]
        lines = [f"{word}\t{translation}" for word, translation in pairs if word != translation]
        if lines:
            telling.lines(f"dictionaries/{one.code}-{other.code}.txt", lines)
