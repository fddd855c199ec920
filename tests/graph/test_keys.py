"""What is part of which key: each field of the schema is changed once, and the keys that move are counted."""

import pytest

from xlmr_flax.config.load import _model_in as model_in
from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.settings import is_how
from xlmr_flax.config.world import WITHOUT, Sizes, WorldSettings
from xlmr_flax.graph.build import build
from xlmr_flax.graph.nodes import EvalNode, PhaseNode

ALL = {"tokenizer", "pretrain", "middle", "tags", "side", "eval udpos", "eval tatoeba", "eval pawsx"}
PHASES = ALL - {"tokenizer"}
BELOW_MIDDLE = {"middle", "tags", "eval udpos", "eval tatoeba"}
BELOW_TAGS = {"tags", "eval udpos"}
NOTHING: set[str] = set()
FAMILIES = [name for name, field in WorldSettings.model_fields.items() if field.annotation is Sizes]
REFUSED = {(name, split) for name, (splits, _) in WITHOUT.items() for split in splits}  # only zero is admitted
SIZES = {"train": 9, "dev": 3, "test": 3}
WORLD = {"world": {name: {split: count * ((name, split) not in REFUSED) for split, count in SIZES.items()}
                   for name in FAMILIES}}  # fmt: skip
WEIGHTS = {"model": {"weights": "some/weights"}, "tokenizer": {}}
FOLDER = {"tokenizer": {"path": "some/tokenizer"}}
SHAPE = ("hidden_size=64", "num_attention_heads=4", "intermediate_size=32", "num_hidden_layers=3", "vocab_size=400",
         "max_position_embeddings=200", "type_vocab_size=2", "initializer_range=0.5", "layer_norm_eps=1e-3",
         "hidden_act=relu", "hidden_dropout_prob=0.3", "attention_probs_dropout_prob=0.3", "classifier_dropout=0.3",
         "pad_token_id=3", "bos_token_id=3", "eos_token_id=3", "pre_norm=true")  # fmt: skip
OPTIM = ("peak_lr=1e-3", "warmup_frac=0.5", "weight_decay=0.5", "b1=0.5", "b2=0.5", "eps=1e-3", "clip_norm=2.0")
WORLD_FIELDS = ("seed=5", "languages=['x1']", "documents=5", "documents_by_language=[['x1', 3]]", "cognate_frac=0.5",
                "shared_anchors=false", "retrieval_pairs=8", "lareqa=8", "translated=true",
                *(f"{name}.{split}=8" for name in FAMILIES for split in SIZES
                  if (name, split) not in REFUSED))  # fmt: skip

MIXED, MASKED, FEW = ({"phases": how} for how in ("mixed", "masked", "few"))
MIDDLE = {
    "mixed": {"tasks": ["xnli", "pawsx"]},
    "masked": {"tasks": ["xnli", "mlm"]},
    "few": {"max_examples": 4},
    "robust": {"robust": {"noise": "gaussian", "noise_scale": 0.1, "dictionary": "some", "switch_rate": 0.3}},
}
ROBUST = {"phases": "robust"}
MIDDLE |= {"mean": {"average": {"checkpoints": 3, "every_steps": 2}, "selection": None}}
MEAN = {"phases": "mean"}
AVERAGED = {
    "phases": "begun", "averages": [{"name": "runs", "phase": "tags", "seeds": [1, 2]}], "evaluations": [],
}  # fmt: skip
PERTURBED = {"evaluations": [{"phase": "tags", "tasks": ["udpos"], "perturb": {
    "kinds": ["code_switch"], "strengths": [0.1], "dictionary": "some", "switch_to": ["de"],
}}]}  # fmt: skip

