"""Every problem that a config can have beyond its schema, by its sentence."""

import re

import pytest

from xlmr_flax.graph import check
from xlmr_flax.tasks.catalogue import TASKS

WEIGHTS = {"model": {"weights": "some/weights"}, "tokenizer": {}}
WORLD = {"world": {"nli": {"train": 9, "dev": 3, "test": 3}}}

CASES = [
    # model, tokenizer, text
    (
        ["model={}"],
        {},
        r"model: wanted either weights \(a folder or hub id\) or preset \(from scratch\), found neither",
    ),
    (["model.weights=some/weights"], {}, r"model: wanted either weights .* found both"),
    (["tokenizer.path=here"], {}, r"tokenizer: wanted either path or vocab_size \(to train one\), found both"),
    (
        ["tokenizer={}"],
        {},
        r"tokenizer: a tiny model from scratch needs one; set tokenizer\.path or tokenizer\.vocab_size",
    ),
    (["tokenizer.vocab_size=300"], WEIGHTS, r"tokenizer\.vocab_size: pretrained weights come with their own tokenizer"),
    (["text={}"], {}, r"text: a tokenizer is trained on it; name text\.files or text\.tasks"),
    (["text={}"], {}, r"phases\.pretrain: masked LM needs text; name text\.files or text\.tasks"),
    (["text.tasks=['xnil']"], {}, r"text\.tasks: no task is called 'xnil'; did you mean 'xnli'\?; there are: xnli, "),
    (
        ["model.architecture.hidden_size=64"],
        WEIGHTS,
        r"model\.architecture\.hidden_size: pretrained weights have their own",
    ),
    (["model.architecture.hidden_size=33"], {}, r"model\.architecture: hidden_size=33 does not divide by 2 heads"),
    (["model.revision=v1"], {}, r"model\.revision: a tiny model from scratch has no revisions; remove it"),
    # robust training
    (
        ["phases.middle.robust={noise='gaussian'}"],
        {},
        r"phases\.middle\.robust\.noise_scale: missing; noise='gaussian' needs it",
    ),
    (
        ["phases.middle.robust={switch_rate=0.1}"],
        {},
        r"phases\.middle\.robust\.dictionary: missing; switch_rate=0\.1 needs it",
    ),
    (
        ["phases.middle.robust={consistency=1.0}"],
        {},
        r"phases\.middle\.robust\.consistency: nothing reads it without noise; remove it, or set noise and noise_scale",
    ),
    (
        ["phases.pretrain.robust={noise='uniform', noise_scale=0.1}"],
        {},
        r"phases\.pretrain\.robust: mlm \(mlm\) gives no answer to a text; remove it",
    ),
    # averages
    (
        ["phases.middle.average={checkpoints=3, every_steps=2}"],
        {},
        r"phases\.middle\.average: selection hands over the best checkpoint, and average a mean; remove one of the two",
    ),
    (
        ["averages=[{name='runs', phase='tags', seeds=[0, 1]}]"],
        {},
        r"averages\.runs: fresh heads are drawn from the seed of each run, and heads that began apart have no mean; "
        r"set phases\.tags\.init_seed",
    ),
    (
        ["averages=[{name='runs', phase='tags', seeds=[3, 3]}]", "phases.tags.init_seed=0"],
        {},
        r"averages\.runs\.seeds: '3' stands there 2 times; names must differ",
    ),
    (
        ["averages=[{name='tags', phase='tags', seeds=[0, 1]}]"],
        {},
        r"averages\.tags: a phase has this name too; names must differ",
    ),
    (
        ["averages=[{name='runs', phase='tgs', seeds=[0, 1]}]"],
        {},
        r"averages\.runs\.phase: no phase is called 'tgs'; did you mean 'tags'\?",
    ),
    (
        ["averages=[{name='runs', phase='tags', seeds=[0, 1]}]", "evaluations.0.phase=rns"],
        {},
        r"evaluations\.0\.phase: no phase is called 'rns'; did you mean 'runs'\?",
    ),
    (
        [
            "averages=[{name='runs', phase='tags', seeds=[0, 1]}]",
            "phases.tags.init_seed=0",
            "evaluations.0.phase=runs",
            "evaluations.0.tasks=['xnli']",
        ],
        {},
        r"evaluations\.0\.tasks: xnli needs another head than the one that phase tags trains on udpos",
    ),
    (
        ["arms=[{name='main', skip=['runs']}]", "averages=[{name='runs', phase='tags', seeds=[0, 1]}]"],
        {},
        r"arms\.main\.skip: no phase is called 'runs'",
    ),
    (
        ["phases.side.parent=runs", "averages=[{name='runs', phase='tags', seeds=[0, 1]}]"],
        {},
        r"phases\.side\.parent: no phase is called 'runs'",
    ),
    # perturbed evaluations
    (
        ["evaluations.0.perturb={kinds=['code_switch']}"],
        {},
        r"evaluations\.0\.perturb\.dictionary: code_switch needs one; name a folder with files such as de-en\.txt",
    ),
    (
        ["evaluations.0.perturb={kinds=['typos'], dictionary='d'}"],
        {},
        r"evaluations\.0\.perturb\.dictionary: only code_switch reads it",
    ),
    (
        ["evaluations.0.perturb={kinds=['typos', 'typos'], strengths=[0.1, 0.1]}"],
        {},
        r"evaluations\.0\.perturb\.kinds: 'typos' stands there 2 times",
    ),
    (
        ["evaluations.1.perturb={kinds=['typos']}"],
        {},
        r"evaluations\.1\.perturb: tatoeba \(embedding\) has no inputs that can be perturbed",
    ),
    # names
    (["phases.side.name=tags"], {}, r"phases: 'tags' stands there 2 times; names must differ"),
    (["arms=[{name='a'}, {name='a'}]"], {}, r"arms: 'a' stands there 2 times"),
    (["arms=[]"], {}, r"arms: wanted at least one"),
    (["splits=[{task='xnli'}, {task='xnli'}]"], {}, r"splits: 'xnli' stands there 2 times"),
    (["arms=[{name='a', skip=['midle']}]"], {}, r"arms\.a\.skip: no phase is called 'midle'; did you mean 'middle'\?"),
    (
        ["arms=[{name='a', skip=['pretrain', 'middle', 'tags', 'side']}]"],
        {},
        r"arms\.a\.skip: nothing is left of this arm",
    ),
    (["evaluations.0.phase=tag"], {}, r"evaluations\.0\.phase: no phase is called 'tag'; did you mean 'tags'\?"),
    (
        ["evaluations.0.tasks=['udpso']"],
        {},
        r"evaluations\.0\.tasks: no task is called 'udpso'; did you mean 'udpos'\?",
    ),
    (["phases.tags.parent=midle"], {}, r"phases\.tags\.parent: no phase is called 'midle'; did you mean 'middle'\?"),
    (["phases.tags.tasks=['udpso']"], {}, r"phases\.tags\.tasks: no task is called 'udpso'; did you mean 'udpos'\?"),
    (["splits=[{task='udpso'}]"], {}, r"splits\.udpso: no task is called 'udpso'; did you mean 'udpos'\?"),
    # splits
    (["splits=[{task='xnli', train='train[:x]'}]"], {}, r"splits\.xnli\.train: the split 'train\[:x\]' cannot be read"),
    (
        ["splits=[{task='xnli', test='tst'}]"],
        {},
        r"splits\.xnli\.test: xnli has no split 'tst', .*did you mean 'test'\?",
    ),
    (["splits=[{task='xnli', select='dev[50%:40%]'}]"], {}, r"splits\.xnli\.select: .* takes nothing"),
    # phases
    (["phases.side.steps=3"], {}, r"phases\.side: wanted either epochs or steps, found both"),
    (["phases.side.accumulation=3"], {}, r"phases\.side\.batch_size=8 does not split into 3 micro-batches"),
    (["phases.side.length=7"], {}, r"phases\.side\.length=7: wanted at least 8 tokens"),
    (["phases.side.length=129"], {}, r"phases\.side\.length=129: the model has positions for at most 128 tokens"),
    (["phases.side.tasks=['tatoeba']"], {}, r"phases\.side\.tasks: tatoeba is only scored, it trains nothing"),
    (["phases.side.mask_rate=0.3"], {}, r"phases\.side\.mask_rate: pawsx masks nothing; it is for masked LM"),
    (
        ["phases.pretrain.selection.every_steps=3"],
        {},
        r"phases\.pretrain\.selection: masked LM hands over its last step",
    ),
    (
        ["phases.middle.selection.metric=f1"],
        {},
        r"phases\.middle\.selection\.metric: xnli has no metric 'f1'; it has: accuracy",
    ),
    (
        ["phases.tags.selection={every_steps=3, metric='recal'}"],
        {},
        r"udpos has no metric 'recal'; did you mean 'recall'\?; it has: f1",
    ),
    (
        ["splits=[{task='xnli', select='train[50%:]'}]"],
        {},
        r"phases\.middle\.selection: xnli selects on train\[50%:\], part of its training split train",
    ),
    # parents
    (
        ["phases.pretrain.parent=tags"],
        {},
        r"phases\.tags\.parent: goes round in a circle: tags → middle → pretrain → tags",
    ),
    (["phases.pretrain.keep_head=true"], {}, r"phases\.pretrain\.keep_head: there is no parent to take a head from"),
    (["phases.tags.keep_head=true"], {}, r"phases\.tags\.keep_head: the head of middle, its parent, has another kind"),
    (
        ["phases.tags.tasks=['xnli']", "phases.tags.keep_head=true", "arms=[{name='a', skip=['middle']}]"],
        {"evaluations": []},
        r"phases\.tags\.keep_head: the head of pretrain, its parent in arm a, has another kind or other labels",
    ),
    (
        ["phases.tags.tasks=['xnli']", "phases.tags.keep_head=true", "arms=[{name='a', skip=['middle', 'pretrain']}]"],
        {"evaluations": []},
        r"phases\.tags\.keep_head: there is no parent in arm a to take a head from",
    ),
    # evaluations
    (["evaluations.0.length=300"], {}, r"evaluations\.0\.length=300: the model has positions for at most 128 tokens"),
    (["evaluations.1.layers=[2, 3, 4]"], {}, r"evaluations\.1\.layers=\[3, 4\]: the model has hidden states 0 … 2"),
    (["evaluations.1.layers=[1, 1]"], {}, r"evaluations\.1\.layers: '1' stands there 2 times; names must differ"),
    (["evaluations.1.poolings=['cls', 'cls']"], {}, r"evaluations\.1\.poolings: 'cls' stands there 2 times"),
    (["evaluations.0.layers=[1]"], {}, r"evaluations\.0\.layers: only retrieval reads it, and none of udpos is retr"),
    (["evaluations.0.poolings=['cls']"], {}, r"evaluations\.0\.poolings: only retrieval reads it"),
    (
        ["evaluations.1.tasks=['bucc2018']", "splits=[{task='bucc2018', test='dev'}]"],
        {},
        r"evaluations\.1\.tasks: bucc2018 would be scored on dev, which overlaps dev, where its threshold is found",
    ),
    (
        ["evaluations.1.tasks=['bucc2018']", "splits=[{task='bucc2018', test='test[:50%]'}]"],
        {},
        r"evaluations\.1\.tasks: bucc2018 cannot be scored on a slice such as test\[:50%\]: its sentences belong tog",
    ),
    (
        ["evaluations.0.tasks=['pawsx']"],
        {},
        r"evaluations\.0\.tasks: pawsx needs another head than the one that phase tags trains on udpos",
    ),
    (["evaluations=[{phase='pretrain', tasks=['mlm']}]"], {}, r"evaluations\.0\.tasks: mlm has no split to score"),
    (["evaluations.0.tasks=['udpos', 'udpos']"], {}, r"evaluations\.0\.tasks: 'udpos' stands there 2 times"),
    (["evaluations.0.langs=['de', 'de']"], {}, r"evaluations\.0\.langs: 'de' stands there 2 times"),
    (
        ["splits=[{task='udpos', test='train[50%:]'}]"],
        {},
        r"evaluations\.0\.tasks: udpos would be scored on train\[50%:\], which overlaps its train split train",
    ),
    (
        ["evaluations=[{phase='middle', tasks=['xnli']}]", "splits=[{task='xnli', test='dev'}]"],
        {},
        r"evaluations\.0\.tasks: xnli would be scored on dev, which overlaps its select split dev",
    ),
    (
        ["evaluations.0.langs=['dee']"],
        {},
        r"evaluations\.0\.langs: udpos has no language 'dee'; did you mean 'de'\?; it has: af, ",
    ),
    (["evaluations.0.langs=['de']"], WORLD, r"evaluations\.0\.langs: udpos has no language 'de'; it has: en, x1, x2"),
    (
        [
            "evaluations=[{phase='q', tasks=['xquad'], langs=['de']}]",
            "splits=[{task='xquad', train='test[:50%]', test='train'}]",
            "phases.tags.name=q",
            "phases.q.tasks=['xquad']",
        ],
        {},
        r"evaluations\.0\.langs: xquad train comes in en only, not in de",
    ),
    # languages of training
    (["phases.middle.langs=['de', 'de']"], {}, r"phases\.middle\.langs: 'de' stands there 2 times"),
    (["phases.middle.langs=['dee']"], {}, r"phases\.middle\.langs: xnli has no language 'dee'; did you mean 'de'\?"),
    (["phases.pretrain.langs=['de']"], {}, r"phases\.pretrain\.langs: masked LM reads the languages that its text has"),
    (
        ["phases.tags.tasks=['xquad']", "phases.tags.langs=['de']", "evaluations=[]"],
        {},
        r"phases\.tags\.langs: xquad train\[:95%\] comes in en only, not in de",
    ),
    (
        ["phases.middle.selection.langs=['dee']"],
        {},
        r"phases\.middle\.selection\.langs: xnli has no language 'dee'; did you mean 'de'\?",
    ),
    (["phases.middle.langs=['de']"], WORLD, r"phases\.middle\.langs: xnli has no language 'de'; it has: en, x1, x2"),
    (
        ["evaluations.0.langs=['de-en']"],
        {},
        r"evaluations\.0\.langs: udpos test has no pairs such as de-en",
    ),
    # worlds
    (["phases.middle.tasks=['mnli']"], WORLD, r"world\.mnli\.train=0: phases\.middle reads train of mnli; ask for"),
    (["world.nli.train=0"], WORLD, r"world\.nli\.train=0: phases\.middle reads train of xnli; ask for at least one"),
    (["world.nli.dev=0"], WORLD, r"world\.nli\.dev=0: phases\.middle reads dev of xnli"),
    (["world.tagging={train=5, dev=5, test=0}"], WORLD, r"world\.tagging\.test=0: evaluations\.0 reads test of udpos"),
    (["world.retrieval_pairs=0"], WORLD, r"world\.retrieval_pairs=0: evaluations\.1 reads it; ask for at least one"),
    (
        [
            "world.choice={train=5, dev=0, test=0}",
            "evaluations=[{phase='side', tasks=['cosmosqa']}]",
            "phases.side.tasks=['cosmosqa']",
        ],
        WORLD,
        r"world\.choice\.dev=0: evaluations\.0 reads valid of cosmosqa",
    ),
]


