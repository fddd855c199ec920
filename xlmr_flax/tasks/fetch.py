"""Fetches tasks' Parquet files from the Hugging Face Hub, its cache or a folder like it into the data folder."""

import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.storage.copies import files_in, name_in
from xlmr_flax.storage.places import copy
from xlmr_flax.tasks.inventory import Records, needed
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Files, Task, holds, placed

Say = Callable[[str], None]


class Wanted(NamedTuple):
    """A split of a data set's subset, and the pattern of its files in the data folder."""

    repo: str
    revision: str
    subset: str
    split: str
    pattern: str


class Repository(NamedTuple):
    """A data set at one commit: its files, the way to each, and what its README.md says of its subsets."""

    name: str
    commit: str
    files: tuple[str, ...]
    path_of: Callable[[str], Path]
    subsets: list[dict[str, Any]]


def fetch(
    tasks: Sequence[Task], records: Records, *, langs: Sequence[str] | None, source: Path | None, say: Say
) -> list[str]:
    """Fetches what the tasks need and is not there yet; what is there is compared with the records.

    `source` is a folder that holds NAMESPACE/NAME. Gives all that could not be had; the rest is fetched all the same.
    """
    problems, by_repo = [], {}
    for task in tasks:
        wanted, lacking = wishes(task, langs)
        problems += lacking
        for one in wanted:
            by_repo.setdefault((one.repo, one.revision), {})[one] = None
    for (repo, revision), wanted in by_repo.items():
        try:
            missing = [one for one in wanted if not _there(one, records, say)]
            if not missing:
                continue
            repository = _repository(repo, records.known["commits"].get(repo, revision), source, say)
        except InputError as error:
            problems.append(str(error))
            continue
        records.known["commits"].setdefault(repo, repository.commit)
        for one in missing:
            try:
                _place(one, repository, records, say)
            except InputError as error:
                problems.append(str(error))
    return list(dict.fromkeys(problems))


def wishes(task: Task, langs: Sequence[str] | None) -> tuple[list[Wanted], list[str]]:
    """What a task needs from the hub, in all its languages or in `langs`, and what the hub does not have of it."""
    if task.members:
        parts = [wishes(member, langs) for member in task.members]
        return [one for wanted, _ in parts for one in wanted], [text for _, lacking in parts for text in lacking]
    wanted, lacking = [], {}
    for split, lang in _asked(task, langs):
        files = _on_hub(task, split, lang)
        if files is None:
            lacking.setdefault(split, []).append(lang)
        else:
            wanted += _each(files, split, lang)
    told = [
        f"{task.name}: its {split} files in {' '.join(found)} are not on the hub in a form that is read. {task.source}"
        for split, found in lacking.items()
    ]
    if not wanted and not lacking:
        told = [f"{task.name} has no files of its own. {task.source}"]
    return wanted, told


def _asked(task: Task, langs: Sequence[str] | None) -> Iterable[tuple[str, str]]:
    """The needed splits; where languages are named, in those and in the training language, as far as each is needed.

    A split that is needed in the training language only is fetched in the others where the hub has it: translations.
    """
    must = needed(task)
    if langs is None:
        return must
    splits = dict.fromkeys(split for split, _ in must)
    if strange := [lang for lang in langs if lang not in task.langs and not _pair_on_hub(task, splits, lang)]:
        raise InputError(f"{task.name} does not come in {', '.join(strange)}, but in {' '.join(task.langs)}")
    test = parse(task.test).split if task.test else None
    kept = [(split, lang) for split, lang in must if lang in langs or (split != test and lang == task.train_lang)]
    more = [(split, lang) for split in splits for lang in langs if _on_hub(task, split, lang)]
    return list(dict.fromkeys([*kept, *more]))


def _pair_on_hub(task: Task, splits: Iterable[str], lang: str) -> bool:
    return "-" in lang and any(_on_hub(task, split, lang) for split in splits)


def _on_hub(task: Task, split: str, lang: str) -> Files | None:
    every = (files for files in task.files if files.release and files.release.kind == "hub")
    return next((files for files in every if holds(task, files, split, lang)), None)


def _each(files: Files, split: str, lang: str) -> Iterator[Wanted]:
    release = files.release
    assert release is not None
    (subset,) = placed(release.subsets, lang)
    for theirs, pattern in zip(release.splits[split], placed(files.splits[split], lang), strict=True):
        yield Wanted(release.name, release.revision, subset, theirs, pattern)


def _there(wanted: Wanted, records: Records, say: Say) -> bool:
    """Whether the files are in the data folder already. Raises InputError where one has changed."""
    found = files_in(records.data, wanted.pattern)
    for path in found:
        records.digest(path)
    if found:
        say(f"{wanted.pattern}: there already")
    return bool(found)


