"""Commands on a trained model, be it a run, a phase, an exported folder or a hub id: score, predict, export."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from xlmr_flax.config.load import did_you_mean
from xlmr_flax.config.schema import Evaluation, Experiment, Phase
from xlmr_flax.errors import InputError, Interrupted, listed
from xlmr_flax.evaluate.vectors import TextEncoder
from xlmr_flax.execute.card import card
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.evaluation import Subject, score
from xlmr_flax.execute.parity import parity
from xlmr_flax.execute.recorded import phase_tasks
from xlmr_flax.execute.trained import Trained, check_finished, load_trained, tokenizer_in
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.mixture import training_rows
from xlmr_flax.graph.nodes import EvalNode, folder_name, is_done
from xlmr_flax.graph.study import recorded
from xlmr_flax.model import export, hub, weights
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.report.results import figures, release_flags, summary
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.storage.copies import copy_of
from xlmr_flax.storage.places import absolute, filled, is_remote, place
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.labels import labelled_as, ordered_as
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.loop import Stop
from xlmr_flax.train.processes import put, several
from xlmr_flax.train.state import abstract_params

PREDICT_LENGTH = 512  # of a model that does not say what it was trained at


class Request(NamedTuple):
    """What to predict of a task."""

    task: Task
    langs: tuple[str, ...]
    evaluation: Evaluation


def evaluate_target(
    target: str,
    tasks: Sequence[str],
    langs: Sequence[str] | None,
    folders: Folders,
    console: Console,
    submission: Path | None = None,
    version: str | None = None,
) -> dict[str, Any]:
    """Scores a model on tasks and languages; predictions go to evals/ in the runs folder, or to `submission`.

    `version` stands for the languages of XTREME or XTREME-R. For a submission, files whose labels are hidden are
    predicted too; `unscored` of the results names them.
    """
    if submission and submission.exists() and not submission.is_dir():
        raise InputError(f"--submission {submission}: is a file, wanted a folder, or a name for a new one")
    requests = [_request(target, task(name), langs, version) for name in tasks]
    _check_files(requests, folders.data, labels=submission is None)
    context, scored, unscored, stop = command_context(folders, console), [], [], Stop()
    for declared, asked, evaluation in requests:
        trained, label = open_target(target, declared, context)
        select = declared.select if declared.head.kind == "embedding" else None
        subject = Subject(
            trained, declared, declared.test or "", evaluation, folders.data, labels=submission is None, select=select,
            shared={},
        )  # fmt: skip
        predictions = folders.runs / "evals" / f"{declared.name}-of-{label}" / "predictions"
        for lang in asked:
            if several() and stop.reached():
                raise Interrupted(f"stopped before {declared.name} {lang}; run the same command again")
            found = score(subject, lang, submission / declared.name if submission else predictions, context)
            scored += _rows(declared.name, label, lang, found)
            if not found["scores"]:
                unscored.append({"task": declared.name, "lang": lang, "predicted": found["n_scored"]})
    return {"rows": scored, "summary": summary(scored), "unscored": unscored}


def _request(target: str, declared: Task, langs: Sequence[str] | None, version: str | None) -> Request:
    """Languages that are asked for, or those of a version of XTREME, or of the run's own evaluation, or all.

    The other settings are those of the run's evaluation of the task, where the target is a run that has one.
    """
    folder = place(target)
    own = next(iter(_evaluations(folder, declared)), None)
    known = {} if version is None else xtreme(version)
    if langs is None:
        langs = known[declared.name].langs if declared.name in known else own.langs if own else declared.langs
    evaluation = own.evaluation if own else Evaluation(phase="target", tasks=(declared.name,))
    return Request(declared, tuple(langs), evaluation)


def _rows(name: str, label: str, lang: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "arm": "", "asked_phase": label, "phase": label, "task": name, "setting": told, "lang": lang,
            "metric": metric, "score": value, "n_scored": found["n_scored"], "n_dataset": found["n_dataset"],
            "seed": None, "phase_key": label, "selection": "", "flags": [*release_flags(found, {}), *found["flags"]],
        }
        for told, metric, value in figures(found)
    ]  # fmt: skip


def _evaluations(folder: Path, declared: Task) -> list[EvalNode]:
    """A run's own evaluations of a task whose phase is finished, those of the first arm first."""
    if not (folder / "nodes.json").is_file():
        return []
    nodes = [one.node for one in recorded(folder / "config.json").scored if one.node.task == declared.name]
    return [node for node in nodes if is_done(node.phase, folder.parent)]


def _check_files(requests: Sequence[Request], data: Path, *, labels: bool) -> None:
    """Reads everything that will be predicted; names all that is wrong with it before a model is opened."""
    problems = [f"{declared.name} has no split to score" for declared, _, _ in requests if declared.test is None]
    for declared, langs, _ in requests:
        for lang in langs if declared.test else ():
            try:
                rows(declared, declared.test or "", lang, data, labels=labels)
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise listed(list(dict.fromkeys(problems)))


