"""What a generated world tells: whether an experiment asks it for tasks or examples that it does not have."""

from collections.abc import Iterator
from typing import NamedTuple

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.graph.mixture import members
from xlmr_flax.graph.splits import specs
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Task, spec_of

# The setting of a world that says how many examples a task has, where it is not called as the task is.
FAMILIES = {
    "xnli": "nli", "xnli_hypothesis": "nli", "pawsx": "paraphrase", "udpos": "tagging", "squad": "questions",
    "xquad": "questions", "cosmosqa": "choice", "tatoeba": "retrieval_pairs", "copa": "xcopa",
    "xnli_translate": "nli", "pawsx_translate": "paraphrase", "squad_translate": "questions",
    "tydiqa_translate": "tydiqa", "mnli_translated": "mnli", "qqp_translated": "qqp",
    "hellaswag_translated": "hellaswag",
    **{name: name for name in ("mnli", "snli", "anli", "qqp", "hellaswag", "commonsenseqa", "socialiqa", "xcopa",
                               "panx", "ccg", "squad_v2", "mlqa", "tydiqa", "bucc2018", "mewslix", "lareqa")},
}  # fmt: skip
# A split whose examples another setting counts than its family's of the same name.
COUNTED = {
    ("cosmosqa", "valid"): "choice.dev", ("mnli", "dev_matched"): "mnli.dev", ("mnli", "dev_mismatched"): "mnli.test",
    ("hellaswag", "val"): "hellaswag.dev", ("hellaswag_translated", "test"): "hellaswag.dev",
    ("qqp_translated", "test"): "qqp.dev", ("copa", "val"): "xcopa.dev", ("xcopa", "val"): "xcopa.dev",
    ("tydiqa", "dev"): "tydiqa.test", ("tydiqa_translate", "dev"): "tydiqa.test",
    ("mlqa", "train"): "questions.train", ("lareqa", "train"): "questions.train", ("lareqa", "test"): "lareqa",
    ("mewslix", "wikinews_dev"): "mewslix.dev", ("tatoeba", "test"): "retrieval_pairs",
    **{("anli", f"{split}_r{number}"): f"anli.{split}" for split in ("train", "dev", "test") for number in (1, 2, 3)},
}  # fmt: skip
# What is there only where the world is asked for translations: training rows, and of some tasks all others too.
TRANSLATED = ("xnli_translate", "pawsx_translate", "squad_translate", "tydiqa_translate")
TRANSLATED_WHOLE = ("mnli_translated", "qqp_translated", "hellaswag_translated")


class Read(NamedTuple):
    """A split that something reads, of a task that has its own files."""

    key: str  # of what reads it
    task: str
    spec: str
    langs: tuple[str, ...]


def world_problems(experiment: Experiment) -> Iterator[str]:
    """A world tells some tasks only, and none of which it was asked for no example."""
    world = experiment.world
    if world is None:
        return
    for key, name, spec, langs in _read(experiment, world):
        split = parse(spec).split
        if name not in FAMILIES:
            yield f"{key}: a generated world does not tell {name}; it tells {', '.join(FAMILIES)}"
            continue
        setting = COUNTED.get((name, split), f"{FAMILIES[name]}.{split}")
        if not _count(world, setting):
            told = f"{spec} of {name}" if "." in setting else "it"
            yield f"world.{setting}=0: {key} reads {told}; ask for at least one"
        foreign = [lang for lang in langs if lang != "en"]
        needed = name in TRANSLATED_WHOLE or (name in TRANSLATED and split == "train")
        if foreign and needed and not world.translated:
            yield f"world.translated=false: {key} reads {name} in {', '.join(foreign)}; set it to true"


def told_examples(world: WorldSettings, name: str, spec: str) -> int | None:
    """The examples of a task's split in each language of a world, where an example is what a batch counts.

    None for text, for questions, which give one or more windows each, and for slices and several tasks together.
    """
    found = TASKS.get(name)
    if found is None or found.members or found.head.kind in ("mlm", "span") or name not in FAMILIES:
        return None
    if str(parse(spec)) != parse(spec).split:
        return None
    return _count(world, COUNTED.get((name, parse(spec).split), f"{FAMILIES[name]}.{parse(spec).split}"))


def _count(world: WorldSettings, setting: str) -> int:
    family, _, split = setting.partition(".")
    sizes = getattr(world, family)
    return getattr(sizes, split) if split else sizes


def _read(experiment: Experiment, world: WorldSettings) -> Iterator[Read]:
    """Every split that phases and evaluations read."""
    for phase in (member for whole in experiment.phases for member in members(whole)):
        declared = task(phase.tasks[0])
        split, langs = specs(experiment, declared), phase.langs or (declared.train_lang,)
        selected = (phase.selection.langs if phase.selection else None) or langs
        if selected == "all" or (phase.selection and phase.selection.also):
            selected = ("en", *world.languages)
        for spec, told in ((split["train"], langs), (split["select"] if phase.selection else None, selected)):
            if spec:
                yield from _members(f"phases.{phase.name}", declared, spec, told)
    for index, evaluation in enumerate(experiment.evaluations):
        for name in evaluation.tasks:
            split = specs(experiment, task(name))
            scored = split["test"]
            # What is mined is mined at the threshold that is best on the split to select on.
            for spec in (scored, split["select"] if task(name).head.kind == "embedding" else None):
                if spec:
                    langs = evaluation.langs or world.languages
                    yield from _members(f"evaluations.{index}", task(name), spec, langs)


def _members(key: str, declared: Task, spec: str, langs: tuple[str, ...]) -> Iterator[Read]:
    for member in declared.members:
        yield from _members(key, member, spec_of(declared, member, spec), langs)
    if not declared.members:
        yield Read(key, declared.name, spec, langs)
