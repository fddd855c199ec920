"""Data files, folders of predictions and lines to predict, however damaged: rows and scores, or a sentence."""

import json
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlmr_flax.execute.lines import check_file
from xlmr_flax.report.xtreme import xtreme
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.files import rows

readers = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "sources" / "test_damage.py")))


def long(cases):
    return pytest.param(cases, marks=[pytest.mark.long, pytest.mark.timeout(3600)])


@pytest.mark.parametrize("cases", [150, long(8000)])
def test_data_files_of_every_reader(fuzz, damage, retype, tmp_path, cases):
    names = list(readers.CASES)

    def case(draw):
        one = readers.CASES[draw.choice(names)]
        contents = [content.encode() for content in one.files]
        number = draw.randrange(len(contents))
        if one.form in ("json", "jsonl") and draw.random() < 0.5:
            lines = contents[number].decode().splitlines()
            at = draw.randrange(len(lines))
            lines[at] = json.dumps(retype(json.loads(lines[at]), draw))
            contents[number] = "".join(f"{line}\n" for line in lines).encode()
        else:
            contents[number] = damage(contents[number], draw)
        paths = readers.write(tmp_path, contents)
        found, problem = readers.outcome(one, paths)
        assert problem is None or any(str(path) in problem for path in paths), problem
        assert bool(found) != bool(problem), (one.read, found, problem)
        return 2 if problem else 0

    fuzz.each(cases, case)


def real_splits(folder):
    """Each task, split and language that small real files hold, with those files."""
    for name, declared in TASKS.items():
        for files in declared.files:
            for spec, patterns in files.splits.items():
                for lang in declared.langs:
                    paths = [folder / pattern.replace("{lang}", lang) for pattern in patterns]
                    if all(path.is_file() and path.stat().st_size < 200_000 for path in paths):
                        yield name, spec, lang, paths


@pytest.mark.parametrize("cases", [20, long(1500)])
def test_real_data_files(fuzz, damage, real_data, tmp_path, cases):
    known = list(real_splits(real_data))
    assert len(known) > 10

    def case(draw):
        name, spec, lang, paths = draw.choice(known)
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        for path in paths:
            (tmp_path / "data" / path.relative_to(real_data)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, tmp_path / "data" / path.relative_to(real_data))
        path = tmp_path / "data" / draw.choice(paths).relative_to(real_data)
        path.write_bytes(damage(path.read_bytes(), draw))
        rows(task(name), spec, lang, tmp_path / "data")

    fuzz.each(cases, case)


SENTENCE = {"en": "ADJ\nNOUN\n\nVERB\n", "panx": "B-PER\nI-PER\nO\n\nB-LOC\n"}
ANSWERS = {"a": "the cat", "b": "", "c": "x"}
QUESTIONS = {
    "data": [{"paragraphs": [{"context": "the cat sat", "qas": [
        {"id": name, "answers": [{"text": "the cat", "answer_start": 0}]} for name in ANSWERS]}]}]
}  # fmt: skip
PREDICTIONS = {
    "xnli": "neutral\nentailment\ncontradiction\n", "pawsx": "1\n0\n1\n", "tatoeba": "0\n2\n1\n",
    "udpos": SENTENCE["en"], "panx": SENTENCE["panx"], "bucc2018": "de-1\ten-2\nde-3\ten-1\n",
    "xquad": json.dumps(ANSWERS), "mlqa": json.dumps(ANSWERS), "tydiqa": json.dumps(ANSWERS),
    "xcopa": '{"label": 1}\n{"label": 0}\n', "mewslix": json.dumps({"m1": ["Q1", "Q2"], "m2": []}),
    "lareqa": json.dumps({"q1": ["c1", "c2"], "q2": ["c3"]}),
}  # fmt: skip
LABELS = PREDICTIONS | {
    "xquad": json.dumps(QUESTIONS), "mlqa": json.dumps(QUESTIONS), "tydiqa": json.dumps(QUESTIONS),
    "mewslix": json.dumps({"m1": ["Q1"], "m2": ["Q7"]}), "lareqa": json.dumps({"q1": ["c1"], "q2": ["c3", "c4"]}),
}  # fmt: skip


@pytest.mark.parametrize("cases", [100, long(4000)])
def test_folders_of_predictions(fuzz, ended, damage, retype, tmp_path, cases):
    sides = {"predictions": PREDICTIONS, "labels": LABELS}

    def case(draw):
        version = draw.choice(("xtreme", "xtreme-r"))
        name = draw.choice(list(xtreme(version)))
        official = xtreme(version)[name]
        damaged = draw.choice(list(sides))
        for side, texts in sides.items():
            shutil.rmtree(tmp_path / side, ignore_errors=True)
            (tmp_path / side / name).mkdir(parents=True)
            content = texts[name].encode()
            if side == damaged and texts[name].startswith("{") and draw.random() < 0.5:
                content = json.dumps(retype(json.loads(content.splitlines()[0]), draw)).encode()
            elif side == damaged:
                content = damage(content, draw)
            (tmp_path / side / name / f"test-{official.langs[0]}.{official.suffix}").write_bytes(content)
        more = draw.choices(("--json", "--sane"), k=draw.randrange(2))
        return ended("score", str(tmp_path / "predictions"), str(tmp_path / "labels"), "--version", version, *more)

    fuzz.each(cases, case)


LINES = {
    "xnli": ["the cat\ta dog", '{"text": "a cat", "pair": "a dog", "id": "mine"}'],
    "udpos": ["the cat sat", '{"words": ["the", "cat"], "id": 5}'],
    "cosmosqa": ['{"prompt": "a", "question": "b", "options": ["c", "d", "e", "f"]}'],
    "squad": ['{"context": "the cat sat", "question": "who?"}'],
}


@pytest.mark.parametrize("cases", [100, long(3000)])
def test_lines_to_predict(fuzz, damage, retype, tmp_path, cases):
    def case(draw):
        name = draw.choice(list(LINES))
        lines = draw.choices(LINES[name], k=3)
        if lines[-1].startswith("{") and draw.random() < 0.5:
            lines[-1] = json.dumps(retype(json.loads(lines[-1]), draw), ensure_ascii=draw.random() < 0.5)
        content = "\n".join(lines).encode("utf-8", "surrogatepass")
        (tmp_path / "lines.txt").write_bytes(damage(content, draw) if draw.random() < 0.6 else content)
        check_file(task(name).head, tmp_path / "lines.txt")

    fuzz.each(cases, case)
