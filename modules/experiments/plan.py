"""What a table runs: systems x folds x seeds."""

import dataclasses
import pathlib

FLOOR = "logistic_regression"
# In the folder of a run: all it says, and why it has no results.
LOG = "cell.log"
FAILED = "failed.txt"


@dataclasses.dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes
    ----------
    name : str
        Of the row, and of its folder.
    settings : dict
        What the experiment file sets: key -> value.
    hparams_file : pathlib.Path
        What it is run with.
    row, column : str
        Name among the systems, and among the grid ("" without one).
    folder : str
        Under the table's.
    floor : bool
        Whether it is the logistic regression of floor.py.
    fuses : tuple of str
        Names of the systems that it is the late fusion of.
    overrides : tuple of str
        From the command line, without keys that its file does not have.
    """

    name: str
    settings: dict
    hparams_file: pathlib.Path
    row: str
    column: str
    folder: str
    floor: bool = False
    fuses: tuple = ()
    overrides: tuple = ()

    @property
    def is_trained(self):
        """Whether it has a head of its own that train.py trains."""
        return not (self.floor or self.fuses)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run: a system, a test fold and a seed, in a folder of its own."""

    system: System
    fold: int
    seed: int
    folder: pathlib.Path

    @property
    def name(self):
        """For people."""
        return f"{self.system.name}, fold {self.fold}, seed {self.seed}"

    @property
    def finished(self):
        """Whether its results are there."""
        return (self.folder / "results.json").exists()


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that is to be run, checked.

    Attributes
    ----------
    title : str
        Of the table.
    file : pathlib.Path
        The file that was given.
    hparams_file : pathlib.Path
        Base of the runs whose system names no other.
    overrides : list of str
        From the command line, for every run whose file has that key.
    systems : list of System
    folds, seeds : list of int
    published : dict
        System -> {"mean": percent, "std": percent or None}; with a second
        metric also {"second": {"mean": percent, "std": percent or None}}.
    published_source : str
        Where from.
    published_metric : str
        "WA", "UA" or "macro_f1"; with a second one "WA / UA" or the like.
    output_folder : pathlib.Path
    resolved : dict
        System -> settings of its runs, to tell tables apart.
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
    def cells(self):
        """All cells; a seed is complete before the next one begins."""
        return [
            Cell(
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
    def command(self):
        """What cross_validate.py is given to make the table again."""
        first = self.systems[0]
        if first.fuses and first.folder == ".":
            folder = str(self.output_folder)
            return ["--late_fusion", *first.fuses, "--output_folder", folder]
        seeds = ",".join(map(str, self.seeds))
        return [str(self.file), *self.overrides, "--seeds", seeds]

    def parts(self, cell):
        """Return the cells that a late fusion is of; none of others."""
        return [
            other
            for name in cell.system.fuses
            for other in self.cells
            if (other.system.name, other.fold, other.seed)
            == (name, cell.fold, cell.seed)
        ]

    def reads_table(self, cell):
        """Tell whether a cell reads what others of the table leave."""
        return any(
            str(self.output_folder) in str(value)
            for value in cell.system.settings.values()
        )

    def arguments(self, cell):
        """Return the command line of a cell, as train.py takes it."""
        own = cell.system.settings | {
            "test_fold": cell.fold,
            "seed": cell.seed,
            "output_folder": cell.folder,
        }
        if cell.system.floor:
            own["system"] = FLOOR
        elif cell.system.folder != ".":
            own["system"] = cell.system.name
        return [
            str(cell.system.hparams_file),
            *cell.system.overrides,
            *as_options(own),
            "--noprogressbar",
        ]


def as_options(values):
    """Return --key=value, in YAML's spelling."""
    spelt = {"True": "true", "False": "false", "None": "null"}
    return [
        f"--{key}={spelt.get(str(value), value)}"
        for key, value in values.items()
    ]