def _place(wanted: Wanted, repository: Repository, records: Records, say: Say) -> None:
    """Copies the files of a split, under one form of name whatever the repository calls them."""
    names = choose(repository, wanted.subset, wanted.split)
    for number, name in enumerate(names):
        new = records.data / wanted.pattern.replace("*", f"{number:05}-of-{len(names):05}")
        try:
            copy(repository.path_of(name), new)
        except OSError as error:
            raise InputError(f"{new}: cannot be written ({error}); make room, or name another --data") from error
        origin = f"{repository.name}@{repository.commit}: {name}"
        (here,) = files_in(records.data, new.relative_to(records.data).as_posix())
        records.note(here, origin)
        say(f"{name_in(records.data, here)}: {here.stat().st_size:,} bytes, {origin}")


def choose(repository: Repository, subset: str, split: str) -> list[str]:
    """The Parquet files of a split: as the repository's README.md says, or else by their names.

    Raises InputError where there are none.
    """
    patterns = _stated(repository.subsets, subset, split)
    parquet = [name for name in repository.files if name.endswith(".parquet")]
    if patterns:
        found = [name for name in parquet if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
    else:
        found = [name for name in parquet if _named(name, subset, split)]
    if not found:
        kinds = (
            "only a loading script, which is not run"
            if f"{repository.name.split('/')[1]}.py" in repository.files
            else ""
        )
        there = ", ".join(parquet[:8]) + (" …" if len(parquet) > 8 else "")
        raise InputError(
            f"{repository.name}@{repository.commit}: no Parquet file of {split} in the subset {subset}; it has "
            f"{kinds or there or 'no Parquet file at all'}"
        )
    return sorted(found)


def _stated(subsets: Sequence[dict[str, Any]], subset: str, split: str) -> list[str]:
    for one in subsets:
        if one.get("config_name", "default") == subset:
            above = f"{one['data_dir']}/" if one.get("data_dir") else ""
            for entry in one.get("data_files") or ():
                if isinstance(entry, dict) and entry.get("split") == split:
                    listed_paths = entry.get("path") or ()
                    paths = [listed_paths] if isinstance(listed_paths, str) else listed_paths
                    return [f"{above}{path}".removeprefix("./") for path in paths]
    return []


def _named(name: str, subset: str, split: str) -> bool:
    """`mnli/train-00000-of-00001.parquet`, `data/train-….parquet`, `mnli/train/0000.parquet` of a converted branch."""
    *folders, file = PurePosixPath(name).parts
    at = split in folders or re.match(rf"{re.escape(split)}([.-]|_?\d*\.parquet$)", file) is not None
    others = [folder for folder in folders if folder != split]
    return at and others in ([[subset]] if subset != "default" else [[], ["data"], ["default"]])


def _repository(name: str, revision: str, source: Path | None, say: Say) -> Repository:
    if source is not None:
        folder = source / name
        if not folder.is_dir():
            raise InputError(f"{folder}: there is no such folder; --from names one that holds NAMESPACE/NAME")
        return _in_folder(name, "local", folder)
    return _online(name, revision, say)


def _in_folder(name: str, commit: str, folder: Path) -> Repository:
    files = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
    return _read(Repository(name, commit, files, lambda file: folder / file, []))


def _online(name: str, revision: str, say: Say) -> Repository:
    """The data set on the hub; where that cannot be reached, in the hub's cache."""
    import huggingface_hub
    from huggingface_hub import errors

    # Whatever library the hub's client speaks HTTP with raises errors of its own; that of the client names their base.
    broken = (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError, *errors.HfHubHTTPError.__bases__)
    try:
        info = huggingface_hub.HfApi().dataset_info(name, revision=revision)
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{name}: the hub has no revision {revision!r} of it") from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise InputError(f"{name}: there is no such data set on the hub; set HF_TOKEN if it is private") from error
    except broken as error:
        say(f"{name}: the hub cannot be reached ({type(error).__name__}); looking into its cache")
        return _cached(name, revision)

    def path_of(file: str) -> Path:
        try:
            return Path(huggingface_hub.hf_hub_download(name, file, repo_type="dataset", revision=info.sha))
        except broken as error:
            raise InputError(f"{name}: {file} could not be fetched ({error}); run the same command again") from error

    files = tuple(sorted(one.rfilename for one in info.siblings or ()))
    return _read(Repository(name, str(info.sha), files, path_of, []))


def _cached(name: str, revision: str) -> Repository:
    import huggingface_hub
    from huggingface_hub import errors

    try:
        folder = Path(
            huggingface_hub.snapshot_download(name, repo_type="dataset", revision=revision, local_files_only=True)
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError, OSError) as error:
        raise InputError(
            f"{name}: revision {revision!r} is not in the hub's cache either; run this where there is a network, or "
            f"name with --from a folder that holds {name}"
        ) from error
    return _in_folder(name, folder.name, folder)


def _read(repository: Repository) -> Repository:
    """The repository with what its README.md says."""
    from huggingface_hub import metadata_load

    if "README.md" not in repository.files:
        return repository
    path = repository.path_of("README.md")
    try:
        stated = (metadata_load(path) or {}).get("configs") or []
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: its first part cannot be read ({error})") from error
    return repository._replace(subsets=[one for one in stated if isinstance(one, dict)])
