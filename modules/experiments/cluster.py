"""Running an experiment as jobs of a cluster, whatever the engine.

The folder of a run with its results.json is the only truth. A job is a file
``jobs/KEY.json`` in the folder of the experiment, written before the engine
takes the job, so that a driver that is started again finds every job. On its
node the job writes ``KEY.started``, at its end ``KEY.ended``. A job that the
engine no longer lists and that has no ``KEY.ended`` was lost (killed, out of
time, its node taken away): what it has not finished is queued again.
"""

import collections
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

from modules.errors import BadInput
from modules.experiments.processes import Task
from modules.files import read_json, write_json, write_text

JOBS = "jobs"
# The module that a node starts.
JOB = "modules.experiments.job"
# Of a job that is lost without having finished a run.
MOST_TRIES = 5
# Of jobs that are lost where none has started, before all is given up.
MOST_UNSTARTED = 3
_TICK = 0.2


class Engine(Protocol):
    """What a scheduler is used for.

    Attributes
    ----------
    name : str
        As --launcher takes it.
    poll_seconds : float
        Between two calls of `states`.
    """

    name: str
    poll_seconds: float

    def submit(self, key: str, command: list[str]) -> str:
        """Queue a job of this name; return the engine's own id of it."""

    def states(self) -> dict[str, str] | None:
        """Return key -> "queued" or "running"; None if the engine gives no answer."""

    def cancel(self, keys: list[str]) -> None:
        """End jobs."""


@dataclasses.dataclass
class _Job:
    key: str
    tasks: list  # those that are not finished
    progressed: bool = False


