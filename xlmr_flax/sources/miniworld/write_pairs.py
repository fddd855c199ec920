"""Files of pairs: XNLI, MNLI, SNLI, ANLI, PAWS-X, QQP, and their translations."""

from collections.abc import Callable, Iterable, Sequence

from xlmr_flax.sources.miniworld.draws import balanced
from xlmr_flax.sources.miniworld.language import Language, surface, tell
from xlmr_flax.sources.miniworld.pairs import NLI_LABELS, PARAPHRASE_LABELS, Pair, draw_nli, draw_paraphrase
from xlmr_flax.sources.miniworld.telling import Telling, asked, key, splits

Row = tuple[str, str, str]

GLUE_TEXTS = ("sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse", "sentence2_parse")
MNLI_SPLIT = {"train": "train", "dev": "dev_matched", "test": "dev_mismatched"}
MNLI_ANNOTATORS = {"train": 1, "dev": 5, "test": 5}
# A label as XNLI's machine-translated training sets spell it.
TRANSLATED_LABEL = {"contradiction": "contradictory"}
SNLI_ANNOTATORS = 5
ANLI_ROUNDS = ("R1", "R2", "R3")


def write_pairs(telling: Telling) -> None:
    """Every file of inference and paraphrase."""
    settings = telling.settings
    for split, count in splits(settings.nli):
        _write_xtreme(telling, "xnli", split, nli := _nli(telling, f"nli.{split}", count))
        for language in telling.translations if split == "train" else ():
            rows = ((one, other, TRANSLATED_LABEL.get(label, label)) for one, other, label in told(language, nli))
            telling.cells(f"multinli/multinli.train.{language.code}.tsv", [("premise", "hypo", "label"), *rows])
    for split, count in splits(settings.paraphrase):
        pairs = _paraphrases(telling, f"paraphrase.{split}", count)
        _write_xtreme(telling, "pawsx", split, pairs)
        for language in telling.translations if split == "train" else ():
            rows = [(i, *row) for i, row in enumerate(told(language, pairs), start=1)]
            header = ("id", "sentence1", "sentence2", "label")
            telling.cells(f"x-final/{language.code}/translated_train.tsv", [header, *rows])
    for split, count in asked(settings.mnli):
        pairs = _nli(telling, f"mnli.{split}", count)
        _write_mnli(telling, split, pairs)
        _write_translated(telling, f"mnli/{split}", pairs)
    for split, count in asked(settings.snli):
        _write_snli(telling, split, _nli(telling, f"snli.{split}", count))
    for split, count in asked(settings.anli):
        for number in ANLI_ROUNDS:
            _write_anli(telling, number, split, _nli(telling, f"anli.{split}", count, number))
    for split, count in asked(settings.qqp):
        pairs = _paraphrases(telling, f"qqp.{split}", count)
        _write_qqp(telling, split, pairs)
        if split != "test":  # what is scored is the dev set: the test's labels are not published
            _write_translated(telling, f"qqp/{'test' if split == 'dev' else split}", pairs)


def told(language: Language, pairs: Iterable[Pair]) -> list[Row]:
    """The pairs in words, with their labels."""
    return [(surface(tell(language, pair.first)), surface(tell(language, pair.second)), pair.label) for pair in pairs]


def _nli(telling: Telling, field: str, count: int, *names: str) -> list[Pair]:
    return _drawn(telling, field, count, NLI_LABELS, draw_nli, *names)


def _paraphrases(telling: Telling, field: str, count: int) -> list[Pair]:
    return _drawn(telling, field, count, PARAPHRASE_LABELS, draw_paraphrase)


def _drawn(
    telling: Telling, field: str, count: int, labels: Sequence[str], draw: Callable[..., Pair], *names: str
) -> list[Pair]:
    return telling.examples(
        field,
        count,
        lambda rng, label: draw(telling.world, rng, label),
        lambda pair: key(tell(telling.english, pair.first), tell(telling.english, pair.second)),
        balanced(telling.stream(*field.split("."), *names, "labels"), labels),
        *names,
    )


def _write_xtreme(telling: Telling, folder: str, split: str, pairs: Sequence[Pair]) -> None:
    for language in telling.told_in(split):
        telling.table(f"{folder}/{split}-{language.code}.tsv", told(language, pairs), delimiter="\t")


def _write_mnli(telling: Telling, split: str, pairs: Sequence[Pair]) -> None:
    annotators = MNLI_ANNOTATORS[split]
    labels = [f"label{i}" for i in range(1, annotators + 1)]
    header = ("index", "promptID", "pairID", "genre", *GLUE_TEXTS, "sentence1", "sentence2", *labels, "gold_label")
    rows = (
        (i, i, f"{i}{label[0]}", "world", *(f"( {text} )" for text in (one, other) * 2), one, other)
        + (label,) * (annotators + 1)
        for i, (one, other, label) in enumerate(told(telling.english, pairs))
    )
    telling.cells(f"mnli/{MNLI_SPLIT[split]}.tsv", [header, *rows])


def _write_snli(telling: Telling, split: str, pairs: Sequence[Pair]) -> None:
    telling.jsonl(
        f"snli/snli_1.0_{split}.jsonl",
        (
            {
                "annotator_labels": [label] * SNLI_ANNOTATORS,
                "captionID": f"{i}.jpg#0",
                "gold_label": label,
                "pairID": f"{i}.jpg#0r1{label[0]}",
                "sentence1": one,
                "sentence1_binary_parse": f"( {one} )",
                "sentence1_parse": f"(ROOT {one})",
                "sentence2": other,
                "sentence2_binary_parse": f"( {other} )",
                "sentence2_parse": f"(ROOT {other})",
            }
            for i, (one, other, label) in enumerate(told(telling.english, pairs))
        ),
    )


def _write_anli(telling: Telling, number: str, split: str, pairs: Sequence[Pair]) -> None:
    telling.jsonl(
        f"anli/{number}/{split}.jsonl",
        (
            {
                "uid": f"{number}-{split}-{i}",
                "context": one,
                "hypothesis": other,
                "label": label[0],
                "model_label": label[0],
                "emturk": False,
                "genre": "world",
                "reason": "",
                "tag": "",
            }
            for i, (one, other, label) in enumerate(told(telling.english, pairs))
        ),
    )


def _write_qqp(telling: Telling, split: str, pairs: Sequence[Pair]) -> None:
    rows = list(enumerate(told(telling.english, pairs)))
    if split == "test":  # GLUE publishes no labels
        telling.cells("qqp/test.tsv", [("id", "question1", "question2"), *((i, *row[:2]) for i, row in rows)])
        return
    header = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
    telling.cells(f"qqp/{split}.tsv", [header, *((i, 2 * i + 1, 2 * i + 2, *row) for i, row in rows)])


def _write_translated(telling: Telling, place: str, pairs: Sequence[Pair]) -> None:
    """A user's translations."""
    for language in telling.translations:
        rows = (
            {"id": str(i), "text": one, "pair": other, "label": label}
            for i, (one, other, label) in enumerate(told(language, pairs))
        )
        telling.jsonl(f"translated/{place}-{language.code}.jsonl", rows)
