"""Everything about a config that can be known without data, weights or jax, and that its schema cannot say."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from xlmr_flax.config.architecture import PRESETS, Architecture
from xlmr_flax.config.load import did_you_mean
from xlmr_flax.config.schema import Arm, Evaluation, Experiment, Model, Phase, Robust
from xlmr_flax.errors import InputError
from xlmr_flax.graph.line import nearest
from xlmr_flax.graph.mixture import NO_ANSWER, head_for, head_from, members, mixture_problems
from xlmr_flax.graph.splits import comes_in, overlap, specs
from xlmr_flax.graph.told import world_problems
from xlmr_flax.metrics.squad_v2 import Guess
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.splits import parse
from xlmr_flax.tasks.task import Task, identity, scores

SHORTEST = 8  # tokens: two special ones a text and room for something between them
MASK_RATE = Phase.model_fields["mask_rate"].default


def problems(experiment: Experiment) -> list[str]:
    """Every problem, each as one sentence with its dotted key."""
    found = [*_model(experiment), *_names(experiment), *_splits(experiment)]
    for phase in experiment.phases:
        found += _phase(experiment, phase)
    if not found:  # what follows needs names that exist
        found += _parents(experiment)
    if not found:
        for index, evaluation in enumerate(experiment.evaluations):
            found += _evaluation(experiment, evaluation, key=f"evaluations.{index}")
        found += world_problems(experiment)
    return found


def architecture(model: Model, vocab_size: int | None) -> Architecture:
    """The shape of a model from scratch; `vocab_size` is its tokenizer's. Raises ValidationError."""
    changes = {name: value for name, value in model.architecture.model_dump().items() if value is not None}
    sizes = {"vocab_size": vocab_size} if vocab_size else {}
    return Architecture(**{**PRESETS[model.preset or "tiny"], **sizes, **changes})


def _model(experiment: Experiment) -> Iterator[str]:
    model, tokenizer, text = experiment.model, experiment.tokenizer, experiment.text
    if bool(model.weights) == bool(model.preset):
        yield "model: wanted either weights (a folder or hub id) or preset (from scratch), found " + (
            "both" if model.weights else "neither"
        )
    if tokenizer.path and tokenizer.vocab_size:
        yield "tokenizer: wanted either path or vocab_size (to train one), found both"
    if model.preset and not (tokenizer.path or tokenizer.vocab_size):
        yield f"tokenizer: a {model.preset} model from scratch needs one; set tokenizer.path or tokenizer.vocab_size"
    if model.weights and tokenizer.vocab_size:
        yield "tokenizer.vocab_size: pretrained weights come with their own tokenizer; remove it"
    if tokenizer.vocab_size and not (text.files or text.tasks):
        yield "text: a tokenizer is trained on it; name text.files or text.tasks"
    if model.preset and model.revision:
        yield f"model.revision: a {model.preset} model from scratch has no revisions; remove it"
    if model.weights:
        changed = {name for name, value in model.architecture.model_dump().items() if value is not None}
        for name in sorted(name for name in changed if not name.endswith(("dropout", "dropout_prob"))):
            yield f"model.architecture.{name}: pretrained weights have their own shape; only dropout can be changed"
    if model.preset:
        try:
            architecture(model, tokenizer.vocab_size or 250_002)
        except ValidationError as error:
            yield from (
                f"model.architecture: {problem['msg'].removeprefix('Value error, ')}" for problem in error.errors()
            )


