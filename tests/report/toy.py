"""Toy results in the form of results.json, with the files of examples beside them where they are asked for."""

import json

import numpy as np

from xlmr_flax.report.examples import Terms, write_terms

LANGS = ("en", "de", "sw", "yo")


def toy(
    folder,
    *,
    arms=("direct", "mnli", "squad"),
    ahead=(0.0, 0.05, 0.0),
    tasks=(("xnli", "accuracy"), ("udpos", "f1")),
    langs=LANGS,
    seeds=range(5),
    examples=200,
    axes=None,
    question="table",
    baseline="direct",
    study=True,
    seed_spread=0.01,
    kept=True,
    flags=lambda arm, task, lang, seed: [],
    selection="best accuracy on xnli dev (en), step 40",
    change=lambda row: row,
):
    """A study's folder in `folder`/runs; returns its path."""
    rng = np.random.default_rng(0)
    rows, runs = [], folder / "runs"
    for task, metric in tasks:
        for lang_number, lang in enumerate(langs):
            easy_N = rng.normal(0, 0.5, examples)
            for arm, better in zip(arms, ahead, strict=True):
                for seed in seeds:
                    level = 0.8 - 0.1 * lang_number + better * (lang != "en") + rng.normal(0, seed_spread)
                    right_N = rng.random(examples) < np.clip(level + 0.2 * easy_N, 0, 1)
                    key = f"{arm}{seed}{task}"
                    if kept:
                        terms = {metric: Terms(right_N[None], None if metric == "accuracy" else np.ones((1, examples)))}
                        write_terms(runs / "evals" / f"{task}-{key}" / "examples" / f"{lang}.npz", [terms])
                    row = {
                        "arm": arm, "asked_phase": "target", "phase": "target", "task": task, "setting": "",
                        "lang": lang, "metric": metric, "score": float(right_N.mean()), "n_scored": examples,
                        "n_dataset": examples, "seed": seed, "phase_key": f"p{arm}{seed}", "eval_key": key,
                        "selection": selection, "flags": flags(arm, task, lang, seed),
                        "axes": {"seed": seed, **((axes or {}).get(arm, {}))},
                    }  # fmt: skip
                    rows.append(change(row))
    results = {"experiment": "toy", "fingerprint": "0" * 12, "rows": rows, "summary": []}
    if study:
        results["study"] = {"axes": {"seed": list(seeds)}, "baseline": baseline, "question": question}
    where = runs / "toy-000000000000"
    where.mkdir(parents=True, exist_ok=True)
    (where / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (where / "config.json").write_text(json.dumps({"name": "toy"}), encoding="utf-8")
    (where / "nodes.json").write_text("[]", encoding="utf-8")
    return where
