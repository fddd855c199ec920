"""The shortest of the studies' twins on next to no data: from its file to the sentence that its report begins with."""

import contextlib
import io
import json
import re
from pathlib import Path

from xlmr_flax.cli import app

STUDY = Path(__file__).parents[2] / "configs" / "studies" / "size_pawsx_mini.toml"
OTHERS = (
    "nli", "tagging", "questions", "choice", "qqp", "hellaswag", "ccg", "commonsenseqa", "xcopa", "panx", "mlqa",
    "tydiqa", "bucc2018",
)  # fmt: skip
SMALL = (
    "axes.seed=[0]", 'axes.phases.intermediate.max_examples=[20, "all"]', "model.preset=tiny",
    "tokenizer.vocab_size=120", "mesh.data=none", 'world.languages=["x1"]', "world.documents=60",
    "world.documents_by_language=[]", "world.mnli={train=40, dev=8, test=8}",
    "world.paraphrase={train=40, dev=4, test=9}", "world.retrieval_pairs=0",
    *(f"world.{family}={{train=0, dev=0, test=0}}" for family in OTHERS),
    *(f"phases.{phase}.steps=2" for phase in ("pretrain", "intermediate", "target")),
)  # fmt: skip


def run(folder):
    """What the program prints."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        words = ["run", str(STUDY), *SMALL, "--runs", str(folder / "runs"), "--cache", str(folder / "cache")]
        app(words, standalone_mode=False)
    return out.getvalue(), said.getvalue()


def test_the_smallest_twin_ends_with_its_headline_and_computes_nothing_twice(tmp_path):
    out, _ = run(tmp_path)
    assert re.search(
        r"^(20|all) examples (raises|lowers|leaves) PAWS-X in 1 languages? other than English .*against no "
        r"intermediate \(95 % interval of the difference [+−]\d.* to [+−]\d.*, over examples only; 1 seed\)\.$",
        out,
        re.MULTILINE,
    ), out
    where = tmp_path / "runs" / Path(out.splitlines()[-1]).name
    results = json.loads((where / "results.json").read_text())
    assert (results["study"]["question"], results["study"]["baseline"]) == ("size", "no intermediate")
    rows = {(row["arm"], row["lang"], row["metric"]): row["n_scored"] for row in results["rows"]}
    assert len(rows) == len(results["rows"]) == 3 * 2 * 3
    assert {arm for arm, *_ in rows} == {"20 examples", "all examples", "no intermediate"}
    assert set(rows.values()) == {9}
    assert (where / "report" / "index.html").is_file()
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "phases").glob("*/DONE")}
    assert len(done) == 1 + 2 + 3  # pretrained once, for both intermediates and for the target without
    again, said = run(tmp_path)
    assert again.splitlines()[-1] == out.splitlines()[-1]
    assert "measured" not in said
    assert {path: path.stat().st_mtime_ns for path in done} == done
