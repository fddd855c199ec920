"""Files of sentences that find each other: Tatoeba, BUCC and Mewsli-X."""

import random
from collections.abc import Sequence
from typing import Any

from xlmr_flax.sources.miniworld.entities import (
    Entity,
    Mentions,
    describe_entity,
    draw_mention,
    entities,
    tell_mention,
)
from xlmr_flax.sources.miniworld.language import Language, joined, surface, tell
from xlmr_flax.sources.miniworld.sentences import draw_anchor_free
from xlmr_flax.sources.miniworld.telling import Telling, asked, key
from xlmr_flax.sources.miniworld.world import Event

REPEATED = 0.1  # of a side's other sentences in BUCC: they stand there twice, under two ids
BUCC_SPLIT = {"dev": "sample", "test": "training"}


def write_retrieval(telling: Telling) -> None:
    """Every file of sentence retrieval and entity linking."""
    _write_tatoeba(telling)
    for split, count in asked(telling.settings.bucc2018):
        for language in telling.languages[1:]:
            _write_bucc(telling, language, split, count)
    sizes = telling.settings.mewslix
    if any((sizes.train, sizes.dev, sizes.test)):
        _write_mewslix(telling)


def _write_tatoeba(telling: Telling) -> None:
    rng, english = telling.stream("retrieval"), telling.english
    events = telling.examples(
        "retrieval_pairs",
        telling.settings.retrieval_pairs,
        lambda _, __: draw_anchor_free(telling.world, rng),
        lambda event: _words(english, event),
    )
    for language in telling.languages[1:]:
        for code, told in ((language.code, language), ("eng", english)):
            name = f"tatoeba/tatoeba.{language.code}-eng.{code}"
            telling.lines(name, (surface(tell(told, event)) for event in events))


def _words(english: Language, event: Event) -> str:
    """By its words and not their order: of two sentences with the same words either could pass for the translation."""
    return " ".join(sorted(surface(tell(english, event)).split()))


def _write_bucc(telling: Telling, language: Language, split: str, count: int) -> None:
    """A part of both sides translate each other; each side has as many more, some of them twice."""
    events = telling.examples(
        f"bucc2018.{split}",
        3 * count,
        lambda rng, _: draw_anchor_free(telling.world, rng),
        lambda event: _words(telling.english, event),
        None,
        language.code,
    )
    common, rng = events[:count], telling.stream("bucc2018", split, language.code, "order")
    ids, place = {}, f"bucc2018/{language.code}-en/{language.code}-en.{BUCC_SPLIT[split]}"
    for told, others in ((language, events[count : 2 * count]), (telling.english, events[2 * count :])):
        lines = [*common, *others, *others[: round(REPEATED * count)]]
        order = list(range(len(lines)))
        rng.shuffle(order)
        names = {line: f"{told.code}-{number:09}" for number, line in enumerate(order, start=1)}
        telling.cells(f"{place}.{told.code}", ((names[line], surface(tell(told, lines[line]))) for line in order))
        ids[told.code] = names
    gold = sorted((ids[language.code][i], ids["en"][i]) for i in range(count))
    telling.cells(f"{place}.gold", gold)


def _write_mewslix(telling: Telling) -> None:
    sizes, every = telling.settings.mewslix, entities(telling.settings.seed)
    cards = {entity.id: _card(telling, entity, i) for i, entity in enumerate(every)}
    telling.jsonl("mewslix/candidate_set_entities.jsonl", cards.values())
    for split, count in (("train", sizes.train), ("dev", sizes.dev)):
        if count:
            mentions = _mentions(telling, split, count, every, telling.english, "wikipedia")
            rows = (
                {
                    "contextual_mention": _in_context(telling.english, f"{split}-{i}", one),
                    "entity": cards[one.entity.id],
                }
                for i, one in enumerate(mentions)
            )
            telling.jsonl(f"mewslix/wikipedia_pairs-{split}.jsonl", rows)
    for split, count in (("dev", sizes.dev), ("test", sizes.test)):
        for language in telling.languages if count else ():
            mentions = _mentions(telling, split, count, every, language, "wikinews")
            told = [_in_context(language, f"{language.code}-{split}-{i}", one) for i, one in enumerate(mentions)]
            rows = ({"context": one["context"], "mentions": [one["mention"]]} for one in told)
            telling.jsonl(f"mewslix/wikinews_mentions/{split}-{language.code}.jsonl", rows)
            gold = {one["mention"]["example_id"]: [one["mention"]["entity_id"]] for one in told}
            telling.json(f"mewslix/wikinews_labels/{split}-{language.code}.json", gold)


def _mentions(
    telling: Telling, split: str, count: int, every: Sequence[Entity], language: Language, where: str
) -> list[Mentions]:
    wanted = {entity.noun: entity for entity in every if entity.split == split}
    return telling.examples(
        f"mewslix.{split}",
        count,
        lambda rng, _: draw_mention(telling.world, rng, wanted),
        lambda mentions: key(*(tell(telling.english, event) for event in mentions.events)),
        None,
        where,
        language.code,
    )


def _card(telling: Telling, entity: Entity, number: int) -> dict[str, Any]:
    """An entity as the candidate set has it, described in one of the languages."""
    language = telling.languages[number % len(telling.languages)]
    rng: random.Random = telling.stream("mewslix", "description", entity.id)
    text, sentences = joined(describe_entity(telling.world, rng, entity, language))
    return {
        "entity_id": entity.id,
        "title": language.lexicon.words[entity.noun],
        "description": text,
        "description_url": f"world://{language.code}/{entity.id}",
        "description_language": language.code,
        "sentence_spans": _spans(sentences),
    }


def _in_context(language: Language, name: str, mentions: Mentions) -> dict[str, Any]:
    told = tell_mention(language, mentions)
    start, end = told.mention
    context = {
        "document_id": name,
        "document_url": f"world://{language.code}/{name}",
        "document_title": name,
        "section_title": "",
        "language": language.code,
        "text": told.text,
        "sentence_spans": _spans(told.sentences),
    }
    span = {"start": start, "end": end, "text": told.text[start:end]}
    return {
        "context": context,
        "mention": {"example_id": name, "mention_span": span, "entity_id": mentions.entity.id},
    }


def _spans(sentences: Sequence[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"start": start, "end": end} for start, end in sentences]