# field → (override, the keys that change, what the base is changed by before)
CASES = [
    ("name", "name=other", NOTHING, {}),
    ("seed", "seed=1", PHASES, {}),
    ("recipe", "recipe=jiant", NOTHING, {}),  # what it sets stands in the phases
    ("note", "note=hello", NOTHING, {}),
    ("model.weights", "model.weights=other/weights", PHASES, WEIGHTS),
    ("model.revision", "model.revision=v2", PHASES, WEIGHTS),
    ("model.preset", "model.preset=mini", PHASES, {}),
    *((f"model.architecture.{case.split('=')[0]}", f"model.architecture.{case}", PHASES, {}) for case in SHAPE),
    ("model.compute", "model.compute=float32", PHASES, {}),
    ("model.remat", "model.remat=layers", NOTHING, {}),
    ("model.scan_layers", "model.scan_layers=true", NOTHING, {}),
    ("tokenizer.path", "tokenizer.path=other/tokenizer", PHASES, FOLDER),
    ("tokenizer.vocab_size", "tokenizer.vocab_size=400", ALL, {}),
    ("text.files", "text.files=['a.txt']", ALL, {}),
    ("text.files", "text.files=['a.txt']", PHASES, FOLDER),
    ("world.seed", "world.seed=5", PHASES | {"world"}, WORLD | FOLDER),
    ("text.tasks", "text.tasks=['xnli']", ALL, {}),
    *((f"world.{case.split('=')[0]}", f"world.{case}", ALL | {"world"}, WORLD) for case in WORLD_FIELDS),
    ("splits.task", "splits=[{task='xnli', train='train[:50%]'}]", BELOW_MIDDLE, {}),
    ("splits.train", "splits=[{task='udpos', train='train[:50%]'}]", BELOW_TAGS, {}),
    ("splits.select", "splits=[{task='xnli', select='dev[:50%]'}]", BELOW_MIDDLE, {}),
    ("splits.test", "splits=[{task='udpos', test='test[:50%]'}]", {"eval udpos"}, {}),
    ("mesh.data", "mesh.data=2", NOTHING, {}),
    ("mesh.fsdp", "mesh.fsdp=2", NOTHING, {}),
    ("mesh.tensor", "mesh.tensor=2", NOTHING, {}),
    ("mesh.reshard_after_forward", "mesh.reshard_after_forward=true", NOTHING, {}),
    ("save.every_steps", "save.every_steps=7", NOTHING, {}),
    ("save.keep_every_steps", "save.keep_every_steps=5", NOTHING, {}),
    ("save.keep", "save.keep=7", NOTHING, {}),
    ("phases.name", "phases.middle.keep_head=false", NOTHING, {}),  # renamed in a test of its own
    ("phases.tasks", "phases.tags.tasks=['xnli']", {"tags"}, {"evaluations": []}),
    ("phases.mixture.sampling", "phases.middle.mixture.sampling=uniform", NOTHING, {}),  # of one task
    ("phases.mixture.sampling", "phases.middle.mixture.sampling=uniform", BELOW_MIDDLE, MIXED),
    ("phases.mixture.cap", "phases.middle.mixture={sampling='capped', cap=9}", BELOW_MIDDLE, MIXED),
    ("phases.mixture.temperature", "phases.middle.mixture={sampling='temperature', temperature=2.0}", BELOW_MIDDLE,
     MIXED),
    ("phases.mixture.weights", "phases.middle.mixture={sampling='weights', weights=[1.0, 2.0]}", BELOW_MIDDLE, MIXED),
    ("phases.mixture.mlm_frac", "phases.middle.mixture.mlm_frac=0.2", NOTHING, MIXED),  # no masked LM among them
    ("phases.mixture.mlm_frac", "phases.middle.mixture.mlm_frac=0.2", BELOW_MIDDLE, MASKED),
    ("phases.mixture.each.task", "phases.middle.mixture.each=[{task='pawsx'}]", NOTHING, MIXED),
    ("phases.mixture.each.length", "phases.middle.mixture.each=[{task='pawsx', length=40}]", BELOW_MIDDLE, MIXED),
    ("phases.mixture.each.batch_size", "phases.middle.mixture.each=[{task='pawsx', batch_size=4}]", BELOW_MIDDLE,
     MIXED),
    ("phases.subset_seed", "phases.middle.subset_seed=5", NOTHING, {}),  # of all examples there is no subset
    ("phases.subset_seed", "phases.middle.subset_seed=5", BELOW_MIDDLE, FEW),
    ("phases.subset_seed", "phases.middle.subset_seed=0", NOTHING, FEW),  # that of the seed
    ("phases.seed", "phases.middle.seed=5", BELOW_MIDDLE, {}),
    ("phases.seed", "phases.middle.seed=0", NOTHING, {}),  # that of the experiment
    ("phases.parent", "phases.side.parent=middle", {"side", "eval pawsx"}, {}),
    ("phases.langs", "phases.middle.langs=['de']", BELOW_MIDDLE, {}),
    ("phases.langs", "phases.middle.langs=['en', 'de']", BELOW_MIDDLE, {}),
    ("phases.selection.langs", "phases.middle.selection.langs=['de']", BELOW_MIDDLE, {}),
    ("phases.keep_head", "phases.tags.keep_head=true", {"tags"},
     {"evaluations": [], "phases": "twice"}),
    ("phases.length", "phases.middle.length=40", BELOW_MIDDLE, {}),
    ("phases.batch_size", "phases.middle.batch_size=16", BELOW_MIDDLE, {}),
    ("phases.epochs", "phases.middle.epochs=3", BELOW_MIDDLE, {}),
    ("phases.steps", "phases.pretrain.steps=11", PHASES, {}),
    ("phases.max_examples", "phases.middle.max_examples=5", BELOW_MIDDLE, {}),
    ("phases.mask_rate", "phases.pretrain.mask_rate=0.3", PHASES, {}),
    *((f"phases.optim.{case.split('=')[0]}", f"phases.tags.optim.{case}", BELOW_TAGS, {}) for case in OPTIM),
    *((f"phases.robust.{case.split('=')[0]}", f"phases.middle.robust.{case}", BELOW_MIDDLE, ROBUST)
      for case in ("noise=uniform", "noise_scale=0.2", "consistency=1.0", "dictionary=other", "switch_rate=0.2",
                   "switch_to=['de']")),
    ("phases.average.checkpoints", "phases.middle.average.checkpoints=2", BELOW_MIDDLE, MEAN),
    ("phases.average.every_steps", "phases.middle.average.every_steps=3", BELOW_MIDDLE, MEAN),
    ("phases.selection.also", "phases.middle.selection.also=all_langs", NOTHING, {"evaluations": []}),
    ("phases.selection.langs", "phases.middle.selection.langs=all", BELOW_MIDDLE, {}),
    ("phases.init_seed", "phases.middle.init_seed=0", BELOW_MIDDLE, {}),
    ("averages.name", "averages.0.name=mean", NOTHING, AVERAGED),
    # under a phase's name the one of the last seed is seen
    ("averages.phase", "averages.0.phase=begun", {"runs", "begun", "tags"}, AVERAGED),
    ("averages.seeds", "averages.0.seeds=[1, 3]", {"runs", "tags"}, AVERAGED),
    ("phases.selection.every_steps", "phases.middle.selection.every_steps=6", BELOW_MIDDLE, {}),
    ("phases.selection.metric", "phases.middle.selection.metric=accuracy", BELOW_MIDDLE, {}),
    ("phases.selection.patience", "phases.middle.selection.patience=6", BELOW_MIDDLE, {}),
    ("phases.selection.max_examples", "phases.middle.selection.max_examples=6", BELOW_MIDDLE, {}),
    ("phases.accumulation", "phases.middle.accumulation=2", NOTHING, {}),
    ("phases.packing", "phases.middle.packing=false", NOTHING, {}),
    ("phases.max_skipped_steps", "phases.middle.max_skipped_steps=3", NOTHING, {}),
    ("phases.retries", "phases.middle.retries=2", BELOW_MIDDLE, {}),
    ("evaluations.phase", "evaluations.1.phase=side", {"eval tatoeba"}, {}),
    ("evaluations.tasks", "evaluations.0.tasks=['udpos', 'tatoeba']", NOTHING, {"evaluations": "udpos"}),
    ("evaluations.langs", "evaluations.0.langs=['de']", NOTHING, {}),
    ("evaluations.langs", "evaluations.1.langs=['de']", NOTHING, {}),
    ("evaluations.length", "evaluations.1.length=24", {"eval tatoeba"}, {}),
    ("evaluations.poolings", "evaluations.1.poolings=['cls']", {"eval tatoeba"}, {}),
    ("evaluations.layers", "evaluations.1.layers=[2]", {"eval tatoeba"}, {}),
    ("evaluations.batch_size", "evaluations.1.batch_size=24", NOTHING, {}),
    ("evaluations.packing", "evaluations.1.packing=false", NOTHING, {}),
    *((f"evaluations.perturb.{case.split('=')[0]}", f"evaluations.0.perturb.{case}", {"eval udpos"}, PERTURBED)
      for case in ("strengths=[0.2]", "dictionary=other", "switch_to=['fr']", "seed=1")),
    ("evaluations.perturb.kinds", "evaluations.0.perturb={kinds=['typos'], strengths=[0.1]}", {"eval udpos"},
     PERTURBED),
    ("arms.name", "arms=[{name='other'}]", NOTHING, {}),
    ("arms.skip", "arms=[{name='main', skip=['side']}]", NOTHING, {}),
    ("arms.updates", "arms.main.updates=['middle']", {"tags", "eval udpos"},
     {"arms": [{"name": "main", "skip": ["middle"]}]}),
]  # fmt: skip


