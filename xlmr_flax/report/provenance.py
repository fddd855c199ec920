"""How the scores came about: phases, data, versions, time. Everything is read from the phases' own files."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xlmr_flax.errors import InputError
from xlmr_flax.report import recorded
from xlmr_flax.report.cells import Cell, Table, number, table, words
from xlmr_flax.report.languages import CORPUS_SOURCE, FAMILY_SOURCE, LANGUAGES, SCRIPT_SOURCE
from xlmr_flax.report.load import Loaded
from xlmr_flax.storage.forms import parsed, read

UNKNOWN = "not known"
AGAIN = "put it back as it was, or remove the phase's folder and run the experiment again"
SLOWEST = 1e-9  # examples a second


class Phase(NamedTuple):
    """What the files of a finished or begun phase say; None where they do not."""

    folder: str
    config: dict[str, Any]
    host: dict[str, Any]
    done: dict[str, Any]
    hours: float | None
    devices: int | None

    @property
    def tasks(self) -> str:
        """What it trained on."""
        return ", ".join(self.config.get("phase", {}).get("tasks", ())) or self.config.get("task", UNKNOWN)

    @property
    def sources(self) -> dict[str, str] | None:
        """The checksums of what it trained and selected on."""
        told = self.config.get("sources")
        return None if told is None else told | self.config.get("also_sources", {})

    @property
    def chip_hours(self) -> float | None:
        """Hours of all its devices together."""
        if not self.hours:
            return self.hours
        return None if self.devices is None else self.hours * self.devices


def phases(loaded: Loaded) -> list[Phase]:
    """Every phase of the runs that has begun, each once."""
    found: dict[Path, Phase] = {}
    for run in loaded.runs:
        for node in run.nodes:
            folder = run.folder.parent / node["folder"]
            if node["kind"] == "phase" and folder not in found and (folder / "config.json").is_file():
                found[folder] = _phase(folder)
    return list(found.values())


def as_json(loaded: Loaded, found: Iterable[Phase]) -> dict[str, Any]:
    """The same for results.json."""
    return {
        "phases": [
            {
                "folder": one.folder,
                "tasks": one.tasks,
                "seed": one.config.get("seed"),
                "parent": one.config.get("parent"),
                "examples": _examples(one),
                "left_out": _left_out(one.config.get("counts", {})),
                "steps": one.done.get("steps_run"),
                "selection": one.done.get("selection"),
                "flags": one.done.get("flags", []),
                "devices": one.host.get("devices"),
                "hours": one.hours,
                "chip_hours": one.chip_hours,
                "versions": one.host.get("versions"),
                "sources": one.sources,
                "weights": _weights(one),
            }
            for one in found
        ],
        "rows_left_out": [
            {"task": task, "lang": lang, "left_out": lost} for (task, lang), lost in _unscored(loaded).items()
        ],
    }


def phase_table(found: Iterable[Phase]) -> Table | None:
    """A line for each phase."""
    found = list(found)
    rows = []
    for one in found:
        left = _left_out(one.config.get("counts", {}))
        rows.append([
            words(one.folder), words(one.tasks), number(one.config.get("seed"), "d"),
            words(one.config.get("parent", UNKNOWN)), number(_examples(one)),
            words(", ".join(f"{name} {count:,}" for name, count in left.items()) or "none"),
            number(one.done.get("steps_run")), words(one.done.get("selection", "not finished")),
            words(one.host.get("devices", UNKNOWN)), number(one.hours, ".3f"), number(one.chip_hours, ".3f"),
            words(", ".join(one.done.get("flags", ())) or "none"),
        ])  # fmt: skip
    heads = ("phase", "tasks", "seed", "starts from", "examples", "left out or cut", "steps", "selection", "devices",
             "hours", "chip-hours", "flags")  # fmt: skip
    whole = [one.chip_hours for one in found]
    known = [hours for hours in whole if hours is not None]
    unknown = f"; of {len(whole) - len(known)} phases it is not known" if len(known) < len(whole) else ""
    notes = [
        f"Training took {sum(known):.2f} chip-hours together{unknown}: examples trained on over examples a second, by "
        "train.jsonl, so without saving and evaluating."
    ]
    return table("phases", "Phases", heads, rows, notes, wide=True)


def version_table(found: Iterable[Phase]) -> Table | None:
    """The versions of everything, and where they differ between phases."""
    versions: dict[str, dict[str, None]] = {}
    for one in found:
        for name, value in one.host.get("versions", {}).items():
            versions.setdefault(name, {})[value] = None
    rows = [[words(name), words(", ".join(values))] for name, values in sorted(versions.items())]
    return table("versions", "Versions", ("package", "versions"), rows)


def data_table(found: Iterable[Phase]) -> Table | None:
    """Every file that was trained or selected on, with the beginning of its checksum."""
    files: dict[tuple[str, str], dict[str, None]] = {}
    for one in found:
        for name, digest in (one.sources or {}).items():
            files.setdefault((name, str(digest)), {})[one.config.get("phase", {}).get("name", one.folder)] = None
    rows = [[words(name), words(digest[:16]), words(", ".join(used))] for (name, digest), used in files.items()]
    notes = ["sha256, its first 16 digits; results.json has all of them."]
    return table("data", "Data that was trained and selected on", ("file", "sha256", "phases"), rows, notes, wide=True)


def left_out_table(loaded: Loaded) -> Table | None:
    """Rows that were there and have no score."""
    rows = [[words(task), words(lang), number(lost)] for (task, lang), lost in _unscored(loaded).items()]
    return table("left_out", "Rows that were not scored", ("task", "language", "rows"), rows, head=2)


def is_xlmr(found: Iterable[Phase]) -> bool:
    """Whether every phase goes back to XLM-R's weights, by their name."""
    weights = {_weights(one) for one in found}
    return bool(weights) and all(name and any(word in name.lower() for word in _XLMR) for name in weights)


