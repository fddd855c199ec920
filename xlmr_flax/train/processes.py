"""The processes of a run that spans hosts: who writes, what all agree on, and how they end together.

Process 0 writes; all take every step. Whatever one process waits for has a name and a limit here, and a process that is
gone ends the others with a sentence. With one process everything here is nothing.
"""

import contextlib
import json
import os
import socket
import sys
import tempfile
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from absl import flags
from jax._src import distributed  # the client of the coordination service has no public name; Orbax takes it from here
from jax.experimental import multihost_utils

from xlmr_flax.config.processes import Expected
from xlmr_flax.errors import InputError, Interrupted, PeerLost, TrainingError
from xlmr_flax.storage.places import create, exchange, look

JOIN_SECONDS = 50  # until all processes have come
HEARTBEAT_SECONDS = 40  # a process that is not heard of for so long is gone
WATCH_SECONDS = 1.0
END_SECONDS = 15  # for the others to hear why a process ends
READ_SECONDS = 60  # for a value that another process is about to say
SHARED_SECONDS = 15  # for a new file to be seen by all
STOP_SECONDS = 120  # for all to have stopped at the agreed step
NODE_SECONDS = 600  # for all to have finished the same piece of work
BUILD_SECONDS = 4 * 3600  # for process 0 to encode a study's examples

AGAIN = "run the same command on all hosts to continue from what was saved"


def several() -> bool:
    """Whether this run has more than one process."""
    return distributed.global_state.client is not None and distributed.global_state.num_processes > 1


def me() -> int:
    """This process's number."""
    return distributed.global_state.process_id


def count() -> int:
    """How many processes there are."""
    return distributed.global_state.num_processes


def is_writer() -> bool:
    """Whether this process writes logs, results and caches."""
    return not several() or me() == 0


def join(expected: Expected | None) -> None:
    """Meets the other processes, before any device is touched; None: as the cluster says.

    Ends the process when not all have come after a while: jax leaves no other way.
    """
    # Otherwise jax aborts every process as soon as one is gone, before any can say so.
    jax.config.update("jax_enable_recoverability", True)
    # Orbax's own barriers have no limit without it.
    flags.FLAGS.mark_as_parsed()
    flags.FLAGS.experimental_orbax_use_distributed_barrier = True
    _keep_stdout_clean()
    given = expected._asdict() if expected else {}
    try:
        # Where not all come in time jax ends the process, and the parent says so.
        jax.distributed.initialize(
            **given, initialization_timeout=JOIN_SECONDS, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
    except ValueError as error:
        if expected is None and "should be defined" in str(error):
            return  # no cluster that jax knows: a single process
        raise
    if several():
        distributed.global_state.client.key_value_set(f"xlmr/host/{me()}", socket.gethostname())
        barrier("all have come", JOIN_SECONDS)


def _keep_stdout_clean() -> None:
    """Points what C++ prints on standard output (gloo greets its peers there) at standard error."""
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)


def barrier(name: str, seconds: float) -> None:
    """Waits until all processes are at the barrier of this name.

    Raises PeerLost, naming the barrier and the processes that have not come, when that takes longer than `seconds`.
    """
    if not several():
        return
    client, number = distributed.global_state.client, _count(name)
    key = f"xlmr/barrier/{name}/{number}"
    client.key_value_set(f"{key}/{me()}", "here")
    try:
        client.wait_at_barrier(key, int(seconds * 1000))
    except jax.errors.JaxRuntimeError as error:
        came = {int(path.rsplit("/", 1)[-1]) for path, _ in client.key_value_dir_get(f"{key}/")}
        missing = ", ".join(told(number) for number in range(count()) if number not in came)
        raise PeerLost(
            f"barrier {name!r}: waited {seconds:.0f} s for {missing or 'an answer'} ({_first_line(error)}); {AGAIN}"
        ) from error


_counts: dict[str, int] = {}


def _count(name: str) -> int:
    """How often this name has been used: all processes use the same names in the same order."""
    _counts[name] = _counts.get(name, 0) + 1
    return _counts[name]