@pytest.mark.parametrize(("overrides", "more", "message"), CASES, ids=[case[2][:50] for case in CASES])
def test_a_problem_is_told(experiment, overrides, more, message):
    found = check.problems(experiment(*overrides, more=more))
    assert [problem for problem in found if re.search(message, problem)], found


def test_a_phase_without_epochs_or_steps_is_told(experiment):
    tree = experiment().model_dump(mode="json", exclude_none=True)["phases"]
    del tree[3]["epochs"]
    assert check.problems(experiment(more={"phases": tree})) == [
        "phases.side: wanted either epochs or steps, found neither"
    ]


def test_a_task_without_a_training_or_selection_split_is_told(experiment, monkeypatch):
    import dataclasses

    monkeypatch.setitem(TASKS, "pawsx", dataclasses.replace(TASKS["pawsx"], train=None))
    assert "phases.side.tasks: pawsx has no training split; name one under [[splits]]" in check.problems(experiment())
    monkeypatch.setitem(TASKS, "pawsx", dataclasses.replace(TASKS["pawsx"], train="train", select=None))
    found = check.problems(experiment("phases.side.selection.every_steps=3"))
    assert any(re.search(r"phases\.side\.selection: pawsx has no split to select on; name one", each) for each in found)


def test_a_circle_elsewhere_ends_the_check(experiment):
    found = check.problems(
        experiment(
            "phases.pretrain.parent=middle",
            "phases.tags.keep_head=true",
            "arms=[{name='a', skip=['pretrain', 'middle']}]",
        )
    )
    assert len(found) == 2
    assert all("goes round in a circle" in problem for problem in found)


