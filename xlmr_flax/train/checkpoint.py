"""The one place that speaks to Orbax: what a running phase saves, and what a finished one hands over.

checkpoints/training/<step>/   encoder, head, optimizer, counters; metadata: progress, every leaf's checksum, its own
checkpoints/training/newest    the step of the last save that came to its end
checkpoints/selected/          encoder, head; all that stays when the phase is done
checkpoints/selected_all_langs/   the same of the step that all languages select, where that was asked for
"""

import contextlib
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from orbax.checkpoint import v1 as ocp

from xlmr_flax.config.schema import ALL_LANGS
from xlmr_flax.errors import TrainingError, no_room
from xlmr_flax.storage.places import look, remove, write
from xlmr_flax.train.keep import Keep
from xlmr_flax.train.processes import writes
from xlmr_flax.train.record import Parts, check_shapes, dictionaries, mismatch, signed, trees, verified

# What Orbax and its readers raise on files that are damaged or gone (each kind of damage is tried in a test). Anything
# else, running out of memory first of all, says nothing about the checkpoint and must not make an older one be used.
UNREADABLE = (OSError, ValueError, KeyError, TypeError)

RECORD = "_CHECKPOINT_METADATA"  # of a checkpoint, to Orbax

SELECTED, SELECTED_ALSO = "selected", f"selected_{ALL_LANGS}"

SLICE_BYTES = 2**20
CHUNK_BYTES = 2**26
READ_BYTES = 2**29


class DamagedError(TrainingError):
    """A checkpoint whose files are not what was saved."""


class Restored(NamedTuple):
    """A checkpoint that was found whole."""

    step: int
    parts: Parts
    progress: dict[str, Any]  # plain JSON: best so far, evaluations until now


