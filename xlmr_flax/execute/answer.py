"""Predictions with scores for inputs as they come: what waits is answered together, and nothing is kept."""

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, get_args

from rich.console import Console

from xlmr_flax.config.schema import Evaluation
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.answers import Asked, answered
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.lines import row_of
from xlmr_flax.execute.retrieval import settings
from xlmr_flax.execute.target import command_context, evaluation_of, open_target
from xlmr_flax.execute.trained import Trained
from xlmr_flax.graph.folders import Folders
from xlmr_flax.model.heads import Kind
from xlmr_flax.sources.rows import Row
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.labels import labelled_as, ordered_as
from xlmr_flax.tasks.task import Head, Task

WAITING = 1024  # inputs that are read before those in front of them are answered
Input = str | Mapping[str, Any]


class Waiting(NamedTuple):
    """Rows to answer together, and what came after them: nothing yet, the end, or what is wrong with the next input."""

    rows: list[Row]
    problem: BaseException | None
    ended: bool


def declared_task(name: str) -> Task:
    """The task of this name, or a task without a name: whatever a model's own head of this kind says.

    Raises InputError with the names that are near.
    """
    kinds = ("sequence", "token", "span", "mlm", "embedding")
    if name not in TASKS and name in kinds:
        like = {"sequence": "xnli", "token": "udpos", "span": "squad", "mlm": "mlm", "embedding": "tatoeba"}[name]
        assert name in get_args(Kind)
        return dataclasses.replace(task(like), name=name, head=Head(name, labels_read=name in ("sequence", "token")))
    return task(name)


def predict_inputs(
    target: str, name: str, inputs: Iterable[Input], folders: Folders, console: Console, where: str = "input "
) -> Iterator[dict[str, Any]]:
    """An answer for each input, in order; `where` and an input's number say which one is wrong.

    The model is opened at once. Raises InputError where it does not fit the task, and, when all before it are answered,
    for an input that is none.
    """
    declared, context = declared_task(name), command_context(folders, console)
    trained, label = open_target(target, declared, context)
    declared = ordered_as(labelled_as(declared, trained.labels), trained.labels)
    length = min(trained.length, trained.model.arch.longest)
    asked = Asked(trained.model, trained.params, trained.tokenizer, declared, length, context.mesh)
    if declared.head.kind == "embedding":
        asked = asked._replace(setting=_setting(target, declared, trained, label, context))
    return _answers(asked, inputs, context, where)


def _setting(target: str, declared: Task, trained: Trained, label: str, context: Context) -> Any:
    """What stands for a sentence: as the run evaluates it, or the mean of the middle layer."""
    evaluation = evaluation_of(target, declared) or Evaluation(phase="target", tasks=(declared.name,))
    setting = settings(evaluation, trained.model.arch.num_hidden_layers)[0]
    context.say(f"{label}: a vector is layer {setting.layer}, {setting.pooling}")
    return setting


def _answers(asked: Asked, inputs: Iterable[Input], context: Context, where: str) -> Iterator[dict[str, Any]]:
    truncated = total = 0
    for waiting in _gathered(asked.task.head, inputs, where):
        for answer in answered(asked, waiting.rows) if waiting.rows else ():
            truncated, total = truncated + answer.get("truncated", False), total + 1
            yield answer
        if waiting.problem:
            raise waiting.problem
    if truncated:
        context.say(f"{truncated} of {total} were longer than {asked.length} tokens and were truncated")


def _gathered(head: Head, inputs: Iterable[Input], where: str) -> Iterator[Waiting]:
    """Whatever is there, as soon as there is something: one row, or as many as came meanwhile."""
    number, ended = 0, False
    with _Feed(inputs) as feed:
        while not ended:
            rows: list[Row] = []
            problem: BaseException | None = None
            for got in feed.take():
                if isinstance(got, _End):
                    problem, ended = got.error, True
                    break
                number += 1
                try:
                    row = row_of(head, got, number, where=f"{where}{number}")
                except InputError as error:
                    problem, ended = error, True
                    break
                if row is not None:
                    rows.append(row)
            yield Waiting(rows, problem, ended)


class _End(NamedTuple):
    """After the last input, or in the place of one that could not be had."""

    error: BaseException | None


class _Feed:
    """Reads inputs in a thread of its own, so that those which are there can be told from those to come."""

    def __init__(self, inputs: Iterable[Input]) -> None:
        self.inputs, self.queue, self.left = inputs, queue.Queue(maxsize=WAITING), threading.Event()

    def __enter__(self) -> "_Feed":
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.left.set()

    def take(self) -> Iterator[Input | _End]:
        """The next input, waited for, and those behind it that are there already."""
        yield self.queue.get()
        for _ in range(WAITING - 1):
            try:
                yield self.queue.get_nowait()
            except queue.Empty:
                return

    def _read(self) -> None:
        end = _End(None)
        try:
            for one in self.inputs:
                if not self._put(one):
                    return
        except Exception as error:  # raised again where the inputs are used
            end = _End(error)
        self._put(end)

    def _put(self, one: Input | _End) -> bool:
        while not self.left.is_set():
            try:
                self.queue.put(one, timeout=0.5)
                return True
            except queue.Full:
                continue
        return False
