"""Exactly what was run."""

import hashlib
import shlex
import statistics

from modules.experiments.breakdowns import manifest
from modules.files import read_json


def provenance(table):
    """Return what the report says of how its figures were made.

    Arguments
    ---------
    table : modules.experiments.results_table.Table

    Returns
    -------
    told : dict
        For the template.
    """
    plan = table.plan
    runs = {
        run.cell.folder: run
        for row in table.finished
        for run in row.runs.values()
    }
    records = [
        read_json(folder / "run.json")
        for folder in runs
        if (folder / "run.json").exists()
    ]
    common, varied = _settings(plan)
    seconds = [record["seconds"] for record in records]
    first = next(iter(runs))
    hyperparams = first / "hyperparams.yaml"
    return {
        "command": shlex.join(["python", "cross_validate.py", *plan.command]),
        "common": common,
        "varied": varied,
        "machines": _distinct(_machine(r["machine"]) for r in records),
        "versions": _distinct(
            ", ".join(f"{k} {v}" for k, v in r["versions"].items())
            for r in records
        ),
        "hours": sum(seconds) / 3600 if seconds else None,
        "median": statistics.median(seconds) if seconds else None,
        "folds": _folds(runs.values(), table.labels),
        "hyperparams": hyperparams.read_text(encoding="utf-8")
        if hyperparams.exists()
        else None,
        "hyperparams_of": first.relative_to(plan.output_folder),
    }


def _settings(plan):
    """Return settings that all systems share, and those that differ."""
    heads = [plan.resolved[s.name] for s in plan.systems if s.is_trained]
    # In order, each once: systems may have files of their own.
    keys = list(dict.fromkeys(key for values in heads for key in values))
    common, varied = {}, []
    for key in keys:
        if all(values.get(key) == heads[0].get(key) for values in heads):
            common[key] = heads[0].get(key)
        else:
            varied.append(key)
    # Logistic regression and fusion have no setting of a head.
    return common, {
        "keys": varied,
        "rows": [
            (
                system.name,
                [
                    plan.resolved[system.name].get(key, "")
                    if system.is_trained
                    else system.settings.get(key, "")
                    for key in varied
                ],
            )
            for system in plan.systems
        ],
    }


def _distinct(texts):
    """Return different texts, in order."""
    return list(dict.fromkeys(texts))


def _machine(machine):
    """Return a machine in words."""
    words = [
        machine["gpu"] or machine["processor"],
        f"{machine['cores']} cores",
        f"{machine['threads']} thread(s) per run",
        machine["system"],
    ]
    return ", ".join(words)


def _folds(runs, labels):
    """Return counts and digest of every fold, of its first seed.

    Train and dev of a fold depend on the seed, the test set does not.
    """
    folds = {}
    for run in runs:
        if run.cell.fold in folds:
            continue
        test = manifest(run)
        path = run.cell.folder / "manifests" / "test.json"
        counts = [sum(row) for row in run.results["confusion"]]
        folds[run.cell.fold] = {
            "speakers": ", ".join(sorted(set(run.test.speakers))),
            "n": [
                run.results[f"n_{split}"] for split in ("train", "dev", "test")
            ],
            "classes": dict(zip(labels, counts)),
            "digest": hashlib.sha256(path.read_bytes()).hexdigest()
            if test
            else "",
        }
    return dict(sorted(folds.items()))
