"""Running an experiment as jobs of a cluster, whatever the engine.

The folder of a run with its results.json is the only truth. Jobs
(`cluster_jobs`) take tasks, one by one, from a queue in the folder of the
experiment (`task_queue`). What a lost job had taken, another takes again.
"""

import collections
import dataclasses
import fcntl
import pathlib
import sys
import time
from collections.abc import Callable, Iterator

from modules.errors import BadInput
from modules.experiments.cluster_jobs import ClusterJobs, check_jobs
from modules.experiments.engines import JOBS, Engine
from modules.experiments.processes import Encoding, Task
from modules.experiments.task_queue import QueuedTask, TaskQueue

# The module that a node starts.
JOB = "modules.experiments.job"
# Of a task whose jobs are lost.
MOST_TRIES = 5
_TICK = 0.2


@dataclasses.dataclass
class Job:
    """A job that is queued or runs.

    Attributes
    ----------
    key : str
    tasks : list of modules.experiments.processes.Task
        What it has taken: one, or none.
    """

    key: str
    tasks: list


class ClusterLauncher:
    """Jobs of a cluster, see `modules.experiments.launcher.Launcher`.

    Arguments
    ---------
    engine : modules.experiments.engines.Engine
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
        self.jobs, self.encode_jobs = jobs, encode_jobs or jobs
        self.record = {"threads": threads, "runs_per_job": runs_per_job}
        self.job = JOB
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
        self._jobs = ClusterJobs(engine, self.folder)
        self._queue = TaskQueue(self.folder)
        self._encodings = []
        self._tries = collections.Counter()

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
        failed = 0
        for task, problem in self.carry_out(
            tasks, lambda text: show(f"{text}, {failed} failed")
        ):
            failed += bool(problem)
            yield task, problem

    def carry_out(
        self, tasks: list[Task], show: Callable[[str], None]
    ) -> Iterator[tuple[Task, str]]:
        """Have jobs do tasks; give each with its problem ("" if none).

        `show` takes what `count` returns.
        """
        queued = self._queued(tasks)
        self._queue.write(queued)
        pending = {task.name: task for task in queued}
        shown = ""
        try:
            while pending:
                self._jobs.drop_ended()
                taken, ended = self._queue.look()
                yield from self._take_out(pending, taken, ended)
                self._give_back(pending, taken, ended)
                self._submit(pending, ended)
                if (text := self._describe(pending, taken)) != shown:
                    show(text)
                    shown = text
                time.sleep(_TICK if pending else 0)
        finally:
            self._jobs.cancel()
        self._jobs.forget()
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

    def _give_back(self, pending, taken, ended):
        """Let others take what lost jobs had taken, or give it up."""
        for name, key in taken.items():
            if name not in pending or name in ended or key in self._jobs.keys:
                continue
            progressed = pending[name].attempts[0].has_progressed()
            self._tries[name] += not progressed
            if self._tries[name] < MOST_TRIES:
                self._queue.give_back(name)
            else:
                self._queue.end(
                    name,
                    f"its job ended {MOST_TRIES} times without a result "
                    "(killed, out of time or out of memory; logs: "
                    f"{self.folder})",
                )

    def _submit(self, pending, ended):
        """Queue jobs for what can be done now."""
        ready = [t for t in pending.values() if ended.issuperset(t.needs)]
        while len(self._jobs.keys) < min(self.jobs, len(ready)):
            self._jobs.submit([sys.executable, "-m", self.job], self.record)

    def _describe(self, pending, taken):
        """Return what the terminal shows."""
        runs = {n: t.attempts[0] for n, t in pending.items() if not t.part}
        jobs = {key: Job(key, []) for key in self._jobs.keys}
        for name, key in taken.items():
            if name in runs and key in jobs:
                jobs[key].tasks.append(runs.pop(name))
        text = self.count(list(runs.values()), list(jobs.values()))
        parts = sum(task.part is not None for task in pending.values())
        return f"{parts} parts to encode, {text}" if parts else text

    def count(self, waiting: list[Task], jobs: list[Job]) -> str:
        """Return how many runs are queued and running, for the terminal.

        Arguments
        ---------
        waiting : list of modules.experiments.processes.Task
            No job has taken them.
        jobs : list of Job
        """
        running = sum(len(job.tasks) for job in jobs if self.has_node(job))
        queued = sum(len(job.tasks) for job in jobs) - running + len(waiting)
        return f"{queued} queued, {running} running"

    def has_node(self, job: Job) -> bool:
        """Return whether a job has a node now."""
        return self._jobs.has_node(job.key)