def leaves(schema, path=()):
    """Every field that is no table itself, by its dotted path, and whether it or a table around it is `how`."""
    for name, field in schema.model_fields.items():
        inner = model_in(field.annotation)
        if inner:
            for leaf, hidden in leaves(inner, (*path, name)):
                yield leaf, hidden or is_how(field)
        else:
            yield ".".join((*path, name)), is_how(field)


HOW = dict(leaves(Experiment))


def keys(experiment):
    return {f"eval {n.name}" if isinstance(n, EvalNode) else ground(n): n.key for n in build(experiment).nodes}


def ground(node):
    return {"unigram": "tokenizer"}.get(node.name, node.name)


def test_every_field_of_the_schema_is_changed_once_here():
    refused = {f"world.{name}.{split}" for name, split in REFUSED}
    of_dual_heads = {"phases.similarity", "phases.scale"}  # refused to any other head: changed in test_dual.py
    assert sorted({case[0] for case in CASES} | refused | of_dual_heads) == sorted(HOW)


@pytest.mark.parametrize(
    ("field", "override", "moved", "more"), CASES, ids=[f"{n}-{case[0]}" for n, case in enumerate(CASES)]
)
def test_a_change_moves_the_keys_below_it_and_no_other(experiment, field, override, moved, more):
    more = dict(more)
    tree = experiment().model_dump(mode="json", exclude_none=True)
    if more.get("phases") == "twice":
        more["phases"] = [
            {**phase, "tasks": ["xnli"]} if phase["name"] == "tags" else phase for phase in tree["phases"]
        ]
    elif more.get("phases") == "begun":
        tags = next(phase for phase in tree["phases"] if phase["name"] == "tags") | {"init_seed": 0}
        begun = {**tags, "name": "begun", "length": 24}
        more["phases"] = [
            begun if phase["name"] == "side" else phase for phase in tree["phases"] if phase["name"] != "tags"
        ]
        more["phases"].append(tags)
    elif more.get("phases") in MIDDLE:
        changed = MIDDLE[more["phases"]]
        more["phases"] = [{**phase, **changed} if phase["name"] == "middle" else phase for phase in tree["phases"]]
    if more.get("evaluations") == "udpos":
        more["evaluations"] = tree["evaluations"][:1]
    before, after = experiment(more=more), experiment(override, more=more)
    old, new = keys(before), keys(after)
    assert before != after or field == "phases.name"
    assert {name for name in old.keys() & new.keys() if old[name] != new[name]} == moved
    if HOW[field]:
        assert moved == NOTHING
        assert build(before).fingerprint == build(after).fingerprint
    elif field != "phases.name":
        assert build(before).fingerprint != build(after).fingerprint


