"""An evaluation that is asked to stop: what is scored stays, and the rest is scored by the next command."""

import dataclasses

import pytest

from xlmr_flax.errors import Interrupted
from xlmr_flax.execute import evaluation
from xlmr_flax.execute.evaluation import run_evaluation
from xlmr_flax.graph.nodes import EvalNode, read_scores
from xlmr_flax.train.loop import Stop


def test_a_kill_between_two_languages_keeps_the_first_and_the_next_run_scores_the_other(lab, tmp_path, monkeypatch):
    node = next(node for node in lab.graph.nodes if isinstance(node, EvalNode) and len(node.langs) > 1)
    done = read_scores(lab.context.folders.of(node))["langs"]
    folders = dataclasses.replace(lab.context.folders, runs=tmp_path)
    context = dataclasses.replace(lab.context, folders=folders)
    monkeypatch.setattr(evaluation, "load_trained", lambda *_, **__: None)
    stop, asked = Stop(), []

    def score(subject, lang, predictions, context, **_):
        asked.append(lang)
        stop.asked = True
        return done[lang]

    monkeypatch.setattr(evaluation, "score", score)
    monkeypatch.setattr(evaluation, "check_scored", lambda *_: None)
    monkeypatch.setattr(evaluation, "scored_files", lambda *_: {})
    with pytest.raises(Interrupted, match=f"stopped before .* {node.langs[1]}, all saved"):
        run_evaluation(node, context, stop)
    assert read_scores(folders.of(node))["langs"].keys() == {node.langs[0]}

    while asked[-1] != node.langs[-1]:
        stop.asked = False
        try:
            run_evaluation(node, context, stop)
        except Interrupted:
            continue
    assert asked == list(node.langs)
    assert read_scores(folders.of(node))["langs"] == done
