"""The scores of a finished phase on one task, language by language; what is scored already is not scored again."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.config.schema import Evaluation
from xlmr_flax.data.examples import fingerprints, load_examples, load_sentences
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.files import write_predictions
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.evaluate.retrieval import centred, embed, nearest
from xlmr_flax.execute.context import Context, write_json
from xlmr_flax.execute.trained import Trained, check_length, load_trained
from xlmr_flax.graph.nodes import EvalNode
from xlmr_flax.model.heads import Pooling
from xlmr_flax.sources.rows import Aligned, Row
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.task import Task, gold, scores

POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "first"}


class Subject(NamedTuple):
    """What is scored: a model, on a task's split, with an evaluation's settings."""

    trained: Trained
    task: Task
    split: str
    evaluation: Evaluation
    data: Path


def run_evaluation(node: EvalNode, context: Context) -> None:
    """Scores every language that has no score yet; each is written as soon as it is there."""
    folder = context.folders.of(node)
    known = read_scores(folder)
    missing = [lang for lang in node.langs if lang not in known["langs"]]
    data, declared = context.folders.data_of(node.phase), task(node.task)
    for lang in node.langs:
        if lang not in missing:
            _check_unchanged(folder, known["langs"][lang]["sources"], fingerprints(declared, node.split, lang, data))
    if not missing:
        return
    trained = load_trained(context.folders.of(node.phase), context.folders, context.mesh)
    subject = Subject(trained, declared, node.split, node.evaluation, data)
    for lang in missing:
        known["langs"][lang] = score(subject, lang, folder / "predictions", context)
        write_json(
            folder / "scores.json", {**known, "task": node.task, "phase_key": node.phase.key, "split": node.split}
        )
        told = " · ".join(f"{name} {100 * value:.1f}" for name, value in known["langs"][lang]["scores"].items())
        context.say(f"{node.phase.name} on {node.task} {lang}: {told}  ({known['langs'][lang]['n_scored']} examples)")


def read_scores(folder: Path) -> dict[str, Any]:
    """What has been scored so far."""
    path = folder / "scores.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"langs": {}}


def score(subject: Subject, lang: str, predictions: Path, context: Context) -> dict[str, Any]:
    """One language: its predictions go to a file, its scores are returned."""
    found = rows(subject.task, subject.split, lang, subject.data)
    if subject.task.head.kind == "embedding":
        scored, predicted, counts = _retrieve(subject, lang, found, context)
    else:
        scored, predicted, counts = _predict(subject, lang, found, context)
    write_predictions(predictions, subject.task.head.kind, lang, found, predicted)
    return {
        "scores": scored,
        "n_scored": len(predicted),
        "n_dataset": len(found),
        "sources": fingerprints(subject.task, subject.split, lang, subject.data),
        "counts": counts,
    }


def _predict(subject: Subject, lang: str, found: Sequence[Row], context: Context) -> tuple[dict[str, float], Any, Any]:
    trained, declared = subject.trained, subject.task
    length = subject.evaluation.length or trained.length
    check_length(trained.model.arch, length, field="evaluation length")
    examples = load_examples(
        declared,
        subject.split,
        lang,
        data=subject.data,
        tokenizer=trained.tokenizer,
        length=length,
        cache=context.folders.cache,
    )
    predicted = predict(
        trained.model,
        trained.params,
        declared,
        found,
        examples,
        mesh=context.mesh,
        batch_size=subject.evaluation.batch_size,
    )
    scored = scores(declared, [gold(declared, row) for row in found], predicted, lang)
    return scored, predicted, examples.encoded.counts


def _retrieve(
    subject: Subject, lang: str, found: Sequence[Aligned], context: Context
) -> tuple[dict[str, float], np.ndarray, dict[str, int]]:
    trained, evaluation = subject.trained, subject.evaluation
    last = trained.model.arch.num_hidden_layers
    layer = last // 2 if evaluation.layer is None else evaluation.layer
    if layer > last:
        raise InputError(f"layer={layer}: the model has hidden states 0 … {last}")
    length, counts = evaluation.length or trained.length, {"layer": layer, "truncated": 0}
    check_length(trained.model.arch, length, field="evaluation length")

    def vectors(side: str, sentences: list[str]) -> np.ndarray:
        key = {"task": subject.task.name, "split": subject.split, "lang": lang, "side": side}
        key["files"] = sorted(fingerprints(subject.task, subject.split, lang, subject.data).items())
        examples = load_sentences(
            sentences, key=key, tokenizer=trained.tokenizer, length=length, cache=context.folders.cache
        )
        counts["truncated"] += examples.encoded.counts["truncated"]
        return embed(
            trained.model, trained.params, examples,
            pooling=POOLINGS[evaluation.pooling], layer=layer, mesh=context.mesh, batch_size=evaluation.batch_size,
        )  # fmt: skip

    foreign_ND = vectors("source", [row.source for row in found])
    english_ND = vectors("target", [row.target for row in found])
    scored: Callable[[np.ndarray], float] = lambda best: subject.task.score(  # noqa: E731
        [gold(subject.task, row) for row in found], [found[number].id for number in best]
    )["accuracy"]
    raw = nearest(english_ND, foreign_ND)
    found_scores = {
        "accuracy": scored(raw),
        "accuracy_centred": scored(nearest(centred(english_ND), centred(foreign_ND))),
    }
    return found_scores, raw, counts


def _check_unchanged(folder: Path, before: dict[str, str], now: dict[str, str]) -> None:
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise InputError(
            f"{folder}: {', '.join(changed)} changed since it was scored; put the old file back, or remove the folder"
        )