def test_renaming_a_phase_moves_no_key(experiment):
    renamed = experiment("phases.middle.name=between", "phases.tags.parent=between", "evaluations.1.phase=between")
    old, new = keys(experiment()), keys(renamed)
    assert old.pop("middle") == new.pop("between")
    assert old == new


def test_naming_the_language_that_is_meant_anyway_moves_no_key(experiment):
    named = experiment("phases.middle.langs=['en']", "phases.middle.selection.langs=['en']", "phases.tags.langs=['en']")
    assert keys(named) == keys(experiment())


def test_keys_are_the_same_in_every_process(experiment):
    # Golden: a change here retrains every phase of every user; raise KEY_VERSION when it is meant.
    found = keys(experiment())
    assert (found["pretrain"], found["eval tatoeba"]) == ("fe1f3a149c88", "7c51aeb62345")


def test_perturbed_evaluations_stand_beside_the_clean_one_which_keeps_its_key(experiment):
    perturb = {"kinds": ["typos", "code_switch"], "strengths": [0.1, 0.2], "dictionary": "d"}
    worse = experiment(more={"evaluations": [{"phase": "tags", "tasks": ["udpos"], "perturb": perturb}]})
    found = [node for node in build(worse).nodes if isinstance(node, EvalNode)]
    assert found[0].key == keys(experiment())["eval udpos"]
    assert [node.perturbation and node.perturbation[:2] for node in found] == [
        None, ("typos", 0.1), ("typos", 0.2), ("code_switch", 0.1), ("code_switch", 0.2),
    ]  # fmt: skip
    assert len({node.key for node in found}) == 5
    assert {node.perturbation.dictionary for node in found if node.perturbation} == {None, "d"}


