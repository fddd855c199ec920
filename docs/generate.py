"""Pages that are made of the program itself: every task, setting and command, and the README's sections.

A line `<!-- README: NAME -->` in a page becomes the README's section of that name, so that each text stands once.
"""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from mkdocs.structure.files import File, Files
from pydantic import BaseModel

from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.settings import is_how
from xlmr_flax.tasks.catalogue import TASKS

ROOT = Path(__file__).resolve().parents[1]
SECTION = re.compile(r"^<!-- README: (.+) -->$", re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that no file holds."""
    for name, text in (("config.md", config_page()), ("commands.md", commands_page())):
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Puts the README's sections and the table of tasks in their places."""
    text = SECTION.sub(lambda found: section(found[1]), markdown)
    return text.replace("<!-- TASKS -->", tasks_table())


def section(name: str) -> str:
    """The README's section of this heading, without the heading. Raises KeyError where there is none."""
    parts = re.split(r"^(#{2,3}) (.+)$", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    marks, names, texts = parts[1::3], parts[2::3], parts[3::3]
    if name not in names:
        raise KeyError(f"README.md has no section {name!r}; it has {', '.join(names)}")
    first = names.index(name)
    whole = texts[first]
    for mark, below, text in zip(marks[first + 1 :], names[first + 1 :], texts[first + 1 :], strict=True):
        if len(mark) <= len(marks[first]):
            break
        whole += f"## {below}\n{text}"
    return whole.strip() + "\n"


def tasks_table() -> str:
    """Every task, from the table that the trainer reads."""
    rows = ["| task | head | languages | train | select | test | metric |", "|---|---|---|---|---|---|---|"]
    for one in TASKS.values():
        size = len(one.head.labels) or one.head.options
        head = f"{one.head.kind} ({size})" if size else one.head.kind
        splits = (one.train or "–", one.select or "–", one.test or "–")
        cells = (f"`{one.name}`", head, " ".join(one.langs) or "any", *splits, one.metric)
        rows.append("| " + " | ".join(cells) + " |")
    sources = {one.source: [] for one in TASKS.values()}
    for one in TASKS.values():
        sources[one.source].append(f"`{one.name}`")
    where = [
        f"- {', '.join(names)}: {source.replace('<', '&lt;').replace('{', '&#123;')}"
        for source, names in sources.items()
    ]
    return "\n".join([*rows, "", "Where the files come from:", "", *where])


def config_page() -> str:
    """Every setting, from the schema."""
    intro = (
        "# Config\n\nOne TOML file; `xlmr-flax check` lists every problem at once. Where the schema has no default, "
        "the setting is required. *How* marks what changes no result: it is no part of a phase's key.\n"
    )
    return intro + "\n".join(_tables(Experiment, "", {}))


def _tables(model: type[BaseModel], name: str, seen: dict[type, str]) -> Iterator[str]:
    if model in seen:
        return
    seen[model] = name
    yield f"\n## {f'`[{name}]`' if name else 'At the top'}\n"
    yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield "| setting | type | default | |\n|---|---|---|---|"
    below, said = [], _comments(model)
    for key, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if inner:
            below.append((inner, f"{name}.{key}".strip(".")))
        default = "required" if field.is_required() else "a table" if inner else f"`{field.default!r}`"
        kind = _type(field.annotation).replace("|", "\\|")
        how = "*how* " if is_how(field) else ""
        yield f"| `{key}` | {kind} | {default} | {how}{said.get(key, '').replace('|', chr(92) + '|')} |"
    for inner, place in below:
        yield from _tables(inner, place, seen)


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """What the schema's source says of each field: the comments above it and behind it."""
    try:
        lines = inspect.getsource(model).splitlines()
    except OSError:  # made, not written
        return {}
    said, above = {}, []
    for line in lines:
        code, _, comment = line.partition("  # ") if not line.strip().startswith("#") else ("", "", line.strip()[1:])
        if not code.strip():
            above = [*above, comment.strip()] if comment else []
            continue
        if field := re.match(r"    (\w+):", code):
            said[field[1]] = " ".join([*above, comment.strip()]).strip()
        above = []
    return said


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and not get_args(annotation):
        return "table" if issubclass(annotation, BaseModel) else annotation.__name__
    inner = _model_in(annotation)
    if inner:
        return "tables" if "tuple" in str(annotation) else "table"
    return f"`{_told(annotation)}`"


def _told(annotation: Any) -> str:
    """A type as one reads it, without what its numbers must be."""
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _told(inner[0])
    if get_origin(annotation) is Literal:
        return " | ".join(map(repr, inner))
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_told, inner))
    if inner:
        return f"{get_origin(annotation).__name__}[{', '.join(map(_told, inner))}]"
    return {NoneType: "None", ...: "..."}.get(annotation) or annotation.__name__


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and not get_args(annotation) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found is not None), None)


def commands_page() -> str:
    """Every command, from its own help."""
    import typer

    from xlmr_flax.cli import app

    return "# Commands\n\n" + "\n".join(_commands(typer.main.get_command(app), "xlmr-flax"))


def _commands(command: Any, path: str) -> Iterator[str]:
    if not getattr(command, "commands", None):
        yield f"## {path}\n\n{command.help or ''}\n"
        rows = [(_named(one), getattr(one, "help", "") or "") for one in command.params if one.name != "help"]
        if rows:
            yield "| | |\n|---|---|"
            yield from (f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in rows)
            yield ""
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, f"{path} {name}")


def _named(one: Any) -> str:
    return ", ".join(one.opts) if one.opts and one.opts[0].startswith("-") else (one.metavar or one.name or "").upper()
