"""Files of tagged words: UDPOS, PAN-X and CCG."""

from collections.abc import Iterable, Sequence

from xlmr_flax.sources.miniworld.language import Token
from xlmr_flax.sources.miniworld.sentences import Meaning, draw_meaning, tell_meaning
from xlmr_flax.sources.miniworld.tags import entity_tags, supertags
from xlmr_flax.sources.miniworld.telling import Telling, asked, key, splits


def write_tagging(telling: Telling) -> None:
    """Every file with a tag for each word."""
    settings = telling.settings
    for split, count in splits(settings.tagging):
        meanings = _meanings(telling, f"tagging.{split}", count)
        for language in telling.told_in(split):
            sentences = [tell_meaning(language, meaning) for meaning in meanings]
            tagged = ((tokens, [token.tag for token in tokens]) for tokens in sentences)
            telling.lines(f"udpos/{split}-{language.code}.tsv", _columns(tagged))
    for split, count in asked(settings.panx):
        meanings = _meanings(telling, f"panx.{split}", count)
        for language in telling.told_in(split):
            sentences = [tell_meaning(language, meaning) for meaning in meanings]
            tagged = ((tokens, entity_tags(language, tokens)) for tokens in sentences)
            telling.lines(f"panx/{split}-{language.code}.tsv", _columns(tagged))
    for split, count in asked(settings.ccg):
        sentences = [tell_meaning(telling.english, meaning) for meaning in _meanings(telling, f"ccg.{split}", count)]
        telling.lines(f"ccg/{split}.tsv", _columns((tokens, supertags(tokens)) for tokens in sentences))


def _meanings(telling: Telling, field: str, count: int) -> list[Meaning]:
    return telling.examples(
        field,
        count,
        lambda rng, _: draw_meaning(telling.world, rng),
        lambda meaning: key(tell_meaning(telling.english, meaning)),
    )


def _columns(sentences: Iterable[tuple[Sequence[Token], Sequence[str]]]) -> Iterable[str]:
    for tokens, tags in sentences:
        yield from (f"{token.word}\t{tag}" for token, tag in zip(tokens, tags, strict=True))
        yield ""
