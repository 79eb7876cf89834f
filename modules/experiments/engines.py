"""The engines of a cluster: what they have in common, and which there are.

No package of an engine is imported before it is chosen; one machine needs none.
"""

import importlib.metadata
import pathlib
from typing import Protocol

import yaml

from modules.errors import BadInput
from modules.experiments.ray_engine import Ray
from modules.experiments.slurm_engine import Slurm

# In the folder of an experiment.
JOBS = "jobs"

# Package and the versions that the interface below was written for.
_PACKAGES = {"slurm": ("submitit", (1, 5)), "ray": ("ray", (2, 40))}


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
