"""A phase trained in two languages, selected in two, scored in a pair of languages; dirty files are counted."""

import json

import pytest

from xlmr_flax.data.tokenizer import train_tokenizer
from xlmr_flax.execute.local import run_nodes
from xlmr_flax.report.results import collect

LABELS = ("entailment", "neutral", "contradiction")
PHASE = {
    "name": "nli", "tasks": ["xnli_translate"], "langs": ["en", "de"], "length": 16, "batch_size": 16, "steps": 2,
    "selection": {"every_steps": 1, "langs": ["fr", "en"], "max_examples": 4}, "optim": {"peak_lr": 1e-3},
}  # fmt: skip


def texts(lang, count):
    return [f"{lang} says {n}\t{lang} hears {n}\t{LABELS[n % 3]}\n" for n in range(count)]


@pytest.fixture(scope="module")
def run(open_lab, tmp_path_factory):
    """The experiment, computed, on translations with two rows that cannot be used and on an SNLI with one."""
    root = tmp_path_factory.mktemp("languages")
    files = {f"xnli/{split}-{lang}.tsv": texts(lang, 6) for split in ("dev", "test") for lang in ("en", "de", "fr")}
    translated = "XNLI-MT-1.0/multinli/multinli.train.{}.tsv"
    files[translated.format("en")] = ["premise\thypo\tlabel\n", *texts("en", 9)]
    files[translated.format("de")] = ["premise\thypo\tlabel\n", "cut off\n", *texts("de", 8), "A\tB\tmaybe\n"]
    snli = ({"gold_label": label, "sentence1": "a b", "sentence2": "c"} for label in ("neutral", "-", "entailment"))
    files["snli/snli_1.0_test.jsonl"] = [json.dumps(row) + "\n" for row in snli]
    for name, lines in files.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    train_tokenizer([line for lines in files.values() for line in lines], 60, root / "tokenizer")
    made = open_lab(
        root,
        world=None, text={}, mesh={"data": 8}, tokenizer={"path": str(root / "tokenizer")}, arms=[{"name": "main"}],
        phases=[PHASE],
        evaluations=[
            {"phase": "nli", "tasks": ["xnli_translate"], "langs": ["de", "de-fr"]},
            {"phase": "nli", "tasks": ["snli"]},
        ],
    )  # fmt: skip
    run_nodes(made.graph, made.context)
    return made


def test_training_rows_are_those_of_all_languages_and_the_rest_is_counted(run):
    for name in ("config.json", "DONE"):
        counts = json.loads((run.folder("nli") / name).read_text())["counts"]
        assert (counts["rows"], counts["excluded"]) == (9 + 8, 2)
        assert counts["excluded: a label that does not exist"] == 1
    told = "2 rows left out: 1 × another number of columns than the others, 1 × a label that does not exist"
    assert f"nli: xnli_translate train: {told}" in run.said()


def test_the_files_of_every_language_are_recorded(run):
    sources = json.loads((run.folder("nli") / "config.json").read_text())["sources"]
    assert {name.split("/")[-1] for name in sources} == {
        "multinli.train.en.tsv", "multinli.train.de.tsv", "dev-fr.tsv", "dev-en.tsv",
    }  # fmt: skip


def test_the_selection_is_the_mean_over_its_languages_and_says_them(run):
    done = json.loads((run.folder("nli") / "DONE").read_text())
    assert done["selection"] == "best accuracy on xnli_translate dev (fr, en)"
    # Four examples in each of two languages.
    assert (done["score"] * 8) == round(done["score"] * 8)


def test_a_pair_of_languages_is_scored_and_a_dirty_test_says_how_much_of_it(run):
    found = {(row["task"], row["lang"]): row for row in collect(run.graph, run.context.folders.runs)["rows"]}
    assert {key: (row["n_scored"], row["n_dataset"]) for key, row in found.items()} == {
        ("xnli_translate", "de"): (6, 6), ("xnli_translate", "de-fr"): (6, 6), ("snli", "en"): (2, 3),
    }  # fmt: skip
    assert "snli test en: 1 rows left out: 1 × the annotators agree on no label" in run.said()
    assert "trained in en, de" in found["snli", "en"]["flags"]
