"""The jobs of an experiment on a cluster: submitted, running, ended or lost.

A job is a file ``KEY.json``, written before the engine takes the job, so that
a driver that is started again finds every job. On its node the job writes
``KEY.started`` and ``reached``, at its end ``KEY.ended``. A job that the engine no longer
lists and that has no ``KEY.ended`` was lost: killed, out of time, or its node
was taken away.
"""

import hashlib
import os
import pathlib
import time
import uuid

from modules.errors import BadInput
from modules.experiments.engines import JOBS, Engine
from modules.files import read_json, write_json, write_text

# A node has written to the folder.
REACHED = "reached"
# Of jobs in a row that are lost before they start, where no node has and where
# one has, before all is given up.
MOST_UNSTARTED, MOST_LATER = 3, 20


class ClusterJobs:
    """See this module.

    Arguments
    ---------
    engine : modules.experiments.engines.Engine
    folder : pathlib.Path
        Of their files, on a disk that all nodes share.

    Attributes
    ----------
    keys : set of str
        The jobs that are queued or run; at first those of an earlier driver.
    """

    def __init__(self, engine: Engine, folder: pathlib.Path):
        self.engine, self.folder = engine, folder
        digest = hashlib.sha256(str(folder).encode()).hexdigest()
        self._prefix = f"emotion-{digest[:8]}"
        paths = folder.glob(f"{self._prefix}-*.json")
        self.keys = {path.stem for path in paths}
        self._adopted = frozenset(self.keys)
        self._states, self._polled = {}, 0.0
        self._unstarted = 0

    def submit(self, command: list[str], record: dict) -> None:
        """Queue a job.

        Arguments
        ---------
        command : list of str
            Gets the folder and the key of the job.
        record : dict
            For the job.
        """
        key = f"{self._prefix}-{uuid.uuid4().hex[:12]}"
        common = {"engine": self.engine.name, "working_folder": os.getcwd()}
        write_json(self.folder / f"{key}.json", common | record)
        self.keys.add(key)
        own_id = self.engine.submit(key, [*command, str(self.folder), key])
        write_text(self.folder / f"{key}.id", f"{own_id}\n")
        self._states[key] = "queued"

    def drop_ended(self) -> None:
        """Forget the jobs that have ended and those that were lost.

        Raises
        ------
        BadInput
            If no job can start, since the disk is not shared.
        """
        is_fresh = self._poll()
        for key in list(self.keys):
            if not (self.folder / f"{key}.ended").exists():
                if not is_fresh or key in self._states:
                    continue
                self._count_lost(key)
                self.engine.cancel([key])  # where it is only held
            self._forget(key)

    def has_node(self, key: str) -> bool:
        """Return whether a job has a node now."""
        started = (self.folder / f"{key}.started").exists()
        return started and self._states.get(key) != "queued"

    def cancel(self) -> None:
        """End all jobs."""
        self.engine.cancel(list(self.keys))

    def forget(self) -> None:
        """Remove the files of all jobs."""
        for key in list(self.keys):
            self._forget(key)
        (self.folder / REACHED).unlink(missing_ok=True)

    def _poll(self):
        """Return whether the engine has just listed its jobs.

        It is not asked more often than it can bear.
        """
        if time.monotonic() - self._polled < self.engine.poll_seconds:
            return False
        states = self.engine.states()
        self._polled = time.monotonic()
        self._states = self._states if states is None else states
        return states is not None

    def _count_lost(self, key):
        """Give up where no job can start any more."""
        if (self.folder / f"{key}.started").exists():
            self._unstarted = 0
        elif key not in self._adopted:
            self._unstarted += 1
        reached = (self.folder / REACHED).exists()
        if self._unstarted >= (MOST_LATER if reached else MOST_UNSTARTED):
            raise BadInput(
                f"{self._unstarted} jobs of {self.engine.name} ended before "
                f"they could write to {self.folder}: choose an output "
                "folder on a disk that all nodes share, where this "
                "repository and its Python have the same path (logs: "
                f"{self.folder / self.engine.name})"
            )

    def _forget(self, key):
        self.keys.discard(key)
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
