"""Two runs of the same experiment at once: what one computes the other waits for, and then finds."""

import threading

import pytest

from xlmr_flax.errors import Interrupted
from xlmr_flax.execute import local
from xlmr_flax.execute.local import run_node
from xlmr_flax.graph.nodes import WorldNode, is_done
from xlmr_flax.storage import holding
from xlmr_flax.train.loop import Stop


@pytest.fixture
def world(open_lab, tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "LOOK_SECS", 0.02)
    lab = open_lab(tmp_path)
    return next(node for node in lab.graph.nodes if isinstance(node, WorldNode)), lab.context, lab


def test_what_two_runs_want_at_once_is_made_once(world, monkeypatch):
    node, context, lab = world
    made, waiting = [], threading.Event()

    def write_world(settings, folder):
        made.append(folder)
        waiting.wait(60)

    monkeypatch.setattr(local, "write_world", write_world)
    monkeypatch.setattr(holding.time, "sleep", lambda _: waiting.set())
    runs = [threading.Thread(target=run_node, args=(node, context, Stop())) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
    assert made == [context.folders.of(node)]
    assert is_done(node, context.folders.runs)
    assert lab.said().count("is being computed by another run") == 1
    assert not context.folders.holder_of(node).exists()


def test_a_run_that_waits_can_be_stopped_and_has_computed_nothing(world, monkeypatch):
    node, context, _ = world
    stop = Stop()
    stop.asked = True

    def write_world(settings, folder):
        with pytest.raises(Interrupted, match="stopped while waiting for worlds/world-") as caught:
            run_node(node, context, stop)
        assert caught.value.exit_code == 75
        assert not folder.exists()

    monkeypatch.setattr(local, "write_world", write_world)
    run_node(node, context, Stop())
