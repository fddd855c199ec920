"""Everything that can be known to be wrong before a phase is computed is said before anything is written."""

import functools
from collections.abc import Callable, Hashable, Iterable, Iterator

from xlmr_flax.data.load import load_examples
from xlmr_flax.errors import InputError, listed
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.material import prepare
from xlmr_flax.execute.retrieval import settings
from xlmr_flax.execute.trained import check_length, head_spec, shape_of, tokenizer_in, tokenizer_of
from xlmr_flax.graph.nodes import LONGEST, EvalNode, Node, PhaseNode, TokenizerNode, WorldNode, is_done
from xlmr_flax.model import hub, weights
from xlmr_flax.sources.dictionaries import check_dictionary
from xlmr_flax.tasks.candidates import CANDIDATES, candidates
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.labels import with_labels
from xlmr_flax.tasks.text import text_rows
from xlmr_flax.train.exchanges import make_model
from xlmr_flax.train.sharding import row_shards, rows_per_shard

Checks = Iterator[tuple[Hashable, Callable[[], object]]]  # equal keys: the same check


def preflight(nodes: Iterable[Node], context: Context) -> None:
    """Reads, and then encodes, whatever the missing nodes need and is there already; writes nothing but the cache.

    Raises InputError that lists every problem of the files, or else every problem of what goes together.
    """
    missing = [node for node in nodes if not is_done(node, context.folders.runs)]
    for checks in (_reading, _using):
        problems = []
        for check in dict(pair for node in missing for pair in checks(node, context.at(node))).values():
            try:
                check()
            except InputError as error:
                problems.append(str(error))
        if problems:
            raise listed(list(dict.fromkeys(problems)))


def _reading(node: Node, context: Context) -> Checks:
    """Single files, sizes and weights."""
    data = context.folders.data
    match node:
        case TokenizerNode(world=None):
            yield node.text, functools.partial(text_rows, node.text, data)
        case PhaseNode(untrained=True):
            yield ("weights", node.model), functools.partial(_check_weights, node, context)
        case PhaseNode() if node.averaged:
            pass  # its runs are checked
        case PhaseNode() if node.mixed:
            yield from (check for part in node.mixed for check in _reading(part, context))
        case PhaseNode():
            yield node.key, functools.partial(_check_batch, node, context)
            if node.parent is None and node.model.weights:
                yield (
                    ("weights", node.model, node.task, node.phase.keep_head),
                    functools.partial(_check_weights, node, context),
                )
            if node.text and not node.world:
                yield node.text, functools.partial(text_rows, node.text, data)
            elif not node.world:
                for spec, langs in ((node.train, node.langs), (node.select, node.selecting_langs)):
                    for lang in langs if spec else ():
                        yield (node.task, spec, lang), functools.partial(rows, task(node.task), spec, lang, data)
        case EvalNode() if not node.phase.world:
            for lang in node.langs:
                for spec in filter(None, (node.split, node.select)):
                    yield (node.task, spec, lang), functools.partial(rows, task(node.task), spec, lang, data)
            if task(node.task).head.kind == "dual":
                yield (node.task, CANDIDATES), functools.partial(candidates, task(node.task), data)


def _dictionary(node: EvalNode, context: Context) -> Checks:
    if node.perturbation and node.perturbation.dictionary:
        langs = tuple(dict.fromkeys(one for lang in node.langs for one in lang.split("-")))
        given = (node.perturbation.dictionary, langs, node.perturbation.switch_to)
        yield given, functools.partial(check_dictionary, *given, context.folders.data_of(node.phase))


def _using(node: Node, context: Context) -> Checks:
    """What goes together: examples, tokenizer, model. A world or tokenizer that is still to be made is waited for."""
    match node:
        case PhaseNode(trains=True) if _ground_is_there(node, context):
            yield _alike(node), functools.partial(prepare, node, context)
        case EvalNode() if _ground_is_there(node.phase, context):
            yield node.key, functools.partial(_check_evaluation, node, context)
            yield from _dictionary(node, context)


def _alike(node: PhaseNode) -> Hashable:
    """What phases have in common that are right or wrong together: neither seed nor parent, but for a head it keeps."""
    settings = node.phase.model_copy(update={"name": "", "parent": None})
    head = node.parent.key if node.parent and node.phase.keep_head else None
    return settings, node.model, node.root.model, node.tokenizer, node.world, node.text, node.train, node.select, head


def _ground_is_there(node: PhaseNode, context: Context) -> bool:
    ground = [part for part in (node.world, node.tokenizer) if isinstance(part, WorldNode | TokenizerNode)]
    return all(is_done(part, context.folders.runs) for part in ground)


def _check_batch(node: PhaseNode, context: Context) -> None:
    phase = node.phase
    field = f"phases.{phase.name}.batch_size" + (" / accumulation" if phase.accumulation > 1 else "")
    rows_per_shard(phase.batch_size // phase.accumulation, row_shards(context.mesh), field=field)


def _check_weights(node: PhaseNode, context: Context) -> None:
    """Names and shapes of all tensors; no number is read."""
    folder = hub.resolve(node.model.weights or "", revision=node.model.revision or "main")
    declared = with_labels(task(node.task), node.train, node.langs, context.folders.data_of(node))
    arch, spec = hub.architecture(folder), head_spec(declared.head)
    model = make_model(arch, spec, compute=node.model.compute, mesh=context.mesh)
    weights.check(folder, model, head=node.phase.keep_head)


def _check_evaluation(node: EvalNode, context: Context) -> None:
    folders, evaluation, declared = context.folders, node.evaluation, task(node.task)
    field = f"evaluations.{context.experiment.evaluations.index(evaluation)}"
    tokenizer = tokenizer_in(tokenizer_of(node.phase, folders))
    trained, arch = node.trained, shape_of(node.phase, tokenizer)
    length = evaluation.length or (min(LONGEST, arch.longest) if node.phase.untrained else trained.phase.length)
    check_length(arch, length, field=f"{field}.length")
    if declared.head.kind == "embedding":
        try:
            settings(evaluation, arch.num_hidden_layers)
        except InputError as error:
            raise InputError(f"{field}.{error}") from error
        return
    if declared.head.kind == "dual":
        return  # its queries and candidates are texts of any length
    data = folders.data_of(node.phase)
    declared = with_labels(declared, trained.train, trained.langs, data)
    for lang in node.langs:
        load_examples(
            declared, node.split, lang, data=data, tokenizer=tokenizer, length=length, cache=folders.cache
        )  # fmt: skip
