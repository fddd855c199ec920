"""When a phase starts again with another seed, and which."""

import json

import pytest

from xlmr_flax.config.schema import Phase
from xlmr_flax.execute.attempts import Selected, current, give_up, learnt_nothing, remove_checkpoints, seed_of
from xlmr_flax.report.chance import NEVER_FELL, SELECTED_AT_CHANCE
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.train.watch import Watch

PHASE = {"name": "target", "tasks": ("xnli",), "length": 32, "batch_size": 8, "steps": 10}
GOLD = ["entailment", "neutral", "contradiction"] * 33


def watched(*losses):
    watch = Watch("toy", max_skipped_steps=1, batch_of=str)
    for loss in losses:
        watch.lost(loss)
    return watch


FELL, STAYED = watched(1.1, 1.0, 0.8, 0.6), watched(1.1, 1.1, 1.1, 1.1)


@pytest.mark.parametrize(
    ("watch", "score", "keep_head", "wanted"),
    [
        (FELL, None, False, []),
        (STAYED, None, False, [NEVER_FELL]),
        (STAYED, None, True, []),  # it may have been low from the beginning
        (FELL, 0.34, False, [SELECTED_AT_CHANCE]),
        (FELL, 0.6, False, []),
        (STAYED, 0.34, False, [NEVER_FELL, SELECTED_AT_CHANCE]),
    ],
)
def test_the_loss_and_the_selected_score_decide(watch, score, keep_head, wanted):
    phase = Phase(**PHASE, keep_head=keep_head)
    golds = {"en": GOLD} if score is not None else {}
    assert learnt_nothing([Selected(task("xnli"), "accuracy", golds)], phase, watch, score=score) == wanted


def test_chance_over_several_languages_is_the_mean_of_theirs():
    golds = {"en": GOLD, "de": ["neutral"] * 99}  # 0.41 and 1
    for score, wanted in ((0.70, [SELECTED_AT_CHANCE]), (0.72, [])):
        found = learnt_nothing([Selected(task("xnli"), "accuracy", golds)], Phase(**PHASE), FELL, score=score)
        assert found == wanted


def test_of_several_tasks_those_are_named_whose_loss_never_fell_and_masked_lm_may_stay():
    watch = Watch("toy", max_skipped_steps=1, batch_of=str)
    for loss in (1.1, 1.0, 0.8, 0.6):
        watch.lost(loss, {"xnli": 0.7, "squad": loss, "mlm": 2.0})
    golds = {"en": GOLD}
    parts = [Selected(task(name), "accuracy", golds if name == "xnli" else {}) for name in ("xnli", "squad", "mlm")]
    phase = Phase(**{**PHASE, "tasks": ("xnli", "squad", "mlm")})
    again = Watch("toy", max_skipped_steps=1, batch_of=str)
    again.restore(json.loads(json.dumps(watch.carry())))
    for each in (watch, again):
        assert learnt_nothing(parts, phase, each, score=0.6) == [f"{NEVER_FELL}: xnli"]
    assert SELECTED_AT_CHANCE in learnt_nothing(parts, phase, watch, score=0.34)


def test_seeds_of_later_attempts_differ_and_are_always_the_same():
    assert seed_of(3, 0) == 3
    assert len({seed_of(seed, number) for seed in range(4) for number in range(4)}) == 16
    assert seed_of(3, 1) == seed_of(3, 1)


class Node:
    key, seed, phase, keeps_also = "k", 3, Phase(**PHASE, retries=1), False


def test_an_attempt_that_is_given_up_is_recorded_and_the_next_has_its_own_checkpoints(tmp_path):
    first = current(Node, tmp_path)
    assert (first.seed, first.past, first.last, first.checkpoints) == (3, [], False, tmp_path / "checkpoints")
    (first.checkpoints / "training" / "5").mkdir(parents=True)
    give_up(tmp_path, first, steps=10, score=0.3, flags=[NEVER_FELL])
    second = current(Node, tmp_path)
    assert (second.seed, second.last) == (seed_of(3, 1), True)
    assert second.past == [{"seed": 3, "steps_run": 10, "score": 0.3, "flags": [NEVER_FELL]}]
    assert second.checkpoints not in (first.checkpoints, first.checkpoints / "training")
    assert not (first.checkpoints / "training").exists()
    (second.checkpoints / "training").mkdir(parents=True)
    (first.checkpoints / "selected").mkdir()
    remove_checkpoints(tmp_path, attempts=2)
    assert [path.name for path in first.checkpoints.iterdir()] == ["selected"]
    assert json.loads((tmp_path / "attempts.json").read_text()) == second.past


def test_checkpoints_of_both_selections_stand_apart_and_go_with_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(Node, "keeps_also", True)
    both = current(Node, tmp_path)
    assert both.checkpoints != tmp_path / "checkpoints"
    (both.checkpoints / "training" / "5").mkdir(parents=True)
    give_up(tmp_path, both, steps=10, score=0.3, flags=[NEVER_FELL])
    (current(Node, tmp_path).checkpoints / "training").mkdir(parents=True)
    (tmp_path / "checkpoints" / "selected").mkdir()
    remove_checkpoints(tmp_path, attempts=2)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["selected"]
