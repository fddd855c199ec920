"""Files with one right option of several: Cosmos QA, HellaSwag, CommonsenseQA, Social IQa, COPA and XCOPA."""

from collections.abc import Callable
from typing import Any

from xlmr_flax.sources.miniworld.choices import (
    BEINGS,
    ENDINGS,
    Being,
    Law,
    Story,
    ask_being,
    being_text,
    draw_being,
    draw_law,
    draw_story,
)
from xlmr_flax.sources.miniworld.draws import balanced
from xlmr_flax.sources.miniworld.language import Language, ask, clause, fixed, full_stop, surface, tell
from xlmr_flax.sources.miniworld.questions import OPTIONS, Choice, draw_choice, option_text
from xlmr_flax.sources.miniworld.telling import Telling, asked, key

LETTERS = "ABCDE"
SOCIAL_OPTIONS = 3
SOCIAL_SPLIT = {"train": "trn", "dev": "dev", "test": "tst"}
COMMONSENSE_SPLIT = {"train": "train_rand_split", "dev": "dev_rand_split", "test": "test_rand_split_no_answers"}


def write_choices(telling: Telling) -> None:
    """Every file of choices."""
    settings = telling.settings
    for split, name in (("train", "train"), ("dev", "valid")):
        choices = _choices(telling, f"choice.{split}", getattr(settings.choice, split), OPTIONS)
        _write_cosmosqa(telling, split, name, choices)
    for split, count in asked(settings.hellaswag):
        _write_hellaswag(telling, split, _drawn(telling, f"hellaswag.{split}", count, draw_story, ENDINGS, _story_key))
    for split, count in asked(settings.commonsenseqa):
        beings = _drawn(telling, f"commonsenseqa.{split}", count, draw_being, BEINGS, str)
        rows = (_commonsense(telling.english, split, i, being) for i, being in enumerate(beings))
        telling.jsonl(f"commonsenseqa/{COMMONSENSE_SPLIT[split]}.jsonl", rows)
    for split, count in asked(settings.socialiqa):
        choices = _choices(telling, f"socialiqa.{split}", count, SOCIAL_OPTIONS)
        rows = (_social(telling.english, choice) for choice in choices)
        telling.jsonl(f"siqa/socialIQa_v1.4_{SOCIAL_SPLIT[split]}.jsonl", rows)
    for split, count in asked(settings.xcopa):
        laws = _drawn(telling, f"xcopa.{split}", count, draw_law, 2, _law_key)
        name = {"dev": "val"}.get(split, split)
        for language in telling.told_in(split):
            rows = (_copa(language, i, law) for i, law in enumerate(laws))
            telling.jsonl(f"xcopa/{name}-{language.code}.jsonl", rows)


def _drawn(
    telling: Telling, field: str, count: int, draw: Callable[..., Any], options: int, told: Callable[..., str]
) -> list[Any]:
    """Examples whose labels are balanced; `told` gives the English words that make one different from another."""
    return telling.examples(
        field,
        count,
        lambda rng, label: draw(telling.world, rng, label),
        told if told is str else lambda example: told(telling.english, example),
        balanced(telling.stream(*field.split("."), "labels"), range(options)),
    )


def _choices(telling: Telling, field: str, count: int, options: int) -> list[Choice]:
    return _drawn(
        telling, field, count, lambda world, rng, label: draw_choice(world, rng, label, options), options, _choice_key
    )


def _choice_key(english: Language, choice: Choice) -> str:
    return key(*(tell(english, event) for event in choice.events))


def _story_key(english: Language, story: Story) -> str:
    return key(tell(english, story.event))


def _law_key(english: Language, law: Law) -> str:
    return f"{law.question}\t{key(tell(english, law.event))}"


def _context(language: Language, choice: Choice) -> str:
    return " ".join(surface(tell(language, event)) for event in choice.events)


def _write_cosmosqa(telling: Telling, split: str, name: str, choices: list[Choice]) -> None:
    english = telling.english
    header = ["id", "context", "question", *(f"answer{i}" for i in range(OPTIONS)), "label"]
    rows = (
        [
            f"{split}-{i}",
            _context(english, choice),
            surface(ask(english, choice.query)),
            *(option_text(english, option) for option in choice.options),
            choice.label,
        ]
        for i, choice in enumerate(choices)
    )
    telling.table(f"cosmosqa/{name}.csv", [header, *rows], delimiter=",")


def _write_hellaswag(telling: Telling, split: str, stories: list[Story]) -> None:
    name = {"dev": "val"}.get(split, split)
    rows = (_hellaswag(telling.english, split, i, story) for i, story in enumerate(stories))
    telling.jsonl(f"hellaswag/hellaswag_{name}.jsonl", rows)
    for language in telling.translations if split != "test" else ():  # what is scored is the dev set
        told = (_hellaswag(language, split, i, story) for i, story in enumerate(stories))
        rows = (
            {
                "id": str(row["ind"]),
                "prompt": row["ctx_a"],
                "options": [f"{row['ctx_b']} {ending}" for ending in row["endings"]],
                "label": row["label"],
            }
            for row in told
        )
        name = {"dev": "test"}.get(split, split)
        telling.jsonl(f"translated/hellaswag/{name}-{language.code}.jsonl", rows)


def _hellaswag(language: Language, split: str, i: int, story: Story) -> dict[str, Any]:
    begun, more = surface(tell(language, story.event)), fixed(language, "and").word
    endings = [surface([*clause(language, ending), full_stop(language)]) for ending in story.endings]
    row = {
        "ind": i,
        "activity_label": "World",
        "ctx_a": begun,
        "ctx_b": more,
        "ctx": f"{begun} {more}",
        "split": {"dev": "val"}.get(split, split),
        "split_type": "indomain",
        "endings": endings,
        "source_id": f"world~{split}-{i}",
    }
    return row if split == "test" else row | {"label": story.label}  # the test's are not published


def _commonsense(english: Language, split: str, i: int, being: Being) -> dict[str, Any]:
    told = (surface(being_text(english, option)) for option in being.options)
    choices = [{"label": letter, "text": text} for letter, text in zip(LETTERS, told, strict=True)]
    question = {
        "question_concept": being.asked.lower(),
        "choices": choices,
        "stem": surface(ask_being(english, being)),
    }
    answer = {} if split == "test" else {"answerKey": LETTERS[being.label]}
    return {**answer, "id": f"{split}-{i}", "question": question}


def _social(english: Language, choice: Choice) -> dict[str, Any]:
    answers = {
        f"answer{letter}": option_text(english, option) for letter, option in zip("ABC", choice.options, strict=True)
    }
    question = {"context": _context(english, choice), "question": surface(ask(english, choice.query))}
    return question | answers | {"correct": LETTERS[choice.label]}


def _copa(language: Language, i: int, law: Law) -> dict[str, Any]:
    first, second = (surface(tell(language, option)) for option in law.options)
    return {
        "premise": surface(tell(language, law.event)),
        "choice1": first,
        "choice2": second,
        "question": law.question,
        "label": law.label,
        "idx": i,
        "changed": False,
    }
