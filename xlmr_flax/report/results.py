"""From scored evaluations to the rows of results.json and what they come to."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from xlmr_flax.graph.build import Graph, Scored, Studied
from xlmr_flax.graph.nodes import DONE_ALSO, EvalNode, PhaseNode, folder_name, read_scores
from xlmr_flax.report.chance import is_sick
from xlmr_flax.storage.places import write, write_json
from xlmr_flax.tasks.catalogue import task
from xlmr_flax.tasks.splits import parse

Row = dict[str, Any]
COLUMNS = (
    "arm", "asked_phase", "phase", "task", "setting", "lang", "metric", "score", "n_scored", "n_dataset", "seed",
    "phase_key", "eval_key", "selection", "flags",
)  # fmt: skip
ALSO = "selected in all languages"
TOLD = {"mean": "mean with <s> and </s>", "cls": "<s>"}  # how tokens become one vector
ONE_LINE = ("arm", "asked_phase", "task", "setting", "metric")  # rows that agree in these differ in language only


def collect(graph: Graph, runs: Path) -> dict[str, Any]:
    """Everything that results.json says; scores are fractions of 1."""
    rows = [row for scored in graph.scored for row in rows_of(scored, runs)]
    results = {"experiment": graph.experiment.name, "fingerprint": graph.fingerprint, "rows": rows}
    if graph.studied is None:
        return {**results, "summary": summary(rows)}
    baselines = {arm.name: arm.baseline for arm in graph.studied.arms if arm.baseline}
    return {**results, "summary": summary(over_seeds(rows), baselines), "study": told_study(graph.studied)}


def told_study(studied: Studied) -> dict[str, Any]:
    """What results.json says of a study beside its rows."""
    arms = [{"arm": arm.name, "axes": dict(arm.axes), "baseline": arm.baseline} for arm in studied.arms]
    return {**studied.study.as_json(), "baseline": studied.baseline, "arms": arms}


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """One row for those that differ in seed only: the median of their scores, and the flags of all."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in (*ONE_LINE, "lang")), []).append(row)
    return [_median(group) for group in groups.values()]


def _median(group: Sequence[Row]) -> Row:
    seeds = list(dict.fromkeys(row["seed"] for row in group))
    return {
        **group[0],
        "score": median(row["score"] for row in group),
        "seed": seeds[0] if len(seeds) == 1 else None,
        "seeds": seeds,
        "flags": list(dict.fromkeys(flag for row in group for flag in row["flags"])),
    }


def rows_of(scored: Scored, runs: Path) -> Iterable[Row]:
    """A row for each language and metric of one evaluation."""
    node = scored.node
    langs = read_scores(runs / folder_name(node))["langs"]
    done = json.loads((runs / folder_name(node.phase) / "DONE").read_text(encoding="utf-8")) if langs else {}
    trained = _read(runs / folder_name(node.phase) / "config.json") if langs else {}
    also = _read(runs / folder_name(node.phase) / DONE_ALSO) if langs and node.also else {}
    for lang in (lang for lang in node.langs if lang in langs):
        for told, metric, score in figures(langs[lang]):
            yield {
                "arm": scored.arm,
                **({} if scored.axes is None else {"axes": dict(scored.axes)}),
                "asked_phase": node.evaluation.phase,
                "phase": node.phase.name,
                "task": node.task,
                "setting": ", ".join(filter(None, (told, setting(node)))),
                "lang": lang,
                "metric": metric,
                "score": score,
                "n_scored": langs[lang]["n_scored"],
                "n_dataset": langs[lang]["n_dataset"],
                "seed": _seed(node.phase),
                "phase_key": node.phase.key,
                "eval_key": node.key,
                "selection": _selection(also if node.also else done, done["steps"]),
                "flags": [
                    *flags(node),
                    *release_flags(langs[lang], trained),
                    *langs[lang].get("flags", ()),
                    *phase_flags(done),
                ],
                **_perturbation(node),
            }


def _selection(chosen: Mapping[str, Any], steps: int) -> str:
    """How the weights were chosen, and which they are where they are not the last."""
    return chosen["selection"] + (f", step {chosen['step']}" if chosen["step"] != steps else "")


def _seed(phase: PhaseNode) -> int | None:
    """The seed of a phase; of the mean of runs that of what they start from; None where nothing was trained."""
    if phase.averaged:
        return phase.parent.seed if phase.parent else None
    return None if phase.untrained else phase.seed