def test_runs_that_are_averaged_are_phases_of_their_own_and_shared_with_those_of_these_seeds(experiment):
    runs = [{"name": "runs", "phase": "tags", "seeds": [0, 5]}]
    more = {"averages": runs, "evaluations": [{"phase": "runs", "tasks": ["udpos"]}]}
    graph = build(experiment("phases.tags.init_seed=9", more=more))
    (mean,) = (node for node in graph.nodes if node.name == "runs")
    (scored,) = (node for node in graph.nodes if isinstance(node, EvalNode))
    tags = [node for node in graph.nodes if node.name == "tags"]
    assert scored.phase is mean
    assert [node.seed for node in tags] == [0, 5] == [node.seed for node in mean.averaged]
    assert {node.parent.key for node in tags} == {tags[0].parent.key}
    assert (
        tags[1].key
        == keys(experiment("phases.tags.init_seed=9", "phases.tags.seed=5", more={"evaluations": []}))["tags"]
    )
    assert graph.nodes.index(mean) > max(map(graph.nodes.index, tags))


def test_what_an_average_takes_from_a_run_does_not_depend_on_what_else_is_asked_for(experiment):
    plain = keys(experiment("phases.tags.init_seed=9"))
    averaged = keys(experiment("phases.tags.init_seed=9", "averages=[{name='runs', phase='tags', seeds=[0, 5]}]"))
    assert averaged.pop("runs")
    averaged["tags"] = plain["tags"]  # under a phase's name the run of the last seed is seen
    assert plain == averaged


