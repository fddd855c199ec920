"""`data check` and `data fetch`: what is there, what is missing, and how it comes."""

import json
import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlmr_flax import cli
from xlmr_flax.errors import InputError
from xlmr_flax.report.inventory import labels_text
from xlmr_flax.tasks.catalogue import TASKS, task
from xlmr_flax.tasks.fetch import Repository, choose, wishes
from xlmr_flax.tasks.files import rows
from xlmr_flax.tasks.inventory import RECORDS, needed

files = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("releases.py"))))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCHEMA = files.hub_features(sentence1=files.TEXT, sentence2=files.TEXT, label=["0", "1"])
REPO = "google-research-datasets/paws-x"
README = """---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/train-*
- config_name: de
  data_files:
  - {split: validation, path: de/validation-*}
  - {split: test, path: [de/other/test.parquet]}
---
# PAWS-X
"""


def xlmr_flax(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["xlmr-flax", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def pawsx(count, first="a"):
    return [{"sentence1": f"{first}{n}", "sentence2": "b", "label": n % 2} for n in range(count)]


@pytest.fixture
def source(tmp_path):
    """A folder of hub data sets, with PAWS-X in English and German as its repository lays it out."""
    folder = tmp_path / "hub" / REPO
    for name, count in (
        ("en/train-00000-of-00002", 5), ("en/train-00001-of-00002", 3), ("en/validation-00000-of-00001", 2),
        ("en/test-00000-of-00001", 2), ("de/validation-00000-of-00001", 2), ("de/other/test", 4),
    ):  # fmt: skip
        files.write_parquet(folder / f"{name}.parquet", SCHEMA, pawsx(count, name))
    (folder / "README.md").write_text(README, encoding="utf-8")
    return tmp_path / "hub"


@pytest.fixture
def cache(tmp_path, source, monkeypatch):
    """The same data set as the hub's cache keeps it, without its German files."""
    folder = tmp_path / "cache" / f"datasets--{REPO.replace('/', '--')}"
    shutil.copytree(source / REPO, folder / "snapshots" / COMMIT)
    shutil.rmtree(folder / "snapshots" / COMMIT / "de")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(COMMIT, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def fetch(monkeypatch, data, *words):
    return xlmr_flax(monkeypatch, "data", "fetch", *words, "--data", data)


def check(monkeypatch, capsys, data, *words):
    capsys.readouterr()
    code = xlmr_flax(monkeypatch, "data", "check", *words, "--data", data, "--json")
    return code, {one["task"]: one for one in json.loads(capsys.readouterr().out)}


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_what_is_fetched_is_read_and_its_origin_recorded(monkeypatch, capsys, data, source):
    assert fetch(monkeypatch, data, "pawsx", "--langs", "de", "--from", source) == 0
    names = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.parquet"))
    assert names == [
        f"hub/{REPO}/de/test-00000-of-00001.parquet",
        f"hub/{REPO}/de/validation-00000-of-00001.parquet",
        f"hub/{REPO}/en/train-00000-of-00002.parquet",
        f"hub/{REPO}/en/train-00001-of-00002.parquet",
        f"hub/{REPO}/en/validation-00000-of-00001.parquet",
    ]
    assert len(rows(task("pawsx"), "train", "en", data)) == 8
    assert rows(task("pawsx"), "test", "de", data)[0].text == "de/other/test0"
    known = json.loads((data / RECORDS).read_text(encoding="utf-8"))
    assert known["files"][names[0]]["origin"] == f"{REPO}@local: de/other/test.parquet"
    assert len(known["files"][names[0]]["sha256"]) == 64
    assert known["parts"]["pawsx test de"]["rows"] == 4
    assert known["parts"]["pawsx test de"]["labels"] == {"0": 2, "1": 2}
    told = capsys.readouterr().out
    assert "pawsx" in told
    assert "0 5 · 1 3" in told  # both shards of the training data together


def test_the_hubs_cache_is_taken_without_a_network_and_its_commit_kept(monkeypatch, capsys, data, cache):
    assert fetch(monkeypatch, data, "pawsx", "--langs", "en") == 0
    assert "the hub cannot be reached (OfflineModeIsEnabled); looking into its cache" in capsys.readouterr().err
    known = json.loads((data / RECORDS).read_text(encoding="utf-8"))
    assert known["commits"] == {REPO: COMMIT}
    assert len(rows(task("pawsx"), "test", "en", data)) == 2


def test_a_later_fetch_takes_the_commit_of_the_first(monkeypatch, capsys, data, cache):
    assert fetch(monkeypatch, data, "pawsx", "--langs", "en") == 0
    (cache / f"datasets--{REPO.replace('/', '--')}/refs/main").write_text("f" * 40, encoding="utf-8")
    shutil.rmtree(data / "hub" / REPO / "en")
    assert fetch(monkeypatch, data, "pawsx", "--langs", "en") == 0


def test_what_is_not_in_the_cache_either_is_named(monkeypatch, capsys, data, cache):
    assert fetch(monkeypatch, data, "snli") == 2
    told = capsys.readouterr().err
    assert "stanfordnlp/snli: revision 'main' is not in the hub's cache either; run this where there is a net" in told


def test_what_could_be_fetched_stays_when_other_files_are_missing(monkeypatch, capsys, data, cache):
    assert fetch(monkeypatch, data, "pawsx", "--langs", "en,de") == 2
    assert f"{REPO}@{COMMIT}: no Parquet file of validation in the subset de; it has en/" in capsys.readouterr().err
    assert len(rows(task("pawsx"), "train", "en", data)) == 8


def test_a_second_fetch_copies_only_what_is_missing(monkeypatch, capsys, data, source):
    fetch(monkeypatch, data, "pawsx", "--langs", "de", "--from", source)
    kept, gone = sorted((data / "hub" / REPO / "de").iterdir())
    before = kept.stat().st_mtime_ns
    gone.unlink()
    assert fetch(monkeypatch, data, "pawsx", "--langs", "de", "--from", source) == 0
    assert gone.is_file()
    assert kept.stat().st_mtime_ns == before
    assert (
        f"{kept.relative_to(data).as_posix().replace('00000-of-00001', '*')}: there already" in capsys.readouterr().err
    )


def test_a_changed_file_is_an_error_that_names_it_until_it_is_taken(monkeypatch, capsys, data, source):
    fetch(monkeypatch, data, "pawsx", "--langs", "de", "--from", source)
    changed = data / f"hub/{REPO}/de/test-00000-of-00001.parquet"
    files.write_parquet(changed, SCHEMA, pawsx(6))
    for command in (("fetch", "pawsx", "--langs", "de", "--from", source), ("check", "pawsx")):
        capsys.readouterr()
        assert xlmr_flax(monkeypatch, "data", *command, "--data", data) == 2
        told = capsys.readouterr()
        assert "test-00000-of-00001.parquet: changed since it was recorded" in (told.out + told.err).replace("\n", "")
    assert xlmr_flax(monkeypatch, "data", "check", "pawsx", "--renew", "--data", data) == 0
    code, found = check(monkeypatch, capsys, data, "pawsx")
    assert code == 0
    assert [part["rows"] for part in found["pawsx"]["splits"] if part["split"] == "test"] == [6]


def test_a_task_that_no_hub_has_is_named_with_where_to_get_it(monkeypatch, capsys, data):
    assert fetch(monkeypatch, data, "ccg") == 2
    assert "ccg: its train files in en are not on the hub in a form that is read. CCGbank" in capsys.readouterr().err
    assert fetch(monkeypatch, data, "mlm") == 2
    assert "mlm has no files of its own" in capsys.readouterr().err
    assert fetch(monkeypatch, data, "pawsx", "--langs", "sw") == 2
    assert "pawsx does not come in sw, but in de en es fr ja ko zh" in capsys.readouterr().err


def test_the_folder_to_fetch_from_must_hold_the_data_set(monkeypatch, capsys, data, tmp_path):
    assert fetch(monkeypatch, data, "snli", "--from", tmp_path) == 2
    assert "there is no such folder; --from names one that holds NAMESPACE/NAME" in capsys.readouterr().err


def test_a_task_made_of_others_is_fetched_with_them():
    assert {one.repo for one in wishes(task("anli_plus"), None)[0]} == {
        "facebook/anli", "nyu-mll/glue", "stanfordnlp/snli",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "subset", "split", "chosen"),
    [
        (("a/train-00000-of-00001.parquet", "b/train-00000-of-00001.parquet"), "a", "train", [0]),
        (("data/train-00000-of-00001-5f.parquet", "data/train_r1.parquet"), "default", "train", [0]),
        (("a/train/0000.parquet", "a/train/0001.parquet", "a/test/0000.parquet"), "a", "train", [0, 1]),
        (("train.parquet", "train_extra.parquet"), "default", "train", [0]),
        (("a/validation_matched-0.parquet", "a/validation-0.parquet"), "a", "validation", [1]),
    ],
)
def test_files_are_chosen_by_name_where_the_readme_says_nothing(names, subset, split, chosen):
    repository = Repository("name/space", COMMIT, names, Path, [])
    assert choose(repository, subset, split) == [names[number] for number in chosen]


def test_a_loading_script_is_not_run():
    repository = Repository("name/space", COMMIT, ("README.md", "space.py"), Path, [])
    with pytest.raises(
        InputError, match="no Parquet file of train in the subset default; it has only a loading script"
    ):
        choose(repository, "default", "train")


def test_an_empty_data_folder_has_every_task_absent_with_the_way_to_get_it(monkeypatch, capsys, data):
    code, found = check(monkeypatch, capsys, data)
    assert code == 0
    assert set(found) == set(TASKS) - {"mlm"}
    assert {one["state"] for one in found.values()} == {"absent"}
    assert all(one["missing"] and one["source"] for one in found.values())
    assert xlmr_flax(monkeypatch, "data", "check", "squad", "--data", data) == 0
    told = capsys.readouterr().out
    assert "squad is absent." in told
    assert "missing: squad/train-v1.1.json in en" in told
    assert "rajpurkar.github.io/SQuAD-explorer go to squad/" in told
    assert "or: xlmr-flax data fetch squad   (from the hub's rajpurkar/squad, google/xtreme)" in told
    assert "or: tfds build squad/v1.1 --file_format=array_record --data_dir=tfds" in told


def test_data_sets_that_are_not_used_are_told_with_the_reason(monkeypatch, capsys, data):
    assert xlmr_flax(monkeypatch, "data", "check", "udpos", "bucc2018", "--data", data) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "not used: TFDS xtreme_pos: its Tamil files hold Tagalog" in told
    assert "not used: TFDS bucc: it holds the translations only" in told


def test_labels_with_brackets_are_told_as_they_are(monkeypatch, capsys, data):
    write(data / "ccg/dev.tsv", "a\tS[dcl]\\NP\nb\t[/b]\n")
    assert xlmr_flax(monkeypatch, "data", "check", "ccg", "--data", data) == 0
    assert "S[dcl]\\NP 1 · [/b] 1" in capsys.readouterr().out


def test_a_data_folder_that_does_not_exist_is_named(monkeypatch, capsys, tmp_path):
    assert xlmr_flax(monkeypatch, "data", "check", "--data", tmp_path / "no") == 2
    assert "the data folder does not exist; name it with --data" in capsys.readouterr().err


def test_found_incomplete_and_wrong_are_told_apart(monkeypatch, capsys, data):
    for lang in task("pawsx").langs:
        for split in ("train", "dev", "test"):
            write(data / f"pawsx/{split}-{lang}.tsv", "A\tB\t1\nC\tD\t0\nE\tF\t0\n")
    write(data / "xnli/train-en.tsv", "A\tB\tneutral\n")
    write(data / "qqp/train.tsv", "question1\tquestion2\n")
    code, found = check(monkeypatch, capsys, data)
    assert code == 2
    assert found["pawsx"]["state"] == "found"
    assert len(found["pawsx"]["splits"]) == 3 * 7
    (part,) = (part for part in found["pawsx"]["splits"] if (part["split"], part["lang"]) == ("dev", "de"))
    assert part["labels"] == {"0": 2, "1": 1}
    assert part["is_first"]
    assert found["xnli"]["state"] == "incomplete"
    assert {"files": "xnli/dev-{lang}.tsv", "lang": "en"} in found["xnli"]["missing"]
    assert found["qqp"]["state"] == "wrong"
    assert "train.tsv" in found["qqp"]["problems"][0]
    assert found["mnli"]["state"] == "absent"


def test_languages_that_hold_the_same_stand_on_one_line(monkeypatch, capsys, data):
    for lang in ("de", "en", "fr"):
        write(data / f"pawsx/test-{lang}.tsv", "A\tB\t1\n")
    write(data / "pawsx/test-zh.tsv", "A\tB\n")
    assert xlmr_flax(monkeypatch, "data", "check", "pawsx", "--data", data) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("test")]
    assert next(line[1:4] for line in lines if "zh" not in line) == ["en", "de", "fr"]
    assert any("zh" in line and "no" in line and "label" in line for line in lines)


def test_what_has_not_changed_is_not_read_again(monkeypatch, capsys, data):
    write(data / "pawsx/dev-de.tsv", "A\tB\t1\n")
    first = check(monkeypatch, capsys, data, "pawsx")
    monkeypatch.setattr("xlmr_flax.tasks.inventory.found", None)
    monkeypatch.setattr("hashlib.file_digest", None)
    assert check(monkeypatch, capsys, data, "pawsx") == first


def test_a_data_folder_that_cannot_be_written_is_checked_all_the_same(monkeypatch, capsys, data):
    write(data / "pawsx/dev-de.tsv", "A\tB\t1\n")
    monkeypatch.setattr("xlmr_flax.tasks.inventory.Records.write", lambda self: False)
    assert xlmr_flax(monkeypatch, "data", "check", "pawsx", "--data", data) == 0
    told = capsys.readouterr()
    assert "records.json cannot be written, so nothing is recorded" in told.err.replace("\n", " ")
    assert "incomplete" in told.out


def test_damaged_records_are_named(monkeypatch, capsys, data):
    write(data / RECORDS, "{")
    assert xlmr_flax(monkeypatch, "data", "check", "--data", data) == 2
    assert "records.json: cannot be read" in capsys.readouterr().err


def test_excluded_rows_and_other_sources_are_told(monkeypatch, capsys, data):
    text = "".join(json.dumps({"sentence1": "a", "sentence2": "b", "gold_label": x}) + "\n" for x in ("neutral", "-"))
    write(data / "multinli_1.0/multinli_1.0_train.jsonl", text)
    assert xlmr_flax(monkeypatch, "data", "check", "mnli", "--data", data) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "1 (1 left out)" in told
    assert "multinli_1.0/multinli_1.0_train.jsonl (not the first choice)" in told


def test_the_rarest_of_many_labels_are_left_to_a_number():
    assert labels_text({"a": 1200, "b": 1}) == "a 1,200 · b 1"
    assert labels_text({str(n): 1 for n in range(25)}).endswith("· 5 more labels")


def test_what_a_task_needs_follows_from_its_declaration():
    assert needed(task("squad")) == [("train", "en"), ("dev", "en")]
    assert ("test", "sw") in needed(task("xnli"))
    assert needed(task("bucc2018"))[0] == ("dev", "de")


def test_real_files_are_counted(real_data, monkeypatch, capsys, tmp_path):
    for name in ("xquad", "tatoeba", "xcopa"):
        shutil.copytree(real_data / name, tmp_path / name)
    code, found = check(monkeypatch, capsys, tmp_path, "xquad", "tatoeba", "xcopa")
    assert code == 0
    counted = {name: [part["rows"] for part in one["splits"]] for name, one in found.items()}
    assert counted["xquad"] == [1190] * 8
    assert sorted(counted["tatoeba"]) == [390] + [1000] * 9
    assert sorted(set(counted["xcopa"])) == [100, 500]


def test_a_file_without_the_one_that_belongs_to_it_is_wrong(monkeypatch, capsys, data):
    write(data / "tatoeba/tatoeba.deu-eng.deu", "Ja.\n")
    code, found = check(monkeypatch, capsys, data, "tatoeba")
    assert code == 2
    assert found["tatoeba"]["state"] == "wrong"
    assert "1 of tatoeba/tatoeba.deu-eng.deu and 0 of tatoeba/tatoeba.deu-eng.eng" in found["tatoeba"]["problems"][0]