def evaluation_of(target: str, declared: Task) -> Evaluation | None:
    """How a run evaluates a task, where the target is a run that does."""
    own = next(iter(_evaluations(place(target), declared)), None)
    return own.evaluation if own else None


def text_encoder(target: str, phase: str | None, folders: Folders, console: Console) -> TextEncoder:
    """The encoder of a model, be it a run's phase, an exported folder or a hub id."""
    context, folder = command_context(folders, console), absolute(place(target))
    if _is_ours(folder):
        trained = load_trained(phase_folder(folder, phase, None), folders, context.mesh)
    elif phase is not None:
        raise InputError(f"{target}: this is no run, so phase={phase!r} has nothing to choose from")
    else:
        trained = _load_hugging_face(target, task("tatoeba"), context)
    return TextEncoder(trained.model, trained.params, trained.tokenizer, trained.length, context.mesh)


def export_target(
    target: str, folder: Path, phase: str | None, folders: Folders, console: Console, name: str | None = None
) -> Path:
    """Writes a phase's model as transformers keeps it, reads it again, and says in its card how near it comes.

    Of several tasks it is written with the head of the one of this name.
    """
    context, source = command_context(folders, console), phase_folder(absolute(place(target)), phase, None)
    _check_named(source, name)
    trained = load_trained(source, folders, context.mesh, task(name) if name else None)
    if is_remote(folder) and folder.exists():
        raise InputError(f"{folder}: there is something already; export into a new folder")
    with filled(folder) as new:
        export.export(
            new,
            trained.model.arch,
            trained.params,
            trained.model.spec,
            labels=trained.labels,
            tokenizer=copy_of(trained.tokenizer_folder),
            fetch=lambda array: np.asarray(jax.device_get(array)),
        )
        measured = parity(new, trained, context.mesh)
        (new / "README.md").write_text(card(source, trained, measured), encoding="utf-8")
    for one in measured:
        context.say(f"{folder}: {one}")
    return folder


def _check_named(source: Path, name: str | None) -> None:
    """Raises InputError where a phase has heads of several tasks and none of them is named, or another."""
    check_finished(source)
    names = phase_tasks(source)
    if name is None and len(names) > 1:
        raise InputError(f"{source}: trained on {', '.join(names)}; name the head to export, as in --task {names[0]}")
    if name is not None and name not in names:
        raise InputError(
            f"--task {name}: {source} has no head of it{did_you_mean(name, names)}; it has: {', '.join(names)}"
        )


def open_target(target: str, declared: Task, context: Context) -> tuple[Trained, str]:
    """The model to use for a task, and what to call it. Raises InputError when its head does not fit."""
    folder = absolute(place(target))
    if _is_ours(folder):
        source = phase_folder(folder, None, declared)
        trained, label = load_trained(source, context.folders, context.mesh, declared), source.name
    else:
        trained, label = _load_hugging_face(target, declared, context), folder.name
    _check_head(trained, declared, label)
    return trained, label


def _is_ours(folder: Path) -> bool:
    """Whether a folder is that of a run or a phase, and not as transformers has it."""
    return (folder / "nodes.json").is_file() or ((folder / "config.json").is_file() and not _is_hugging_face(folder))


def phase_folder(folder: Path, name: str | None, declared: Task | None) -> Path:
    """The phase's folder in a run: the one of this name, the one that fits a task, or else the first arm's last."""
    if not (folder / "nodes.json").is_file():
        if not (folder / "config.json").is_file():
            raise InputError(
                f"{folder}: neither a run folder (nodes.json) nor a phase folder (config.json); "
                "a run's is the last line that run prints"
            )
        if name is not None:
            raise InputError(f"{folder}: this is one phase's folder, so --phase {name} has nothing to choose from")
        return folder
    nodes = [node for node in _json(folder / "nodes.json") if node["kind"] == "phase"]
    found = [folder.parent / node["folder"] for node in nodes if name is None or node["name"] == name]
    if not found:
        names = list(dict.fromkeys(node["name"] for node in nodes))
        raise InputError(
            f"{folder}: no phase is called {name!r}{did_you_mean(name or '', names)}; there are: {', '.join(names)}"
        )
    if declared is None:
        return found[0] if name else folder.parent / _last(folder, nodes)["folder"]
    done = [path for path in found if (path / "DONE").is_file()]
    trained = {path: [task(name) for name in phase_tasks(path)] for path in done}
    fitting = _by_fit(folder, trained, declared)
    if not fitting:
        told = ", ".join(dict.fromkeys(one.name for each in trained.values() for one in each)) or "nothing to the end"
        raise InputError(f"{folder}: no phase of this run has the head that {declared.name} needs; it trained {told}")
    return fitting[0]


