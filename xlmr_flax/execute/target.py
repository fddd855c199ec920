"""Commands on a trained model, be it a run, a phase, an exported folder or a hub id: score, predict, export."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from xlmr_flax.config.load import did_you_mean
from xlmr_flax.config.schema import Evaluation, Experiment, Phase
from xlmr_flax.data.batches import Examples
from xlmr_flax.data.examples import encode
from xlmr_flax.errors import InputError, listed
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.execute.context import Context, Folders
from xlmr_flax.execute.evaluation import Subject, score
from xlmr_flax.execute.lines import read_rows
from xlmr_flax.execute.trained import Trained, head_spec, load_trained, tokenizer_in
from xlmr_flax.model import export, hub, weights
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.report.results import summary
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.task import Task
from xlmr_flax.train.step import abstract_params, make_model

PREDICT_ROWS = 64
PREDICT_LENGTH = 512  # of a model that does not say what it was trained at


def evaluate_target(
    target: str, tasks: Sequence[str], langs: Sequence[str] | None, folders: Folders, console: Console
) -> dict[str, Any]:
    """Scores a model on tasks and languages; predictions go to evals/ in the runs folder."""
    context, scores = _context(folders, console), []
    chosen = [task(name) for name in tasks]
    _check_files(chosen, langs, folders.data)
    for declared in chosen:
        trained, label = open_target(target, declared, context)
        name, evaluation = declared.name, Evaluation(phase=label, tasks=(declared.name,))
        subject = Subject(trained, declared, declared.test or "", evaluation, folders.data)
        for lang in langs or declared.langs:
            scored = score(subject, lang, folders.runs / "evals" / f"{name}-of-{label}" / "predictions", context)
            scores += [
                {
                    "arm": "", "asked_phase": label, "phase": label, "task": name, "setting": "", "lang": lang,
                    "metric": metric, "score": value, "n_scored": scored["n_scored"], "n_dataset": scored["n_dataset"],
                    "seed": None, "phase_key": label, "selection": "", "flags": [],
                }
                for metric, value in scored["scores"].items()
            ]  # fmt: skip
    return {"rows": scores, "summary": summary(scores)}


def _check_files(chosen: Sequence[Task], langs: Sequence[str] | None, data: Path) -> None:
    """Reads everything that will be scored; names all that is wrong with it before a model is opened."""
    problems = [f"{declared.name} has no split to score" for declared in chosen if declared.test is None]
    for declared in chosen:
        for lang in (langs or declared.langs) if declared.test else ():
            try:
                rows(declared, declared.test or "", lang, data)
            except InputError as error:
                problems.append(str(error))
    if problems:
        raise listed(list(dict.fromkeys(problems)))


def predict_lines(target: str, name: str, file: Path | None, folders: Folders, console: Console) -> Iterator[str]:
    """One JSON line for each line of the file or of standard input, in order."""
    declared, context = task(name), _context(folders, console)
    if declared.head.kind in ("mlm", "embedding"):
        raise InputError(
            f"--task {name}: this task predicts nothing about a line; name one with labels, tags or answers"
        )
    rows = list(read_rows(declared.head, file))
    trained, _ = open_target(target, declared, context)
    length = min(trained.length, trained.model.arch.longest)
    encoded = encode(declared.head, rows, trained.tokenizer, length)
    examples = Examples(
        declared.head.kind, encoded, length, trained.tokenizer.pad, units_per_item=declared.head.options or 1
    )
    if encoded.counts.get("truncated"):
        context.say(f"{encoded.counts['truncated']} of {len(rows)} were longer than {length} tokens and were truncated")
    field = {"token": "tags", "span": "answer"}.get(declared.head.kind, "label")
    for row, found in zip(
        rows,
        predict(trained.model, trained.params, declared, rows, examples, mesh=context.mesh, batch_size=PREDICT_ROWS),
        strict=True,
    ):
        yield json.dumps({"id": row.id, field: found}, ensure_ascii=False)


def export_target(target: str, folder: Path, phase: str | None, folders: Folders, console: Console) -> Path:
    """Writes a phase's model as transformers keeps it."""
    context, source = _context(folders, console), _phase_folder(Path(target).resolve(), phase, None)
    trained = load_trained(source, folders, context.mesh)
    labels = trained.labels
    export.export(
        folder,
        trained.model.arch,
        trained.params,
        trained.model.spec,
        labels=labels,
        tokenizer=trained.tokenizer_folder,
        fetch=lambda array: np.asarray(jax.device_get(array)),
    )
    return folder


