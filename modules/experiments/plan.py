"""What an experiment runs: systems x folds x seeds."""

import dataclasses
import json
import pathlib
import re
from typing import Any

import yaml

from modules.experiments.experiment_file import Published

# In the folder of a run: its output, and the reason why it has no results.
LOG = "run.log"
FAILED = "failed.txt"
# No run draws a bar of its own.
QUIET = "--noprogressbar"


@dataclasses.dataclass(frozen=True)
class System:
    """One row of the results table.

    Attributes
    ----------
    row : str
        Its name in the list of systems.
    settings : dict
        What the experiment file sets: key -> value. In a text, <test_fold>
        and <seed> stand for those of a run.
    hparams_file : pathlib.Path
        The hyperparameter file of its runs.
    column : str
        Name of its variation in the grid; "" without one.
    fuses : tuple of str
        Names of the systems that it is the late fusion of.
    overrides : tuple of str
        Command-line options, without keys that its file does not have.
    folder : str
        Relative to the folder of the experiment; "." for the only system of
        an experiment. By default from its name.
    """

    row: str
    settings: dict
    hparams_file: pathlib.Path
    column: str = ""
    fuses: tuple = ()
    overrides: tuple = ()
    folder: str = ""

    def __post_init__(self):
        folder = self.folder or re.sub(r"[^\w.()-]+", "_", self.name)
        object.__setattr__(self, "folder", folder)

    @property
    def name(self) -> str:
        """Name of the row and, if there is one, of the column."""
        return f"{self.row}, {self.column}" if self.column else self.row


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One system, one test fold and one seed, in a folder of their own."""

    system: System
    fold: int
    seed: int
    folder: pathlib.Path

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        return f"{self.system.name}, fold {self.fold}, seed {self.seed}"

    @property
    def finished(self) -> bool:
        """Whether the run has written its results."""
        return (self.folder / "results.json").exists()


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked experiment.

    Attributes
    ----------
    title : str
        Of the report.
    file : pathlib.Path
        The file that the user gave.
    systems : list of System
    folds, seeds : list of int
    output_folder : pathlib.Path
    resolved : dict
        System -> settings of its runs, which distinguish experiments.
    overrides : list of str
        From the command line, for every run whose file has that key.
    published : modules.experiments.experiment_file.Published
        Figures of a publication, or None.
    """

    title: str
    file: pathlib.Path
    systems: list
    folds: list
    seeds: list
    output_folder: pathlib.Path
    resolved: dict
    overrides: list = dataclasses.field(default_factory=list)
    published: Published | None = None

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs; every run of a seed comes before those of the next."""
        return [
            PlannedRun(
                system,
                fold,
                seed,
                self.output_folder
                / system.folder
                / f"fold_{fold}"
                / f"seed_{seed}",
            )
            for seed in self.seeds
            for system in self.systems
            for fold in self.folds
        ]

    @property
    def command(self) -> list[str]:
        """Arguments of cross_validate.py that repeat the experiment."""
        first = self.systems[0]
        if first.fuses and first.folder == ".":
            folder = str(self.output_folder)
            return ["--late_fusion", *first.fuses, "--output_folder", folder]
        seeds = ",".join(map(str, self.seeds))
        return [str(self.file), *self.overrides, "--seeds", seeds]

    def fused_folders(self, run: PlannedRun) -> list[pathlib.Path]:
        """Return the folders of the runs that a late fusion combines."""
        folders = {
            (other.system.name, other.fold, other.seed): other.folder
            for other in self.runs
        }
        return [folders[name, run.fold, run.seed] for name in run.system.fuses]

    def reads_experiment(self, run: PlannedRun) -> bool:
        """Return whether a run reads the output of other runs."""
        return any(
            str(self.output_folder) in str(value)
            for value in run.system.settings.values()
        )

    def arguments(self, run: PlannedRun) -> list[str]:
        """Return the command line of a run, as train.py takes it."""
        numbers = {"test_fold": run.fold, "seed": run.seed}
        own = {
            key: _filled(value, numbers)
            for key, value in run.system.settings.items()
        }
        own |= numbers | {"output_folder": run.folder}
        if run.system.folder != ".":
            own["system"] = run.system.name
        return [
            str(run.system.hparams_file),
            *(o for o in run.system.overrides if o != QUIET),
            *as_options(own),
            QUIET,
        ]


def _filled(value: Any, numbers: dict) -> Any:
    """Return a setting with <test_fold> and <seed> replaced."""
    for key, number in numbers.items():
        if isinstance(value, str):
            value = value.replace(f"<{key}>", str(number))
    return value


def as_options(values: dict) -> list[str]:
    """Return --key=value for each setting, spelt as in YAML.

    Example
    -------
    >>> as_options({"lr": 0.5, "revision": None, "pooling": {"class": "a.B"}})
    ['--lr=0.5', '--revision=null', '--pooling={class: a.B}']
    """
    return [f"--{key}={_spelt(value)}" for key, value in values.items()]


def _spelt(value: Any) -> str:
    """Return a value as YAML has it in one line."""
    if isinstance(value, dict):
        copied = json.loads(json.dumps(value))  # without aliases
        options = {"default_flow_style": True, "sort_keys": False}
        return yaml.safe_dump(copied, width=float("inf"), **options).strip()
    spelt = {"True": "true", "False": "false", "None": "null"}
    return spelt.get(str(value), str(value))