_XLMR = ("xlm-roberta", "xlmr", "xlm_roberta")
# Counts of what was there; the others are of what was left out, cut or changed.
_USED = (
    "units", "tokens", "rows", "examples", "windows", "words", "documents", "answers", "questions_without_answer",
)  # fmt: skip


def _phase(folder: Path) -> Phase:
    forms = {"config.json": recorded.Phase, "host.json": recorded.Host, "DONE": recorded.Done}
    config, host, done = (read(folder / name, form, {}, AGAIN) for name, form in forms.items())
    devices = str(host.get("devices", "")).partition(" x ")[0]
    return Phase(
        f"{folder.parent.name}/{folder.name}",
        config,
        host,
        done,
        0.0 if done.get("steps_run") == 0 else _hours(folder, config),
        int(devices) if devices.isdigit() else None,
    )


def _hours(folder: Path, config: Mapping[str, Any]) -> float | None:
    """From the rates in train.jsonl: of each row its steps' examples over its examples a second."""
    size, path = config.get("phase", {}).get("batch_size"), folder / "train.jsonl"
    if size is None or not path.is_file():
        return None
    seconds, before = 0.0, 0
    for row in _rows(path):
        if (rate := row.get("examples_per_second") or 0.0) > SLOWEST:
            seconds, before = seconds + (row["step"] - before) * size / rate, row["step"]
    return seconds / 3600 if before else None


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    lines = path.read_bytes().splitlines()
    for number_, line in enumerate(lines, 1):
        try:
            yield parsed(line, recorded.LogRow)
        except ValueError as error:
            if number_ == len(lines):  # the half row that a kill left behind
                return
            raise InputError(f"{path}:{number_}: {error}; {AGAIN}") from error


def _examples(one: Phase) -> int | None:
    counts = one.config.get("counts", {})
    most, there = one.config.get("phase", {}).get("max_examples"), counts.get("rows")
    return there if most is None or there is None else min(most, there)


def _left_out(counts: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in _USED and isinstance(count, int) and count}


def _weights(one: Phase) -> str | None:
    return (one.config.get("tokenizer") or {}).get("name")


def _unscored(loaded: Loaded) -> dict[tuple[str, str], int]:
    return {
        (row["task"], row["lang"]): row["n_dataset"] - row["n_scored"]
        for row in loaded.rows
        if row["n_dataset"] > row["n_scored"]
    }


def language_table(langs: Iterable[str]) -> Table | None:
    """What is known of each language; where it is from stands below."""
    rows = []
    for lang in langs:
        known = LANGUAGES.get(lang.partition("-")[0])
        if known is None:
            rows.append([words(lang), *[words("unknown")] * 3, Cell(""), Cell(""), words("none found")])
        else:
            rows.append([
                words(lang), words(known.name), words(known.family), words(known.script), number(known.gib, ".1f"),
                number(known.tokens), words("Table 6" if known.gib is not None else "no row in Table 6"),
            ])  # fmt: skip
    heads = ("language", "name", "family", "script", "GiB in CC-100", "million tokens", "source of the size")
    notes = [f"Family: {FAMILY_SOURCE}. Script: {SCRIPT_SOURCE}. Size: {CORPUS_SOURCE}."]
    return table("language_facts", "What is known of the languages", heads, rows, notes, wide=True)