def _names(experiment: Experiment) -> Iterator[str]:
    phases = [phase.name for phase in experiment.phases]
    models = [*phases, *(average.name for average in experiment.averages)]
    yield from _doubled("phases", phases)
    yield from _averages(experiment)
    yield from _doubled("arms", [arm.name for arm in experiment.arms])
    yield from _doubled("splits", [splits.task for splits in experiment.splits])
    for arm in experiment.arms:
        for name in arm.skip:
            yield from _unknown(f"arms.{arm.name}.skip", "phase", name, phases)
        for name in arm.updates:
            if name not in arm.skip:
                yield f"arms.{arm.name}.updates: {name!r} is not among skip; what is trained has its own updates"
        if set(phases) <= set(arm.skip) and not _scores_weights(experiment):
            yield f"arms.{arm.name}.skip: nothing is left of this arm"
    if not experiment.arms:
        yield "arms: wanted at least one; leave the key out for a single arm with every phase"
    for index, evaluation in enumerate(experiment.evaluations):
        yield from _unknown(f"evaluations.{index}.phase", "phase", evaluation.phase, models)
        for name in evaluation.tasks:
            yield from _unknown(f"evaluations.{index}.tasks", "task", name, TASKS)
    for phase in experiment.phases:
        if phase.parent is not None:
            yield from _unknown(f"phases.{phase.name}.parent", "phase", phase.parent, phases)
        for name in phase.tasks:
            yield from _unknown(f"phases.{phase.name}.tasks", "task", name, TASKS)
    for splits in experiment.splits:
        yield from _unknown(f"splits.{splits.task}", "task", splits.task, TASKS)
    for name in experiment.text.tasks:
        yield from _unknown("text.tasks", "task", name, TASKS)


def _scores_weights(experiment: Experiment) -> bool:
    """Whether there is something to score without any phase: retrieval, of pretrained weights."""
    asked = (name for evaluation in experiment.evaluations for name in evaluation.tasks if name in TASKS)
    return bool(experiment.model.weights) and any(TASKS[name].head.kind == "embedding" for name in asked)


def _averages(experiment: Experiment) -> Iterator[str]:
    """Runs have a mean where their heads began with the same weights."""
    by_name = {phase.name: phase for phase in experiment.phases}
    yield from _doubled("averages", [average.name for average in experiment.averages])
    for average in experiment.averages:
        key, phase = f"averages.{average.name}", by_name.get(average.phase)
        if average.name in by_name:
            yield f"{key}: a phase has this name too; names must differ"
        yield from _doubled(f"{key}.seeds", list(map(str, average.seeds)))
        yield from _unknown(f"{key}.phase", "phase", average.phase, by_name)
        if phase and phase.init_seed is None:
            yield (
                f"{key}: fresh heads are drawn from the seed of each run, and heads that began apart have no mean; set "
                f"phases.{phase.name}.init_seed"
            )


def _trained(experiment: Experiment, name: str) -> Phase:
    """The phase of this name, or that of which an average of this name is the mean."""
    of_mean = {average.name: average.phase for average in experiment.averages}
    return next(phase for phase in experiment.phases if phase.name == of_mean.get(name, name))


def _doubled(table: str, names: list[str]) -> Iterator[str]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{table}: {name!r} stands there {names.count(name)} times; names must differ"


def _unknown(key: str, kind: str, name: str, known: Iterable[str]) -> Iterator[str]:
    if name not in known:
        yield f"{key}: no {kind} is called {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}"


def _splits(experiment: Experiment) -> Iterator[str]:
    for splits in experiment.splits:
        for role in ("train", "select", "test"):
            spec = getattr(splits, role)
            if spec is not None and splits.task in TASKS:
                try:
                    identity(TASKS[splits.task], spec, "{lang}")
                except InputError as error:
                    yield f"splits.{splits.task}.{role}: {error}"


def _phase(experiment: Experiment, phase: Phase) -> Iterator[str]:
    key = f"phases.{phase.name}"
    if (phase.epochs is None) == (phase.steps is None):
        found = "neither" if phase.epochs is None else "both"
        yield f"{key}: wanted either epochs or steps, found {found}"
    if phase.average and phase.selection:
        yield f"{key}.average: selection hands over the best checkpoint, and average a mean; remove one of the two"
    yield from mixture_problems(phase)
    yield from dict.fromkeys(problem for one in members(phase) for problem in _member(experiment, one, phase))


