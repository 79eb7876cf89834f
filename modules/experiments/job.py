"""What a job of a cluster does on its node.

    python -m modules.experiments.job FOLDER KEY

FOLDER is the folder `jobs` of an experiment; KEY.json in it names the tasks. A
job that starts again, since its node was taken away, goes on: finished runs
are left alone, the others continue at their last checkpoint.
"""

import os
import pathlib
import platform
import sys
import threading
import time
from collections.abc import Callable

from modules.errors import BadInput, one_sentence
from modules.experiments.processes import (
    Task,
    encode,
    prepare_forks,
    problem_of,
    run_side_by_side,
    term_as_int,
)
from modules.files import read_json, write_json, write_text


def do_job(
    folder: pathlib.Path, key: str, act: Callable[[dict], list[str]]
) -> None:
    """Carry out a job, then write KEY.ended with the problem of each task.

    Arguments
    ---------
    folder : pathlib.Path
        On a disk that this node shares with the driver.
    key : str
        Names the job.
    act : callable
        Gets the content of KEY.json and returns the problem of each task.

    Raises
    ------
    BadInput
        If the folder has no such job.
    """
    path = folder / f"{key}.json"
    if not path.exists():
        raise BadInput(
            f"{path} is not on this node ({platform.node()}): choose an "
            "output folder on a disk that all nodes share"
        )
    job = read_json(path)
    write_text(folder / f"{key}.started", f"{platform.node()}\n")
    os.chdir(job["working_folder"])
    write_json(folder / f"{key}.ended", act(job))


def _act(job):
    """Encode for runs, or run them; return the problem of each."""
    context = prepare_forks(job["threads"])
    tasks = [
        Task(one["arguments"], pathlib.Path(one["folder"]))
        for one in job["tasks"]
    ]
    with term_as_int():
        return (_encode_one_of if job["encodes"] else _run_all)(tasks, context)


def _encode_one_of(tasks, context):
    """Encode for the first task that can; return a problem for each."""
    problems = []
    for task in tasks:
        code = encode(task, context)
        _stop_if_killed(code)
        if code == 0:
            return [""] * len(tasks)
        problems.append("the encoding failed")
    return problems


def _run_all(tasks, context):
    """Run what is not finished, one by one; return the problem of each."""
    problems = dict.fromkeys([str(task.folder) for task in tasks], "")
    waiting = [task for task in tasks if not task.finished]
    for task, code in run_side_by_side(waiting, 1, context):
        _stop_if_killed(code)
        problems[str(task.folder)] = problem_of(task, code)
    return list(problems.values())


def _stop_if_killed(code):
    """End without a result where a signal ended a task: it is tried again.

    A scheduler that takes a node away sends its signal to every process.
    """
    if code < 0:
        sys.exit(f"signal {-code} ended a task")


def _end_with_parent() -> None:
    """End when the engine's own process is killed, or its node is lost."""
    parent = os.getppid()

    def wait():
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Carry out the job that the command line names."""
    _end_with_parent()
    with one_sentence():
        do_job(pathlib.Path(sys.argv[1]), sys.argv[2], _act)


if __name__ == "__main__":
    main()
