"""Writes a world as files in the official layouts, so that the readers of real data read it."""

import csv
import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xlmr_flax.config.world import Sizes, WorldSettings
from xlmr_flax.errors import InputError
from xlmr_flax.sources.miniworld.draws import balanced, distinct, stream
from xlmr_flax.sources.miniworld.language import Language, Token, ask, make_language, surface, tell
from xlmr_flax.sources.miniworld.pairs import NLI_LABELS, PARAPHRASE_LABELS, Pair, draw_nli, draw_paraphrase
from xlmr_flax.sources.miniworld.questions import (
    OPTIONS,
    Choice,
    Paragraph,
    draw_choice,
    draw_paragraph,
    option_text,
    spans,
)
from xlmr_flax.sources.miniworld.sentences import draw_anchor_free, draw_document, draw_meaning, tell_meaning
from xlmr_flax.sources.miniworld.world import World, make_world

SETTINGS_FILE = "world.json"
QUESTIONS_PER_PARAGRAPH = 2
PARAGRAPHS_PER_ARTICLE = 5


@dataclass(frozen=True)
class Telling:
    """A world, the languages that it is told in, and where to."""

    settings: WorldSettings
    world: World
    languages: tuple[Language, ...]  # English first
    folder: Path

    def stream(self, *names: str) -> random.Random:
        """The randomness of one named use."""
        return stream(self.settings.seed, *names)

    def told_in(self, split: str) -> tuple[Language, ...]:
        """English alone for training, every language for the rest."""
        return self.languages[:1] if split == "train" else self.languages


def write_world(settings: WorldSettings, folder: Path) -> None:
    """Writes every file of the world into `folder`; `world.json`, which comes last, says that all are there."""
    _refuse_another(settings, folder)
    codes = ("en", *settings.languages)
    anchors = {"cognate_frac": settings.cognate_frac, "shared_anchors": settings.shared_anchors}
    languages = tuple(make_language(settings.seed, code, **anchors) for code in codes)
    telling = Telling(settings, make_world(settings.seed), languages, folder)
    _write_pairs(telling, "xnli", "nli", NLI_LABELS, draw_nli)
    _write_pairs(telling, "pawsx", "paraphrase", PARAPHRASE_LABELS, draw_paraphrase)
    _write_tagging(telling)
    _write_questions(telling)
    _write_choices(telling)
    _write_retrieval(telling)
    _write_text(telling)
    lexicon = {language.code: dict(language.lexicon.words) for language in languages}
    described = {"settings": settings.model_dump(mode="json"), "lexicon": lexicon}
    _write_lines(folder / SETTINGS_FILE, [json.dumps(described, ensure_ascii=False, indent=1)])


def _refuse_another(settings: WorldSettings, folder: Path) -> None:
    if not (folder / SETTINGS_FILE).exists():
        return
    found = json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8"))["settings"]
    wanted = settings.model_dump(mode="json")
    if found != wanted:
        other = ", ".join(name for name in wanted if found.get(name) != wanted[name])
        raise InputError(
            f"{folder}: holds a world with other settings ({other}), and a mixture would be no world; "
            "choose an empty folder"
        )


def _key(*sentences: Iterable[Token]) -> str:
    """What two examples may not have in common: their words but for articles, which some languages lack."""
    return "\t".join(surface(token for token in tokens if token.tag != "DET") for tokens in sentences)


def _splits(sizes: Sizes) -> Iterator[tuple[str, int]]:
    yield from (("train", sizes.train), ("dev", sizes.dev), ("test", sizes.test))


def _write_pairs(
    telling: Telling,
    folder: str,
    family: str,
    labels: tuple[str, ...],
    draw: Callable[[World, random.Random, str], Pair],
) -> None:
    english = telling.languages[0]

    def row(language: Language, pair: Pair) -> tuple[str, str, str]:
        return surface(tell(language, pair.first)), surface(tell(language, pair.second)), pair.label

    for split, count in _splits(getattr(telling.settings, family)):
        rng = telling.stream(family, split)
        label = balanced(telling.stream(family, split, "labels"), labels)
        pairs = distinct(
            f"{family}.{split}",
            count,
            lambda wanted, rng=rng: draw(telling.world, rng, wanted),
            lambda pair: _key(tell(english, pair.first), tell(english, pair.second)),
            label,
        )
        for language in telling.told_in(split):
            path = telling.folder / folder / f"{split}-{language.code}.tsv"
            _write_table(path, (row(language, pair) for pair in pairs), delimiter="\t")


