"""A dual head from training to scores: the queries of each language among the documents of all."""

import io
import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file, save_file

from xlmr_flax.errors import InputError
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.execute.target import evaluate_target, export_target, open_target
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.loop import Stop

NOTHING = {"train": 0, "dev": 0, "test": 0}
WORLD = {
    "languages": ["x1", "x2"], "documents": 60, "retrieval_pairs": 0,
    **dict.fromkeys(("nli", "paraphrase", "tagging", "choice"), NOTHING),
    "questions": {"train": 61, "dev": 0, "test": 0}, "lareqa": 13, "mewslix": {"train": 19, "dev": 7, "test": 11},
}  # fmt: skip
LANGS = ("en", "x1", "x2")


def phase(name, **more):
    # rows so short that nearly all are full: one shape to compile
    settings = {"name": name, "tasks": [name], "length": 16, "batch_size": 16, "steps": 3, "accumulation": 2}
    return settings | {"optim": {"peak_lr": 1e-3}} | more


@pytest.fixture(scope="module")
def dual(open_lab, tmp_path_factory):
    """LAReQA and Mewsli-X, trained for some steps in micro-batches on eight devices and scored in three languages."""
    lab = open_lab(
        tmp_path_factory.mktemp("dual"),
        world=WORLD,
        phases=[phase("lareqa", selection={"every_steps": 2}), phase("mewslix", parent="lareqa", keep_head=True)],
        evaluations=[{"phase": "lareqa", "tasks": ["lareqa"]}, {"phase": "mewslix", "tasks": ["mewslix"]}],
        arms=[{"name": "main"}],
    )
    run_nodes(lab.graph, lab.context)
    return lab


def scored(lab, name):
    """The folder of an evaluation, and its scores in each language."""
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and node.task == name)
    folder = lab.context.folders.of(node)
    return folder, json.loads((folder / "scores.json").read_text())["langs"]


def world_of(lab):
    return lab.context.folders.data_of(lab.phase("lareqa"))


def answers(world):
    """For each question of XQuAD-R, the sentences of all languages in which its answer starts, read without ours."""
    found = {}
    for lang in LANGS:
        root = json.loads((world / f"lareqa/xquad-r/{lang}.json").read_text())
        paragraphs = [paragraph for article in root["data"] for paragraph in article["paragraphs"]]
        for number, paragraph in enumerate(paragraphs, start=1):
            for asked in paragraph["qas"]:
                start = asked["answers"][0]["answer_start"]
                for place, (first, last) in enumerate(paragraph["sentence_breaks"]):
                    if first <= start < last:
                        found.setdefault(asked["id"], set()).add(f"{lang}_{number}_{place}")
    return found


def precision(right, ranking):
    """The average precision at 20, straight from its definition."""
    at = [place for place, one in enumerate(ranking[:20], start=1) if one in right]
    return sum(len([other for other in at if other <= place]) / place for place in at) / min(len(right), 20)


def test_lareqa_is_scored_among_the_sentences_of_all_languages(dual):
    folder, langs = scored(dual, "lareqa")
    right = answers(world_of(dual))
    assert set(langs) == set(LANGS)
    assert {len(of) for of in right.values()} == {3}
    for lang in LANGS:
        found = json.loads((folder / f"predictions/test-{lang}.json").read_text())
        assert found.keys() == right.keys()
        assert all(len(set(ranking)) == len(ranking) == 20 for ranking in found.values())
        wanted = np.mean([precision(right[name], ranking) for name, ranking in found.items()])
        assert langs[lang]["scores"] == {"map@20": pytest.approx(wanted, rel=1e-12)}
        assert langs[lang]["n_scored"] == langs[lang]["n_dataset"] == len(right) == 13
        assert langs[lang]["settings"][0]["candidate_langs"] == ["en", "x1", "x2"]


def test_mewslix_is_scored_among_all_entities(dual):
    folder, langs = scored(dual, "mewslix")
    entities = (world_of(dual) / "mewslix/candidate_set_entities.jsonl").read_text().splitlines()
    for lang in LANGS:
        found = json.loads((folder / f"predictions/test-{lang}.json").read_text())
        gold = json.loads((world_of(dual) / f"mewslix/wikinews_labels/test-{lang}.json").read_text())
        ranks = [(found[name].index(right) + 1 if right in found[name] else np.inf) for name, [right] in gold.items()]
        assert langs[lang]["scores"] == {"mrr@20": pytest.approx(np.mean(1 / np.array(ranks)), rel=1e-12)}
        assert langs[lang]["counts"]["candidates"] == len(entities)
        assert langs[lang]["counts"]["queries_without_candidate"] == 0


def test_documents_are_embedded_once_for_all_languages_and_no_vector_stays(dual):
    assert dual.said().count("candidates in the files of en, x1, x2") == 1
    for name in ("lareqa", "mewslix"):
        assert {path.name for path in scored(dual, name)[0].iterdir()} <= {
            "scores.json",
            "predictions",
            "examples",
            "embeddings",
        }
        assert not list(scored(dual, name)[0].glob("embeddings/*"))


def test_the_dev_pairs_select_the_checkpoint(dual):
    done = json.loads((dual.folder("lareqa") / "DONE").read_text())
    assert done["selection"] == "best map@20 on lareqa train[95%:] (en)"
    assert [one["step"] for one in done["evaluations"]] == [2, 3]


def test_scores_are_not_kept_when_another_language_joins_the_candidates(dual, tmp_path):
    node = next(node for node in dual.graph.nodes if isinstance(node, EvalNode) and node.task == "lareqa")
    more = world_of(dual) / "lareqa/xquad-r/x3.json"
    shutil.copy(more.with_name("x2.json"), more)
    try:
        with pytest.raises(InputError, match=r"lareqa/xquad-r/x3\.json changed since it was scored"):
            run_evaluation(node, dual.context, Stop())
    finally:
        more.unlink()


@pytest.fixture(scope="module")
def exported(dual, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "lareqa"
    return export_target(str(dual.folder("lareqa")), folder, None, dual.context.folders, dual.context.console)


def test_the_command_that_scores_a_phase_gives_the_same_scores(dual, tmp_path):
    folders = Folders(dual.context.folders.runs, world_of(dual), dual.context.folders.cache)
    console, target = Console(file=io.StringIO()), str(dual.folder("lareqa"))
    results = evaluate_target(target, ["lareqa"], LANGS, folders, console, submission=tmp_path)
    folder, langs = scored(dual, "lareqa")
    wanted = {lang: one["scores"]["map@20"] for lang, one in langs.items()}
    assert {row["lang"]: row["score"] for row in results["rows"]} == pytest.approx(wanted, rel=1e-12)
    for lang in LANGS:
        ours, other = (tmp_path / f"lareqa/test-{lang}.json", folder / f"predictions/test-{lang}.json")
        # On another mesh the last bits of near equals may differ, and so their order.
        assert json.loads(ours.read_text()).keys() == json.loads(other.read_text()).keys()


def test_an_exported_dual_head_comes_back_whole(dual, exported):
    trained, _ = open_target(str(exported), task("lareqa"), dual.context)
    own, _ = open_target(str(dual.folder("lareqa")), task("lareqa"), dual.context)
    jax.tree.map(np.testing.assert_array_equal, trained.params, own.params)
    assert trained.model.spec.similarity == own.model.spec.similarity == "cosine"


def test_weights_without_a_pooler_are_refused(dual, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "bare")
    tensors = {name: x for name, x in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"bare: tensor pooler\.dense\.weight is missing; it becomes head\.pooler"):
        open_target(str(folder), task("lareqa"), dual.context)