def of_writer(name: str, value: Callable[[], Any], *, seconds: float = READ_SECONDS) -> Any:
    """What `value` gives on process 0, as plain JSON: what one process has looked up, all act upon."""
    if not several():
        return value()
    client, key = distributed.global_state.client, f"xlmr/value/{name}/{_count(name)}"
    if is_writer():
        client.key_value_set(key, json.dumps(value()))
    try:
        return json.loads(client.blocking_key_value_get(key, int(seconds * 1000)))
    except jax.errors.JaxRuntimeError as error:
        raise PeerLost(f"{name!r}: {told(0)} did not say it within {seconds:.0f} s; {AGAIN}") from error


def by_writer(name: str, do: Callable[[], object], *, seconds: float = BUILD_SECONDS) -> None:
    """Has process 0 do something, while the others wait until it is done."""
    if is_writer():
        do()
    barrier(name, seconds)


def writes(do: Callable[..., object], *what: Any) -> None:
    """Does in process 0 what the others neither do nor wait for: writing a log, a score, a prediction."""
    if is_writer():
        do(*what)


@contextlib.contextmanager
def in_turn(name: str, *, seconds: float = BUILD_SECONDS) -> Iterator[None]:
    """Lets process 0 do the block and then all others, who find what it has published."""
    if is_writer():
        yield
        barrier(name, seconds)
    else:
        barrier(name, seconds)
        yield


@contextlib.contextmanager
def log_folder(folder: Path) -> Iterator[Path]:
    """Where this process's logs go: into the folder, or, of a process that writes nothing, away."""
    if is_writer():
        yield folder
        return
    with tempfile.TemporaryDirectory() as away:
        yield Path(away)


def own(folder: Path) -> Path:
    """A folder beside this one that only this process uses."""
    return folder if is_writer() else folder.with_name(f"{folder.name}-{me()}")


def put(tree: Any, shardings: Any) -> Any:
    """Host arrays, which all processes have, onto the devices: each process reads the rows of its own devices."""

    def placed(x: Any, sharding: Any) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    if not several():
        return jax.device_put(tree, shardings)
    return jax.tree.map(placed, tree, shardings)


