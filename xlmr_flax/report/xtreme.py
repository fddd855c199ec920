"""What XTREME and XTREME-R score: their tasks, the languages and the groups of each, and how one file is scored.

Languages and groups are those of evaluate.py of github.com/google-research/xtreme at commit 838c13b. LAReQA, of which
that script knows the name only, is scored here in XQuAD-R's languages, from files like Mewsli-X's.
"""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.metrics.accuracy import accuracy
from xlmr_flax.metrics.bucc import bucc
from xlmr_flax.metrics.mlqa import mlqa
from xlmr_flax.metrics.ranking import mean_average_precision, mean_reciprocal_rank
from xlmr_flax.metrics.sane import squad_sane
from xlmr_flax.metrics.squad import squad
from xlmr_flax.metrics.tagging import tagging
from xlmr_flax.sources.lines import lines, whole_text
from xlmr_flax.tasks.layouts import codes


class Scored(NamedTuple):
    """One language's file: its scores as fractions of 1, its gold values, and how many of them have no prediction."""

    scores: dict[str, float]
    gold: int
    unanswered: int


@dataclass(frozen=True, eq=False)
class Official:
    """One task of XTREME: its files are `<task>/test-<lang>.<suffix>`.

    `score` takes a language's predictions, its labels and the language. `metrics` are what its score is the mean of.
    """

    suffix: str
    langs: tuple[str, ...]
    metrics: tuple[str, ...]
    score: Callable[[Path, Path, str], Scored]


def xtreme(version: str, *, sane: bool = False) -> dict[str, Official]:
    """The tasks of "xtreme" or "xtreme-r" by name.

    `sane` adds a fairer score, labelled so, where the official one reads all answers as English.
    """
    if version not in GROUPS:
        raise InputError(f"--version {version}: wanted {' or '.join(GROUPS)}")
    english = functools.partial(_english_answers, sane=sane)
    shared = {
        "xnli": Official("tsv", codes("ar bg de el en es fr hi ru sw th tr ur vi zh"), ("accuracy",), _words),
        "pawsx": Official("tsv", codes("de en es fr ja ko zh"), ("accuracy",), _words),
        "udpos": Official("tsv", _UDPOS, ("f1",), _tags),
        "panx": Official("tsv", _PANX, ("f1",), _tags),
        "xquad": Official("json", codes("en es de el ru tr ar vi th zh hi"), _QA, english),
        "mlqa": Official("json", codes("en es de ar hi vi zh"), _QA, _answers(mlqa)),
        "tydiqa": Official("json", codes("en ar bn fi id ko ru sw te"), _QA, english),
        "bucc2018": Official("tsv", codes("de fr ru zh"), ("f1",), _pairs),
        "tatoeba": Official("tsv", _TATOEBA, ("accuracy",), _words),
    }
    if version == "xtreme":
        return shared
    kept = {name: one for name, one in shared.items() if name not in ("pawsx", "bucc2018")}
    wider = {name: replace(one, langs=one.langs + _ADDED.get(name, ())) for name, one in kept.items()}
    ranked, linked = (functools.partial(_ranked, score) for score in (mean_average_precision, mean_reciprocal_rank))
    return wider | {
        "xcopa": Official("jsonl", codes("et ht id it qu sw ta th tr vi zh"), ("accuracy",), _choices),
        "mewslix": Official("json", codes("ar de en es fa ja pl ro ta tr uk"), ("mrr@20",), linked),
        "lareqa": Official("json", codes("ar de el en es hi ru th tr vi zh"), ("map@20",), ranked),
    }


GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "xtreme": {
        "classification": ("pawsx", "xnli"),
        "tagging": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("bucc2018", "tatoeba"),
    },
    "xtreme-r": {
        "classification": ("xnli", "xcopa"),
        "tagging": ("udpos", "panx"),
        "qa": ("xquad", "mlqa", "tydiqa"),
        "retrieval": ("tatoeba", "mewslix"),
    },
}

_QA = ("f1", "exact_match")
_UDPOS = codes("af ar bg de el en es et eu fa fi fr he hi hu id it ja kk ko mr nl pt ru ta te th tl tr ur vi yo zh")
_PANX = codes(
    "ar he vi id jv ms tl eu ml ta te af nl en de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw yo my zh kk tr et "
    "fi hu"
)
_TATOEBA = codes(
    "ar he vi id jv tl eu ml ta te af nl de el bn hi mr ur fa fr it pt es bg ru ja ka ko th sw zh kk tr et fi hu"
)
# The languages that XTREME-R adds to tasks of XTREME.
_ADDED = {
    "udpos": codes("lt pl uk wo ro"),
    "panx": codes("qu pl uk az lt pa gu ro"),
    "xquad": codes("ro"),
    "tatoeba": codes("az lt pl uk ro"),
}


