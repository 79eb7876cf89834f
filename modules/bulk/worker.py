"""What a worker of bulk scoring does on its node.

    python -m modules.bulk.worker FOLDER KEY

It goes through the parts of the plan and does those that are neither finished
nor another worker's. A part is taken by a lock on one byte of a file, which the
system gives back when the worker ends, however it ends. A worker whose driver
or engine is gone finishes its part and ends: no other could
do it sooner.
"""

import fcntl
import functools
import os
import pathlib
import platform
import signal
import sys
from collections.abc import Callable

from modules.bulk.plan import Plan
from modules.errors import BadInput, one_sentence
from modules.experiments.job import do_job
from modules.inference.predictor import Predictions
from modules.inference.records import Columns

# The module that a node starts.
JOB = "modules.bulk.worker"
# In the folder of the answers, until all is finished.
WORK = ".work"
LOCKS, TRIES = "locks", "tries"
# Of a part whose worker ends without a result.
MOST_TRIES = 5


class Claims:
    """Which parts are at work, and how often they were tried.

    Arguments
    ---------
    plan : Plan
    """

    def __init__(self, plan: Plan):
        self.folder = plan.folder / WORK
        (self.folder / TRIES).mkdir(parents=True, exist_ok=True)
        self._locks = open(self.folder / LOCKS, "a")

    def take(self, number: int) -> bool:
        """Take a part; return whether it was free."""
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except (BlockingIOError, PermissionError):
            return False
        except OSError as problem:
            raise BadInput(
                f"the disk of {self.folder} carries no locks "
                f"({problem.strerror}): mount it with them (-o flock), or "
                "choose another --output"
            ) from problem
        return True

    def give_back(self, number: int) -> None:
        """Let another worker take a part."""
        fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)

    def _tries(self, number):
        return self.folder / TRIES / f"{number:05}"

    def begin(self, number: int) -> None:
        """Count a try of a part."""
        with open(self._tries(number), "ab") as file:
            file.write(b".")

    def end(self, number: int) -> None:
        """Forget the tries of a part that is finished."""
        self._tries(number).unlink(missing_ok=True)

    def is_given_up(self, number: int) -> bool:
        """Return whether a part has ended too many workers."""
        try:
            return self._tries(number).stat().st_size >= MOST_TRIES
        except FileNotFoundError:
            return False

    def given_up(self) -> list[int]:
        """Return the parts that have ended too many workers."""
        numbers = [int(name) for name in os.listdir(self.folder / TRIES)]
        return sorted(filter(self.is_given_up, numbers))


def do_parts(
    plan: Plan,
    score: Callable[[list[str]], tuple[Predictions, list[str]]],
    columns: Columns,
    tally: pathlib.Path,
    parent: int,
) -> bool:
    """Do the parts that no worker has; return whether the end was reached.

    Arguments
    ---------
    plan : Plan
    score : callable
        Returns the answers for recordings, and warnings.
    columns : modules.inference.records.Columns
    tally : pathlib.Path
        Gets a byte for each part.
    parent : int
        The process without which no further part is begun.
    """
    from modules.bulk.parts import write_part

    claims = Claims(plan)
    for number in range(len(plan)):
        path = plan.path(number)
        if path.exists() or claims.is_given_up(number):
            continue
        if not claims.take(number):
            continue
        try:
            if not path.exists():
                claims.begin(number)
                found, warned = score(plan.files(number))
                write_part(plan, number, columns, found, warned)
                claims.end(number)
                with open(tally, "ab") as file:
                    file.write(b".")
        finally:
            claims.give_back(number)
        if os.getppid() != parent:
            return False
    return True


def work(record: dict, parent: int, make_scorer=None) -> list[str]:
    """Do parts for a task of `do_job`; return its problem, "" if none."""
    threads = record["threads"]
    (task,) = record["tasks"]
    place = pathlib.Path(task["folder"])
    try:
        plan = Plan(place.parents[1])
        _check_probe(plan.record["probe"])
        scorer = (make_scorer or _load)(task["arguments"], threads)
        _check_identity(plan.record, scorer.identity)
        if not do_parts(plan, scorer, scorer.columns, place, parent):
            sys.exit("the driver is gone")
    except BadInput as problem:
        return [str(problem)]
    return [""]


def _load(arguments, threads):
    """Return the scorer, with this number of threads."""
    import torch

    from modules.bulk.scorer import Scorer

    torch.set_num_threads(threads)
    return Scorer(arguments, threads)


def _check_probe(probe):
    """Refuse a node on which the recordings do not lie."""
    if probe is not None and not os.path.exists(probe):
        raise BadInput(
            f"{probe} is not on this node ({platform.node()}): put the "
            "recordings on a disk that all nodes share"
        )


def _check_identity(record, identity):
    """Refuse a node that has another model."""
    settings = record["settings"]
    changed = [
        key
        for key, value in identity.settings.items()
        if settings.get(key) != value
    ]
    if identity.model != record["model"] or changed:
        raise BadInput(
            f"this node ({platform.node()}) has another model or other "
            f"packages {changed} than the one where the command was given: "
            "give both the same"
        )


def main(make_scorer: Callable | None = None) -> None:
    """Carry out the job that the command line names, in a child process.

    Ray kills the process that it started when its driver is gone, but not the
    children of that process.
    """
    own = os.getpid()
    if child := os.fork():
        end = functools.partial(os.kill, child, signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda *_: end())
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    act = functools.partial(work, parent=own, make_scorer=make_scorer)
    with one_sentence():
        do_job(pathlib.Path(sys.argv[1]), sys.argv[2], act)


if __name__ == "__main__":
    main()
