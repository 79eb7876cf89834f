"""Tasks in a folder, which the jobs of a cluster take one by one.

`tasks.json` lists them. A job takes the task NAME with a symbolic link
`NAME.taken` to its own key: of several jobs that make it, one succeeds, on
any disk. `NAME.ended` contains the problem of a task that has ended, or
nothing. The results themselves lie elsewhere.
"""

import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Iterator

from modules.experiments.processes import Task
from modules.files import read_json, write_json, write_text

_LIST = "tasks.json"
_TICK = 0.2


@dataclasses.dataclass(frozen=True)
class QueuedTask:
    """A run, or one part of an encoding that runs share.

    Attributes
    ----------
    attempts : list of modules.experiments.processes.Task
        The run; or runs to encode for, until one of them succeeds.
    part : tuple of int
        Index and number of parts of an encoding; None for a run.
    needs : tuple of str
        Names of the tasks that must have ended before.
    """

    attempts: list
    part: tuple | None = None
    needs: tuple = ()

    @property
    def name(self) -> str:
        """Identifies the task in its folder."""
        folder = str(self.attempts[0].folder)
        digest = hashlib.sha256(folder.encode()).hexdigest()[:24]
        if self.part is None:
            return f"run-{digest}"
        return "encoding-{}-{}-of-{}".format(digest, *self.part)

    def as_json(self) -> dict:
        """Return it in plain values."""
        tasks = [
            {"arguments": one.arguments, "folder": str(one.folder)}
            for one in self.attempts
        ]
        return {"tasks": tasks, "part": self.part, "needs": self.needs}

    @classmethod
    def from_json(cls, record: dict) -> "QueuedTask":
        """Return what `as_json` has described."""
        attempts = [
            Task(one["arguments"], pathlib.Path(one["folder"]))
            for one in record["tasks"]
        ]
        part = tuple(record["part"]) if record["part"] else None
        return cls(attempts, part, tuple(record["needs"]))

    @property
    def finished(self) -> bool:
        """Whether it is a run that has results."""
        return self.part is None and self.attempts[0].finished


class TaskQueue:
    """See this module.

    Arguments
    ---------
    folder : pathlib.Path
        On a disk that all nodes share.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def write(self, tasks: list[QueuedTask]) -> None:
        """List the tasks; what has failed before may be taken again."""
        for name in self.look()[1]:
            if self.problem(name):
                self.give_back(name)
        write_json(self.folder / _LIST, [task.as_json() for task in tasks])

    def read(self) -> list[QueuedTask]:
        """Return the tasks."""
        return list(map(QueuedTask.from_json, read_json(self.folder / _LIST)))

    def look(self) -> tuple[dict[str, str], set[str]]:
        """Return name -> key of the tasks taken, and the names of the ended."""
        taken, ended = {}, set()
        for file in os.listdir(self.folder):
            name, _, kind = file.rpartition(".")
            if kind == "ended":
                ended.add(name)
            elif kind == "taken":
                if key := self._owner(name):
                    taken[name] = key
        return taken, ended

    def take(self, name: str, key: str) -> bool:
        """Take a task for a job; return whether it is the job's."""
        try:
            os.symlink(key, self.folder / f"{name}.taken")
        except FileExistsError:
            return self._owner(name) == key
        return True

    def give_back(self, name: str) -> None:
        """Let another job take a task."""
        for kind in ("ended", "taken"):
            (self.folder / f"{name}.{kind}").unlink(missing_ok=True)

    def end(self, name: str, problem: str) -> None:
        """Note that a task has ended, with its problem or ""."""
        write_text(self.folder / f"{name}.ended", problem)

    def problem(self, name: str) -> str:
        """Return the problem of a task that has ended, or ""."""
        return (self.folder / f"{name}.ended").read_text(encoding="utf-8")

    def clear(self) -> None:
        """Remove everything."""
        for name in set().union(*self.look()):
            self.give_back(name)
        (self.folder / _LIST).unlink(missing_ok=True)

    def _owner(self, name):
        """Return the key of the job that has taken a task, or None."""
        try:
            return os.readlink(self.folder / f"{name}.taken")
        except FileNotFoundError:
            return None


def take_tasks(queue: TaskQueue, key: str) -> Iterator[QueuedTask]:
    """Take tasks for a job until none is left.

    First what the job had before it was started again. It waits while others
    work at what the rest needs.
    """
    left = queue.read()
    while True:
        taken, ended = queue.look()
        left = [t for t in left if t.name not in ended and not t.finished]
        free = [t for t in left if taken.get(t.name, key) == key]
        if not free:
            return
        free.sort(key=lambda task: task.name not in taken)
        ready = [task for task in free if ended.issuperset(task.needs)]
        mine = next((t for t in ready if queue.take(t.name, key)), None)
        if mine is not None:
            yield mine
        elif not ready:
            time.sleep(_TICK)
