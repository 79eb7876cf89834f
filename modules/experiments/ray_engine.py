"""Ray."""

import logging
import os
import pathlib
import subprocess

from modules.errors import BadInput
from modules.experiments.experiment_file import ROOT


class Ray:
    """A Ray cluster, see `modules.experiments.engines.Engine`.

    Ray ends the jobs of a driver that is gone.

    Arguments
    ---------
    logs : pathlib.Path
        Unused: Ray has logs of its own.
    cpus : int
    options : dict
        Of a task: num_gpus, memory, resources ...
    """

    name = "ray"
    poll_seconds = 0.5

    def __init__(self, logs: pathlib.Path, cpus: int, options: dict):
        import ray

        address = os.environ.get("RAY_ADDRESS", "auto")
        try:
            ray.init(
                address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as problem:
            reason = " ".join(str(problem).split())
            raise BadInput(
                f"there is no Ray cluster of this version at {address} "
                f"({reason:.200}): start one (ray start --head), or set "
                "RAY_ADDRESS"
            ) from problem
        try:
            self._call = ray.remote(subprocess.call).options(
                num_cpus=cpus, max_retries=0, **options
            )
        except (ValueError, TypeError) as problem:
            raise BadInput(
                f"--launcher_options {options}: Ray refuses them "
                f"({str(problem).splitlines()[0]:.200}): choose others"
            ) from problem
        self._references = {}

    def submit(self, key: str, command: list[str]) -> str:
        """See `modules.experiments.engines.Engine`."""
        reference = self._call.remote(command, cwd=str(ROOT))
        self._references[key] = reference
        return reference.hex()

    def states(self) -> dict[str, str] | None:
        """See `modules.experiments.engines.Engine`.

        Ray alone would need its dashboard to distinguish a queued task.
        """
        import ray

        flying = list(self._references.values())
        if flying:
            _, left = ray.wait(flying, num_returns=len(flying), timeout=0)
            self._references = {
                key: one for key, one in self._references.items() if one in left
            }
        return dict.fromkeys(self._references, "running")

    def cancel(self, keys: list[str]) -> None:
        """See `modules.experiments.engines.Engine`."""
        import ray

        for key in keys:
            if key in self._references:
                ray.cancel(self._references[key], force=True)