def _by_fit(folder: Path, trained: Mapping[Path, Sequence[Task]], declared: Task) -> list[Path]:
    """The finished phases that can do a task, the fittest first.

    Fittest are those on which the run itself evaluates the task, then those that trained it, then those that trained
    another on the same rows (SQuAD's serve XQuAD and MLQA), then any with the same head; sentences can be embedded by
    all.
    """
    evaluated = [folder.parent / folder_name(node.phase) for node in _evaluations(folder, declared)]
    able = {path: [one for one in each if one.head == declared.head] for path, each in trained.items()}
    able = {path: each for path, each in able.items() if each}
    same = [path for path, each in able.items() if declared.name in [one.name for one in each]]
    shared = [path for path, each in able.items() if training_rows(declared) in map(training_rows, each)]
    anything = list(trained) if declared.head.kind == "embedding" else []
    asked = [path for path in evaluated if path in trained and path in (*able, *anything)]
    return list(dict.fromkeys([*asked, *same, *shared, *able, *anything]))


def _last(folder: Path, nodes: Sequence[Any]) -> Any:
    """The last phase of a run's first arm; nodes stand arm by arm, so the first node of a name is that arm's."""
    experiment = recorded(folder / "config.json").experiment
    names = [phase.name for phase in experiment.phases if phase.name not in experiment.arms[0].skip]
    first = {node["name"]: node for node in reversed(nodes)}
    return next(first[name] for name in reversed(names) if name in first)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name another model, or copy it again") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); it is damaged: copy it again") from None


def _is_hugging_face(folder: Path) -> bool:
    settings = _json(folder / "config.json")
    if not isinstance(settings, dict):
        raise InputError(f"{folder / 'config.json'}: a {type(settings).__name__} where settings were expected")
    return "model_type" in settings


def _labels_in(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The labels that a config.json of transformers names, in the order of the logits."""
    named = config.get("id2label") or {}
    try:
        labels = tuple(label for _, label in sorted(named.items(), key=lambda item: int(item[0])))
    except (AttributeError, ValueError):
        labels = (None,)
    if not all(isinstance(label, str) for label in labels):
        raise InputError(f'{path}: id2label={str(named)[:60]}: wanted the label of each number, as in {{"0": "yes"}}')
    return labels


def _texts_in(config: Mapping[str, Any], name: str, path: Path) -> list[str]:
    found = config.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(f"{path}: {name}={str(found)[:60]}: wanted a list of names")
    return found


def _load_hugging_face(target: str, declared: Task, context: Context) -> Trained:
    if target.startswith((".", "/", "~")) and not is_remote(target) and not Path(target).is_dir():
        raise InputError(
            f"{target}: no such folder; name a run's (the last line that run prints), a phase's or an exported one, "
            "or a hub id such as FacebookAI/xlm-roberta-large"
        )
    folder = hub.resolve(target)
    arch, config = hub.architecture(folder), _json(folder / "config.json")
    kind = export.kind_of(arch, _texts_in(config, "architectures", folder / "config.json"))
    labels = _labels_in(config, folder / "config.json")
    sized = len(labels) if kind in ("sequence", "token") else declared.head.options if kind == "choice" else 0
    # Retrieval needs the encoder alone; a masked-LM head has no parameters but those that every checkpoint has.
    spec = HeadSpec(kind, sized or 0) if declared.head.kind != "embedding" else HeadSpec("span")
    if declared.head.kind == "dual":
        similarity = config.get("similarity", "cosine")
        if similarity not in ("cosine", "dot"):
            raise InputError(f"{folder / 'config.json'}: similarity={similarity!r}: wanted 'cosine' or 'dot'")
        spec = HeadSpec("dual", similarity=similarity)
    model = make_model(arch, spec, compute="float32", mesh=context.mesh)
    places = dict(weights.flat(abstract_params(model, context.mesh)))
    loaded = weights.load(
        folder, model, jax.random.key(0), head=declared.head.kind != "embedding",
        put=lambda path, array: put(array, places[path].sharding),
    )  # fmt: skip
    if loaded.dropped:
        context.say(f"{folder}: not used: {', '.join(loaded.dropped)}")
    tokenizer = tokenizer_in(folder)
    return Trained(model, loaded.params, tokenizer, declared.name, min(PREDICT_LENGTH, arch.longest), folder, labels)


def _check_head(trained: Trained, declared: Task, label: str) -> None:
    if declared.head.kind == "embedding":
        return
    head, found = ordered_as(labelled_as(declared, trained.labels), trained.labels).head, trained.model.spec
    if (head.kind, len(head.labels) or head.options or 0, head.labels) != (found.kind, found.size, trained.labels):
        raise InputError(
            f"{label}: its head is {found.kind} ({', '.join(trained.labels) or found.size or 'no labels'}), "
            f"but {declared.name} needs {head.kind} ({', '.join(declared.head.labels) or head.options or 'no labels'})"
        )


def command_context(folders: Folders, console: Console) -> Context:
    """What a command computes with that has no experiment: all devices."""
    nothing = Phase(name="none", tasks=("mlm",), length=8, batch_size=1, steps=1)
    return Context(Experiment(name="command", phases=(nothing,)), folders, console)
