"""What an experiment is made of, each part under a key that says what it is and not how or where it was computed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.config.schema import ALL_LANGS, Evaluation, Experiment, Model, Phase, TextFiles
from xlmr_flax.config.settings import what
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.graph.mixture import head_for, settings
from xlmr_flax.graph.splits import comes_in
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.task import identity

# Part of every key: raise it when the same settings come to mean other numbers.
KEY_VERSION = 1
DONE_ALSO = f"DONE_{ALL_LANGS}"  # beside DONE where a phase keeps what all languages select
LONGEST = 512  # tokens of what untrained weights are scored on, where they have positions for so many


def key_of(**parts: Any) -> str:
    """Twelve hexadecimal digits that stand for plain values."""
    text = json.dumps({"version": KEY_VERSION, **parts}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class WorldNode:
    """A generated world, written in the official layouts."""

    settings: WorldSettings

    kind = "world"
    name = "world"

    @cached_property
    def key(self) -> str:
        """Hash of the world's settings."""
        return key_of(world=what(self.settings))

    @property
    def parents(self) -> tuple["Node", ...]:
        """A world needs nothing."""
        return ()


@dataclass(frozen=True)
class TokenizerNode:
    """A Unigram tokenizer trained on the experiment's text."""

    vocab_size: int
    text: TextFiles
    world: WorldNode | None

    kind = "tokenizer"
    name = "unigram"

    @cached_property
    def key(self) -> str:
        """Hash of the text's declared identity and the size."""
        return key_of(tokenizer=self.vocab_size, text=what(self.text), world=_key(self.world))

    @property
    def parents(self) -> tuple["Node", ...]:
        """The world that its text comes from, if any."""
        return (self.world,) if self.world else ()


