"""Bad input of every kind ends with exit code 2 and a sentence, before anything is written under runs."""

import json
import random
import re
import shutil

import pytest

from xlmr_flax import cli
from xlmr_flax.data.tokenizer import load_tokenizer, train_tokenizer
from xlmr_flax.execute import local

WORDS = (
    "the",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "on",
    "under",
    "mat",
    "tree",
    "big",
    "small",
    "red",
    "blue",
    "today",
    "soon",
    "never",
    "always",
    "with",
    "near",
)
TAGS = ("NOUN", "VERB", "DET")
LABELS = ("entailment", "neutral", "contradiction")

CONFIG = """
name = "small"
[model]
weights = "{weights}"
compute = "float32"
[[phases]]
name = "target"
tasks = ["xnli"]
length = 32
batch_size = 8
steps = 2
[[evaluations]]
phase = "target"
tasks = ["xnli"]
langs = ["en", "de"]
"""
SCRATCH = ["model={preset='tiny', compute='float32'}"]
TRAINED = [*SCRATCH, "tokenizer.vocab_size=40", "text.files=['text/*.txt']"]


def sentence(number, most=6):
    rng = random.Random(number)
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(3, most)))


def pairs(rows):
    return "".join(f"{sentence(n)}\t{sentence(n + 500)}\t{LABELS[n % 3]}\n" for n in range(rows))


def questions(rows):
    paragraphs = []
    for n in range(rows):
        context = sentence(n, 9)
        word = context.split()[1]
        answers = [{"text": word, "answer_start": context.index(word)}]
        paragraphs.append(
            {"context": context, "qas": [{"id": f"q{n}", "question": sentence(n + 9), "answers": answers}]}
        )
    return {"version": "1.1", "data": [{"title": f"t{n}", "paragraphs": [each]} for n, each in enumerate(paragraphs)]}


def choices(rows, option="the cat"):
    lines = ["id,context,question,answer0,answer1,answer2,answer3,label"]
    lines += [f"c{n},{sentence(n)},{sentence(n + 7)},{option},a dog,a tree,the mat,{n % 4}" for n in range(rows)]
    return "\n".join(lines) + "\n"