class ClusterLauncher:
    """Jobs of a cluster, see `modules.experiments.launcher.Launcher`.

    Arguments
    ---------
    engine : Engine
    folder : str or pathlib.Path
        Of the experiment, on a disk that all nodes share.
    jobs : int
        Jobs that are queued or run at a time.
    threads : int
        Threads of each run.
    runs_per_job : int
        At most so many runs share a job; fewer if jobs would be idle.

    Raises
    ------
    BadInput
        If another driver is at work in the folder, or another engine has
        jobs of it.
    """

    def __init__(
        self,
        engine: Engine,
        folder: str | pathlib.Path,
        jobs: int = 1,
        threads: int = 1,
        runs_per_job: int = 1,
    ):
        self.engine, self.jobs, self.threads = engine, jobs, threads
        self.runs_per_job, self.job = runs_per_job, JOB
        self.folder = pathlib.Path(folder).resolve() / JOBS
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = open(self.folder / "driver.lock", "a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise BadInput(
                f"another command is at work in {folder}: wait for its end, "
                "or stop it"
            ) from problem
        check_jobs(folder, engine.name)
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()
        self._prefix = f"emotion-{digest[:8]}"
        self._tries = collections.Counter()
        self._unstarted = 0
        self._any_started = False
        self._states = {}
        self._polled, self._is_fresh = 0.0, False

    def close(self) -> None:
        """Let another driver work in the folder; the jobs go on."""
        self._lock.close()

    def encode(self, encoders: list[tuple[str, list[Task]]]) -> None:
        """See `modules.experiments.launcher.Launcher`; side by side."""
        names = ", ".join(name for name, _ in encoders)
        print(f"encoders: {names}")
        batches = [tasks for _, tasks in encoders]
        for _ in self._work(batches, True, lambda t: print(f"encoding: {t}")):
            pass

    def run(
        self, tasks: list[Task], show: Callable[[str], None]
    ) -> Iterator[tuple[Task, str]]:
        """See `modules.experiments.launcher.Launcher`."""
        share = -(-len(tasks) // self.jobs)
        size = min(self.runs_per_job, share)
        batches = [tasks[i : i + size] for i in range(0, len(tasks), size)]
        failed = 0
        for task, problem in self._work(
            batches, False, lambda text: show(f"{text}, {failed} failed")
        ):
            failed += bool(problem)
            yield task, problem

    def _work(self, batches, encodes, show):
        """Give each task with its problem ("" if none) when it ends."""
        flying = self._adopt(batches, encodes)
        taken = {task.folder for job in flying for task in job.tasks}
        left = [[t for t in b if t.folder not in taken] for b in batches]
        waiting = collections.deque(tasks for tasks in left if tasks)
        shown = ""
        try:
            while waiting or flying:
                while waiting and len(flying) < self.jobs:
                    flying.append(self._submit(waiting.popleft(), encodes))
                self._poll()
                if (text := self.count(waiting, flying)) != shown:
                    show(text)
                    shown = text
                for job in list(flying):
                    yield from self._look_at(job, encodes, flying, waiting)
                time.sleep(_TICK)
        except BaseException:
            self.engine.cancel([job.key for job in flying])
            raise

    def _adopt(self, batches, encodes):
        """Return the jobs of an earlier driver, which may still run."""
        own = {task.folder: task for tasks in batches for task in tasks}
        flying = []
        for path in sorted(self.folder.glob(f"{self._prefix}-*.json")):
            record = read_json(path)
            folders = [pathlib.Path(one["folder"]) for one in record["tasks"]]
            tasks = [own[folder] for folder in folders if folder in own]
            if record["encodes"] == encodes:
                flying.append(_Job(path.stem, tasks))
        return flying

    def _submit(self, tasks, encodes):
        """Queue a job; its file is there before the engine has it."""
        key = f"{self._prefix}-{uuid.uuid4().hex[:12]}"
        record = {
            "engine": self.engine.name,
            "encodes": encodes,
            "threads": self.threads,
            "working_folder": os.getcwd(),
            "tasks": [
                {"folder": str(task.folder), "arguments": task.arguments}
                for task in tasks
            ],
        }
        write_json(self.folder / f"{key}.json", record)
        command = [sys.executable, "-m", self.job, str(self.folder), key]
        own_id = self.engine.submit(key, command)
        write_text(self.folder / f"{key}.id", f"{own_id}\n")
        self._states[key] = "queued"
        return _Job(key, tasks)

    def _poll(self):
        """Ask the engine for its jobs, not more often than it can bear."""
        self._is_fresh = False
        if time.monotonic() - self._polled < self.engine.poll_seconds:
            return
        states = self.engine.states()
        self._polled = time.monotonic()
        if states is not None:
            self._states, self._is_fresh = states, True

    def count(self, waiting, flying):
        """Return how many runs are queued and running, for the terminal."""
        running = sum(len(job.tasks) for job in flying if self.has_node(job))
        queued = sum(len(job.tasks) for job in flying) - running
        queued += sum(map(len, waiting))
        return f"{queued} queued, {running} running"

    def has_node(self, job):
        """Return whether a job has a node now."""
        started = (self.folder / f"{job.key}.started").exists()
        self._any_started |= started
        return started and self._states.get(job.key) != "queued"

    def _look_at(self, job, encodes, flying, waiting):
        """Give the tasks of a job that have ended since the last time."""
        path = self.folder / f"{job.key}.ended"
        is_lost = self._is_fresh and job.key not in self._states
        problems = {}
        if has_ended := path.exists():
            record = read_json(self.folder / f"{job.key}.json")
            folders = [pathlib.Path(one["folder"]) for one in record["tasks"]]
            problems = dict(zip(folders, read_json(path)))
        for task in list(job.tasks):
            if (has_ended and encodes) or (not encodes and task.finished):
                job.tasks.remove(task)
                job.progressed = True
                yield task, "" if task.finished else problems.get(task.folder)
            elif problems.get(task.folder):
                job.tasks.remove(task)
                yield task, problems[task.folder]
        if has_ended or is_lost:
            flying.remove(job)
            if job.tasks:
                yield from self._try_again(job, waiting)
            self._forget(job.key)

    def _try_again(self, job, waiting):
        """Queue what a lost job has left, or give it up with its problem."""
        self._check_start(job)
        progressed = [task.has_progressed() for task in job.tasks]
        if not job.progressed and not any(progressed):
            self._tries.update(task.folder for task in job.tasks)
        again = []
        for task in job.tasks:
            if self._tries[task.folder] < MOST_TRIES:
                again.append(task)
            else:
                yield (
                    task,
                    (
                        f"its job ended {MOST_TRIES} times without a result "
                        "(killed, out of time or out of memory; logs: "
                        f"{self.folder})"
                    ),
                )
        if again:
            waiting.appendleft(again)

    def _check_start(self, job):
        """Give up where no job can start: the disk is not shared."""
        self.has_node(job)
        self._unstarted += 1
        if not self._any_started and self._unstarted >= MOST_UNSTARTED:
            raise BadInput(
                f"{self._unstarted} jobs of {self.engine.name} ended before "
                f"they could write to {self.folder}: choose an output "
                "folder on a disk that all nodes share, where this "
                "repository and its Python have the same path (logs: "
                f"{self.folder / self.engine.name})"
            )

    def _forget(self, key):
        """Remove the files of a job that has ended."""
        for suffix in ("id", "started", "json", "ended"):
            (self.folder / f"{key}.{suffix}").unlink(missing_ok=True)


def check_jobs(folder: str | pathlib.Path, launcher: str) -> None:
    """Refuse an experiment whose jobs another engine may still run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Of the experiment.
    launcher : str
        The engine that is to run it now, or "local".

    Raises
    ------
    BadInput
        If a driver of another engine was killed.
    """
    for path in pathlib.Path(folder, JOBS).glob("emotion-*.json"):
        engine = read_json(path)["engine"]
        if engine != launcher and not path.with_suffix(".ended").exists():
            raise BadInput(
                f"{path.parent} has jobs that {engine} may still run: start "
                f"with --launcher {engine}, or end them and delete this folder"
            )