def _member(experiment: Experiment, phase: Phase, whole: Phase) -> Iterator[str]:
    """What is wrong with one of a phase's tasks, in a phase of it alone."""
    key = f"phases.{phase.name}"
    own = f"{key}.mixture.each.{phase.tasks[0]}"
    if phase.batch_size % phase.accumulation:
        where = key if phase.batch_size == whole.batch_size else own
        yield f"{where}.batch_size={phase.batch_size} does not split into {phase.accumulation} micro-batches"
    yield from _length(experiment, f"{key if phase.length == whole.length else own}.length", phase.length)
    declared = TASKS.get(phase.tasks[0])
    if declared is None:
        return
    if declared.head.kind == "embedding":
        yield f"{key}.tasks: {declared.name} is only scored, it trains nothing; name it under evaluations"
    if declared.head.kind != "mlm" and phase.mask_rate != MASK_RATE:
        yield f"{key}.mask_rate: {declared.name} masks nothing; it is for masked LM"
    yield from _robust(phase, declared, key=f"{key}.robust")
    if declared.head.kind == "dual" and phase.batch_size < 2:
        yield f"{key}.batch_size=1: a query of {declared.name} finds its document among those of the batch; wanted 2"
    if declared.head.kind != "dual":
        for field in ("similarity", "scale"):
            if getattr(phase, field) != Phase.model_fields[field].default:
                yield f"{key}.{field}: {declared.name} compares no vectors; it is for lareqa, mewslix and their like"
    if declared.head.kind == "mlm":
        if not (experiment.text.files or experiment.text.tasks):
            yield f"{key}: masked LM needs text; name text.files or text.tasks"
        if phase.selection:
            yield f"{key}.selection: masked LM hands over its last step; remove it"
        if phase.langs:
            yield f"{key}.langs: masked LM reads the languages that its text has; remove it"
    elif declared.head.kind != "embedding":
        yield from _training_splits(experiment, phase, declared)
        yield from _selection(phase, declared)


def _robust(phase: Phase, declared: Task, *, key: str) -> Iterator[str]:
    robust = phase.robust
    if robust != Robust() and declared.head.kind in NO_ANSWER:
        yield f"{key}: {declared.name} ({declared.head.kind}) gives no answer to a text; remove it"
    for switch, value, others in (("noise", "noise_scale", ("consistency",)),
                                  ("dictionary", "switch_rate", ("switch_to",))):  # fmt: skip
        if (getattr(robust, switch) is None) != (getattr(robust, value) is None):
            there, missing = (switch, value) if getattr(robust, switch) else (value, switch)
            yield f"{key}.{missing}: missing; {there}={getattr(robust, there)!r} needs it"
        elif getattr(robust, switch) is None:
            for other in others:
                if getattr(robust, other) != Robust.model_fields[other].default:
                    yield f"{key}.{other}: nothing reads it without {switch}; remove it, or set {switch} and {value}"


def _selection(phase: Phase, declared: Task) -> Iterator[str]:
    metric = phase.selection.metric if phase.selection else None
    known = metrics(declared)
    if metric is not None and metric not in known:
        near = did_you_mean(metric, known)
        yield (
            f"phases.{phase.name}.selection.metric: {declared.name} has no metric {metric!r}{near}; "
            f"it has: {', '.join(known)}"
        )


def metrics(declared: Task) -> tuple[str, ...]:
    """The names of what a task that trains is scored by."""
    answer = Guess("a", 0.0) if declared.nullable else "a"
    examples = {"span": (("a",), answer), "token": (("X",), ("X",)), "dual": (("a",), ("a",))}
    gold, predicted = examples.get(declared.head.kind, ("a", "a"))
    return tuple(scores(declared, [gold], [predicted], declared.train_lang))