def _words(predictions: Path, labels: Path, lang: str) -> Scored:
    gold, found = _stripped(labels), _stripped(predictions)
    return Scored(accuracy(gold, found), len(gold), 0)


def _tags(predictions: Path, labels: Path, lang: str) -> Scored:
    gold, found = _sentences(labels), _sentences(predictions)
    if len(gold) != len(found):
        raise InputError(f"{len(found)} sentences for {len(gold)} gold ones; an extra blank line is an empty sentence")
    scores = tagging(gold, found)
    return Scored({**scores, "token_accuracy": scores.pop("accuracy")}, len(gold), 0)


def _pairs(predictions: Path, labels: Path, lang: str) -> Scored:
    gold, found = ([tuple(line.split("\t")) for line in _stripped(path)] for path in (labels, predictions))
    return Scored(bucc(gold, found), len(set(gold)), 0)


def _choices(predictions: Path, labels: Path, lang: str) -> Scored:
    gold, found = ([_label(path, line) for line in _stripped(path)] for path in (labels, predictions))
    return Scored(accuracy(gold, found), len(gold), 0)


def _answers(score: Callable[..., dict[str, float]]) -> Callable[[Path, Path, str], Scored]:
    def scored(predictions: Path, labels: Path, lang: str) -> Scored:
        gold, found = _questions(labels), _by_id(predictions, str)
        answers = [found.get(name) for name, _ in gold]
        return Scored(score([texts for _, texts in gold], answers, lang), len(gold), answers.count(None))

    return scored


def _english_answers(predictions: Path, labels: Path, lang: str, *, sane: bool) -> Scored:
    plain = _answers(lambda gold, found, lang: squad(gold, found))
    both = _answers(lambda gold, found, lang: {**squad(gold, found), **squad_sane(gold, found, lang)})
    return (both if sane else plain)(predictions, labels, lang)


def _ranked(score: Callable[..., dict[str, float]], predictions: Path, labels: Path, lang: str) -> Scored:
    gold, found = _by_id(labels, list), _by_id(predictions, list)
    scores = score(list(gold.values()), [found.get(name, []) for name in gold])
    return Scored(scores, len(gold), sum(name not in found for name in gold))


def _stripped(path: Path) -> list[str]:
    """The lines of a file without the space around them; none of a file that is empty, as where nothing was mined."""
    return [line.strip() for line in lines(path)] if path.stat().st_size else []


def _sentences(path: Path) -> list[list[str]]:
    """The tags of each sentence; every blank line ends one, also one that is empty, as for the official scorer."""
    found: list[list[str]] = [[]]
    for line in _stripped(path):
        if line:
            found[-1].append(line)
        else:
            found.append([])
    return found if found[-1] else found[:-1]


def _questions(path: Path) -> list[tuple[str, list[str]]]:
    """Each question's id and the texts of its gold answers."""
    tree = _json(path)
    try:
        found = [
            (question["id"], [answer["text"] for answer in question["answers"]])
            for article in (tree["data"] if isinstance(tree, dict) else tree)
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not questions as SQuAD 1.1 has them ({error!r}); wanted data, paragraphs, qas"
        ) from error
    if odd := [one for name, texts in found for one in (name, *texts) if not isinstance(one, str)]:
        raise InputError(
            f"{path}: {str(odd[0])[:40]!r} stands where the id of a question or the text of an answer should"
        )
    if found and not any(text for _, texts in found for text in texts):
        raise InputError(f"{path}: every answer is empty: these are hidden labels; score with the original files")
    return found


def _by_id(path: Path, kind: type) -> dict[str, Any]:
    tree, wanted = _json(path), f"one object with a {'text' if kind is str else 'list of texts'} for each id"
    if not isinstance(tree, dict):
        raise InputError(f"{path}: a JSON {type(tree).__name__}, wanted {wanted}")
    for name, value in tree.items():
        if not isinstance(value, kind) or (kind is list and not all(isinstance(one, str) for one in value)):
            raise InputError(f"{path}: the value of {name!r} is {str(value)[:40]!r}, wanted {wanted}")
    return tree


def _label(path: Path, line: str) -> Any:
    try:
        return json.loads(line)["label"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: {line[:60]!r} is not a JSON object with a label") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(whole_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not JSON: {error}") from error
