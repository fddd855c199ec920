"""What a generated world tells: whether an experiment asks it for tasks or examples that it does not have."""

from collections.abc import Iterator

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.world import Sizes
from xlmr_flax.graph.splits import specs
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.splits import parse

# Which setting of a world says how many examples a task has, and where a task's split has another name there.
FAMILIES = {
    "xnli": "nli", "xnli_hypothesis": "nli", "pawsx": "paraphrase", "udpos": "tagging", "squad": "questions",
    "xquad": "questions", "cosmosqa": "choice", "tatoeba": "retrieval_pairs",
}  # fmt: skip
SPLIT_OF = {("cosmosqa", "valid"): "dev"}


def world_problems(experiment: Experiment) -> Iterator[str]:
    """A world tells some tasks only, and none of which it was asked for no example."""
    if experiment.world is None:
        return
    for key, name, spec in _read(experiment):
        family = FAMILIES.get(name)
        if family is None:
            yield f"{key}: a generated world does not tell {name}; it tells {', '.join(FAMILIES)}"
        elif isinstance(sizes := getattr(experiment.world, family), Sizes):
            split = SPLIT_OF.get((name, parse(spec).split), parse(spec).split)
            if not getattr(sizes, split):
                yield f"world.{family}.{split}=0: {key} reads {spec} of {name}; ask for at least one"
        elif not sizes:
            yield f"world.{family}=0: {key} reads it; ask for at least one"


def _read(experiment: Experiment) -> Iterator[tuple[str, str, str]]:
    """Every split that phases and evaluations read: by whom, of which task, which."""
    for phase in experiment.phases:
        split = specs(experiment, task(phase.tasks[0]))
        for spec in (split["train"], split["select"] if phase.selection else None):
            if spec:
                yield f"phases.{phase.name}", phase.tasks[0], spec
    for index, evaluation in enumerate(experiment.evaluations):
        for name in evaluation.tasks:
            if spec := specs(experiment, task(name))["test"]:
                yield f"evaluations.{index}", name, spec