def _length(experiment: Experiment, key: str, length: int) -> Iterator[str]:
    if length < SHORTEST:
        yield f"{key}={length}: wanted at least {SHORTEST} tokens"
    if experiment.model.preset:
        try:
            longest = architecture(experiment.model, 250_002).longest
        except ValidationError:
            return  # told by _model
        if length > longest:
            yield f"{key}={length}: the model has positions for at most {longest} tokens"


def _training_splits(experiment: Experiment, phase: Phase, declared: Task) -> Iterator[str]:
    key, name, spec = f"phases.{phase.name}", declared.name, specs(experiment, declared)
    if spec["train"] is None:
        yield f"{key}.tasks: {name} has no training split; name one under [[splits]]"
        return
    if phase.selection and spec["select"] is None:
        yield f"{key}.selection: {name} has no split to select on; name one under [[splits]], or remove selection"
    if phase.selection and spec["select"] and overlap(spec["train"], spec["select"]):
        yield f"{key}.selection: {name} selects on {spec['select']}, part of its training split {spec['train']}"
    yield from _doubled(f"{key}.langs", list(phase.langs or ()))
    known = tuple(dict.fromkeys((declared.train_lang, *_known(experiment, declared))))
    yield from _languages(declared, spec["train"], phase.langs or (), known=known, key=f"{key}.langs")
    if phase.selection and spec["select"]:
        named = () if phase.selection.langs == "all" else phase.selection.langs
        asked = phase.langs or () if named is None else named
        yield from _doubled(f"{key}.selection.langs", list(named or ()))
        yield from _languages(declared, spec["select"], asked, known=known, key=f"{key}.selection.langs")


def _parents(experiment: Experiment) -> Iterator[str]:
    by_name = {phase.name: phase for phase in experiment.phases}
    circles = [problem for phase in experiment.phases for problem in _circle(phase, by_name)]
    yield from circles
    if circles:  # there is no way up
        return
    for phase in (phase for phase in experiment.phases if phase.keep_head):
        problems = (_kept_head(experiment, by_name, phase, arm) for arm in experiment.arms)
        yield from dict.fromkeys(problem for problem in problems if problem)


def _circle(phase: Phase, by_name: dict[str, Phase]) -> Iterator[str]:
    line, name = [phase.name], phase.parent
    while name is not None and name not in line:
        line.append(name)
        name = by_name[name].parent
    if name == phase.name:
        yield f"phases.{phase.name}.parent: goes round in a circle: {' → '.join([*line, name])}"


def _kept_head(experiment: Experiment, by_name: dict[str, Phase], phase: Phase, arm: Arm) -> str | None:
    if phase.name in arm.skip:
        return None
    name = nearest(by_name, phase.parent, arm.skip)
    where = f" in arm {arm.name}" if name != phase.parent else ""
    if name is None:
        missing = f"phases.{phase.name}.keep_head: there is no parent{where} to take a head from"
        return None if experiment.model.weights else missing
    # Of several tasks those that find none have a fresh one.
    if any(head_from(by_name[name].tasks, child) for child in phase.tasks):
        return None
    several = len(phase.tasks) + len(by_name[name].tasks) > 2
    wrong = f"has no head for {', '.join(phase.tasks)}" if several else "has another kind or other labels"
    whose = f"{name}, its parent{where}," if several else f"the head of {name}, its parent{where},"
    return f"phases.{phase.name}.keep_head: {whose} {wrong}"


