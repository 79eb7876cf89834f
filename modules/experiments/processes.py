"""Runs in processes of their own, side by side on one machine."""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
from collections.abc import Iterator
from multiprocessing import connection

from modules.experiments.child import encode_one, run_one
from modules.experiments.plan import FAILED, LOG, QUIET

# Modules that take long to import. They are imported once, in the process
# that all runs are forked from. It must not touch a GPU, or its children
# could not use it.
PRELOADED = [
    "torch",
    "speechbrain.integrations.huggingface.hubert",
    "matplotlib.pyplot",
    "sklearn.linear_model",
    "sklearn.metrics",
    "modules.experiments.child",
    "modules.features.frozen_upstream",
    "modules.training.configuration",
    "modules.training.fold",
    "modules.training.gradient_descent",
    "modules.training.linear",
]


@dataclasses.dataclass(frozen=True)
class Task:
    """One run, or the encoding that several runs share.

    Attributes
    ----------
    arguments : list of str
        The command line, as train.py takes it.
    folder : pathlib.Path
        Of the run.
    """

    arguments: list
    folder: pathlib.Path

    @property
    def finished(self) -> bool:
        """Whether the run has written its results."""
        return (self.folder / "results.json").exists()

    def has_progressed(self) -> bool:
        """Return whether a lost job of it left more than the one before.

        Else it is tried a few times only. A run's checkpoints do not count.
        """
        return False


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What runs with the same encoder share.

    Attributes
    ----------
    encoder : str
        Its name.
    attempts : list of Task
        Runs that need it. The second is tried where the first has a problem
        of its own.
    folders : list of pathlib.Path
        Of all runs that need it.
    """

    encoder: str
    attempts: list
    folders: list


def prepare_forks(threads: int):
    """Return a context whose processes have imported what takes long.

    Arguments
    ---------
    threads : int
        Threads of each process.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    # SpeechBrain asks for a GPU when it is imported. CUDA itself would answer
    # only by being initialised, and no process forked after that can use it.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    # An interrupted run leaves a semaphore, which Python then warns of.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:resource_tracker")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@contextlib.contextmanager
def term_as_int():
    """Treat SIGTERM as Ctrl-C, so that no run goes on without its launcher."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _stopping(processes):
    """End processes if this one is interrupted or fails."""
    try:
        yield
    except BaseException:
        for process in processes():
            process.terminate()
        for process in processes():
            process.join()
        raise


def encode(
    attempts: list[Task], parts: list[tuple[int, int]], context
) -> list[int]:
    """Compute features that runs share; return the exit status of each part.

    Arguments
    ---------
    attempts : list of Task
        See `Encoding`.
    parts : list of tuple of int
        Index and number of the parts to encode side by side.
    context : multiprocessing.context.BaseContext
        From `prepare_forks`.
    """
    left = dict.fromkeys(parts, 1)
    for task in attempts:
        running = {}
        with _stopping(running.values):
            for part in [part for part, code in left.items() if code]:
                # One bar is enough; the parts are of like length.
                quiet = [QUIET] if part[0] else []
                process = context.Process(
                    target=encode_one,
                    args=[[*task.arguments, *quiet], part],
                    daemon=True,
                )
                process.start()
                running[part] = process
            for part, process in running.items():
                process.join()
                left[part] = process.exitcode
    return list(left.values())


def run_side_by_side(
    tasks: list[Task], jobs: int, context
) -> Iterator[tuple[Task, int]]:
    """Run tasks; give each with its exit status when it ends.

    Arguments
    ---------
    tasks : list of Task
    jobs : int
        At most so many at a time.
    context : multiprocessing.context.BaseContext
        From `prepare_forks`.
    """
    waiting = collections.deque(tasks)
    running = {}  # sentinel -> (task, process)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stopping(lambda: [p for _, p in running.values()]))
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.popleft()
                process = _start(task, context)
                running[process.sentinel] = task, process
            for sentinel in connection.wait(list(running)):
                task, process = running.pop(sentinel)
                process.join()
                yield task, process.exitcode


def _start(task, context):
    """Start the process of a run."""
    task.folder.mkdir(parents=True, exist_ok=True)
    (task.folder / FAILED).unlink(missing_ok=True)
    arguments = [task.arguments, str(task.folder / LOG)]
    process = context.Process(target=run_one, args=arguments, daemon=True)
    process.start()
    return process


def problem_of(task: Task, code: int) -> str:
    """Return what went wrong in a sentence, or "".

    Arguments
    ---------
    task : Task
        Which has ended.
    code : int
        Its exit status; the negative number of a signal that ended it.
    """
    log = task.folder / LOG
    if code == 0 and task.finished:
        return ""
    if code < 0:
        names = {one.value: one.name for one in signal.Signals}
        return f"ended by {names.get(-code, f'signal {-code}')}, log: {log}"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as problem:
        return (
            f"ended with exit status {code} before it could write to {log} "
            f"({problem.strerror})"
        )
    written = [line.strip() for line in lines if line.strip()]
    return f"{written[-1] if written else 'no message'} (log: {log})"
