"""What `data check` prints: every task, what is there of it, and how to get what is not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from xlmr_flax.tasks.inventory import Inventory, Part
from xlmr_flax.tasks.published import NOT_USED

MOST_LABELS = 20  # more are told by their number; --json has all


def print_inventories(found: Sequence[Inventory], console: Console) -> None:
    """A line for each task; below it one for each split, its languages together where they hold the same."""
    table = Table(box=None, pad_edge=False)
    for column in ("task", "split", "languages", "rows", "labels", "source"):
        table.add_column(column, overflow="fold", justify="right" if column == "rows" else "left")
    for one in found:
        table.add_row(f"[bold]{one.task}[/bold]", one.state)
        for parts in _alike(one.parts):
            first = parts[0]
            langs = " ".join(part.lang for part in parts)
            source = first.source if first.is_first else f"{first.source} (not the first choice)"
            count = f"{first.rows:,}{_excluded(first)}"
            table.add_row("", first.split, langs, count, escape(labels_text(first.labels)), escape(source))
    console.print(table)
    for one in found:
        for line in _needs(one):
            console.print(line, highlight=False, markup=False)


def as_json(found: Sequence[Inventory]) -> list[dict[str, Any]]:
    """All of it, for programs; `missing` are the files as the task's first source calls them."""
    return [
        {
            "task": one.task,
            "state": one.state,
            "missing": [{"files": files, "lang": lang} for files, lang in one.missing],
            "problems": list(one.problems),
            "splits": [{**part._asdict(), "files": list(part.files)} for part in one.parts],
            "source": one.source,
        }
        for one in found
    ]


def labels_text(labels: Mapping[str, int]) -> str:
    """`entailment 830 · neutral 830`; the rarest are left to a number where there are many."""
    told = [f"{label} {count:,}" for label, count in list(labels.items())[:MOST_LABELS]]
    rest = len(labels) - len(told)
    return " · ".join([*told, *([f"{rest:,} more labels"] if rest else [])])


def _alike(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts, those together that differ in their language and files only."""
    groups: dict[Any, list[Part]] = {}
    for part in parts:
        told = part.split, part.source, part.is_first, part.rows, _excluded(part), tuple(part.labels.items())
        groups.setdefault(told, []).append(part)
    return list(groups.values())


def _excluded(part: Part) -> str:
    return f" ({sum(part.excluded.values()):,} left out)" if part.excluded else ""


def _needs(one: Inventory) -> list[str]:
    """What is to be done about a task, if anything."""
    if one.state == "found":
        return []
    lines = [f"\n{one.task} is {one.state}.", *(f"  wrong: {text}" for text in one.problems)]
    by_files: dict[str, list[str]] = {}
    for files, lang in one.missing:
        by_files.setdefault(files, []).append(lang)
    lines += [f"  missing: {files} in {' '.join(langs)}" for files, langs in by_files.items()]
    return [*lines, f"  {one.source}", *_others(one)]


def _others(one: Inventory) -> Iterator[str]:
    """The data sets that hold the task as well, and those that seem to."""
    names = {kind: [found for found in one.releases if found.kind == kind] for kind in ("hub", "tfds")}
    if names["hub"]:
        told = ", ".join(dict.fromkeys(release.name for release in names["hub"]))
        yield f"  or: xlmr-flax data fetch {one.task}   (from the hub's {told})"
    for builder, name in dict.fromkeys((builder, found.name) for found in names["tfds"] for builder in found.subsets):
        yield f"  or: tfds build {builder} --file_format=array_record --data_dir=tfds, in the data folder   ({name})"
    for reason in NOT_USED.get(one.task, ()):
        yield f"  not used: {reason}"