@pytest.mark.parametrize("more", [{}, WEIGHTS, WORLD, {"arms": [{"name": "a"}, {"name": "b", "skip": ["middle"]}]}])
def test_what_is_right_has_no_problem(experiment, more):
    assert check.problems(experiment(more=more)) == []


@pytest.mark.parametrize("name", [name for name, one in TASKS.items() if one.head.kind not in ("mlm", "embedding")])
def test_the_headline_metric_is_among_the_metrics(name):
    assert TASKS[name].metric in check.metrics(TASKS[name])


def test_a_choice_keeps_the_head_of_a_choice_among_more(experiment):
    social = ["phases.middle.tasks=['socialiqa']", "phases.tags.tasks=['copa']", "phases.tags.keep_head=true"]
    assert check.problems(experiment(*social, more={"evaluations": []})) == []
    found = check.problems(experiment(*social[1:], more={"evaluations": []}))
    assert any("phases.tags.keep_head: the head of middle, its parent, has another kind" in each for each in found)


def test_a_kept_head_of_the_same_task_or_of_the_weights_is_right(experiment):
    same = ["phases.tags.tasks=['xnli']", "phases.tags.keep_head=true"]
    assert check.problems(experiment(*same, more={"evaluations": []})) == []
    assert check.problems(experiment("phases.pretrain.keep_head=true", more=WEIGHTS)) == []