class Checkpoints:
    """The checkpoints of one running phase."""

    def __init__(self, folder: Path, *, keep: int, keep_every_steps: int | None = None) -> None:
        # What fails in Orbax's threads is raised here, at the next step; its logs would print it six times before.
        logging.getLogger("absl").addFilter(_not_of_orbax)
        self.folder, self.keep = folder / "training", Keep(keep, keep_every_steps)
        # lightweight: otherwise Orbax reads the records of all checkpoints, and ends at one that is damaged
        self.orbax = ocp.training.Checkpointer(
            self.folder,
            preservation_policy=self.keep,
            cleanup_tmp_directories=True,
            lightweight_initialize=True,
            context=_saving(),
        )
        self.pending: tuple[int, Any] | None = None

    def save(self, step: int, parts: Parts, progress: dict[str, Any]) -> None:
        """Starts saving; the arrays may be donated as soon as this returns. Raises what the save before raised."""
        self.wait()
        self.keep.needed[step] = _needed(progress)
        self.keep.passed_over.discard(step)
        record = signed({"step": step, "progress": progress}, parts)
        with self._disk_told(step):
            # overwrite: after a fall-back to an older checkpoint, a damaged newer one stands in the way
            saving = self.orbax.save_checkpointables_async(
                step, dictionaries(parts), force=True, overwrite=True, custom_metadata=record
            )
        self.pending = step, saving

    def check(self) -> None:
        """Raises TrainingError when the save in the background has failed; does not wait for it."""
        if self.pending is not None and not self.orbax.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Waits for the save under way. Raises TrainingError when the disk did not take it."""
        if self.pending is None:
            return
        (step, saving), self.pending = self.pending, None
        with self._disk_told(step):
            saving.result()
            writes(write, self.folder / "newest", f"{step}\n")

    @contextlib.contextmanager
    def _disk_told(self, step: int) -> Iterator[None]:
        """Raises TrainingError when it is the disk that fails; whatever else it is keeps its traceback."""
        try:
            yield
        except Exception as error:
            if not _of_the_disk(error):
                raise
            whole = [saved for saved in self._steps() if saved != step]
            left = f"the last whole one is that of step {whole[0]}" if whole else "there is none before it"
            what = "no room is left on the disk; make some" if no_room(error) else f"{_reason(error)}; set that right"
            raise TrainingError(
                f"{self.folder}: the checkpoint of step {step} could not be saved, {left}: {what}, and run the same "
                "command again"
            ) from error

    def restore(self, like: Parts) -> Restored | None:
        """The newest whole checkpoint, laid out like the abstract arrays of `like`; None when none was ever saved.

        Raises TrainingError when there are checkpoints but none is whole, InputError when a shape is another.
        """
        passed_over = self._lost()
        for step in self._steps():
            try:
                found = self._whole(step, like)
                self._check_needed(found, like)
            except DamagedError as error:
                passed_over.append(step)
                _warn(f"{error}; trying the one before it")
            else:
                self.keep.passed_over = set(passed_over)
                self.keep.needed = {saved: self._needed_by(saved) for saved in self._steps() if saved <= step}
                return found
        if passed_over:
            raise TrainingError(
                f"{self.folder}: none of its checkpoints is whole (steps {', '.join(map(str, passed_over))}); "
                "remove the phase's folder to start it over"
            )
        return None

    def _steps(self) -> list[int]:
        # By the folders that are there: to Orbax one that has lost its record is none, and it would say nothing.
        return sorted((int(path.name) for path in self.folder.glob("[0-9]*") if path.name.isdigit()), reverse=True)

    def _lost(self) -> list[int]:
        """The step that was saved last, where its folder is gone."""
        record = look(self.folder / "newest")
        if record is None:
            return []
        newest = int(record.content) if record.content.strip().isdigit() else 0
        if max(self._steps(), default=-1) >= newest:
            return []
        _warn(f"{self.folder / str(newest)}: this checkpoint is missing; trying the one before it")
        return [newest]

    def _needed_by(self, step: int) -> frozenset[int]:
        try:
            return _needed(_record_of(self.folder / str(step))["progress"])
        except DamagedError:  # found out when it is needed
            return frozenset()

    def _check_needed(self, found: Restored, like: Parts) -> None:
        """Raises DamagedError when a phase that goes on from here could not hand over what it should."""
        for step in sorted(_needed(found.progress) - {found.step}):
            try:
                self._whole(step, {name: tree for name, tree in like.items() if name in ("encoder", "head")})
            except DamagedError as error:
                what = "a step to be averaged" if step in found.progress.get("averaged", ()) else "its best step"
                raise DamagedError(f"{self.folder / str(found.step)}: {what} is lost: {error}") from error

    def _whole(self, step: int, like: Parts) -> Restored:
        saved, parts = _load(self.folder / str(step), like)
        return Restored(saved["step"], parts, saved["progress"])

    def parts_at(self, step: int, like: Parts) -> Parts:
        """The arrays of one kept step. Raises DamagedError, a TrainingError, when it is damaged."""
        self.wait()
        return self._whole(step, like).parts

    def close(self) -> None:
        """Waits and lets go of the folder."""
        try:
            self.wait()
        finally:
            try:
                self.orbax.close()
            except Exception as error:  # once more the error of a save, which has been said
                if not _of_the_disk(error):
                    raise


def _needed(progress: dict[str, Any]) -> frozenset[int]:
    """The checkpoints that a phase which goes on from here may hand over; older records do not name all."""
    best = (progress.get("best_step"), progress.get("also_step"))
    return frozenset((*best, *progress.get("averaged", ()))) - {None}


def _of_the_disk(error: Exception) -> bool:
    # TensorStore's are ValueErrors that begin with their status: "UNAVAILABLE: …".
    return isinstance(error, OSError) or (isinstance(error, ValueError) and bool(re.match("[A-Z_]+: ", str(error))))


def _not_of_orbax(record: logging.LogRecord) -> bool:
    return "orbax" not in Path(record.pathname).parts


def _warn(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def save_selected(folder: Path, parts: Parts, metadata: dict[str, Any], name: str = SELECTED) -> None:
    """Keeps what a finished phase hands over, beside the checkpoints of its training."""
    with _saving():
        ocp.save_checkpointables(
            folder / name, dictionaries(parts), overwrite=True, custom_metadata=signed(metadata, parts)
        )


def _saving() -> ocp.Context:
    context = ocp.Context()
    # Replicas share the writing of an array slice by slice. Of a model of 0.1 million parameters on eight devices that
    # made 600 slices a save and took 0.25 s longer.
    context.array.saving.min_slice_bytes_for_replica_parallel = SLICE_BYTES
    # A chunk is read and decoded whole, and more than one at a time.
    context.array.saving.storage_options.chunk_byte_size = CHUNK_BYTES
    # Random floats: 9 % fewer bytes for 3.9 instead of 0.4 seconds of a core a GB, which the training step waits for.
    context.array.saving.use_compression = False
    return context


def remove_training(folder: Path) -> None:
    """Removes the checkpoints of a phase that is done: optimizer state is as large as the weights, twice."""
    remove(folder / "training")


def load_selected(folder: Path, like: Parts, name: str = SELECTED) -> Parts:
    """Parts of a finished phase, laid out like the abstract arrays of `like`.

    Raises TrainingError when a file is missing or damaged, InputError when a shape is another.
    """
    return _load(folder / name, like)[1]


def _load(where: Path, like: Parts) -> tuple[dict[str, Any], Parts]:
    """What was said of a checkpoint when it was saved, and its arrays, every bit of both compared."""
    saved = _record_of(where)
    # Before Orbax sees it: its own words on another shape name no leaf.
    check_shapes(where, saved["leaves"], like)
    checksums = {name: leaf["checksum"] for name, leaf in saved["leaves"].items()}
    loaded: Parts = {name: {} for name in like}
    for group in _groups(like):
        for name, leaves in _load_group(where, group, checksums).items():
            loaded[name] |= leaves
    return saved, trees(loaded, like)


def _groups(like: Parts) -> Iterator[Parts]:
    """The leaves in groups of READ_BYTES, or of one that is larger, the largest first.

    Orbax reads all that it is asked for at once, and each array is there up to three times until it is on its device:
    together with the state that is there already, that is least when the large ones are not the last.
    """
    leaves = [(part, name, leaf) for part, tree in dictionaries(like).items() for name, leaf in tree.items()]
    group, total = {}, 0
    for part, name, leaf in sorted(leaves, key=lambda each: -each[2].size):
        size = leaf.size * leaf.dtype.itemsize
        if group and total + size > READ_BYTES:
            yield group
            group, total = {}, 0
        group.setdefault(part, {})[name], total = leaf, total + size
    yield group


def _record_of(where: Path) -> dict[str, Any]:
    """What was said of a checkpoint when it was saved.

    Orbax's own reader opens every array too. Where a kill came while a checkpoint was being removed, some are gone,
    and what its threads print of that is not for users, who need that checkpoint no more.
    """
    try:
        seen = look(where / RECORD)
        if seen is None:
            raise FileNotFoundError(f"{RECORD} is missing")
        return verified(json.loads(seen.content)["custom_metadata"])
    except (*UNREADABLE, RecursionError, AttributeError) as error:
        raise DamagedError(f"{where}: this checkpoint cannot be read ({_reason(error)})") from error


def _load_group(where: Path, group: Parts, checksums: dict[str, int]) -> Parts:
    context = ocp.Context()
    context.pytree.loading.partial_load = True
    try:
        with context:
            loaded = ocp.load_checkpointables(where, group)
    except UNREADABLE as error:
        logging.getLogger("asyncio").addFilter(_asked_for)
        raise DamagedError(f"{where}: this checkpoint cannot be read ({_reason(error)})") from error
    flat = {".".join(filter(None, (part, name))): leaf for part, tree in loaded.items() for name, leaf in tree.items()}
    if wrong := mismatch(flat, checksums):
        raise DamagedError(f"{where}: this checkpoint is damaged: {wrong} is not what was saved")
    return loaded


def _asked_for(record: logging.LogRecord) -> bool:
    """Of the arrays that a load fails on the first is told; asyncio would print the others, which Orbax forgets."""
    error, text = record.exc_info[1] if record.exc_info else None, record.getMessage()
    return not (isinstance(error, UNREADABLE) and "never retrieved" in text and "orbax" in text)


def _reason(error: BaseException) -> str:
    # Orbax wraps what went wrong in a page about its handlers.
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).splitlines()[0][:500] if str(error) else 'no message'}"
