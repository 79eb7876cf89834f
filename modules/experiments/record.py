"""experiment.json: runs of other settings never mix in a folder."""

import os
import pathlib
from typing import Any

from pydantic import PositiveInt, TypeAdapter
from typing_extensions import NotRequired, TypedDict

from modules.errors import BadInput
from modules.experiments.plan import Plan
from modules.files import read_json, write_json


class _Record(TypedDict):
    systems: dict[str, dict[str, Any]]
    threads: NotRequired[PositiveInt]


def record_plan(plan: Plan, jobs: int = 1, cpus: int | None = None) -> int:
    """Write experiment.json, or go on in the folder of the same systems.

    Seeds and systems may be added to an experiment; none may change or
    vanish, or the report would no longer be of what the folder contains.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan
    jobs : int
        Number of runs side by side; they share the cores.
    cpus : int
        Cores of a run on another machine, in place of that share.

    Returns
    -------
    threads : int
        Threads of each run: OMP_NUM_THREADS, or the run's share of the
        cores. An experiment keeps the number that it began with, whatever
        `jobs` is later: another number changes the order of sums, and a run
        would no longer go on bit for bit.

    Raises
    ------
    BadInput
        If the folder belongs to another experiment.
    """
    path = plan.output_folder / "experiment.json"
    before = _read(path)
    for name, values in before["systems"].items():
        _check_same(plan, name, values)
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = (
        int(given)
        if given.isdigit()
        else cpus or len(os.sched_getaffinity(0)) // jobs
    )
    threads = before.get("threads") or max(1, threads)
    plan.output_folder.mkdir(parents=True, exist_ok=True)
    record = {
        "title": plan.title,
        "file": str(plan.file),
        "overrides": plan.overrides,
        "folds": plan.folds,
        "seeds": plan.seeds,
        "threads": threads,
        "systems": plan.resolved,
    }
    write_json(path, record)
    return threads


def _read(path: pathlib.Path) -> _Record:
    """Return the record of an earlier start, or one without systems."""
    if not path.exists():
        return {"systems": {}}
    kind = TypeAdapter(_Record)
    try:
        return kind.validate_python(read_json(path))
    except (OSError, ValueError, RecursionError) as problem:
        raise BadInput(
            f"{path} is damaged: choose another --output_folder, or delete "
            "this file if all runs of the folder are of this experiment"
        ) from problem


def _check_same(plan: Plan, name: str, before: dict) -> None:
    """Refuse a system that has changed or is gone."""
    now = plan.resolved.get(name)
    differing = [f"system '{name}', which this command does not have"]
    if now is not None:
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
