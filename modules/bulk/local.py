"""Workers on this machine, as an engine like those of a cluster."""

import pathlib
import subprocess

from modules.experiments.experiment_file import ROOT


class Local:
    """Processes of this machine, see `modules.experiments.engines.Engine`.

    Arguments
    ---------
    logs : pathlib.Path
        A file per job.
    """

    name = "local"
    poll_seconds = 0.2

    def __init__(self, logs: pathlib.Path):
        self.logs = logs
        self._running = {}

    def submit(self, key: str, command: list[str]) -> str:
        """See `modules.experiments.engines.Engine`."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with open(self.logs / f"{key}.log", "a") as log:
            # Ctrl-C is for the driver, which ends its workers.
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[key] = process
        return str(process.pid)

    def states(self) -> dict[str, str]:
        """See `modules.experiments.engines.Engine`."""
        self._running = {
            key: process
            for key, process in self._running.items()
            if process.poll() is None
        }
        return dict.fromkeys(self._running, "running")

    def cancel(self, keys: list[str]) -> None:
        """See `modules.experiments.engines.Engine`."""
        for key in keys:
            if key in self._running:
                self._running[key].terminate()
                self._running.pop(key).wait()
