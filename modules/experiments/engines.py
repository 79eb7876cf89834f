"""The engines of a cluster: Slurm through submitit, and Ray.

Neither is imported before it is chosen; one machine needs neither.
"""

import importlib.metadata
import logging
import os
import pathlib
import shutil
import subprocess

import yaml

from modules.errors import BadInput
from modules.experiments.cluster import JOBS, Engine
from modules.experiments.experiment_file import ROOT

# Package and the versions that the interface below was written for.
_PACKAGES = {"slurm": ("submitit", (1, 5)), "ray": ("ray", (2, 40))}
# A time limit that leaves many partitions a choice, in minutes.
_MINUTES = 240


def make_engine(
    name: str, folder: str | pathlib.Path, cpus: int, options: str = ""
) -> Engine:
    """Return an engine that is there and answers.

    Arguments
    ---------
    name : str
        "slurm" or "ray".
    folder : str or pathlib.Path
        Of the experiment; Slurm's logs go to ``jobs/slurm`` in it.
    cpus : int
        CPU cores of a job.
    options : str
        The engine's own options, ``key=value,key=value``.

    Raises
    ------
    BadInput
        If its package or the scheduler is missing or of another version, or
        an option is none of the engine's.
    """
    check_package(name)
    logs = pathlib.Path(folder).resolve() / JOBS / name
    kind = Slurm if name == "slurm" else Ray
    return kind(logs, cpus, parse_options(options))


def check_package(name: str) -> None:
    """Refuse an engine whose package is missing or of another version.

    Raises
    ------
    BadInput
        With what to install.
    """
    package, least = _PACKAGES[name]
    remedy = "pip install -r requirements-cluster.txt -c constraints.txt"
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as problem:
        raise BadInput(
            f"--launcher {name} needs {package}, which is not installed: "
            f"{remedy}"
        ) from problem
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if not least <= numbers < (least[0] + 1, 0):
        wanted = ".".join(map(str, least))
        raise BadInput(
            f"--launcher {name} needs {package} from {wanted} and below "
            f"{least[0] + 1}, not {version}: {remedy}"
        )


def parse_options(text: str) -> dict:
    """Return ``key=value,key=value`` as a dict, values as YAML reads them.

    Raises
    ------
    BadInput
        If a part has no ``=``.

    Example
    -------
    >>> parse_options("partition=gpu,timeout_min=60")
    {'partition': 'gpu', 'timeout_min': 60}
    """
    found = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not (key and equals):
            raise BadInput(
                f"--launcher_options has '{part}': write it as "
                "partition=gpu,timeout_min=60"
            )
        found[key] = yaml.safe_load(value)
    return found


class Slurm:
    """Slurm, see `modules.experiments.cluster.Engine`.

    A preempted job is queued again by Slurm itself. States come from squeue,
    which needs no accounting database.

    Arguments
    ---------
    logs : pathlib.Path
    cpus : int
    options : dict
        As submitit takes them: partition, timeout_min, gpus_per_node, mem_gb,
        account, qos, constraint ...
    """

    name = "slurm"
    poll_seconds = 5.0

    def __init__(self, logs: pathlib.Path, cpus: int, options: dict):
        from submitit import SlurmExecutor

        if shutil.which("sbatch") is None:
            raise BadInput(
                "--launcher slurm found no Slurm here (no sbatch): start it "
                "on a login node, or leave --launcher out"
            )
        answer = _output(["sinfo", "--noheader"])
        if answer is None or not answer.strip():
            raise BadInput(
                "Slurm does not answer or has no partition (sinfo): start it "
                "again when sinfo lists one"
            )
        self._executor = SlurmExecutor(logs)
        own = _for_slurm(options | {"cpus_per_task": cpus})
        try:
            self._executor.update_parameters(**own)
        except (ValueError, TypeError) as problem:
            raise BadInput(
                f"--launcher_options {options}: submitit refuses them "
                f"({str(problem).splitlines()[0]}): choose others"
            ) from problem

    def submit(self, key: str, command: list[str]) -> str:
        """See `modules.experiments.cluster.Engine`."""
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        self._executor.update_parameters(job_name=key)
        try:
            job = self._executor.submit(subprocess.call, command, cwd=ROOT)
        except (FailedJobError, FailedSubmissionError) as problem:
            lines = [line for line in str(problem).splitlines() if line]
            raise BadInput(
                f"Slurm refuses the job ({lines[-1]:.200}): change "
                "--launcher_options"
            ) from problem
        return job.job_id

    def states(self) -> dict[str, str] | None:
        """See `modules.experiments.cluster.Engine`."""
        jobs = _list_jobs()
        if jobs is None:
            return None
        return {
            key: "queued" if state == "PENDING" else "running"
            for _, key, state in jobs
        }

    def cancel(self, keys: list[str]) -> None:
        """See `modules.experiments.cluster.Engine`."""
        ids = [own_id for own_id, key, _ in _list_jobs() or [] if key in keys]
        if ids:
            _output(["scancel", *ids])


def _for_slurm(options):
    """Return options by the names that submitit's executor for Slurm has."""
    names = {"timeout_min": "time", "mem_gb": "mem"}
    made = {"time": _MINUTES} | {
        names.get(key, key): value for key, value in options.items()
    }
    if "mem_gb" in options:
        made["mem"] = f"{options['mem_gb']}GB"
    # The site may have switched off that jobs are queued again.
    return made | {"additional_parameters": {"requeue": True}}


def _list_jobs():
    """Return [id, name, state] of the user's jobs, or None."""
    answer = _output(["squeue", "--me", "--noheader", "--format=%i|%j|%T"])
    if answer is None:
        return None
    return [line.split("|") for line in answer.split()]


def _output(command):
    """Return what a command of Slurm prints, or None if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout


class Ray:
    """A Ray cluster, see `modules.experiments.cluster.Engine`.

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
        """See `modules.experiments.cluster.Engine`."""
        reference = self._call.remote(command, cwd=str(ROOT))
        self._references[key] = reference
        return reference.hex()

    def states(self) -> dict[str, str] | None:
        """See `modules.experiments.cluster.Engine`.

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
        """See `modules.experiments.cluster.Engine`."""
        import ray

        for key in keys:
            if key in self._references:
                ray.cancel(self._references[key], force=True)