def open_target(target: str, declared: Task, context: Context) -> tuple[Trained, str]:
    """The model to use for a task, and what to call it. Raises InputError when its head does not fit."""
    folder = Path(target).resolve()  # Orbax wants absolute paths
    if (folder / "nodes.json").is_file() or ((folder / "config.json").is_file() and not _is_hugging_face(folder)):
        source = _phase_folder(folder, None, declared)
        trained, label = load_trained(source, context.folders, context.mesh), source.name
    else:
        trained, label = _load_hugging_face(target, declared, context), folder.name
    _check_head(trained, declared, label)
    return trained, label


def _phase_folder(folder: Path, name: str | None, declared: Task | None) -> Path:
    """The phase's folder in a run: the one of this name, the one that fits a task, or else the first arm's last."""
    if not (folder / "nodes.json").is_file():
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: neither a run folder (nodes.json) nor a phase folder (config.json)")
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
    trained = {path: task(_json(path / "config.json")["task"]) for path in found if (path / "DONE").is_file()}
    same = [path for path, other in trained.items() if other.name == declared.name]
    like = [path for path, other in trained.items() if other.head == declared.head]
    anything = [path for path in trained if declared.head.kind == "embedding"]
    if not (same or like or anything):
        told = ", ".join(dict.fromkeys(other.name for other in trained.values())) or "nothing to the end"
        raise InputError(f"{folder}: no phase of this run has the head that {declared.name} needs; it trained {told}")
    return (same or like or anything)[0]


def _last(folder: Path, nodes: Sequence[Any]) -> Any:
    """The last phase of a run's first arm; nodes stand arm by arm, so the first node of a name is that arm's."""
    experiment = Experiment.model_validate_json((folder / "config.json").read_text(encoding="utf-8"))
    names = [phase.name for phase in experiment.phases if phase.name not in experiment.arms[0].skip]
    first = {node["name"]: node for node in reversed(nodes)}
    return next(first[name] for name in reversed(names) if name in first)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _is_hugging_face(folder: Path) -> bool:
    return "model_type" in _json(folder / "config.json")


def _load_hugging_face(target: str, declared: Task, context: Context) -> Trained:
    folder = hub.resolve(target)
    arch, config = hub.architecture(folder), _json(folder / "config.json")
    kind = next((kind for kind, name in export.CLASSES.items() if name in config.get("architectures", ())), "embedding")
    labels = tuple(label for _, label in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0])))
    sized = len(labels) if kind in ("sequence", "token") else declared.head.options if kind == "choice" else 0
    # Retrieval needs the encoder alone; a masked-LM head has no parameters but those that every checkpoint has.
    spec = HeadSpec(kind, sized or 0) if declared.head.kind != "embedding" else HeadSpec("span")
    model = make_model(arch, spec, compute="float32", remat=False, mesh=context.mesh)
    places = dict(weights.flat(abstract_params(model, context.mesh)))
    loaded = weights.load(
        folder, model, jax.random.key(0), head=declared.head.kind != "embedding",
        put=lambda path, array: jax.device_put(array, places[path].sharding),
    )  # fmt: skip
    if loaded.dropped:
        context.say(f"{folder}: not used: {', '.join(loaded.dropped)}")
    tokenizer = tokenizer_in(folder)
    return Trained(model, loaded.params, tokenizer, declared.name, min(PREDICT_LENGTH, arch.longest), folder, labels)


def _check_head(trained: Trained, declared: Task, label: str) -> None:
    if declared.head.kind == "embedding":
        return
    wanted, found = head_spec(declared.head), trained.model.spec
    if wanted != found or trained.labels != declared.head.labels:
        raise InputError(
            f"{label}: its head is {found.kind} ({', '.join(trained.labels) or found.size or 'no labels'}), "
            f"but {declared.name} needs {wanted.kind} ({', '.join(declared.head.labels) or wanted.size or 'no labels'})"
        )


def _context(folders: Folders, console: Console) -> Context:
    nothing = Phase(name="none", tasks=("mlm",), length=8, batch_size=1, steps=1)
    return Context(Experiment(name="command", phases=(nothing,)), folders, console)