def test_the_mean_of_runs_that_keep_both_selections_is_one_model(experiment):
    more = {
        "averages": [{"name": "runs", "phase": "middle", "seeds": [0, 1]}],
        "evaluations": [{"phase": "runs", "tasks": ["xnli"]}],
    }
    nodes = build(experiment("phases.middle.init_seed=9", "phases.middle.selection.also=all_langs", more=more)).nodes
    assert [(node.also, node.phase.name) for node in nodes if isinstance(node, EvalNode)] == [(False, "runs")]


def test_where_an_averaged_phase_is_skipped_retrieval_is_of_what_stands_before_it(experiment):
    more = {
        "averages": [{"name": "runs", "phase": "tags", "seeds": [0, 1]}],
        "evaluations": [{"phase": "runs", "tasks": ["tatoeba"]}, {"phase": "runs", "tasks": ["udpos"]}],
        "arms": [{"name": "main", "skip": ["tags"]}],
    }
    nodes = build(experiment("phases.tags.init_seed=9", more=more)).nodes
    assert [(node.task, node.phase.name) for node in nodes if isinstance(node, EvalNode)] == [("tatoeba", "middle")]


def test_weights_that_all_languages_select_are_scored_beside_the_others_where_there_are_other_languages(experiment):
    scored = {"evaluations": [{"phase": "middle", "tasks": ["xnli"]}]}
    also = experiment("phases.middle.selection.also=all_langs", more=scored)
    found = [node for node in build(also).nodes if isinstance(node, EvalNode) and node.task == "xnli"]
    assert [node.also for node in found] == [False, True]
    assert found[0].key != found[1].key
    (phase,) = {node.phase.key: node.phase for node in found}.values()
    assert phase.select_langs == ("en",)
    assert len(phase.also_langs) == 15
    # the others are what the phase keeps beside its weights, which no key below it asks about
    plain = keys(experiment(more=scored))
    assert {name: keys(also)[name] for name in plain if name != "eval xnli"} == {
        name: key for name, key in plain.items() if name != "eval xnli"
    }
    assert found[0].key == plain["eval xnli"]
    # of all languages that select there are no others, and SQuAD's split to select on comes in English alone
    for more in ("phases.middle.selection.langs=all", "phases.middle.tasks=['squad']"):
        asked = build(experiment(more, "phases.middle.selection.also=all_langs", more={"evaluations": []}))
        assert not any(node.keeps_also for node in asked.nodes if isinstance(node, PhaseNode))


def test_of_several_tasks_those_that_come_in_other_languages_select_in_them_too(experiment):
    mixed = ("phases.middle.tasks=['xnli', 'squad', 'mlm']", "phases.middle.selection.also=all_langs")
    scored = {"evaluations": [{"phase": "middle", "tasks": ["xquad"]}]}
    found = [node for node in build(experiment(*mixed, more=scored)).nodes if isinstance(node, EvalNode)]
    assert [node.also for node in found] == [False, True]
    assert [len(part.also_langs) for part in found[0].phase.members] == [15, 0, 0]
    assert [part.select_langs for part in found[0].phase.members][:2] == [("en",), ("en",)]


def test_a_phase_that_keeps_both_stands_for_one_that_is_asked_for_without(experiment):
    def twice(first, second):
        pretrain, middle, *_ = experiment().model_dump(mode="json", exclude_none=True)["phases"]
        twins = [{**middle, "name": name, "selection": {"every_steps": 5} | more}
                 for name, more in (("one", first), ("other", second))]  # fmt: skip
        scored = [{"phase": name, "tasks": ["xnli"]} for name in ("one", "other")]
        tree = {"phases": [pretrain, *twins], "evaluations": scored}
        return build(experiment(more=tree)).nodes

    both = {"also": "all_langs"}
    for first, second in ((both, {}), ({}, both)):
        nodes = twice(first, second)
        (node,) = (node for node in nodes if isinstance(node, PhaseNode) and node.tasks == ("xnli",))
        assert node.keeps_also
        assert [one.also for one in nodes if isinstance(one, EvalNode)] == [False, True]
