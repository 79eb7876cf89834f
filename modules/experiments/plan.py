"""What an experiment runs: systems x folds x seeds."""

import dataclasses
import pathlib

# In the folder of a run: its output, and the reason why it has no results.
LOG = "run.log"
FAILED = "failed.txt"


@dataclasses.dataclass(frozen=True)
class System:
    """One row of the results table.

    Attributes
    ----------
    name : str
        Of the row, and of its folder.
    settings : dict
        What the experiment file sets: key -> value.
    hparams_file : pathlib.Path
        The hyperparameter file of its runs.
    row, column : str
        Name among the systems, and in the grid ("" without one).
    folder : str
        Relative to the folder of the experiment.
    fuses : tuple of str
        Names of the systems that it is the late fusion of.
    overrides : tuple of str
        Command-line options, without keys that its file does not have.
    """

    name: str
    settings: dict
    hparams_file: pathlib.Path
    row: str
    column: str
    folder: str
    fuses: tuple = ()
    overrides: tuple = ()

    @property
    def is_trained(self) -> bool:
        """Whether the runs of the system train a model of their own."""
        return not self.fuses


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
    hparams_file : pathlib.Path
        Hyperparameter file of the systems that have none of their own.
    overrides : list of str
        From the command line, for every run whose file has that key.
    systems : list of System
    folds, seeds : list of int
    published : dict
        System -> {"mean": percent, "std": percent or None}; with a second
        metric also {"second": {"mean": percent, "std": percent or None}}.
    published_source : str
        The publication.
    published_metric : str
        "WA", "UA" or "macro_f1"; with a second one "WA / UA" or the like.
    output_folder : pathlib.Path
    resolved : dict
        System -> settings of its runs, which tell experiments apart.
    """

    title: str
    file: pathlib.Path
    hparams_file: pathlib.Path
    overrides: list
    systems: list
    folds: list
    seeds: list
    published: dict
    published_source: str
    published_metric: str
    output_folder: pathlib.Path
    resolved: dict

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

    def fused_runs(self, run: PlannedRun) -> list[PlannedRun]:
        """Return the runs whose probabilities a late fusion combines."""
        return [
            other
            for name in run.system.fuses
            for other in self.runs
            if (other.system.name, other.fold, other.seed)
            == (name, run.fold, run.seed)
        ]

    def reads_experiment(self, run: PlannedRun) -> bool:
        """Return whether a run reads the output of other runs."""
        return any(
            str(self.output_folder) in str(value)
            for value in run.system.settings.values()
        )

    def arguments(self, run: PlannedRun) -> list[str]:
        """Return the command line of a run, as train.py takes it."""
        own = run.system.settings | {
            "test_fold": run.fold,
            "seed": run.seed,
            "output_folder": run.folder,
        }
        if run.system.folder != ".":
            own["system"] = run.system.name
        return [
            str(run.system.hparams_file),
            *run.system.overrides,
            *as_options(own),
            "--noprogressbar",
        ]


def as_options(values: dict) -> list[str]:
    """Return --key=value for each setting, spelt as in YAML.

    Example
    -------
    >>> as_options({"pooling": "mean", "dropout": 0.5, "revision": None})
    ['--pooling=mean', '--dropout=0.5', '--revision=null']
    """
    spelt = {"True": "true", "False": "false", "None": "null"}
    return [
        f"--{key}={spelt.get(str(value), value)}"
        for key, value in values.items()
    ]
