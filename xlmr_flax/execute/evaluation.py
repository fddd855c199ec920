"""The scores of a finished phase on one task, language by language; what is scored already is not scored again."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xlmr_flax.data.load import encoded_rows, load_examples
from xlmr_flax.data.perturb import perturbed
from xlmr_flax.errors import Interrupted
from xlmr_flax.evaluate.files import write_predictions
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.ranking import rank
from xlmr_flax.execute.retrieval import Retrieved, retrieve
from xlmr_flax.execute.trained import Subject, check_length, load_trained
from xlmr_flax.graph.nodes import EvalNode, read_scores
from xlmr_flax.graph.origins import check_scored, scored_files
from xlmr_flax.report.chance import judged
from xlmr_flax.report.examples import terms_of, write_terms
from xlmr_flax.report.results import also_text, perturbation_text
from xlmr_flax.sources.dictionaries import dictionary_files, load_dictionary
from xlmr_flax.sources.rows import Row
from xlmr_flax.storage.copies import local_of
from xlmr_flax.storage.places import write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import excluded_text, hidden, other_release
from xlmr_flax.tasks.files import found as found_in
from xlmr_flax.tasks.labels import labelled_as, ordered_as
from xlmr_flax.tasks.task import gold, scores
from xlmr_flax.train import processes
from xlmr_flax.train.checkpoint import SELECTED, SELECTED_ALSO
from xlmr_flax.train.loop import Stop


def run_evaluation(node: EvalNode, context: Context, stop: Stop) -> None:
    """Scores every language that has no score yet; each is written as soon as it is there.

    Raises Interrupted between two languages when `stop` was asked.
    """
    folder = context.folders.of(node)
    known = processes.of_writer(f"scores of {node.key}", functools.partial(read_scores, folder))
    missing = [lang for lang in node.langs if lang not in known["langs"]]
    data, declared = context.folders.data_of(node.phase), task(node.task)
    check_scored(node, known, context.folders)
    if not missing:
        return
    selected = SELECTED_ALSO if node.also else SELECTED
    where = context.folders.of(node.phase)
    trained = load_trained(where, context.folders, context.mesh, declared, selected=selected)
    subject = Subject(
        trained, declared, node.split, node.evaluation, data, select=node.select, shared={},
        perturbation=node.perturbation,
    )  # fmt: skip
    for lang in missing:
        if stop.reached():
            raise Interrupted(
                f"stopped before {node.phase.name} on {node.task} {lang}, all saved; run the same command to continue"
            )
        known["langs"][lang] = score(subject, lang, folder / "predictions", context, examples=folder / "examples")
        processes.writes(
            write_json,
            folder / "scores.json",
            {**known, "task": node.task, "phase_key": node.phase.key, "split": node.split},
        )
        told = " · ".join(f"{name} {100 * value:.1f}" for name, value in known["langs"][lang]["scores"].items())
        how = "".join(f", {each}" for each in (also_text(node), perturbation_text(node)) if each)
        context.say(
            f"{node.phase.name} on {node.task} {lang}{how}: {told}  ({known['langs'][lang]['n_scored']} examples)"
        )


def score(
    subject: Subject, lang: str, predictions: Path, context: Context, *, examples: Path | None = None
) -> dict[str, Any]:
    """One language: predictions go to a file, what each example scores to one in `examples`; scores are returned."""
    split = found_in(subject.task, subject.split, lang, subject.data, labels=subject.labels)
    found = split.rows
    if split.excluded:
        context.say(f"{subject.task.name} {subject.split} {lang}: {excluded_text(split.counts)}")
    unchanged: list[str] = []
    if subject.perturbation:
        found, unchanged = made_worse(subject, lang, found)
    settings: list[dict[str, Any]] = []
    vectors = local_of(predictions.with_name("embeddings"))  # in mapped files
    if subject.task.head.kind == "embedding":
        retrieved = retrieve(subject, lang, found, vectors, context)
        counts, settings = retrieved.counts, retrieved.told
        scored, predicted = _first_of(retrieved, predictions if subject.labels else None, lang, found)
        done, terms = retrieved.queries, [one.terms for one in retrieved.by_setting.values()]
    elif subject.task.head.kind == "dual":
        scored, predicted, counts, settings, ranked = rank(subject, lang, found, vectors, context)
        done, terms = len(predicted), [ranked]
    else:
        scored, predicted, counts = _predict(subject, lang, found, context)
        wanted = [gold(subject.task, row) for row in found] if scored else []
        done, terms = len(predicted), [terms_of(subject.task, wanted, predicted, scored, lang) if scored else {}]
    write_predictions(predictions, lang, found, predicted)
    if examples:
        processes.writes(write_terms, examples / f"{lang}.npz", terms)
    return {
        "scores": scored,
        "settings": settings,
        "n_scored": done,
        "n_dataset": len(found) + sum(split.excluded.values()),
        "sources": scored_files(subject.task, subject, lang, subject.data),
        "release": other_release(subject.task, subject.split, lang, subject.data),
        "counts": counts | split.counts,
        "flags": [*_judged(subject, lang, found, predicted, scored), *unchanged],
    }


def made_worse(subject: Subject, lang: str, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with perturbed inputs, and where that changed nothing a flag that says so."""
    perturbation, dictionaries = subject.perturbation, []
    if perturbation.kind == "code_switch":
        places = (dictionary_files(perturbation.dictionary, one, perturbation.switch_to, subject.data)
                  for one in lang.split("-"))  # fmt: skip
        dictionaries = [load_dictionary(files) for files in places]
    found, changed = perturbed(rows, perturbation, lang, dictionaries)
    why = {
        "typos": "no letters in it",
        "diacritics": "these texts have none",
        "code_switch": "the dictionary has none of these words" if any(dictionaries) else f"no dictionary of {lang}",
    }[perturbation.kind]
    return found, [] if changed else [f"unchanged by {perturbation.kind}: {why}"]


def _judged(
    subject: Subject, lang: str, found: Sequence[Row], predicted: Sequence[Any], scored: dict[str, float]
) -> list[str]:
    return judged(subject.task, [gold(subject.task, row) for row in found], predicted, scored, lang) if scored else []


def _first_of(
    retrieved: Retrieved, folder: Path | None, lang: str, found: Sequence[Row]
) -> tuple[dict[str, float], list[Any]]:
    """A sweep's first setting, which stands for the whole; the predictions of the others go to folders of their own."""
    first, *others = retrieved.by_setting.items()
    for setting, one in others if folder else ():
        write_predictions(folder / f"layer-{setting.layer}-{setting.pooling}", lang, found, one.predicted)
    return first[1].scores, first[1].predicted


def _predict(subject: Subject, lang: str, found: Sequence[Row], context: Context) -> tuple[dict[str, float], Any, Any]:
    trained, declared = subject.trained, labelled_as(subject.task, subject.trained.labels)
    length = subject.evaluation.length or trained.length
    check_length(trained.model.arch, length, field="evaluation length")
    unscored = hidden(declared, subject.split, found)
    if unscored or subject.perturbation:
        examples = encoded_rows(declared.head, found, trained.tokenizer, length)
    else:
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
        ordered_as(declared, trained.labels),
        found,
        examples,
        mesh=context.mesh,
        batch_size=subject.evaluation.batch_size,
        packing=subject.evaluation.packing,
    )
    scored = {} if unscored else scores(declared, [gold(declared, row) for row in found], predicted, lang)
    return scored, predicted, examples.encoded.counts