def _write_tagging(telling: Telling) -> None:
    english = telling.languages[0]
    for split, count in _splits(telling.settings.tagging):
        rng = telling.stream("tagging", split)
        meanings = distinct(
            f"tagging.{split}",
            count,
            lambda _, rng=rng: draw_meaning(telling.world, rng),
            lambda meaning: _key(tell_meaning(english, meaning)),
        )
        for language in telling.told_in(split):
            lines = []
            for meaning in meanings:
                lines += [f"{token.word}\t{token.tag}" for token in tell_meaning(language, meaning)]
                lines.append("")
            _write_lines(telling.folder / "udpos" / f"{split}-{language.code}.tsv", lines)


def _write_questions(telling: Telling) -> None:
    english = telling.languages[0]
    for split, count in _splits(telling.settings.questions):
        rng = telling.stream("questions", split)
        full, rest = divmod(count, QUESTIONS_PER_PARAGRAPH)
        asked = iter([QUESTIONS_PER_PARAGRAPH] * full + [rest] * (rest > 0))
        paragraphs = distinct(
            f"questions.{split}",
            full + (rest > 0),
            lambda questions, rng=rng: draw_paragraph(telling.world, rng, questions),
            lambda paragraph: _key(*(tell(english, event) for event in paragraph.events)),
            asked,
        )
        # XQuAD is SQuAD's form in every language; the English training and selection splits are SQuAD's own.
        told = telling.languages if split == "test" else (english,)
        for language in told:
            name = f"xquad/xquad.{language.code}.json" if split == "test" else f"squad/{split}-v1.1.json"
            articles = [
                {
                    "title": f"{split}-{first}",
                    "paragraphs": [_squad(language, paragraphs[i], f"{split}-{i}") for i in some],
                }
                for first in range(0, len(paragraphs), PARAGRAPHS_PER_ARTICLE)
                for some in [range(first, min(first + PARAGRAPHS_PER_ARTICLE, len(paragraphs)))]
            ]
            text = json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False)
            _write_lines(telling.folder / name, [text])


def _squad(language: Language, paragraph: Paragraph, name: str) -> dict:
    context, answered = spans(language, paragraph)
    asked = [
        {"id": f"{name}-{i}", "question": question, "answers": [{"text": span.text, "answer_start": span.start}]}
        for i, (question, span) in enumerate(answered)
    ]
    return {"context": context, "qas": asked}


def _write_choices(telling: Telling) -> None:
    english = telling.languages[0]
    header = ["id", "context", "question", *(f"answer{i}" for i in range(OPTIONS)), "label"]

    def context(choice: Choice) -> str:
        return " ".join(surface(tell(english, event)) for event in choice.events)

    for split, name in (("train", "train"), ("dev", "valid")):
        rng = telling.stream("choice", split)
        choices = distinct(
            f"choice.{split}",
            getattr(telling.settings.choice, split),
            lambda label, rng=rng: draw_choice(telling.world, rng, label),
            lambda choice: _key(*(tell(english, event) for event in choice.events)),
            balanced(telling.stream("choice", split, "labels"), range(OPTIONS)),
        )
        rows = (
            [
                f"{split}-{i}",
                context(choice),
                surface(ask(english, choice.query)),
                *(option_text(english, option) for option in choice.options),
                choice.label,
            ]
            for i, choice in enumerate(choices)
        )
        _write_table(telling.folder / "cosmosqa" / f"{name}.csv", [header, *rows], delimiter=",")


def _write_retrieval(telling: Telling) -> None:
    rng = telling.stream("retrieval")
    english = telling.languages[0]
    # By its words and not their order: of two sentences with the same words either could pass for the translation.
    events = distinct(
        "retrieval_pairs",
        telling.settings.retrieval_pairs,
        lambda _: draw_anchor_free(telling.world, rng),
        lambda event: " ".join(sorted(surface(tell(english, event)).split())),
    )
    for language in telling.languages[1:]:
        for code, told in ((language.code, language), ("eng", english)):
            path = telling.folder / "tatoeba" / f"tatoeba.{language.code}-eng.{code}"
            _write_lines(path, (surface(tell(told, event)) for event in events))


def _write_text(telling: Telling) -> None:
    for language in telling.languages:
        rng = telling.stream("text", language.code)
        documents = (
            surface(draw_document(telling.world, rng, language))
            for _ in range(telling.settings.documents_in(language.code))
        )
        _write_lines(telling.folder / "text" / f"{language.code}.txt", documents)


def _write_table(path: Path, rows: Iterable[Iterable[object]], *, delimiter: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
