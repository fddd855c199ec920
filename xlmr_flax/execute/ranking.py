"""Scores of a dual head: each query of a language ranks the documents of all languages together."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlmr_flax.data.examples import Examples
from xlmr_flax.data.load import load_documents, load_sentences
from xlmr_flax.evaluate.dual import Ranking, embed, rankings
from xlmr_flax.evaluate.predict import rows_of
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.trained import Subject, check_length
from xlmr_flax.report.examples import Terms, terms_of
from xlmr_flax.sources.rows import Query
from xlmr_flax.tasks.candidates import CANDIDATES, candidate_langs, candidates
from xlmr_flax.tasks.files import hidden, rows
from xlmr_flax.tasks.fingerprints import fingerprints
from xlmr_flax.tasks.task import gold, scores
from xlmr_flax.train import processes


class Pool(NamedTuple):
    """The documents among which queries find theirs, and what is known of them."""

    ids: list[str]
    vectors_MD: np.ndarray  # in a mapped file, whose name is gone: it goes with the array
    langs: tuple[str, ...]  # whose documents they are; one for a task whose documents are of no language
    relevant: dict[str, Ranking]  # the documents of all languages that answer a query, by its id
    truncated: int


class Ranked(NamedTuple):
    """What the queries of one language find."""

    scores: dict[str, float]
    predicted: list[Ranking]
    counts: dict[str, int]
    settings: list[dict[str, Any]]
    terms: dict[str, Terms]


def rank(subject: Subject, lang: str, found: Sequence[Query], folder: Path, context: Context) -> Ranked:
    """The rankings and scores in one language. The documents' vectors are made once for all languages of `subject`."""
    shared = {} if subject.shared is None else subject.shared
    if CANDIDATES not in shared:
        shared[CANDIDATES] = _pool(subject, folder, context)
    pool: Pool = shared[CANDIDATES]
    with processes.in_turn(f"encoding {subject.task.name} {lang}"):
        queries = load_sentences(
            [row.text for row in found], key=_key(subject, subject.split, [lang]),
            tokenizer=subject.trained.tokenizer, length=_length(subject), cache=context.folders.cache,
        )  # fmt: skip
    queries_ND = np.zeros((queries.items, pool.vectors_MD.shape[1]), np.float32)
    _embed(subject, queries, queries_ND, context)
    predicted = rankings(queries_ND, pool.vectors_MD, pool.ids, mesh=context.mesh)
    asked = [row._replace(relevant=pool.relevant.get(row.id, row.relevant)) for row in found]
    unscored = hidden(subject.task, subject.split, found)
    wanted = [] if unscored else [gold(subject.task, row) for row in asked]
    scored = {} if unscored else scores(subject.task, wanted, predicted, lang)
    terms = {} if unscored else terms_of(subject.task, wanted, predicted, scored, lang)
    counts = {
        "candidates": len(pool.ids),
        "candidate_languages": len(pool.langs),
        "queries_without_candidate": 0 if unscored else _without(asked, pool),
        "queries_truncated": queries.encoded.counts["truncated"],
        "candidates_truncated": pool.truncated,
    }
    return Ranked(scored, predicted, counts, _settings(subject, pool, scored), terms)


def _pool(subject: Subject, folder: Path, context: Context) -> Pool:
    declared, langs = subject.task, candidate_langs(subject.task, subject.data)
    documents = candidates(declared, subject.data)
    told = f" in the files of {', '.join(langs)}" if len(langs) > 1 else ""
    context.say(f"{declared.name}: {len(documents):,} candidates{told}")
    with processes.in_turn(f"encoding {declared.name} {CANDIDATES}"):
        examples = load_documents(
            documents, key=_key(subject, CANDIDATES, langs), tokenizer=subject.trained.tokenizer,
            length=_length(subject), cache=context.folders.cache,
        )  # fmt: skip
    vectors_MD = _mapped(processes.own(folder), (examples.items, subject.trained.model.arch.hidden_size))
    _embed(subject, examples, vectors_MD, context)
    relevant: dict[str, Ranking] = {}
    for lang in langs if len(langs) > 1 else ():
        for row in rows(declared, subject.split, lang, subject.data, labels=subject.labels):
            relevant[row.id] = relevant.get(row.id, ()) + (row.relevant or ())
    names = [row.id for row in documents]
    return Pool(names, vectors_MD, langs, relevant, examples.encoded.counts["truncated"])


def _embed(subject: Subject, examples: Examples, out_ND: np.ndarray, context: Context) -> None:
    trained, mesh = subject.trained, context.mesh
    size = rows_of(subject.evaluation.batch_size, examples, mesh)
    packing = subject.evaluation.packing
    embed(trained.model, trained.params, examples, out_ND, mesh=mesh, rows=size, packing=packing)


def _mapped(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """A float32 array in a file without a name, so that nothing is left of it however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        vectors = np.memmap(file, np.float32, "w+", shape=shape)
    with contextlib.suppress(OSError):  # something else may lie there
        folder.rmdir()
    return vectors


def _length(subject: Subject) -> int:
    length = subject.evaluation.length or subject.trained.length
    check_length(subject.trained.model.arch, length, field="evaluation length")
    return length


def _key(subject: Subject, spec: str, langs: Sequence[str]) -> dict[str, Any]:
    files = {
        path: digest for lang in langs for path, digest in fingerprints(subject.task, spec, lang, subject.data).items()
    }
    return {"task": subject.task.name, "split": spec, "langs": list(langs), "files": sorted(files.items())}


def _without(asked: Sequence[Query], pool: Pool) -> int:
    """How many queries have no right document among the candidates, and so score 0."""
    there = set(pool.ids)
    return sum(not there.intersection(row.relevant or ()) for row in asked)


def _settings(subject: Subject, pool: Pool, scored: dict[str, float]) -> list[dict[str, Any]]:
    """How queries and documents were compared, as scores.json has it; `told` is for tables."""
    places = f" in {len(pool.langs)} languages" if len(pool.langs) > 1 else ""
    return [
        {
            "told": f"{len(pool.ids):,} candidates{places}",
            "similarity": subject.trained.model.spec.similarity,
            "pooling": "<s> of the last layer through the pooler",
            "candidates": len(pool.ids),
            "candidate_langs": list(pool.langs),
            "scores": scored,
        }
    ]
