"""The files that a node was made from, by their content, and whether they are still what they were."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from xlmr_flax.config.schema import Phase
from xlmr_flax.errors import InputError
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode, Perturbation, PhaseNode
from xlmr_flax.sources.dictionaries import dictionary_files, dictionary_fingerprints
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.fingerprints import candidate_fingerprints, fingerprints, text_fingerprints
from xlmr_flax.tasks.task import Task


class Scored(Protocol):
    """What of an evaluation says which files are read."""

    @property
    def split(self) -> str: ...

    @property
    def select(self) -> str | None: ...

    @property
    def perturbation(self) -> Perturbation | None: ...


def sources_of(node: PhaseNode, folders: Folders) -> dict[str, str]:
    """The content hash of every file that a phase trains or selects on."""
    others = {path: digest for one in node.stands_for for path, digest in sources_of(one, folders).items()}
    if node.mixed:
        return others | {path: digest for part in node.mixed for path, digest in sources_of(part, folders).items()}
    data, declared = folders.data_of(node), task(node.task)
    if node.text:
        return others | text_fingerprints(node.text, data)
    read = [(node.train, lang) for lang in node.langs]
    read += [(node.select, lang) for lang in node.select_langs if node.select]
    found = {path: digest for spec, lang in read for path, digest in fingerprints(declared, spec, lang, data).items()}
    return others | found | _switch_fingerprints(node.phase, node.langs, data)


def also_sources_of(node: PhaseNode, folders: Folders) -> dict[str, str]:
    """The same of the files that it reads to select in all languages and not for anything else."""
    data = folders.data_of(node)
    found = {
        path: digest
        for part in node.members
        for lang in part.also_langs
        for path, digest in fingerprints(task(part.task), part.select, lang, data).items()
    }
    own = sources_of(node, folders) if found else {}
    return {path: digest for path, digest in found.items() if path not in own}


def check_sources(folder: Path, now: Mapping[str, str], also: Mapping[str, str] | None = None) -> None:
    """Raises InputError when a file is not the one that the phase in `folder` was trained on, or `also` selected on."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _check_unchanged(folder, config["sources"], now, "this phase was trained")
    if also and (before := config.get("also_sources")):
        _check_unchanged(folder, before, also, "this phase was trained")


def dictionary_paths(phase: Phase, langs: tuple[str, ...], data: Path) -> dict[str, list[str]]:
    """The files of each language from which a phase's words are replaced."""
    robust = phase.robust
    found = {lang: dictionary_files(robust.dictionary, lang, robust.switch_to, data) for lang in langs}
    return {lang: [str(path.resolve()) for path in paths] for lang, paths in found.items()}


def scored_files(declared: Task, scored: Scored, lang: str, data: Path) -> dict[str, str]:
    """The content hash of every file that scores in a language come from."""
    specs = [spec for spec in (scored.split, scored.select) if spec]
    found = {name: digest for spec in specs for name, digest in fingerprints(declared, spec, lang, data).items()}
    worse = scored.perturbation
    if worse and worse.dictionary:
        found |= dictionary_fingerprints(dictionary_files(worse.dictionary, lang, worse.switch_to, data))
    return found | (candidate_fingerprints(declared, data) if declared.head.kind == "dual" else {})


def check_scored(node: EvalNode, known: Mapping[str, Any], folders: Folders) -> None:
    """Raises InputError when a file is not one that the scores in a language come from; `known` are all the scores."""
    for lang in (lang for lang in node.langs if lang in known["langs"]):
        now = scored_files(task(node.task), node, lang, folders.data_of(node.phase))
        _check_unchanged(folders.of(node), known["langs"][lang]["sources"], now, "it was scored")


def _check_unchanged(folder: Path, before: Mapping[str, str], now: Mapping[str, str], since: str) -> None:
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if changed:
        raise InputError(
            f"{folder}: {', '.join(changed)} changed since {since}; put the old file back, or remove the folder"
        )


def _switch_fingerprints(phase: Phase, langs: tuple[str, ...], data: Path) -> dict[str, str]:
    if phase.robust.dictionary is None:
        return {}
    every = dictionary_paths(phase, langs, data).values()
    return dictionary_fingerprints([Path(path) for paths in every for path in paths])
