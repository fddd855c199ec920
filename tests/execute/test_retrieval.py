"""Retrieval of a subject whose model is a table: what is found, where thresholds come from, and what a sweep costs."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from xlmr_flax.config.schema import Evaluation, Experiment
from xlmr_flax.errors import InputError
from xlmr_flax.evaluate.retrieval import Setting, embed
from xlmr_flax.execute import retrieval
from xlmr_flax.execute.context import Context
from xlmr_flax.execute.evaluation import score
from xlmr_flax.execute.retrieval import settings
from xlmr_flax.execute.trained import Subject, load_trained
from xlmr_flax.graph.folders import Folders
from xlmr_flax.graph.nodes import EvalNode
from xlmr_flax.tasks.catalogue import task

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def embedded(monkeypatch):
    """Texts whose vector says their first letter, in layer 1 alone; gives the texts that were encoded, in order."""
    seen = []

    def load_sentences(sentences, **more):
        counts = {"truncated": sum(len(text) > 40 for text in sentences)}
        return SimpleNamespace(texts=list(sentences), encoded=SimpleNamespace(counts=counts))

    def embed(model, params, examples, *, settings, folder, **more):
        seen.extend(examples.texts)
        (folder / "vectors").mkdir(parents=True)
        return {setting: vectors(examples.texts, setting) for setting in settings}

    monkeypatch.setattr(retrieval, "load_sentences", load_sentences)
    monkeypatch.setattr(retrieval, "embed", embed)
    return seen


def vectors(texts, setting):
    """A letter is its own direction, the more so the more `!` stand behind it; elsewhere than in layer 1 none is."""
    found = np.full((len(texts), len(LETTERS)), 0.1, np.float32)
    for row, text in zip(found, texts, strict=True):
        row[LETTERS.index(text[0].lower())] += (1 + text.count("!")) * (setting.layer == 1)
    return found


@pytest.fixture
def scored(tmp_path, embedded):
    """The scores of a task in German, and the lines of its predictions."""

    def run(name, *, labels=True, **changes):
        evaluation = Evaluation(phase="p", tasks=(name,), **changes)
        model = SimpleNamespace(arch=SimpleNamespace(num_hidden_layers=2, longest=512))
        trained = SimpleNamespace(model=model, params=None, tokenizer=None, length=16)
        subject = Subject(trained, task(name), "test", evaluation, tmp_path / "data", labels, task(name).select)
        nothing = {"name": "none", "tasks": ["mlm"], "length": 8, "batch_size": 1, "steps": 1}
        experiment = Experiment.model_validate_json(json.dumps({"name": "e", "phases": [nothing]}))
        folders = Folders(tmp_path / "runs", tmp_path / "data", tmp_path / "cache")
        folder = tmp_path / "predictions"
        found = score(subject, "de", folder, Context(experiment, folders, Console(file=io.StringIO())))
        assert not (tmp_path / "embeddings").exists(), "vectors stay no longer than they are needed"
        return found, (folder / "test-de.tsv").read_text(encoding="utf-8").splitlines()

    return run


def side(letter, *texts):
    return "".join(f"{letter}-{number}\t{text}\n" for number, text in enumerate(texts))


def gold(*pairs):
    return "".join(f"de-{source}\ten-{target}\n" for source, target in pairs)


def write_bucc(tmp_path, part, german, english, pairs, *, original=True):
    folder = tmp_path / "data" / "bucc2018" / ("de-en" if original else "")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"de-en.{part}.de").write_text(side("de", *german), encoding="utf-8")
    (folder / f"de-en.{part}.en").write_text(side("en", *english), encoding="utf-8")
    if pairs is not None:
        (folder / f"de-en.{part}.gold").write_text(gold(*pairs), encoding="utf-8")


# On dev the two pairs with the highest margins are right and the third is not: everything below it is left out.
DEV = (["a!!!", "b!!!", "c", "x"], ["A!!!", "B!!!", "C", "y"], [(0, 0), (1, 1)])
TEST = (["d!!!", "e", "f!!!", "g!!!", "g!!!"], ["F!!!", "D!!!", "E", "G!!!", "z"], [(0, 1), (2, 0), (3, 3)])


def test_bucc_takes_its_threshold_from_dev_and_scores_the_pairs_above_it(tmp_path, scored, embedded):
    write_bucc(tmp_path, "sample", *DEV)
    write_bucc(tmp_path, "training", *TEST)
    found, lines = scored("bucc2018")
    assert sorted(lines) == ["de-0\ten-1", "de-2\ten-0"]
    assert found["scores"] == {"f1": pytest.approx(0.8), "precision": 1.0, "recall": pytest.approx(2 / 3)}
    assert (found["n_scored"], found["n_dataset"]) == (10, 10)
    [told] = found["settings"]
    assert told["dev"] == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    assert told["threshold"] > 1
    assert found["counts"] == {"truncated": 0, "repeated_source": 1, "repeated_target": 0}
    assert embedded.count("g!!!") == 1, "a text that occurs twice is encoded once"
    assert len(found["sources"]) == 6, "what the threshold came from is among the files"


def test_the_gold_of_the_test_split_changes_no_prediction(tmp_path, scored):
    write_bucc(tmp_path, "sample", *DEV)
    write_bucc(tmp_path, "training", *TEST)
    before = scored("bucc2018")
    write_bucc(tmp_path, "training", *TEST[:2], [(1, 2)])
    after = scored("bucc2018")
    assert before[1] == after[1]
    assert before[0]["scores"] != after[0]["scores"]


def test_the_gold_of_dev_does(tmp_path, scored):
    write_bucc(tmp_path, "training", *TEST)
    write_bucc(tmp_path, "sample", *DEV)
    few = scored("bucc2018")[1]
    write_bucc(tmp_path, "sample", *DEV[:2], [(0, 0), (1, 1), (2, 2)])
    assert set(few) < set(scored("bucc2018")[1])


def test_bucc_without_gold_is_predicted_and_not_scored(tmp_path, scored):
    write_bucc(tmp_path, "dev", *DEV, original=False)
    write_bucc(tmp_path, "test", *TEST[:2], None, original=False)
    found, lines = scored("bucc2018", labels=False)
    assert sorted(lines) == ["de-0\ten-1", "de-2\ten-0"]
    assert (found["scores"], found["n_scored"]) == ({}, 10)
    with pytest.raises(InputError, match="bucc2018 can predict this file but neither train on it nor score it"):
        scored("bucc2018")


def write_tatoeba(tmp_path, german, english, *, names=("tatoeba.deu-eng.deu", "tatoeba.deu-eng.eng")):
    folder = tmp_path / "data" / "tatoeba"
    folder.mkdir(parents=True, exist_ok=True)
    for name, texts in zip(names, (german, english), strict=True):
        (folder / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")


def test_tatoeba_is_scored_line_by_line_and_predicts_the_line_of_each_sorted_english_sentence(tmp_path, scored):
    write_tatoeba(tmp_path, ["c", "a", "b", "a?"], ["C", "A", "B", "B"])
    found, lines = scored("tatoeba")
    assert lines == ["1", "2", "2", "0"], "of A, B, B, C"
    assert found["scores"]["accuracy"] == 0.75
    assert found["counts"] == {"truncated": 0, "repeated_english": 1}


def test_tatoeba_of_xtreme_gives_the_same_predictions_and_no_scores(tmp_path, scored):
    write_tatoeba(tmp_path, ["c", "a", "b", "b?"], ["A", "B", "B", "C"], names=("de-en.de", "de-en.en"))
    found, lines = scored("tatoeba", labels=False)
    assert lines == ["1", "2", "2", "0"]
    assert (found["scores"], found["n_scored"]) == ({}, 4)


def test_a_sweep_encodes_once_and_scores_every_setting_as_it_would_alone(tmp_path, scored, embedded):
    write_tatoeba(tmp_path, ["c", "a", "b"], ["C", "A", "B"])
    found, lines = scored("tatoeba", layers=(1, 2), poolings=("mean", "cls"))
    assert len(embedded) == 6
    assert [(one["layer"], one["pooling"], one["scores"]["accuracy"]) for one in found["settings"]] == [
        (1, "mean", 1.0), (1, "cls", 1.0), (2, "mean", pytest.approx(1 / 3)), (2, "cls", pytest.approx(1 / 3)),
    ]  # fmt: skip
    assert found["scores"] == found["settings"][0]["scores"], "the first stands for all"
    assert lines == ["1", "2", "0"]
    alone, lines = scored("tatoeba", layers=(2,), poolings=("cls",))
    assert alone["settings"] == found["settings"][3:]
    assert (tmp_path / "predictions" / "layer-2-cls" / "test-de.tsv").read_text().splitlines() == lines


def test_what_stands_for_a_sentence_is_told(tmp_path, scored):
    write_tatoeba(tmp_path, ["a"], ["A"])
    found, _ = scored("tatoeba", layers="all", poolings=("cls", "mean"))
    assert [(one["layer"], one["special_tokens"]) for one in found["settings"][:2]] == [
        (0, "<s> alone"),
        (0, "the mean counts <s> and </s>"),
    ]


def test_settings_are_all_layers_with_all_poolings():
    def of(**changes):
        return settings(Evaluation(phase="p", tasks=("tatoeba",), **changes), 4)

    assert of() == [Setting(2, "mean")]
    assert of(layers=(3, 0), poolings=("cls", "mean"))[:3] == [Setting(3, "cls"), Setting(3, "mean"), Setting(0, "cls")]
    assert [setting.layer for setting in of(layers="all")] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match=r"layers=\[5, 7\]: the model has hidden states 0 … 4"):
        of(layers=(1, 5, 7))


def test_every_layer_and_pooling_of_a_model_gives_vectors_of_its_own(lab, tmp_path):
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and node.task == "tatoeba")
    trained = load_trained(lab.context.folders.of(node.phase), lab.context.folders, lab.context.mesh)
    sweep = node.evaluation.model_copy(update={"layers": "all", "poolings": ("mean", "cls")})
    subject = Subject(trained, task("tatoeba"), "test", sweep, lab.context.folders.data_of(node.phase))
    seen = []

    def watched(*args, **more):
        found = embed(*args, **more)
        seen.append({setting: vectors.copy() for setting, vectors in found.items()})
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "embed", watched)
        found = score(subject, "x1", tmp_path / "predictions", lab.context)
    assert len(seen) == 2, "one pass for each side"
    assert len(found["settings"]) == len(seen[0]) == 2 * (trained.model.arch.num_hidden_layers + 1)
    assert len({vectors.tobytes() for vectors in seen[0].values()}) == len(seen[0])
    known = json.loads((lab.context.folders.of(node) / "scores.json").read_text(encoding="utf-8"))["langs"]["x1"]
    assert (
        next(one for one in found["settings"] if (one["layer"], one["pooling"]) == (1, "mean")) == known["settings"][0]
    )
