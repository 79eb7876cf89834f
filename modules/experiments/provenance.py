"""How the figures of an experiment were made."""

import shlex
import statistics
from collections.abc import Iterable

from modules.experiments.plan import Plan
from modules.experiments.results_table import Table


def provenance(table: Table) -> dict:
    """Return command, settings, machines, versions, durations and folds."""
    runs = [run for row in table.finished for run in row.runs.values()]
    seconds = [run.record["seconds"] for run in runs if run.record]
    common, varied = shared_settings(table.plan)
    command = ["python", "cross_validate.py", *table.plan.command]
    return {
        "command": shlex.join(command),
        "common": common,
        "varied": varied,
        "corpora": _distinct(
            run.graph["corpus"]["name"] for run in runs if run.graph
        ),
        "machines": _distinct(run.record.get("machine") for run in runs),
        "versions": _distinct(run.record.get("versions") for run in runs),
        "hours": sum(seconds) / 3600 if seconds else None,
        "median_seconds": statistics.median(seconds) if seconds else None,
        "folds": _folds(table),
    }


def shared_settings(plan: Plan) -> tuple[dict, dict]:
    """Return the settings that all systems share, and those that differ.

    The first by key, the second by system and key; "" where the file of a
    system lacks a key.
    """
    trained = [plan.resolved[s.name] for s in plan.systems if not s.fuses]
    # In order, each once: systems may have files of their own.
    keys = list(dict.fromkeys(key for values in trained for key in values))
    missing = object()
    common = {}
    for key in keys:
        first, *others = (values.get(key, missing) for values in trained)
        if all(other == first for other in others):
            common[key] = first
    # A late fusion has no settings.
    own = {
        system.name: {} if system.fuses else plan.resolved[system.name]
        for system in plan.systems
    }
    varied = {
        name: {k: values.get(k, "") for k in keys if k not in common}
        for name, values in own.items()
    }
    return common, varied


def _distinct(records: Iterable) -> list:
    """Return the records that are there, each once, in order."""
    found = []
    for record in records:
        if record and record not in found:
            found.append(record)
    return found


def _folds(table: Table) -> dict:
    """Return counts and digest of every fold, of its first seed.

    Train and dev of a fold depend on the seed, the test set does not.
    """
    folds = {}
    for row in table.finished:
        for (fold, seed), run in row.runs.items():
            counts = [sum(c) for c in row.scores[fold, seed]["confusion"]]
            own = {
                "speakers": sorted(set(run.test["speaker"])),
                "classes": dict(zip(table.labels, counts)),
                "test_manifest": run.record.get("manifests", {}).get("test"),
            }
            for split in ("train", "dev", "test"):
                own[split] = run.results[f"n_{split}"]
            folds.setdefault(fold, own)
    return dict(sorted(folds.items()))
