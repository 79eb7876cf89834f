"""experiment.json: runs of other settings never mix in a folder."""

import json
import os

from modules.errors import BadInput
from modules.experiments.experiment_file import ROOT
from modules.experiments.plan import Plan
from modules.experiments.training import ADDED
from modules.files import read_json, write_text


def record_plan(plan: Plan, jobs: int = 1) -> int:
    """Write experiment.json, or go on in the folder of the same systems.

    Seeds and systems may be added to an experiment; none may change or
    vanish, or the report would no longer be of what the folder contains.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
    jobs : int
        Number of runs side by side; they share the cores.

    Returns
    -------
    threads : int
        Threads of each run. An experiment keeps the number that it began
        with, whatever `jobs` is later: sums in another order round otherwise,
        so that a run would not go on bit for bit.

    Raises
    ------
    BadInput
        If the folder has another experiment.
    """
    path = plan.output_folder / "experiment.json"
    before = _read(path)
    for name, values in before["systems"].items():
        _check_same(plan, name, values)
    cores = len(os.sched_getaffinity(0))
    threads = before.get("threads") or max(1, cores // jobs)
    plan.output_folder.mkdir(parents=True, exist_ok=True)
    file = plan.hparams_file
    record = {
        "title": plan.title,
        "file": str(plan.file),
        "hparams_file": str(
            file.relative_to(ROOT) if file.is_relative_to(ROOT) else file
        ),
        "overrides": plan.overrides,
        "folds": plan.folds,
        "seeds": plan.seeds,
        "threads": threads,
        "systems": plan.resolved,
    }
    write_text(path, json.dumps(record, indent=2) + "\n")
    return threads


def _read(path):
    """Return the record of an earlier start; one without systems if none."""
    if not path.exists():
        return {"systems": {}}
    try:
        before = read_json(path)
        before["systems"].items()
        return before
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
    ) as problem:
        raise BadInput(
            f"{path} is damaged: delete it if the folder has runs of this "
            "experiment alone, else choose another --output_folder"
        ) from problem


def _check_same(plan, name, before):
    """Refuse a system that has changed or is gone."""
    if name not in plan.resolved:
        differing = [f"system '{name}', which this command does not have"]
    else:
        before, now = ADDED | before, ADDED | plan.resolved[name]
        differing = [
            f"'{name}' with {key} {before.get(key)} instead of {now.get(key)}"
            for key in sorted({*before, *now})
            if before.get(key) != now.get(key)
        ]
    if differing:
        raise BadInput(
            f"{plan.output_folder} has {'; '.join(differing)}: choose "
            "another --output_folder, or delete this one"
        )