def _evaluation(experiment: Experiment, evaluation: Evaluation, *, key: str) -> Iterator[str]:
    trained = _trained(experiment, evaluation.phase)
    if evaluation.length is not None:
        yield from _length(experiment, f"{key}.length", evaluation.length)
    if evaluation.layers not in (None, "all") and experiment.model.preset:
        last = architecture(experiment.model, 250_002).num_hidden_layers
        if outside := [layer for layer in evaluation.layers if layer > last]:
            yield f"{key}.layers={outside}: the model has hidden states 0 … {last}"
    yield from _doubled(f"{key}.tasks", list(evaluation.tasks))
    yield from _doubled(f"{key}.langs", list(evaluation.langs or ()))
    yield from _doubled(f"{key}.poolings", list(evaluation.poolings))
    yield from _doubled(f"{key}.layers", [] if evaluation.layers == "all" else list(map(str, evaluation.layers or ())))
    if not any(task(name).head.kind == "embedding" for name in evaluation.tasks):
        for field in ("poolings", "layers"):
            if getattr(evaluation, field) != Evaluation.model_fields[field].default:
                yield f"{key}.{field}: only retrieval reads it, and none of {', '.join(evaluation.tasks)} is retrieval"
    yield from _perturb(evaluation, key=f"{key}.perturb")
    for name in evaluation.tasks:
        declared = task(name)
        if head_for(trained.tasks, declared) is None:
            those = "the one" if len(trained.tasks) == 1 else "those"
            yield (
                f"{key}.tasks: {name} needs another head than {those} that phase {trained.name} trains "
                f"on {', '.join(trained.tasks)}"
            )
        spec = specs(experiment, declared)
        if spec["test"] is None:
            yield f"{key}.tasks: {name} has no split to score"
            continue
        if declared.name in trained.tasks:
            yield from (
                f"{key}.tasks: {name} would be scored on {spec['test']}, which overlaps its {role} split {spec[role]}"
                for role in ("train", "select")
                if spec[role] and overlap(spec[role] or "", spec["test"]) and (role == "train" or trained.selection)
            )
        if declared.head.kind == "embedding" and spec["select"]:
            yield from _threshold(name, spec["select"], spec["test"], key=key)
        known = _known(experiment, declared)
        yield from _languages(declared, spec["test"], evaluation.langs or (), known=known, key=f"{key}.langs")


def _perturb(evaluation: Evaluation, *, key: str) -> Iterator[str]:
    perturb = evaluation.perturb
    if perturb is None:
        return
    yield from _doubled(f"{key}.kinds", list(perturb.kinds))
    yield from _doubled(f"{key}.strengths", list(map(str, perturb.strengths)))
    switches = "code_switch" in perturb.kinds
    if switches and perturb.dictionary is None:
        yield f"{key}.dictionary: code_switch needs one; name a folder with files such as de-en.txt"
    for field in ("dictionary", "switch_to"):
        if not switches and getattr(perturb, field) is not None:
            yield f"{key}.{field}: only code_switch reads it, and kinds={list(perturb.kinds)}; remove it"
    for name in evaluation.tasks:
        if (kind := task(name).head.kind) in ("embedding", "dual"):
            yield f"{key}: {name} ({kind}) has no inputs that can be perturbed; evaluate it in a table of its own"


def _threshold(name: str, select: str, test: str, *, key: str) -> Iterator[str]:
    """What is mined takes its threshold from another split than the one that is scored, and both are whole."""
    if overlap(select, test):
        yield f"{key}.tasks: {name} would be scored on {test}, which overlaps {select}, where its threshold is found"
    for spec in (select, test):
        if str(parse(spec)) != parse(spec).split:
            yield f"{key}.tasks: {name} cannot be scored on a slice such as {spec}: its sentences belong together"


def _languages(declared: Task, spec: str, asked: tuple[str, ...], *, known: tuple[str, ...], key: str) -> Iterator[str]:
    """Languages, or pairs of them, that a split does not have."""
    for lang in asked:
        pair = "-" in lang and set(lang.split("-", 1)) <= set(known)
        if lang not in known and not pair:
            near = did_you_mean(lang, known)
            yield f"{key}: {declared.name} has no language {lang!r}{near}; it has: {', '.join(known)}"
        elif not comes_in(declared, spec, lang):
            has = f"has no pairs such as {lang}" if pair else f"comes in {declared.train_lang} only, not in {lang}"
            yield f"{key}: {declared.name} {spec} {has}"


def _known(experiment: Experiment, declared: Task) -> tuple[str, ...]:
    return ("en", *experiment.world.languages) if experiment.world else declared.langs
