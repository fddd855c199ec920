"""Kills at random moments of every phase: the same command ends with the same bits as if there had been none."""

import random
import resource
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from xlmr_flax.config.world import WorldSettings
from xlmr_flax.sources.miniworld.telling import Telling
from xlmr_flax.sources.miniworld.write import write_world

chains = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("chains.py"))))

# Of what the disturbed runs do, the first start alone compiles for long; the others find their programs.
WARM = 0.5


def cpu_seconds() -> float:
    """What all processes that were started here have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("kills", "a_chain", "afresh"),
    [pytest.param(8, 8, 0, id="8"), pytest.param(200, 20, 5, id="200", marks=pytest.mark.long)],
)
@pytest.mark.filterwarnings("ignore:Sharding info not provided:UserWarning")
def test_a_kill_at_any_moment_changes_no_bit(tmp_path, kills, a_chain, afresh):
    """Every `afresh`-th chain compiles its programs itself, so that kills meet compiling."""
    whole, seconds = chains.undisturbed(tmp_path / "whole", tmp_path / "compiled")
    wanted, done, different = chains.left(whole), [], {}
    while sum(len(chain.kills) for chain in done) < kills:
        number = len(done)
        compiled = None if afresh and number % afresh == 0 else tmp_path / "compiled"
        draw = random.Random(number)
        chain = chains.disturbed(
            tmp_path / str(number), compiled, kills=a_chain, seconds=seconds * (WARM if compiled else 1), draw=draw
        )
        done.append(chain)
        if found := chains.differences(chains.left(chain), wanted):
            different[number] = found
        print(f"\n{chains.table([chain], not found)}", flush=True)
    print(f"\n{chains.table(done, len(done) - len(different))}")
    print(f"undisturbed: {seconds:.1f} s; all starts: {cpu_seconds():.0f} s of CPU")
    assert not different


def test_a_world_killed_in_its_last_file_is_written_again(tmp_path, monkeypatch):
    settings = WorldSettings.model_validate_json(
        '{"languages": ["x1"], "documents": 5, "retrieval_pairs": 4, "nli": {"train": 4, "dev": 2, "test": 2}, '
        '"paraphrase": {"train": 4, "dev": 2, "test": 2}, "tagging": {"train": 4, "dev": 2, "test": 2}, '
        '"questions": {"train": 4, "dev": 2, "test": 2}, "choice": {"train": 4, "dev": 2, "test": 0}}'
    )
    write = Telling.lines

    def killed(telling, name, lines):
        if "world.json" not in name:
            return write(telling, name, lines)
        (telling.folder / name).write_text('{"settings": ', encoding="utf-8")
        raise KeyboardInterrupt

    monkeypatch.setattr(Telling, "lines", killed)
    with pytest.raises(KeyboardInterrupt):
        write_world(settings, tmp_path / "world")
    monkeypatch.undo()
    write_world(settings, tmp_path / "world")
    write_world(settings, tmp_path / "other")
    whole, again = ({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()}
                    for name in ("other", "world"))  # fmt: skip
    assert again == whole