def figures(scored: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """What was scored in a language, in every setting of a sweep: the setting in words, the metric and the score.

    Retrieval says always what stands for a sentence, because published figures differ by it.
    """
    for one in scored.get("settings") or [scored]:
        told = f"layer {one['layer']}, {TOLD[one['pooling']]}" if "layer" in one else one.get("told", "")
        yield from ((told, metric, score) for metric, score in one["scores"].items())


def setting(node: EvalNode) -> str:
    """Where an evaluation departs from the defaults, as it must where one phase is scored twice on a task."""
    length = "" if node.evaluation.length is None else f"length {node.evaluation.length}"
    return ", ".join(filter(None, (length, also_text(node), perturbation_text(node))))


def also_text(node: EvalNode) -> str:
    """Which of a phase's two models was scored, where it is not the one that it hands over."""
    return ALSO if node.also else ""


def perturbation_text(node: EvalNode) -> str:
    """How inputs were made worse; nothing where they were not."""
    if node.perturbation is None:
        return ""
    kind, strength, seed, _, switch_to = node.perturbation
    into = f" into {', '.join(switch_to)}" if switch_to else ""
    return f"{kind.replace('_', '-')}{into} {100 * strength:g} %" + (f", perturbed by seed {seed}" if seed else "")


def _perturbation(node: EvalNode) -> Row:
    if node.perturbation is None:
        return {}
    return {"perturbation": {"kind": node.perturbation.kind, "strength": node.perturbation.strength}}


def flags(node: EvalNode) -> list[str]:
    """What a reader must know beside the score."""
    found = []
    if transductive(node):
        found.append("transductive")
    if node.split != (task(node.task).test or node.split):
        found.append(f"split {node.split}")
    trained = node.trained
    if not trained.text and trained.langs != (task(trained.task).train_lang,):
        found.append(f"trained in {', '.join(trained.langs)}")
    return found


def phase_flags(done: Mapping[str, Any]) -> list[str]:
    """What a reader must know of a phase's training; `done` is its DONE, and older ones do not say."""
    found = list(done.get("flags", ()))
    if skipped := done.get("skipped_steps"):
        found.append(f"{skipped:,} of {done['steps_run']:,} steps skipped, not finite")
    if past := done.get("attempts"):
        why = "; ".join(f"seed {one['seed']}: {', '.join(one['flags'])}" for one in past)
        found.append(f"retried with seed {done['seed']} ({why})")
    return found


def release_flags(scored: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """Where the scored or the training rows are not those of the source that the task declares first.

    `scored` is a language of scores.json and `trained` a phase's config.json; older ones do not say.
    """
    found = [f"scored on {scored['release']}"] if scored.get("release") else []
    return [*found, *(f"trained on {release}" for release in trained.get("releases", ()))]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def transductive(node: EvalNode) -> bool:
    """Whether some phase of the line saw the scored texts, without their labels, as masked-LM text."""
    scored = _patterns(node.task, [parse(node.split).split])
    phase: PhaseNode | None = node.phase
    while phase is not None:
        if phase.text and any(scored & _patterns(name, task(name).splits) for name in phase.text.tasks):
            return True
        phase = phase.parent
    return False


def _patterns(name: str, splits: Iterable[str]) -> set[str]:
    """The files of a task's splits; several tasks may read the same ones."""
    return {pattern for files in task(name).files for split in splits for pattern in files.splits.get(split, ())}


def summary(rows: Sequence[Row], baselines: Mapping[str, str] | None = None) -> list[Row]:
    """For each arm, evaluation and metric: English, the mean of the others, the gap, how far the first arm is ahead.

    Where arms have `baselines`, those come first, and the first arm of each other one is its own.
    `flagged` counts the languages whose scores say that nothing was learnt; the mean without them stands beside.
    Arms are compared where they asked for the same and have the same languages; retrieval from a phase that an arm
    skips is that of the one before.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ONE_LINE), []).append(row)
    baselines = baselines or {}
    found: dict[tuple[str, ...], Row] = {}
    for key, group in sorted(groups.items(), key=lambda each: each[0][0] in baselines):
        others = (other for other in found if other[1:] == key[1:])
        first = next((other for other in others if not baselines or other[0] == baselines.get(key[0])), None)
        alike = first and {row["lang"] for row in groups[first]} == {row["lang"] for row in group}
        found[key] = _summed(group, found[first] if first and alike else None)
    return list(found.values())


def _summed(group: Sequence[Row], first: Row | None) -> Row:
    others = [row for row in group if row["lang"] != "en"]
    english = next((row["score"] for row in group if row["lang"] == "en"), None)
    mean = _mean(others)
    return {
        **{name: group[0][name] for name in ("phase", *ONE_LINE)},
        "english": english,
        "mean_of_others": mean,
        "flagged": sum(is_sick(row["flags"]) for row in group),
        "mean_of_others_without_flagged": _mean([row for row in others if not is_sick(row["flags"])]),
        "gap": None if english is None or mean is None else english - mean,
        "first_arm": first["arm"] if first else None,
        "first_arm_flagged": first["flagged"] if first else None,
        "first_arm_ahead_english": _ahead(first, "english", english),
        "first_arm_ahead_mean_of_others": _ahead(first, "mean_of_others", mean),
        "languages": len(group),
        "n_scored": sum(row["n_scored"] for row in group),
    }


def write_results(results: dict[str, Any], graph: Graph, folder: Path) -> None:
    """config.json, nodes.json, results.json and results.csv of an experiment's folder, or a study's."""
    axes = [axis.name for axis in graph.studied.study.axes] if graph.studied else []
    if graph.studied:
        write_json(folder / "config.json", {"study": graph.studied.study.dump()})
    else:
        write(folder / "config.json", graph.experiment.model_dump_json(indent=1) + "\n")
    nodes = [
        {"kind": node.kind, "name": node.name, "key": node.key, "folder": folder_name(node)} for node in graph.nodes
    ]
    write_json(folder / "nodes.json", nodes)
    write_json(folder / "results.json", results)
    file = io.StringIO()
    worse = ("perturbation",) if any("perturbation" in row for row in results["rows"]) else ()
    writer = csv.DictWriter(file, (*COLUMNS, *worse, *axes), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(
        {**row, **row.get("axes", {}), "flags": "; ".join(row["flags"])} | _worse(row) for row in results["rows"]
    )
    write(folder / "results.csv", file.getvalue())


def _worse(row: Row) -> Row:
    """A perturbation as one cell."""
    return {"perturbation": "{kind} {strength:g}".format(**row["perturbation"])} if "perturbation" in row else {}


def experiment_folder(graph: Graph, runs: Path) -> Path:
    """Where an experiment's results are."""
    return runs / f"{graph.experiment.name}-{graph.fingerprint}"


def _mean(rows: Sequence[Row]) -> float | None:
    return sum(row["score"] for row in rows) / len(rows) if rows else None


def _ahead(first: Row | None, name: str, value: float | None) -> float | None:
    return None if first is None or value is None or first[name] is None else first[name] - value
