"""Slurm, through submitit."""

import pathlib
import shutil
import subprocess

from modules.errors import BadInput
from modules.experiments.experiment_file import ROOT

# A time limit that leaves many partitions a choice, in minutes.
_MINUTES = 240
# Of a job that Slurm could not start again on the node where it was: it would
# wait for an administrator. Another job takes its place.
_HELD = "launch failed requeued held"


class Slurm:
    """Slurm, see `modules.experiments.engines.Engine`.

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
        """See `modules.experiments.engines.Engine`."""
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
        """See `modules.experiments.engines.Engine`."""
        jobs = _list_jobs()
        if jobs is None:
            return None
        return {
            key: "queued" if state == "PENDING" else "running"
            for _, key, state, reason in jobs
            if reason != _HELD
        }

    def cancel(self, keys: list[str]) -> None:
        """See `modules.experiments.engines.Engine`."""
        ids = [own_id for own_id, key, *_ in _list_jobs() or [] if key in keys]
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
    """Return [id, name, state, reason] of the user's jobs, or None."""
    answer = _output(["squeue", "--me", "--noheader", "--format=%i|%j|%T|%r"])
    if answer is None:
        return None
    return [line.split("|", 3) for line in answer.splitlines()]


def _output(command):
    """Return what a command of Slurm prints, or None if it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60
        )
    except subprocess.TimeoutExpired:
        return None
    return None if done.returncode else done.stdout
