"""Commands on a trained model: score it, predict with it, export it; whether it is a run, a phase, a folder or a hub id."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from xlmr_flax.config.schema import Evaluation, Experiment, Phase
from xlmr_flax.data.batches import Examples
from xlmr_flax.data.examples import encode
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.predict import predict
from xlmr_flax.execute.context import Context, Folders
from xlmr_flax.execute.evaluation import Subject, score
from xlmr_flax.execute.trained import Trained, head_spec, load_trained, tokenizer_in
from xlmr_flax.model import export, hub, weights
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.report.results import summary
from xlmr_flax.sources.rows import Choices, Classified, Question, Row, Tagged
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.task import Head, Task
from xlmr_flax.train.step import abstract_params, make_model

PREDICT_ROWS = 64
PREDICT_LENGTH = 512  # of a model that does not say what it was trained at


def evaluate_target(
    target: str, tasks: Sequence[str], langs: Sequence[str] | None, folders: Folders, console: Console
) -> dict[str, Any]:
    """Scores a model on tasks and languages; predictions go to evals/ in the runs folder."""
    context, rows = _context(folders, console), []
    for name in tasks:
        declared = task(name)
        if declared.test is None:
            raise InputError(f"{name} has no split to score")
        trained, label = open_target(target, declared, context)
        evaluation = Evaluation(phase=label, tasks=(name,))
        subject = Subject(trained, declared, declared.test, evaluation, folders.data)
        for lang in langs or declared.langs:
            scored = score(subject, lang, folders.runs / "evals" / f"{name}-of-{label}" / "predictions", context)
            rows += [
                {
                    "arm": "", "asked_phase": label, "phase": label, "task": name, "lang": lang, "metric": metric, "score": value,
                    "n_scored": scored["n_scored"], "n_dataset": scored["n_dataset"], "seed": "–", "phase_key": label,
                    "selection": "as it is", "flags": [],
                }
                for metric, value in scored["scores"].items()
            ]  # fmt: skip
    return {"rows": rows, "summary": summary(rows)}


def predict_lines(target: str, name: str, file: Path | None, folders: Folders, console: Console) -> Iterator[str]:
    """One JSON line for each line of the file or of standard input, in order."""
    declared, context = task(name), _context(folders, console)
    if declared.head.kind in ("mlm", "embedding"):
        raise InputError(
            f"--task {name}: this task predicts nothing about a line; name one with labels, tags or answers"
        )
    rows = list(read_rows(declared, file))
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
    context, source = _context(folders, console), _phase_folder(Path(target), phase, None)
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
    folder = Path(target)
    if (folder / "nodes.json").is_file() or (folder / "config.json").is_file() and not _is_hugging_face(folder):
        source = _phase_folder(folder, None, declared)
        trained, label = load_trained(source, context.folders, context.mesh), source.name
    else:
        trained, label = _load_hugging_face(target, declared, context), folder.name
    _check_head(trained, declared, label)
    return trained, label


def read_rows(declared: Task, file: Path | None) -> Iterator[Row]:
    """Unlabelled rows from lines of JSON or text. Raises InputError that names the line."""
    name = str(file) if file else "standard input"
    try:
        text = file.read_text(encoding="utf-8") if file else sys.stdin.read()
    except FileNotFoundError:
        raise InputError(f"{name}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: not UTF-8 at byte {error.start}") from None
    lines = text.splitlines()
    if not any(line.strip() for line in lines):
        raise InputError(f"{name}: empty; wanted a line of text or JSON for each example")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield _row(declared.head, line, str(number), where=f"{name}:{number}")


def _row(head: Head, line: str, name: str, *, where: str) -> Row:
    fields: dict[str, Any] = {}
    if line.lstrip().startswith("{"):
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where}: not JSON: {error}") from None
    try:
        match head.kind:
            case "sequence":
                if not fields:
                    first, _, second = line.partition("\t")
                    return Classified(name, name, first, second or None, None)
                return Classified(name, name, _text(fields["text"]), fields.get("pair") and _text(fields["pair"]), None)
            case "token":
                words = [_text(word) for word in fields["words"]] if fields else line.split()
                return Tagged(name, name, tuple(words), None)
            case "choice":
                options = tuple(_text(option) for option in fields["options"])
                if len(options) != head.options:
                    raise InputError(f"{where}: {len(options)} options, wanted {head.options}")
                return Choices(name, name, _text(fields["prompt"]), options, None)
            case _:
                return Question(name, name, _text(fields["context"]), _text(fields["question"]), ())
    except (KeyError, TypeError) as error:
        wanted = {
            "sequence": '{"text": …, "pair": …}', "token": '{"words": […]}',
            "choice": '{"prompt": …, "options": […]}', "span": '{"context": …, "question": …}',
        }[head.kind]  # fmt: skip
        raise InputError(f"{where}: wanted {wanted}, found {line[:60]!r} ({error})") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _phase_folder(folder: Path, name: str | None, declared: Task | None) -> Path:
    """The phase's folder in a run: the one of this name, the one that fits a task, or else the last."""
    if not (folder / "nodes.json").is_file():
        if not (folder / "config.json").is_file():
            raise InputError(f"{folder}: neither a run folder (nodes.json) nor a phase folder (config.json)")
        return folder
    nodes = [
        node for node in json.loads((folder / "nodes.json").read_text(encoding="utf-8")) if node["kind"] == "phase"
    ]
    found = [folder.parent / node["folder"] for node in nodes if name is None or node["name"] == name]
    if not found:
        raise InputError(
            f"{folder}: no phase is called {name!r}; there are: {', '.join(node['name'] for node in nodes)}"
        )
    if declared is None:
        return found[0] if name else found[-1]
    trained = {path: task(json.loads((path / "config.json").read_text(encoding="utf-8"))["task"]) for path in found}
    same = [path for path, other in trained.items() if other.name == declared.name]
    like = [path for path, other in trained.items() if other.head == declared.head]
    anything = found[:1] if declared.head.kind == "embedding" else []
    if not (same or like or anything):
        raise InputError(f"{folder}: no phase of this run has the head that {declared.name} needs")
    return (same or like or anything)[0]


def _is_hugging_face(folder: Path) -> bool:
    return "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))


def _load_hugging_face(target: str, declared: Task, context: Context) -> Trained:
    folder = hub.resolve(target)
    arch, config = hub.architecture(folder), json.loads((folder / "config.json").read_text(encoding="utf-8"))
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