@dataclass(frozen=True)
class PhaseNode:
    """One phase: an encoder from its parent or from the model's weights, trained on one task or on several.

    One of several tasks has a node for each in `mixed`, which is the phase as that task sees it, and no own rows.
    """

    phase: Phase = field(repr=False)
    seed: int
    model: Model = field(repr=False)
    parent: "PhaseNode | None"
    tokenizer: TokenizerNode | str | None  # trained · folder or hub id · that of the weights
    world: WorldNode | None
    text: TextFiles | None = field(repr=False)  # masked LM only
    train: str  # split specifications
    select: str | None
    mixed: tuple["PhaseNode", ...] = field(default=(), repr=False)
    # Skipped phases for whose number of steps it trains longer; of each, only what decides that number matters.
    stands_for: tuple["PhaseNode", ...] = field(default=(), repr=False)
    untrained: bool = False  # the pretrained weights as they are, for what is scored without a head
    averaged: tuple["PhaseNode", ...] = field(default=(), repr=False)  # the runs whose mean it is, itself no run

    kind = "phase"

    @property
    def name(self) -> str:
        """The phase's name in the config; not part of its key."""
        return self.phase.name

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that it trains."""
        return self.phase.tasks

    @property
    def task(self) -> str:
        """The task that it trains, of a phase of one."""
        assert not self.mixed, f"{self.name} trains {', '.join(self.tasks)}"
        return self.phase.tasks[0]

    @property
    def members(self) -> tuple["PhaseNode", ...]:
        """The phase as each of its tasks sees it."""
        return self.mixed or (self,)

    @property
    def langs(self) -> tuple[str, ...]:
        """The languages of its training rows."""
        return self.phase.langs or (task(self.task).train_lang,)

    @property
    def select_langs(self) -> tuple[str, ...]:
        """The languages of the rows that it selects on."""
        asked = self.phase.selection.langs if self.phase.selection else None
        return self._langs_to_select_on() if asked == "all" else asked or self.langs

    @property
    def also_langs(self) -> tuple[str, ...]:
        """All languages of the split to select on, where what they select is kept as well and may be another; or ()."""
        if not self.select or self.phase.selection is None or self.phase.selection.also is None:
            return ()
        every = self._langs_to_select_on()
        return () if set(every) == set(self.select_langs) else every

    @property
    def selecting_langs(self) -> tuple[str, ...]:
        """Every language whose rows it selects on."""
        return tuple(dict.fromkeys((*self.select_langs, *self.also_langs)))

    @property
    def keeps_also(self) -> bool:
        """Whether it keeps beside its weights those that all languages select."""
        return not self.averaged and any(one.also_langs for one in self.members)

    @property
    def trains(self) -> bool:
        """Whether anything is trained: not where weights are handed on as they are, or as the mean of others."""
        return not (self.untrained or self.averaged)

    def _langs_to_select_on(self) -> tuple[str, ...]:
        declared = task(self.task)
        told = ("en", *self.world.settings.languages) if self.world else (declared.train_lang, *declared.langs)
        return tuple(lang for lang in dict.fromkeys(told) if comes_in(declared, self.select or "", lang))

    @property
    def root(self) -> "PhaseNode":
        """The first phase of its line, which takes its encoder from the model's settings."""
        return self.parent.root if self.parent else self

    @cached_property
    def key(self) -> str:
        """Hash of the settings, the data's declared identity and the parent's key."""
        if self.averaged:
            return key_of(average=[one.key for one in self.averaged])
        if self.untrained:
            tokenizer = self.tokenizer.key if isinstance(self.tokenizer, TokenizerNode) else self.tokenizer
            return key_of(pretrained=what(self.model), tokenizer=tokenizer, world=_key(self.world))
        rows = {"mixture": settings(self.phase), "tasks": [one._rows() for one in self.mixed]}
        if not self.mixed:
            rows = self._rows()
            del rows["length"], rows["batch_size"]
        if self.stands_for:
            rows["stands_for"] = [one._counted() for one in self.stands_for]
        return key_of(
            phase=self._settings(),
            seed=self.seed,
            compute=self.model.compute,
            parent=self.parent.key if self.parent else {"model": what(self.model)},
            tokenizer=self.tokenizer.key if isinstance(self.tokenizer, TokenizerNode) else self.tokenizer,
            world=_key(self.world),
            **rows,
        )

    def _settings(self) -> dict[str, Any]:
        """The phase's own settings. Which tasks and languages it has stands in the identities of the rows."""
        left_out = {"name", "seed", "parent", "tasks", "langs", "mixture"} | (
            {"length", "batch_size"} if self.mixed else set()
        )
        # Which subset is no matter where everything is taken, or where it is that of the seed anyway.
        if self.phase.max_examples is None or self.phase.subset_seed == self.seed:
            left_out.add("subset_seed")
        found = {name: value for name, value in what(self.phase).items() if name not in left_out}
        if self.phase.selection:  # what is kept beside its weights changes nothing of them
            found["selection"] = {k: v for k, v in found["selection"].items() if k not in ("langs", "also")}
        return found

    def program(self, experiment: Experiment) -> dict[str, Any]:
        """What decides how long a phase takes on given devices: neither its seed nor what it starts from."""
        computed = {"mesh": experiment.mesh, "model": experiment.model}
        own = {name: getattr(self.phase, name) for name in ("accumulation", "packing")}
        counted = [one._counted() for one in (self, *self.stands_for)]
        told = {name: settings.model_dump(mode="json") for name, settings in computed.items()}
        return {**told, **own, "tasks": list(self.tasks), "counted": counted}

    def _counted(self) -> dict[str, Any]:
        """What decides how many steps it takes."""
        names = ("steps", "epochs", "batch_size", "max_examples", "length")
        rows = [what(one.text) if one.text else _identities(one.task, one.train, one.langs) for one in self.members]
        sizes = [[one.phase.length, one.phase.batch_size] for one in self.members]
        own = {name: getattr(self.phase, name) for name in names}
        return own | {"rows": rows, "sizes": sizes, "mixture": settings(self.phase) if self.mixed else None}

    def _rows(self) -> dict[str, Any]:
        """What one task trains and selects on."""
        classes = self.phase.max_examples is not None and not self.text and task(self.task).head.kind == "sequence"
        return {
            "length": self.phase.length,
            "batch_size": self.phase.batch_size,
            "text": what(self.text) if self.text else None,
            "train": None if self.text else _identities(self.task, self.train, self.langs),
            "select": _identities(self.task, self.select, self.select_langs) if self.select else None,
            # Subsets of classes were not of every class's share at first.
            **({"subset": "by class"} if classes else {}),
        }

    @property
    def parents(self) -> tuple["Node", ...]:
        """Everything that must be there before it can start."""
        needed = (self.world, self.tokenizer, *(self.averaged or (self.parent,)))
        return tuple(node for node in needed if node is not None and not isinstance(node, str))