def tagged(rows):
    return "\n\n".join("\n".join(f"{word}\t{TAGS[n % 3]}" for word in sentence(n).split()) for n in range(rows)) + "\n"


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A weights folder as transformers has it: tiny, random, with a tokenizer that fits."""
    import jax

    from xlmr_flax.config.architecture import PRESETS, Architecture
    from xlmr_flax.model.build import build
    from xlmr_flax.model.export import export
    from xlmr_flax.model.heads import HeadSpec

    root = tmp_path_factory.mktemp("weights")
    train_tokenizer([sentence(n, 12) for n in range(400)], 40, root / "tokenizer")
    arch = Architecture(vocab_size=load_tokenizer(root / "tokenizer").vocab_size, **PRESETS["tiny"])
    spec = HeadSpec("sequence", 3)
    params = jax.jit(build(arch, spec, "float32").init_params)(jax.random.key(0))
    export(root / "model", arch, params, spec, labels=LABELS, tokenizer=root / "tokenizer")
    return root / "model"


@pytest.fixture
def place(tmp_path, model_folder):
    """A folder with good data, good weights and a good config, to be made bad in one place."""
    files = {
        "xnli/train-en.tsv": pairs(24), "xnli/dev-en.tsv": pairs(8), "xnli/test-en.tsv": pairs(8),
        "xnli/test-de.tsv": pairs(8), "cosmosqa/train.csv": choices(40), "cosmosqa/valid.csv": choices(8),
        "udpos/train-en.tsv": tagged(12), "udpos/test-en.tsv": tagged(8), "text/a.txt": pairs(80),
        "tatoeba/tatoeba.deu-eng.deu": "eins\nzwei\n", "tatoeba/tatoeba.deu-eng.eng": "one\ntwo\n",
        "squad/train-v1.1.json": json.dumps(questions(40)), "squad/dev-v1.1.json": json.dumps(questions(8)),
        "mnli/train.tsv": "index\tsentence1\tsentence2\tgold_label\n0\ta cat\ta dog\tneutral\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(text, encoding="utf-8")
    shutil.copytree(model_folder, tmp_path / "weights")
    (tmp_path / "small.toml").write_text(CONFIG.format(weights="./weights"), encoding="utf-8")
    return tmp_path


@pytest.fixture
def started(place, monkeypatch, capsys):
    """Runs the program in this process; gives its exit code and what it printed."""

    def start(*words):
        monkeypatch.chdir(place)
        monkeypatch.setattr("sys.argv", ["xlmr-flax", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return (end.value.code or 0, *capsys.readouterr())

    return start


def append(name, text):
    def change(place):
        with (place / "data" / name).open("a", encoding="utf-8") as file:
            file.write(text)

    return change


def put(name, content):
    def change(place):
        path = place / "data" / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return change


def without(name):
    def change(place):
        (place / name).unlink()

    return change


def settings(**changed):
    def change(place):
        path = place / "weights" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changed}), encoding="utf-8")

    return change


def other_tokenizer(place):
    letters = "abcdefghijklmnopqrstuvwxyz"
    rng = random.Random(0)
    text = [" ".join("".join(rng.choices(letters, k=5)) for _ in range(8)) for _ in range(400)]
    train_tokenizer(text, 70, place / "weights")


def without_tokenizer(place):
    for name in ("tokenizer.json", "sentencepiece.bpe.model"):
        (place / "weights" / name).unlink()


def without_tensor(place):
    from safetensors.numpy import load_file, save_file

    path = place / "weights" / "model.safetensors"
    tensors = load_file(path)
    del tensors["roberta.encoder.layer.1.output.dense.bias"]
    save_file(tensors, path)


def config_json(text):
    def change(place):
        (place / "weights" / "config.json").write_text(text, encoding="utf-8")

    return change


def nothing(place):
    pass


def answer(text, start):
    bad = questions(40)
    bad["data"][3]["paragraphs"][0]["qas"][0]["answers"] = [{"text": text, "answer_start": start}]
    return put("squad/train-v1.1.json", json.dumps(bad))


def task(name, *more):
    return [f"phases.target.tasks=['{name}']", "evaluations=[]", *more]


TWICE = questions(40)
TWICE["data"][5]["paragraphs"][0]["qas"][0]["id"] = "q4"
CASES = {
    # the config
    "a misspelt key": (
        nothing,
        ["phases.target.optim.peak_lrr=1"],
        r"small\.toml: phases\.target\.optim\.peak_lrr: unknown key; did you mean 'peak_lr'\?",
    ),
    "a wrong type": (
        nothing,
        ["phases.target.length=long"],
        r"small\.toml: phases\.target\.length='long': input should be a valid integer",
    ),
    "a task that does not exist": (
        nothing,
        ["phases.target.tasks=['xnil']"],
        r"phases\.target\.tasks: no task is called 'xnil'; did you mean 'xnli'\?",
    ),
    "a language that does not exist": (nothing, ["evaluations.0.langs=['xx']"], r"xnli has no language 'xx'"),
    # files
    "a missing file": (
        without("data/xnli/train-en.tsv"),
        [],
        r"xnli: no train files in en: looked for xnli/train-en\.tsv and .* \(or .*xlmr-flax data fetch xnli\)",
    ),
    "a missing file of an evaluation": (without("data/xnli/test-de.tsv"), [], r"xnli: no test files in de"),
    "a missing selection file": (
        without("data/xnli/dev-en.tsv"),
        ["phases.target.selection.every_steps=1"],
        r"xnli: no dev files in en",
    ),
    "a missing data folder": (
        lambda place: shutil.rmtree(place / "data"),
        [],
        r"data: the data folder does not exist; name it with --data or XLMR_FLAX_DATA",
    ),
    "too few columns": (
        append("xnli/train-en.tsv", "only one\n"),
        [],
        r"train-en\.tsv:25: 1 column between TABs, 3 \(sentence 1, sentence 2, label\) wanted; complete the row",
    ),
    "an unknown label": (
        append("xnli/test-de.tsv", "a cat\ta dog\tmaybe\n"),
        [],
        r"test-de\.tsv: row 9: the label 'maybe' is unknown, wanted: entailment, neutral, contradiction",
    ),
    "an unknown tag": (
        append("udpos/train-en.tsv", "\ncat\tNUON\n"),
        task("udpos"),
        r"train-en\.tsv: row \d+: the tag 'NUON'",
    ),
    "missing labels": (put("xnli/test-de.tsv", "a cat\ta dog\n"), [], r"test-de\.tsv: row 1 has no label"),
    "an answer outside its context": (
        answer("cat", 4000),
        task("squad"),
        r"train-v1\.1\.json: data\[3\]\.paragraphs\[0\]\.qas\[0\]\.answers\[0\]: the answer to question 'q3' should "
        r"stand at offset 4000: found '', wanted 'cat' \(the context has \d+ code points\)",
    ),
    "an answer that stands elsewhere": (
        answer("zebra", 0),
        task("squad"),
        r"question 'q3' should stand at offset 0: found ",
    ),
    "invalid UTF-8": (
        put("xnli/train-en.tsv", b"a cat\ta d\xf6g\tneutral\n"),
        [],
        r"train-en\.tsv:1: byte 9 of the file is 0xf6, which is not UTF-8; convert the file to UTF-8",
    ),
    "an empty file": (
        put("xnli/train-en.tsv", ""),
        [],
        r"train-en\.tsv: the file is empty, at least one row is wanted",
    ),
    "a header and no row": (
        put("mnli/train.tsv", "index\tsentence1\tsentence2\tgold_label\n"),
        task("mnli"),
        r"mnli/train\.tsv: there is a header but no row",
    ),
    "an empty split": (
        nothing,
        ["splits=[{task='xnli', train='train[:1%]'}]"],
        r"xnli: train\[:1%\] of .*train-en\.tsv is empty: 24 rows in 24 groups.*widen the slice",
    ),
    "a duplicate id": (
        put("squad/train-v1.1.json", json.dumps(TWICE)),
        task("squad"),
        r"train-v1\.1\.json: data\[5\].*the question id 'q4' occurs twice; ids are unique",
    ),
    "a duplicate id in CSV": (
        append("cosmosqa/train.csv", "c3,a,b,c,d,e,f,0\n"),
        task("cosmosqa"),
        r"cosmosqa/train\.csv:42: the id 'c3' stands on line 5 already; ids are unique",
    ),
    "lines that are no translations": (
        append("tatoeba/tatoeba.deu-eng.deu", "drei\n"),
        ["evaluations=[{phase='target', tasks=['tatoeba'], langs=['de']}]"],
        r"has 3 lines and .* has 2, equally many",
    ),
    "no text": (
        nothing,
        ["text.files=['txt/*.txt']", "phases.target.tasks=['mlm']", "evaluations=[]"],
        r"text\.files: nothing matches 'txt/\*\.txt' in .*data",
    ),
    "an empty text": (put("text/a.txt", ""), [*TRAINED, *task("mlm")], r"text/a\.txt: the file is empty"),
    # lengths, batches, meshes
    "a length beyond the positions of a preset": (
        nothing,
        [*TRAINED, "phases.target.length=500"],
        r"phases\.target\.length=500: the model has positions for at most 128 tokens",
    ),
    "a length beyond the positions of weights": (
        nothing,
        ["phases.target.length=500"],
        r"phases\.target\.length=500: the model has positions for at most 128 tokens",
    ),
    "an evaluation's length beyond the positions": (
        nothing,
        ["evaluations.0.length=500"],
        r"evaluations\.0\.length=500: the model has positions for at most 128 tokens",
    ),
    "a layer that weights do not have": (
        nothing,
        ["evaluations=[{phase='target', tasks=['tatoeba'], langs=['de'], layers=[1, 9]}]"],
        r"evaluations\.0\.layers=\[9\]: the model has hidden states 0 … 2",
    ),
    "a batch that does not divide": (
        nothing,
        ["phases.target.batch_size=12"],
        r"phases\.target\.batch_size=12 does not split over 8 data shards; the nearest that does is 16",
    ),
    "a micro-batch that does not divide": (
        nothing,
        ["phases.target.batch_size=24", "phases.target.accumulation=2"],
        r"phases\.target\.batch_size / accumulation=12 does not split over 8 data shards",
    ),
    "a batch that does not divide, before there is a tokenizer": (
        nothing,
        [*TRAINED, "phases.target.batch_size=12"],
        r"phases\.target\.batch_size=12 does not split over 8 data shards",
    ),
    "a mesh of other devices": (
        nothing,
        ["mesh.fsdp=3"],
        r"mesh: data=rest x fsdp=3 x tensor=1 does not fit 8 devices",
    ),
    "an option that does not fit": (
        put("cosmosqa/train.csv", choices(40, option="cat " * 40)),
        task("cosmosqa"),
        r"row c\d+: an option of \d+ tokens does not fit into length=32",
    ),
    # weights and tokenizers
    "weights that are not there": (
        nothing,
        ["model.weights=./wights"],
        r"weights='.*wights': no such folder; give one, or a hub id",
    ),
    "weights without config.json": (
        without("weights/config.json"),
        [],
        r"weights: no config\.json here, so the weights' shape is unknown; copy it beside them",
    ),
    "a folder without weights": (
        without("weights/model.safetensors"),
        [],
        r"weights: no weights here; one of model\.safetensors",
    ),
    "weights of another shape": (
        settings(hidden_size=64),
        [],
        r"has shape \(\d+, 32\), but config\.json's vocab_size=\d+ asks for",
    ),
    "weights of another kind": (
        settings(model_type="bert"),
        [],
        r"config\.json: model_type='bert' is not supported, only 'xlm-roberta'",
    ),
    "weights that lack a tensor": (without_tensor, [], r"tensor encoder\.layer\.1\.output\.dense\.bias is missing"),
    "a head that the weights do not have": (
        nothing,
        [*task("udpos"), "phases.target.keep_head=true"],
        r"tensor classifier\.weight is missing",
    ),
    "weights without a tokenizer": (
        without_tokenizer,
        [],
        r"weights: it has neither; wanted a folder with tokenizer\.json or sentencepiece\.bpe\.model",
    ),
    "a tokenizer that does not fit the weights": (
        other_tokenizer,
        [],
        r"the tokenizer has 70 words and the weights have vocab_size=40; take the tokenizer that belongs to the",
    ),
    "a tokenizer folder that is not there": (
        nothing,
        [*SCRATCH, "tokenizer.path=./tokens"],
        r"tokens'?: .*no such folder",
    ),
    "a tokenizer that is damaged": (
        lambda place: (place / "weights" / "tokenizer.json").write_text("{}", encoding="utf-8"),
        [],
        r"weights/tokenizer\.json: this is no tokenizer that the tokenizers library can read",
    ),
}


@pytest.mark.parametrize(("change", "overrides", "message"), CASES.values(), ids=CASES)
def test_bad_input_is_told_in_a_sentence_and_nothing_is_written(place, started, change, overrides, message):
    change(place)
    code, out, err = started("run", "small.toml", *overrides)
    assert re.search(message, err), err
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert not (place / "runs").exists()
    assert [path for path in place.iterdir() if path.name.endswith("partial")] == []


def test_the_good_place_passes_every_check(place, started, monkeypatch):
    computed = []
    monkeypatch.setattr(local, "run_node", lambda node, context, stop: computed.append(node.name))
    for overrides, names in {
        (): ["target", "xnli"], tuple(task("squad")): ["target"], tuple(task("cosmosqa")): ["target"],
        tuple(task("udpos")): ["target"], tuple(task("mnli")): ["target"],
        (*TRAINED, *task("mlm")): ["unigram", "target"],
    }.items():  # fmt: skip
        monkeypatch.setattr("sys.argv", ["xlmr-flax", "run", "small.toml", *overrides])
        monkeypatch.chdir(place)
        with pytest.raises(SystemExit) as end:
            cli.app()
        assert end.value.code == 0
        assert computed == names
        computed.clear()


def test_problems_of_several_files_are_told_together(place, started):
    append("xnli/train-en.tsv", "one\n")(place)
    append("xnli/test-de.tsv", "a\tb\tmaybe\n")(place)
    code, _, err = started("run", "small.toml", "phases.target.batch_size=12")
    assert code == 2
    assert [line[:2] for line in err.splitlines()] == ["- "] * 3
    assert "batch_size=12" in err
    assert "train-en.tsv:25" in err
    assert "'maybe'" in err


def test_what_a_new_tokenizer_shows_to_be_wrong_is_told_before_any_phase(place, started):
    put("cosmosqa/train.csv", choices(40, option="cat " * 40))(place)
    pretrain = "{name='pretrain', tasks=['mlm'], length=32, batch_size=8, steps=1}"
    second = "{name='target', parent='pretrain', tasks=['cosmosqa'], length=32, batch_size=8, steps=1}"
    code, _, err = started("run", "small.toml", *TRAINED, "evaluations=[]", f"phases=[{pretrain}, {second}]")
    assert code == 2
    assert "does not fit into length=32" in err
    assert [path.name for path in (place / "runs").iterdir()] == ["tokenizers"]


def test_a_vocabulary_that_the_text_does_not_support_is_told_with_its_key(place, started):
    code, _, err = started("run", "small.toml", *TRAINED, "tokenizer.vocab_size=5000")
    assert code == 2
    assert re.search(
        r"tokenizer\.vocab_size=5000: a vocabulary of 5000 is more than the text supports, which is \d+", err
    )
    assert not (place / "runs").exists()


def test_a_key_that_no_part_has_is_told(started):
    code, _, err = started("run", "small.toml", "--phase", "zzz")
    assert code == 2
    assert re.search(r"--phase zzz: no node has this key; there are: target-[0-9a-f]{12}, xnli-[0-9a-f]{12}", err)
    code, _, err = started("run", "small.toml", "--only", "tagging*")
    assert (code, err) == (2, "--only tagging*: matches none of target, xnli\n")


TARGETS = {
    "no such folder": (
        ["eval", "./absent", "--tasks", "xnli", "--langs", "de"],
        r"\./absent: no such folder; name a run's \(the last line",
    ),
    "no model in the folder": (["eval", "data", "--tasks", "xnli", "--langs", "de"], r"data: no config\.json here"),
    "a task that does not exist": (
        ["eval", "weights", "--tasks", "xnil"],
        r"there is no task 'xnil'; did you mean 'xnli'\?",
    ),
    "a language without a file": (
        ["eval", "weights", "--tasks", "xnli", "--langs", "de,fr"],
        r"xnli: no test files in fr",
    ),
    "a task that is not scored": (["eval", "weights", "--tasks", "mlm"], r"mlm has no split to score"),
    "another head": (
        ["eval", "weights", "--tasks", "udpos", "--langs", "en"],
        r"weights: its head is sequence \(entailment, neutral, contradiction\), but udpos needs token \(ADJ, ",
    ),
    "masked words of a model without their head": (
        ["predict", "weights", "--task", "mlm"],
        r"weights: its head is sequence \(entailment, neutral, contradiction\), but mlm needs mlm \(no labels\)",
    ),
    "no such text": (
        ["predict", "weights", "--task", "xnli", "absent.txt"],
        r"absent\.txt: cannot be read \(No such file",
    ),
    "a folder for a text": (["predict", "weights", "--task", "xnli", "data"], r"data: cannot be read \(Is a directory"),
    "export of no phase": (["export", "data", "out"], r"data: neither a run folder \(nodes\.json\) nor a phase folder"),
    "export of an unfinished phase": (["export", "weights", "out"], r"weights: not a finished phase \(no DONE in it\)"),
}


SPOILT = {
    "no JSON": (config_json('{"model_type": '), r"weights/config\.json: not JSON"),
    "brackets without end": (config_json("[" * 100_000), r"weights/config\.json: not JSON"),
    "no settings": (config_json("5"), r"weights/config\.json: a int where settings were expected"),
    "labels without numbers": (settings(id2label={"a": "b"}), r"config\.json: id2label=.*: wanted the label of each"),
    "labels in a list": (settings(id2label=["b"]), r"config\.json: id2label=\['b'\]: wanted the label of each number"),
    "labels that are none": (settings(id2label={"0": 5}), r"config\.json: id2label=.*: wanted the label of each"),
    "architectures that are none": (
        settings(architectures=5),
        r"config\.json: architectures=5: wanted a list of names",
    ),
}


@pytest.mark.parametrize(("change", "message"), SPOILT.values(), ids=SPOILT)
def test_a_model_whose_settings_are_spoilt_is_told(place, started, change, message):
    change(place)
    (place / "lines.txt").write_text("a cat\ta dog\n", encoding="utf-8")
    code, out, err = started("predict", "weights", "--task", "xnli", "lines.txt")
    assert re.search(message, err), err
    assert (code, out) == (2, "")


@pytest.mark.parametrize(("words", "message"), TARGETS.values(), ids=TARGETS)
def test_a_bad_target_is_told(place, started, words, message):
    code, out, err = started(*words)
    assert re.search(message, err), err
    assert (code, out) == (2, "")
    assert not (place / "runs").exists()
    assert not (place / "out").exists()


LINES = {
    "not JSON": ("xnli", '{"text": "a"', r'lines\.txt:1: not JSON: .*; wanted \{"text": "…", \["pair": "…"\]\}'),
    "not JSON, on the third line": ("xnli", 'a\tb\n\n{"text"', r"lines\.txt:3: not JSON"),
    "an unknown key": ("xnli", '{"txt": "a"}', r"lines\.txt:1: unknown key 'txt'; did you mean 'text'\?; wanted"),
    "an empty object": ("xnli", "{}", r"lines\.txt:1: 'text' is missing; wanted"),
    "no text": ("xnli", '{"text": 5}', r"lines\.txt:1: 5 is no text; wanted"),
    "a blank text": ("xnli", '{"text": " "}', r'lines\.txt:1: " " is no text; wanted'),
    "no words": ("udpos", '{"words": []}', r'lines\.txt:1: \[\] is no list of texts; wanted \{"words"'),
    "too few options": (
        "cosmosqa",
        '{"prompt": "a", "options": ["b"]}',
        r"lines\.txt:1: 1 options, 4 are wanted; wanted",
    ),
    "text where JSON is needed": (
        "squad",
        "who sat?",
        r'lines\.txt:1: a span task wants JSON, \{"context".*found \'who sat',
    ),
    "a question without a context": ("squad", '{"question": "who?"}', r"lines\.txt:1: 'context' is missing"),
    "nothing": ("xnli", "\n \n", r"lines\.txt: empty; wanted a line of text or JSON for each example"),
}


@pytest.mark.parametrize(("name", "text", "message"), LINES.values(), ids=LINES)
def test_a_bad_line_is_told(place, started, name, text, message):
    (place / "lines.txt").write_text(text, encoding="utf-8")
    code, out, err = started("predict", "weights", "--task", name, "lines.txt")
    assert re.search(message, err), err
    assert (code, out) == (2, "")


def test_a_line_that_is_not_utf8_is_told(place, started):
    (place / "lines.txt").write_bytes(b"a\tb\nc\xf6\td\n")
    code, out, err = started("predict", "weights", "--task", "xnli", "lines.txt")
    assert (code, out, err) == (2, "", "lines.txt:2: byte 1 of the line is not UTF-8; convert the text to UTF-8\n")


def test_good_lines_are_predicted_in_order_with_their_ids(place, started, monkeypatch, capsys):
    lines = ["the cat\ta dog", "", '{"text": "a\u2028cat", "pair": "a dog", "id": "mine"}', "the\x85mat\ta tree\r"]
    (place / "lines.txt").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.argv", ["xlmr-flax", "predict", "weights", "--task", "xnli", "lines.txt"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in found] == ["1", "mine", "4"]
    assert all(row["label"] in LABELS for row in found)
