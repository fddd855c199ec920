"""One writer at a time: whoever computes something says so in a small file, and others wait for it.

The file names host, process and time and is written anew every few seconds while its process lives. A holder is gone
when its process is no more, on the machine where that can be seen, or when nothing was heard of it for long.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xlmr_flax.errors import InputError, Interrupted
from xlmr_flax.storage.places import Seen, create, exchange, is_remote, json_text, look

BEAT_SECS = 15
GONE_SECS = 120  # eight beats: a bucket or a network file system may be out of reach for a while
LOOK_SECS = 1.0
SAY_SECS = 600  # again, for whoever looks at a log in the morning
LINUX = sys.platform == "linux"


@contextlib.contextmanager
def held(path: Path, name: str, *, say: Callable[[str], None], is_asked: Callable[[], bool]) -> Iterator[None]:
    """Holds `name`, by the file `path`, until the end of the block; waits for whoever holds it, and says who that is.

    Raises Interrupted when `is_asked` while waiting. A process that is no longer the holder (it was suspended for so
    long that another took over) ends at once, with exit code 75: what it writes would be written over by the other.
    """
    made = [] if is_remote(path) else [folder for folder in path.parents if not folder.exists()]
    mine = _taken(path, name, say, is_asked)
    done = threading.Event()
    beats = _Beats(path, name, mine, done)
    beats.start()
    try:
        yield
    finally:
        done.set()
        beats.join()
        with contextlib.suppress(OSError):  # out of reach: others find out by themselves
            exchange(path, beats.mine, None)
        for folder in made:
            with contextlib.suppress(OSError):  # what came of it lies there, or another run's file
                folder.rmdir()


def who(seen: Seen) -> str:
    """A holder in words."""
    record = _record(seen)
    if record is None:
        return "a run whose name cannot be read"
    since = datetime.fromtimestamp(record["since"], UTC)
    return f"host {record['host']}, process {record['pid']}, since {since:%Y-%m-%d %H:%M:%S} UTC"


def why_gone(seen: Seen, now: float) -> str | None:
    """Why a holder is thought to be no more; None while it may be at work."""
    record = _record(seen)
    if record is None:
        return "the file that names it is damaged"
    if record["machine"] == _machine():
        return None if _started(record["pid"]) == record["started"] else "that process is no more"
    silent = now - record["beat"]
    return f"nothing was heard of it for {silent / 60:.0f} minutes" if silent > GONE_SECS else None


def _taken(path: Path, name: str, say: Callable[[str], None], is_asked: Callable[[], bool]) -> Seen:
    told: tuple[str, float] | None = None
    while True:
        mine = create(path, json_text(_me()))
        if mine is not None:
            return mine
        seen = look(path)
        if seen is None:
            continue
        if gone := why_gone(seen, time.time()):
            mine = exchange(path, seen, json_text(_me()))
            if mine is not None:
                say(f"{name} was held by {who(seen)}; {gone}: going on from what it saved")
                return mine
            continue
        if told is None or told[0] != who(seen) or time.monotonic() - told[1] > SAY_SECS:
            say(f"{name} is being computed by another run: {who(seen)}; waiting for it (Ctrl-C: no longer)")
            told = who(seen), time.monotonic()
        if is_asked():
            raise Interrupted(
                f"stopped while waiting for {name}, which {who(seen)}, computes; run the same command to continue"
            )
        time.sleep(LOOK_SECS)


class _Beats(threading.Thread):
    """Says every few seconds that the holder lives."""

    def __init__(self, path: Path, name: str, mine: Seen, done: threading.Event) -> None:
        super().__init__(name=f"holding {name}", daemon=True)
        self.path, self.named, self.mine, self.done = path, name, mine, done

    def run(self) -> None:
        while not self.done.wait(BEAT_SECS):
            record = json.loads(self.mine.content) | {"beat": time.time()}
            try:
                mine = exchange(self.path, self.mine, json_text(record))
            except (OSError, InputError) as error:  # out of reach: others wait for GONE_SECS
                print(f"{self.path}: {error}", file=sys.stderr)  # noqa: T201
                continue
            if mine is None:
                self._lost()
            else:
                self.mine = mine

    def _lost(self) -> None:
        seen = look(self.path)
        now = f"held by {who(seen)}" if seen else "held by nobody: its file was removed"
        print(  # noqa: T201
            f"{self.named} is no longer held by this run but {now}; ending before anything is written twice. "
            "Run the same command to continue",
            file=sys.stderr,
            flush=True,
        )
        os._exit(Interrupted.exit_code)


def _me() -> dict[str, Any]:
    now, pid = time.time(), os.getpid()
    return {
        "host": socket.gethostname(),
        "pid": pid,
        "since": now,
        "beat": now,
        "machine": _machine(),
        "started": _started(pid),
        "token": uuid.uuid4().hex,
    }


def _record(seen: Seen) -> dict[str, Any] | None:
    try:
        record = json.loads(seen.content)
        float(record["beat"]), float(record["since"]), int(record["pid"])
        return record if {"host", "machine", "started"} <= record.keys() else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _machine() -> str:
    """Where process numbers mean the same: a host since it was started, and within it a container."""
    boot, names = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    told = f"{boot.read_text(encoding='ascii').strip()} {names.readlink()}" if LINUX else hex(uuid.getnode())
    return f"{socket.gethostname()} {told}"


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was: a number given again is another. None: it is gone."""
    if not LINUX:  # that a process of this number runs is all that is easily known
        try:
            os.kill(pid, 0)
        except OSError:
            return None
        return 0
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])