def pretrained(like: PhaseNode) -> PhaseNode:
    """The weights that a phase starts from, before any training: as long as its model reads, of any length at most."""
    phase = Phase(name="pretrained", tasks=("mlm",), length=LONGEST, batch_size=1, steps=1)
    return dataclasses.replace(
        like, phase=phase, seed=0, parent=None, text=None, train="text", select=None, mixed=(), untrained=True
    )


def mean_of_runs(name: str, runs: tuple[PhaseNode, ...]) -> PhaseNode:
    """The mean of several runs of a phase, as a phase that trains nothing."""
    return dataclasses.replace(runs[0], phase=runs[0].phase.model_copy(update={"name": name}), averaged=runs)


class Perturbation(NamedTuple):
    """How the inputs of an evaluation are made worse."""

    kind: str
    strength: float
    seed: int
    dictionary: str | None  # these two for code_switch only
    switch_to: tuple[str, ...] | None


@dataclass(frozen=True)
class EvalNode:
    """The scores of one phase's model on one task; languages may be added to it later."""

    phase: PhaseNode
    task: str
    split: str
    langs: tuple[str, ...]
    evaluation: Evaluation = field(repr=False)
    select: str | None = None  # where a threshold is found, of what is mined
    perturbation: Perturbation | None = None  # None: the inputs are as they are
    also: bool = False  # of the weights that all languages have selected

    kind = "eval"

    @property
    def name(self) -> str:
        """The task's name."""
        return self.task

    @property
    def trained(self) -> PhaseNode:
        """The phase as the task sees it whose head is scored."""
        name = head_for(self.phase.tasks, task(self.task))
        return next(one for one in self.phase.members if one.task == name)

    @property
    def is_retrieval(self) -> bool:
        """Whether sentences are embedded, which needs no head, and a pooling and a layer."""
        return task(self.task).head.kind == "embedding"

    @cached_property
    def key(self) -> str:
        """Hash of the phase's key, the split and the settings; not of the languages."""
        elsewhere = ("phase", "tasks", "langs", "perturb", *(() if self.is_retrieval else ("poolings", "layers")))
        settings = {k: v for k, v in what(self.evaluation).items() if k not in elsewhere}
        more = {"select": identity(task(self.task), self.select, "{lang}")} if self.select else {}
        more |= {"selected": ALL_LANGS} if self.also else {}
        more |= {"perturbation": self.perturbation._asdict()} if self.perturbation else {}
        return key_of(
            eval=settings, phase=self.phase.key, split=identity(task(self.task), self.split, "{lang}"), **more
        )

    @property
    def parents(self) -> tuple["Node", ...]:
        """The phase whose model is scored."""
        return (self.phase,)


Node = WorldNode | TokenizerNode | PhaseNode | EvalNode
FOLDERS: Mapping[str, str] = {"world": "worlds", "tokenizer": "tokenizers", "phase": "phases", "eval": "evals"}


def folder_name(node: Node) -> str:
    """Where a node's files lie under the runs folder."""
    return f"{FOLDERS[node.kind]}/{node.name}-{node.key}"


def _identities(name: str, spec: str, langs: tuple[str, ...]) -> Any:
    found = [identity(task(name), spec, lang) for lang in langs]
    return found[0] if len(found) == 1 else found


def _key(node: Node | None) -> str | None:
    return node.key if node else None


def is_done(node: Node, runs: Path) -> bool:
    """Whether nothing is left to compute of a node; of an evaluation, whether all of its languages are scored."""
    folder = runs / folder_name(node)
    if isinstance(node, PhaseNode) and node.keeps_also and not (folder / DONE_ALSO).is_file():
        return False
    if not isinstance(node, EvalNode):
        return (folder / "DONE").is_file()
    return (folder / "scores.json").is_file() and set(node.langs) <= read_scores(folder)["langs"].keys()


def read_scores(folder: Path) -> dict[str, Any]:
    """What has been scored so far in an evaluation's folder."""
    path = folder / "scores.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"langs": {}}
