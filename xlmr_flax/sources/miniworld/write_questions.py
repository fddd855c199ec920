"""Files of questions about a context: SQuAD 1.1 and 2.0, XQuAD, XQuAD-R, MLQA, TyDiQA, and their translations."""

from collections.abc import Callable, Sequence
from typing import Any

from xlmr_flax.sources.miniworld.language import Language, joined, tell
from xlmr_flax.sources.miniworld.questions import Paragraph, draw_doubted, draw_paragraph, spans
from xlmr_flax.sources.miniworld.telling import Telling, asked, key, splits

QUESTIONS_PER_PARAGRAPH = 2
PARAGRAPHS_PER_ARTICLE = 5
TRANSLATIONS = "xtreme_translations"


def write_questions(telling: Telling) -> None:
    """Every file with spans for answers."""
    settings = telling.settings
    for split, count in splits(settings.questions):
        paragraphs = _paragraphs(telling, f"questions.{split}", count)
        # XQuAD is SQuAD's form in every language; the English training and selection splits are SQuAD's own.
        for language in telling.languages if split == "test" else (telling.english,):
            name = f"xquad/xquad.{language.code}.json" if split == "test" else f"squad/{split}-v1.1.json"
            telling.json(name, _squad(language, paragraphs, split))
        for language in telling.translations if split == "train" else ():
            name = f"{TRANSLATIONS}/SQuAD/translate-train/squad.translate.train.en-{language.code}.json"
            telling.json(name, _squad(language, paragraphs, split))
    for split, count in asked(settings.squad_v2):
        paragraphs = _paragraphs(telling, f"squad_v2.{split}", count, draw_doubted)
        telling.json(f"squad/{split}-v2.0.json", _squad_v2(telling.english, paragraphs, split))
    for split, count in asked(settings.mlqa):
        _write_mlqa(telling, split, _paragraphs(telling, f"mlqa.{split}", count))
    _write_tydiqa(telling)
    if settings.lareqa:
        paragraphs = _paragraphs(telling, "lareqa.test", settings.lareqa)
        for language in telling.languages:
            telling.json(f"lareqa/xquad-r/{language.code}.json", _xquad_r(language, paragraphs))


def _paragraphs(
    telling: Telling, field: str, count: int, draw: Callable[..., Paragraph] = draw_paragraph, *names: str
) -> list[Paragraph]:
    """Paragraphs with so many questions in all."""
    full, rest = divmod(count, QUESTIONS_PER_PARAGRAPH)
    return telling.examples(
        field,
        full + (rest > 0),
        lambda rng, questions: draw(telling.world, rng, questions),
        lambda paragraph: key(*(tell(telling.english, event) for event in paragraph.events)),
        iter([QUESTIONS_PER_PARAGRAPH] * full + [rest] * (rest > 0)),
        *names,
    )


def _articles(paragraphs: Sequence[Any], split: str, version: str | float = "1.1") -> dict[str, Any]:
    articles = [
        {"title": f"{split}-{first}", "paragraphs": list(paragraphs[first : first + PARAGRAPHS_PER_ARTICLE])}
        for first in range(0, len(paragraphs), PARAGRAPHS_PER_ARTICLE)
    ]
    return {"version": version, "data": articles}


def _squad(language: Language, paragraphs: Sequence[Paragraph], split: str, name: str = "{split}-{i}-{j}") -> Any:
    return _articles([_told(language, one, split, i, name) for i, one in enumerate(paragraphs)], split)


def _told(language: Language, paragraph: Paragraph, split: str, i: int, name: str = "{split}-{i}-{j}") -> Any:
    context, answered = spans(language, paragraph)
    qas = [
        {"id": name.format(split=split, i=i, j=j), "question": question, "answers": [_answer(span)]}
        for j, (question, span) in enumerate(answered)
    ]
    return {"context": context, "qas": qas}


def _answer(span: Any) -> dict[str, Any]:
    return {"text": span.text, "answer_start": span.start}


def _squad_v2(language: Language, paragraphs: Sequence[Paragraph], split: str) -> Any:
    """Every second question of a paragraph is one that nothing answers; what could be taken for it is plausible."""
    told = [_told(language, one, split, i) for i, one in enumerate(paragraphs)]
    for paragraph in told:
        for j, question in enumerate(paragraph["qas"]):
            if j % 2:
                question |= {"plausible_answers": question["answers"], "answers": []}
            question["is_impossible"] = bool(j % 2)
    return _articles(told, split, "v2.0")


def _write_mlqa(telling: Telling, split: str, paragraphs: Sequence[Paragraph]) -> None:
    told = {language.code: [_told(language, one, split, i) for i, one in enumerate(paragraphs)]
            for language in telling.languages}  # fmt: skip
    for context, contexts in told.items():
        for question, questions in told.items():
            crossed = [
                {
                    "context": one["context"],
                    "qas": [
                        asked | {"question": same["question"]}
                        for asked, same in zip(one["qas"], other["qas"], strict=True)
                    ],
                }
                for one, other in zip(contexts, questions, strict=True)
            ]
            name = f"mlqa/MLQA_V1/{split}/{split}-context-{context}-question-{question}.json"
            telling.json(name, _articles(crossed, split, 1.0))


def _write_tydiqa(telling: Telling) -> None:
    """Nothing is a translation here, but the training set where it is asked for."""
    for split, count in asked(telling.settings.tydiqa):
        official = "train" if split == "train" else "dev"
        for language in telling.told_in(split):
            paragraphs = _paragraphs(telling, f"tydiqa.{split}", count, draw_paragraph, language.code)
            # XTREME cuts a training id to its last part, and leaves the language's name before the others.
            name = "{split}{i}x{j}" if split == "train" else f"{language.code}-{{i}}-{{j}}"
            told = _squad(language, paragraphs, f"tydiqa-{split}", name)
            folder = f"tydiqa/tydiqa-goldp-v1.1-{official}"
            telling.json(f"{folder}/tydiqa.goldp.{language.code}.{official}.json", told)
            for other in telling.translations if split == "train" else ():
                path = f"{TRANSLATIONS}/TyDiQA-GoldP/translate-train/tydiqa.translate.train.en-{other.code}.json"
                telling.json(path, _squad(other, paragraphs, f"tydiqa-{split}", name))


def _xquad_r(language: Language, paragraphs: Sequence[Paragraph]) -> Any:
    told = []
    for i, paragraph in enumerate(paragraphs):
        context, breaks = joined(tell(language, event) for event in paragraph.events)
        told.append(
            {
                **_told(language, paragraph, "lareqa", i),
                "sentence_breaks": breaks,
                "sentences": [context[start:end] for start, end in breaks],
            }
        )
    return _articles(told, "lareqa")