def fetch(tree: Any) -> Any:
    """Arrays of the devices of all processes, as numpy arrays on each of them."""
    if not several():
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def check_shared(folder: Path) -> None:
    """Raises InputError that names the hosts for which `folder` is not the one that process 0 writes to."""
    if not several():
        return
    mark = folder / of_writer("the name of a file to look for", lambda: f".seen-by-all-{uuid.uuid4().hex}")
    by_writer("a file to look for", lambda: create(mark, b""), seconds=READ_SECONDS)
    until = time.monotonic() + SHARED_SECONDS  # network file systems show new files late
    while not (seen := look(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    try:
        mine = "the folder of process 0" if seen else f"{folder}, which has nothing of process 0's"
        agree("their folders", lambda: {"--runs": mine})
    finally:
        if is_writer() and seen:
            exchange(mark, seen, None)


def stop_agreed(point: int) -> bool:
    """Whether all processes stop at this point of their common count, because one was told to or the runtime said so.

    Points must come one by one: the one that is agreed on is the next that no process has passed.
    """
    return multihost_utils.reached_preemption_sync_point(point)


def agree(what: str, values: Callable[[], Mapping[str, Any]]) -> None:
    """Raises InputError, on all processes, that names each host and field whose value is not that of process 0."""
    if not several():
        return
    mine = json.loads(json.dumps(values()))
    theirs = of_writer(f"{what} to compare", lambda: mine)
    client, key = distributed.global_state.client, f"xlmr/agree/{what}"
    differing = [
        f"{told(me())}: {name} is {_short(mine.get(name))}, but {_short(theirs.get(name))} on {told(0)}"
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) != theirs.get(name)
    ]
    client.key_value_set(f"{key}/{me()}", json.dumps(differing))
    barrier(f"{what} compared", READ_SECONDS)
    found = [text for _, value in sorted(client.key_value_dir_get(f"{key}/")) for text in json.loads(value)]
    if found:
        raise InputError(
            f"the hosts do not agree on {what}: {'; '.join(found)}; make them equal and start the command again"
        )


def _short(value: Any) -> str:
    return "absent" if value is None else str(value)[:120]


def told(number: int) -> str:
    """A process as sentences name it."""
    try:
        host = distributed.global_state.client.key_value_try_get(f"xlmr/host/{number}")
    except jax.errors.JaxRuntimeError:
        return f"process {number}"
    return f"process {number} (host {host})"


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Ends all processes for the same reason and with the same exit code, whichever of them has it first."""
    if not several():
        yield
        return
    _watch()
    try:
        yield
        barrier("all is done", NODE_SECONDS)
    except (InputError, TrainingError, PeerLost) as error:
        _end_all(error.exit_code, str(error))
    except Interrupted as error:
        # All stop at the same step, and each only when its part of the save is whole.
        try:
            barrier("all have stopped", STOP_SECONDS)
        except PeerLost:
            _end_all(error.exit_code, str(error))
        _leave(error.exit_code, str(error))
    except jax.errors.JaxRuntimeError as error:
        # An exchange that fails because a process is gone fails before that is known for sure; then the watch ends all.
        time.sleep(HEARTBEAT_SECONDS + 10)
        _end_all(1, _last_line(error), shown=traceback.format_exc())
    except BaseException as error:
        _end_all(1, _last_line(error), shown=traceback.format_exc())
    _leave(0, "")


def _end_all(code: int, text: str, *, shown: str | None = None) -> NoReturn:
    """Says why, here and to the others, and ends."""
    client = distributed.global_state.client
    reason = {"code": code, "process": me(), "text": text}
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        client.key_value_set("xlmr/end", json.dumps(reason))
    _ending.set()
    _say(shown or text)
    _wait_for_others("heard")
    _exit(code)


def _leave(code: int, text: str) -> None:
    """Ends a process whose work is done; process 0, who holds the others' connections, is the last."""
    _ending.set()
    if text:
        _say(text)
    if is_writer():
        _wait_for_others("heard")
        if code:
            _exit(code)
        jax.distributed.shutdown()
        return
    distributed.global_state.client.key_value_set(f"xlmr/heard/{me()}", "")
    _exit(code)


def _wait_for_others(key: str) -> None:
    client, until = distributed.global_state.client, time.monotonic() + END_SECONDS
    for number in range(count()):
        if number != me():
            left = max(until - time.monotonic(), 0.1)
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                client.blocking_key_value_get(f"xlmr/{key}/{number}", int(1000 * left))
    time.sleep(0.5)  # they are heard of a moment before they are gone


_ending = threading.Event()


def _watch() -> None:
    _ending.clear()
    threading.Thread(target=_look_after_others, name="processes", daemon=True).start()


def _look_after_others() -> None:
    """Ends this process when another one has ended or is gone; what it was waiting for would never come."""
    client, everyone = distributed.global_state.client, list(range(count()))
    names = {number: told(number) for number in everyone}
    first = client.get_live_nodes(everyone)
    while not _ending.wait(WATCH_SECONDS):
        try:
            live = client.get_live_nodes(everyone)
            _heed(client)
        except jax.errors.JaxRuntimeError:
            continue  # process 0 is gone; jax is about to abort, and the parent process says so
        gone = [number for number in everyone if live.get(number) != first.get(number)]
        if gone and not _ending.is_set():
            _say(f"{' and '.join(names[number] for number in gone)} of {len(everyone)} processes is gone; {AGAIN}")
            _exit(Interrupted.exit_code)


def _heed(client: Any) -> None:
    """Ends this process as another one has asked for."""
    try:
        reason = json.loads(client.key_value_try_get("xlmr/end"))
    except jax.errors.JaxRuntimeError:
        return
    if reason["process"] == me() or _ending.is_set():
        return
    client.key_value_set(f"xlmr/heard/{me()}", "")
    _say(f"{told(reason['process'])} ended: {reason['text']}")
    _exit(reason["code"])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _exit(code: int) -> NoReturn:
    """Ends at once: Python's own way would wait for threads, and jax's for processes, that never come."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _last_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {_first_line(error)}; its own messages have the traceback"
