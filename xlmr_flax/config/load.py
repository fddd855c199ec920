"""TOML, recipes and overrides into one checked `Experiment`; all problems are told at once."""

import difflib
import functools
import json
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from xlmr_flax.config import shipped
from xlmr_flax.config.schema import Experiment
from xlmr_flax.config.world import WorldSettings
from xlmr_flax.errors import InputError, listed

# How a table in a list of tables is addressed in a dotted key.
NAMED_BY = {"phases": "name", "averages": "name", "arms": "name", "splits": "task", "each": "task"}
NONE = "none"
ROLES = ("intermediate", "target")  # of a phase, in a recipe
# Beside what tomllib says itself: a number of more than 4,300 digits, and tables within tables without end.
NOT_TOML = (tomllib.TOMLDecodeError, ValueError, RecursionError)
PATHS = (("model", "weights"), ("tokenizer", "path"), ("evaluations", "perturb", "dictionary"),
         ("phases", "robust", "dictionary"))  # fmt: skip


def load(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Reads a config; precedence is schema < recipe < file < overrides. "none" switches an optional setting off.

    Raises InputError with every problem of the file, each at its dotted key.
    """
    tree = read_toml(path)
    if "axes" in tree:
        raise InputError(f"{path}: is a study, with axes; wanted one experiment")
    resolve_paths(tree, path.parent)
    for override in overrides:
        apply_override(tree, override)
    resolve_paths(tree, Path.cwd())  # what the command line names is relative to where it is typed
    experiment, problems = parsed(tree, path)
    if experiment is None:
        raise listed([f"{path}: {problem}" for problem in problems])
    return experiment


def parsed(tree: dict[str, Any], where: Path) -> tuple[Experiment | None, list[str]]:
    """The experiment that a file's values make, with its recipe beneath them, or else every problem of theirs."""
    problems, hidden = [], ()
    try:
        tree = _with_recipe(tree)
    except InputError as error:
        problems, hidden = [str(error)], ("missing",)  # the recipe may well have had it
    tree = _without_none(tree, Experiment)
    try:
        experiment = Experiment.model_validate_json(_as_json(tree, where))
    except ValidationError as error:
        problems += _problems(error, tree, hidden=hidden)
    return (None, problems) if problems else (experiment, [])


def load_world(overrides: Sequence[str]) -> WorldSettings:
    """A world's settings from key=value words. Raises InputError with every problem."""
    tree: dict[str, Any] = {}
    for override in overrides:
        apply_override(tree, override)
    try:
        return WorldSettings.model_validate_json(_as_json(tree, "world"))
    except ValidationError as error:
        raise listed(_problems(error, tree, WorldSettings)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as plain values."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file; xlmr-flax init FOLDER writes some to start from") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, wanted a TOML file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a TOML file") from None
    try:
        return tomllib.loads(text)
    except NOT_TOML as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Sets one `dotted.key=value` in place; the value is TOML or, failing that, a bare string."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise InputError(f"{override!r}: wanted key=value, as in phases.target.optim.peak_lr=1e-5")
    table_at(tree, key.split("."))[key.split(".")[-1]] = toml_value(text)


def table_at(tree: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """The table in which a dotted key's last part stands; those on the way are made. Raises InputError for no table."""
    *parents, last = parts
    place: Any = tree
    for depth, part in enumerate(parents):
        place = _enter(place, part, key=".".join(parents[: depth + 1]), under=parents[depth - 1] if depth else None)
    key = ".".join(parts)
    if isinstance(place, list):
        raise InputError(f"{key}: {'.'.join(parents)} is a list; name one of its tables, as in phases.target.{last}")
    if not isinstance(place, dict):
        raise InputError(f"{key}: {'.'.join(parents)}={shown(place)} is no table")
    return place


def toml_value(text: str) -> Any:
    """`text` as a TOML value, or as it stands when it is none."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except NOT_TOML:
        return text


def _enter(place: Any, part: str, *, key: str, under: str | None) -> Any:
    if isinstance(place, list):
        name = NAMED_BY.get(under or "")
        tables = [table if isinstance(table, dict) else {} for table in place]
        names = [str(table.get(name, index)) for index, table in enumerate(tables)]
        if part in names:
            return place[names.index(part)]
        if part.isdecimal() and int(part) < len(place):
            return place[int(part)]
        raise InputError(f"{key}: no such table{did_you_mean(part, names)}; there are: {', '.join(names)}")
    if not isinstance(place, dict):
        raise InputError(f"{key}: {under}={shown(place)} is no table")
    return place.setdefault(part, {})


def resolve_paths(tree: dict[str, Any], folder: Path) -> None:
    """Makes relative paths absolute, so that a key means one folder; a hub id stays as it is."""
    for place in PATHS:
        *tables, field = place
        for table in _tables(tree, tables):
            value = table.get(field)
            if not isinstance(value, str) or "\0" in value:
                continue  # no path: told where it is used
            if value.startswith((".", "/", "~/")) or is_folder(folder / value):
                table[field] = str((folder / Path(value).expanduser()).resolve())


def _tables(tree: Any, names: Sequence[str]) -> list[dict[str, Any]]:
    """The tables at a place, of which there are several below a list of tables; none where it is something else."""
    found = [tree]
    for name in names:
        below = [one.get(name) for one in found if isinstance(one, dict)]
        found = [table for one in below for table in (one if isinstance(one, list) else [one])]
    return [one for one in found if isinstance(one, dict)]


def is_folder(path: Path) -> bool:
    """Whether there is such a folder; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _as_json(tree: dict[str, Any], where: Path | str) -> str:
    try:
        return json.dumps(tree, default=str)
    except (ValueError, RecursionError) as error:  # a hexadecimal number of any length, keys within keys without end
        raise InputError(f"{where}: a value that no setting takes: {error}") from None


def _with_recipe(tree: dict[str, Any]) -> dict[str, Any]:
    """Lays the recipe's settings for each phase's task and role beneath what the file says."""
    name, phases = tree.get("recipe"), tree.get("phases")
    if not isinstance(name, str) or name == NONE or not isinstance(phases, list):
        return tree  # what is wrong with them is told with the rest
    recipe = _recipe(name)
    parents = [phase.get("parent") for phase in phases if isinstance(phase, dict)]
    return {**tree, "phases": [_over_recipe(phase, recipe, parents) for phase in phases]}


@functools.lru_cache(maxsize=8)
def _recipe(name: str) -> dict[str, Any]:
    """A recipe read once, for a study asks for it at each of its points; nobody changes it."""
    return read_recipe(name)


def _over_recipe(phase: Any, recipe: dict[str, Any], parents: Sequence[Any]) -> Any:
    if not isinstance(phase, dict):
        return phase
    tasks = phase.get("tasks")
    names = [task for task in tasks if isinstance(task, str)] if isinstance(tasks, list) else []
    role = "intermediate" if phase.get("name") in parents else "target"
    rows = {name: _in_role(recipe[name], role) for name in names if name in recipe}
    base = next(iter(rows.values()), {})
    if len(names) > 1:
        # What they have in common is the recipe's row for mixtures, and its first task's where there is none.
        labelled = next((row for name, row in rows.items() if name != "mlm"), base)
        phase, base = _with_sizes(phase, rows), merged(labelled, _in_role(recipe.get("mixture", {}), role))
    # the file's choice of either replaces the recipe's
    left_out = {"epochs", "steps"} if {"epochs", "steps"} & phase.keys() else set()
    if phase.get("average", NONE) != NONE:
        left_out.add("selection")
    return merged({key: value for key, value in base.items() if key not in left_out}, phase)


def _in_role(row: dict[str, Any], role: str) -> dict[str, Any]:
    return {key: value for key, value in merged(row, row.get(role, {})).items() if key not in ROLES}


def _with_sizes(phase: dict[str, Any], rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A phase of several tasks in which each has its recipe's length and batch, where the file does not say."""
    mixture = phase.get("mixture", {})
    given = mixture.get("each", []) if isinstance(mixture, dict) else None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        return phase  # what is wrong with it is told with the rest
    silent = [key for key in ("length", "batch_size") if key not in phase]
    own = {name: {key: row[key] for key in silent if key in row} for name, row in rows.items()}
    each = [{**own.pop(str(one.get("task")), {}), **one} for one in given]
    each += [{"task": name, **sizes} for name, sizes in own.items() if sizes]
    return {**phase, "mixture": {**mixture, "each": each}} if each else phase


def _without_none(tree: Any, schema: type[BaseModel]) -> Any:
    """Replaces "none" by null, which TOML cannot say, wherever a setting may be off."""
    if not isinstance(tree, dict):
        return tree
    result = {}
    for key, value in tree.items():
        annotation = schema.model_fields[key].annotation if key in schema.model_fields else None
        model = _model_in(annotation)
        if value == NONE and type(None) in get_args(annotation):
            value = None
        elif model and isinstance(value, list):
            value = [_without_none(item, model) for item in value]
        elif model:
            value = _without_none(value, model)
        result[key] = value
    return result


def read_recipe(name: str) -> dict[str, Any]:
    """The settings by task of `configs/recipes/<name>.toml`."""
    recipes = shipped.folder() / "recipes"
    known = sorted(file.stem for file in recipes.glob("*.toml"))
    if name not in known:
        raise InputError(f"recipe={name!r}: no such recipe{did_you_mean(name, known)}; there are: {', '.join(known)}")
    return read_toml(recipes / f"{name}.toml")


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, table by table."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to append to an error, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _problems(
    error: ValidationError, tree: dict[str, Any], schema: type[BaseModel] = Experiment, *, hidden: Sequence[str] = ()
) -> list[str]:
    problems, found = [], error.errors()
    for problem in found:
        loc, key = problem["loc"], _dotted(problem["loc"], tree)
        inside = any(len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc for other in found)
        if problem["type"] in hidden or (problem["type"] == "too_short" and inside):
            continue  # pydantic counts the good items only
        if problem["type"] == "extra_forbidden":
            known = _fields_at(schema, loc[:-1])
            problems.append(f"{key}: unknown key{did_you_mean(str(loc[-1]), known)}; known here: {', '.join(known)}")
        elif problem["type"] == "missing":
            problems.append(f"{key}: missing{_hint(loc)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            problems.append(f"{key or 'config'}={shown(problem['input'])}: {message}")
    return problems


def _hint(loc: tuple[int | str, ...]) -> str:
    if loc[0] == "phases" and len(loc) == 3 and loc[2] in ("length", "batch_size"):
        return '; set it, or choose a recipe that has this task (recipe = "xtreme")'
    return ""


def shown(value: Any) -> str:
    """A value in an error, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _dotted(loc: tuple[int | str, ...], tree: Any) -> str:
    """The place of an error in the words of an override: tables in lists go by their names."""
    parts, place, before = [], tree, None
    for part in loc:
        inside = place[part] if isinstance(place, dict | list) and _has(place, part) else None
        name = inside.get(NAMED_BY.get(str(before), "")) if isinstance(part, int) and isinstance(inside, dict) else None
        parts.append(str(name if isinstance(name, str) else part))
        place, before = inside, part
    return ".".join(parts)


def _has(place: Any, part: int | str) -> bool:
    return part < len(place) if isinstance(place, list) and isinstance(part, int) else part in place


def _fields_at(schema: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that the schema knows at a place."""
    model: Any = schema
    for part in loc:
        if isinstance(part, int):
            continue
        model = _model_in(model.model_fields[part].annotation)
    return list(model.model_fields)


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_in, get_args(annotation)) if found is not None), None)
