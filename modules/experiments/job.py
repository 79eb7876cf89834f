"""What a job of a cluster does on its node.

    python -m modules.experiments.job FOLDER KEY

FOLDER is the folder `jobs` of an experiment. The job takes tasks of it, one by
one, until none is left: it starts once, however short the runs are. A job
that starts again, since its node was taken away, goes on: finished runs are
left alone, the others continue at their last checkpoint.
"""

import itertools
import os
import pathlib
import platform
import sys
import threading
import time
from collections.abc import Callable

from modules.errors import BadInput, one_sentence
from modules.experiments.cluster_jobs import REACHED
from modules.experiments.processes import (
    encode,
    prepare_forks,
    problem_of,
    run_side_by_side,
    term_as_int,
)
from modules.experiments.task_queue import QueuedTask, TaskQueue, take_tasks
from modules.files import read_json, write_text


def do_job(
    folder: pathlib.Path, key: str, act: Callable[[dict], list[str]]
) -> None:
    """Carry out tasks, then write KEY.ended.

    Arguments
    ---------
    folder : pathlib.Path
        On a disk that this node shares with the driver.
    key : str
        Names the job.
    act : callable
        Carries out one task and returns its problem, "" if there is none, in
        a list. It gets the task as `carry_out` does.

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
    for name in (REACHED, f"{key}.started"):
        write_text(folder / name, f"{platform.node()}\n")
    os.chdir(job["working_folder"])
    queue = TaskQueue(folder)
    tasks = take_tasks(queue, key)
    for task in itertools.islice(tasks, job["runs_per_job"]):
        record = {"threads": job["threads"], **task.as_json()}
        queue.end(task.name, act(record)[0])
    write_text(folder / f"{key}.ended", "")


def carry_out(record: dict) -> list[str]:
    """Encode one part, or train and test one fold.

    Arguments
    ---------
    record : dict
        ``tasks``, of which each has ``arguments`` and ``folder``; ``part``,
        see `QueuedTask`; ``threads``.

    Returns
    -------
    problem : list of str
    """
    context = prepare_forks(record["threads"])
    attempts = QueuedTask.from_json(record).attempts
    with term_as_int():
        if record["part"]:
            (code,) = encode(attempts, [tuple(record["part"])], context)
            problem = "the encoding failed" if code else ""
        else:
            ((run, code),) = run_side_by_side(attempts, 1, context)
            problem = problem_of(run, code)
    _stop_if_killed(code)
    return [problem]


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
        do_job(pathlib.Path(sys.argv[1]), sys.argv[2], carry_out)


if __name__ == "__main__":
    main()
