"""Running an experiment as jobs of a cluster, whatever the engine.

The folder of a run with its results.json is the only truth. A job is a file
``jobs/KEY.json`` in the folder of the experiment, written before the engine
takes the job, so that a driver that is started again finds every job. On its
node the job writes ``KEY.started``, takes tasks (`task_queue`) until none is
left, and writes ``KEY.ended``. A job that the engine no longer lists and that
has no ``KEY.ended`` was lost (killed, out of time, its node taken away):
others take what it had taken.
"""

import collections
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
from modules.experiments.processes import Encoding, Task
from modules.experiments.task_queue import QueuedTask, TaskQueue
from modules.files import read_json, write_json, write_text

JOBS = "jobs"
# The module that a node starts.
JOB = "modules.experiments.job"
# Of a task whose jobs are lost.
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
        A job ends after so many; None: when no run is left.
    encode_jobs : int
        Parts that the recordings are encoded in, side by side; None: `jobs`.

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
        runs_per_job: int | None = None,
        encode_jobs: int | None = None,
    ):
        self.engine, self.jobs, self.threads = engine, jobs, threads
        self.runs_per_job = runs_per_job
        self.encode_jobs = encode_jobs or jobs
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
        self._queue = TaskQueue(self.folder)
        self._encodings = []
        self._tries = collections.Counter()
        self._unstarted, self._any_started = 0, False
        self._states, self._polled = {}, 0.0

    def close(self) -> None:
        """Let another driver work in the folder; the jobs go on."""
        self._lock.close()

    def encode(self, encodings: list[Encoding]) -> None:
        """See `modules.experiments.launcher.Launcher`.

        The jobs of the runs encode first: each run needs its encodings.
        """
        self._encodings = encodings

    def run(
        self, tasks: list[Task], show: Callable[[str], None]
    ) -> Iterator[tuple[Task, str]]:
        """See `modules.experiments.launcher.Launcher`."""
        queued = self._queued(tasks)
        self._queue.write(queued)
        pending = {task.name: task for task in queued}
        paths = self.folder.glob(f"{self._prefix}-*.json")
        flying = {path.stem for path in paths}  # of an earlier driver, too
        shown, failed = "", 0
        try:
            while pending:
                self._drop_ended(flying)
                taken, ended = self._queue.look()
                for task, problem in self._take_out(pending, taken, ended):
                    failed += bool(problem)
                    yield task, problem
                self._give_back(pending, taken, ended, flying)
                self._submit(pending, ended, flying)
                text = f"{self._count(pending, taken)}, {failed} failed"
                if text != shown:
                    show(text)
                    shown = text
                time.sleep(_TICK if pending else 0)
        finally:
            self.engine.cancel(list(flying))
        for key in flying:
            self._forget(key)
        self._queue.clear()
        self._encodings = []

    def _queued(self, tasks):
        """Return what jobs take: parts of encodings, then runs."""
        parts = [(i, self.encode_jobs) for i in range(self.encode_jobs)]
        needs = collections.defaultdict(tuple)  # folder -> names
        queued = []
        for encoding in self._encodings:
            own = [QueuedTask(encoding.attempts, part) for part in parts]
            queued += own
            for folder in encoding.folders:
                needs[folder] += tuple(task.name for task in own)
        return queued + [
            QueuedTask([task], None, needs[task.folder]) for task in tasks
        ]

    def _drop_ended(self, flying):
        """Forget the jobs that have ended and those that were lost."""
        is_fresh = self._poll()
        for key in list(flying):
            started = (self.folder / f"{key}.started").exists()
            self._any_started |= started
            ended = (self.folder / f"{key}.ended").exists()
            if not ended and not (is_fresh and key not in self._states):
                continue
            if not ended and not started:
                self._check_start()
            flying.remove(key)
            self._forget(key)

    def _poll(self):
        """Return whether the engine has just listed its jobs."""
        if time.monotonic() - self._polled < self.engine.poll_seconds:
            return False
        states = self.engine.states()
        self._polled = time.monotonic()
        self._states = self._states if states is None else states
        return states is not None

    def _take_out(self, pending, taken, ended):
        """Give each run that has ended with its problem ("" if none)."""
        for name in [n for n in pending if n in taken or n in ended]:
            task = pending[name]
            if not task.finished and name not in ended:
                continue
            del pending[name]
            if task.part is None:
                problem = "" if task.finished else self._queue.problem(name)
                yield task.attempts[0], problem

    def _give_back(self, pending, taken, ended, flying):
        """Let others take what lost jobs had taken, or give it up."""
        for name, key in taken.items():
            if name not in pending or name in ended or key in flying:
                continue
            self._tries[name] += 1
            if self._tries[name] < MOST_TRIES:
                self._queue.give_back(name)
            else:
                self._queue.end(
                    name,
                    f"its job ended {MOST_TRIES} times without a result "
                    "(killed, out of time or out of memory; logs: "
                    f"{self.folder})",
                )

    def _submit(self, pending, ended, flying):
        """Queue jobs for what can be done now."""
        ready = [t for t in pending.values() if ended.issuperset(t.needs)]
        while len(flying) < min(self.jobs, len(ready)):
            key = f"{self._prefix}-{uuid.uuid4().hex[:12]}"
            # The file is there before the engine has the job.
            record = {
                "engine": self.engine.name,
                "threads": self.threads,
                "working_folder": os.getcwd(),
                "runs_per_job": self.runs_per_job,
            }
            write_json(self.folder / f"{key}.json", record)
            command = [sys.executable, "-m", JOB, str(self.folder), key]
            flying.add(key)
            own_id = self.engine.submit(key, command)
            write_text(self.folder / f"{key}.id", f"{own_id}\n")
            self._states[key] = "queued"

    def _count(self, pending, taken):
        """Return how many runs are queued and running."""
        running = {n for n, key in taken.items() if self._runs(key)}
        encodings = {n for n, task in pending.items() if task.part}
        runs = set(pending) - encodings
        text = f"{len(runs - running)} queued, {len(runs & running)} running"
        if encodings:
            text = f"encoding, {len(encodings)} parts left; {text}"
        return text

    def _runs(self, key):
        """Return whether a job has a node now."""
        return self._states.get(key) == "running"

    def _check_start(self):
        """Give up where no job can start: the disk is not shared."""
        self._unstarted += 1
        if not self._any_started and self._unstarted >= MOST_UNSTARTED:
            raise BadInput(
                f"{self._unstarted} jobs of {self.engine.name} ended before "
                f"they could write to {self.folder}: choose an "
                "--output_folder on a disk that all nodes share, where this "
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
