"""What came of a table: its finished runs, read back and summed up."""

import csv
import dataclasses
import functools
import statistics

import numpy as np

from modules.errors import BadInput
from modules.experiments.plan import FAILED, LOG
from modules.files import read_json
from modules.training.metrics import score

METRICS = {"WA": "WA", "UA": "UA", "macro_f1": "macro-F1"}


@dataclasses.dataclass(frozen=True)
class Predictions:
    """One file of predictions.

    Attributes
    ----------
    utterances, speakers : list of str
    truth : numpy.ndarray
        Index of the label, [utterances].
    probabilities : numpy.ndarray
        [utterances, classes].
    """

    utterances: list
    speakers: list
    truth: np.ndarray
    probabilities: np.ndarray

    @property
    def guess(self):
        """Index of the most probable label, [utterances]."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self):
        """Whether each was recognised, [utterances]."""
        return self.guess == self.truth


def read_predictions(path, labels):
    """Read predictions.csv or its like.

    Arguments
    ---------
    path : pathlib.Path
        As written by `modules.training.metrics.write_rows`.
    labels : list of str
        Names of the classes.

    Returns
    -------
    predictions : Predictions
    """
    with open(path, encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return Predictions(
        utterances=[row["utterance"] for row in rows],
        speakers=[row["speaker"] for row in rows],
        truth=np.array([labels.index(row["truth"]) for row in rows]),
        probabilities=np.array(
            [[float(row[label]) for label in labels] for row in rows]
        ),
    )


def read_results(cell):
    """Return what results.json of a finished cell says."""
    return read_json(cell.folder / "results.json")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished cell, or a part of one.

    Attributes
    ----------
    cell : modules.experiments.plan.Cell
    results : dict
        Of results.json.
    file, dev_file : str
        Names of the files of predictions; dev_file may be "".
    """

    cell: object
    results: dict
    file: str = "predictions.csv"
    dev_file: str = "dev_predictions.csv"

    @functools.cached_property
    def test(self):
        """Predictions of the held-out session."""
        return read_predictions(
            self.cell.folder / self.file, self.results["labels"]
        )

    @functools.cached_property
    def dev(self):
        """Predictions of dev, or None."""
        path = self.cell.folder / self.dev_file
        if not self.dev_file or not path.exists():
            return None
        return read_predictions(path, self.results["labels"])

    @functools.cached_property
    def scores(self):
        """From `modules.training.metrics.score`."""
        return score(
            self.test.truth.tolist(),
            self.test.guess.tolist(),
            self.results["labels"],
        )


@dataclasses.dataclass
class Row:
    """One system and all that is finished of it.

    Attributes
    ----------
    name : str
        Of the system; the two floors of a cell differ.
    system : modules.experiments.plan.System
    runs : dict
        (fold, seed) -> Run.
    missing : dict
        (fold, seed) -> (cell, why there is no run).
    """

    name: str
    system: object
    runs: dict
    missing: dict

    def by_fold(self, metric):
        """Return fold -> mean over its seeds of a key of `METRICS`."""
        folds = sorted({fold for fold, _ in self.runs})
        return {
            fold: statistics.mean(
                run.scores[metric]
                for (f, _), run in self.runs.items()
                if f == fold
            )
            for fold in folds
        }

    def by_seed(self, metric):
        """Return seed -> mean over folds, of seeds that have all folds."""
        folds = {fold for fold, _ in [*self.runs, *self.missing]}
        seeds = {seed for _, seed in self.runs}
        return {
            seed: statistics.mean(
                self.runs[fold, seed].scores[metric] for fold in folds
            )
            for seed in sorted(seeds)
            if all((fold, seed) in self.runs for fold in folds)
        }

    def summary(self, metric):
        """Return mean, and standard deviation over folds and over seeds.

        Over folds: of the figures averaged over seeds. Over seeds: of the
        means over folds. Sample deviations; None for fewer than two.
        """
        folds = list(self.by_fold(metric).values())
        seeds = list(self.by_seed(metric).values())
        return {
            "mean": statistics.mean(folds) if folds else None,
            "std_folds": statistics.stdev(folds) if len(folds) > 1 else None,
            "std_seeds": statistics.stdev(seeds) if len(seeds) > 1 else None,
        }

    def dev(self):
        """Return the mean dev accuracy, or None."""
        values = [run.results.get("dev_WA") for run in self.runs.values()]
        values = [value for value in values if value is not None]
        return statistics.mean(values) if values else None

    def confusion(self, fold=None):
        """Return counts [true, predicted] over seeds, of a fold or of all."""
        return np.sum(
            [
                run.scores["confusion"]
                for (f, _), run in self.runs.items()
                if fold in (None, f)
            ],
            axis=0,
        )


@dataclasses.dataclass
class Table:
    """All rows of a table.

    Attributes
    ----------
    plan : modules.experiments.plan.Plan
    rows : list of Row
    labels : list of str
    notes : list of str
        What a reader must know of the figures.
    """

    plan: object
    rows: list
    labels: list
    notes: list

    @property
    def finished(self):
        """The rows that have at least one run."""
        return [row for row in self.rows if row.runs]


def collect(plan):
    """Read all finished cells of a plan.

    Arguments
    ---------
    plan : modules.experiments.plan.Plan

    Returns
    -------
    table : Table

    Raises
    ------
    BadInput
        If no cell is finished, or the folds have different classes.
    """
    runs, missing = {}, {}
    for cell in plan.cells:
        runs.setdefault(cell.system.name, {})
        missing.setdefault(cell.system.name, {})
        key = cell.fold, cell.seed
        if cell.finished:
            runs[cell.system.name][key] = Run(cell, read_results(cell))
        else:
            missing[cell.system.name][key] = cell, _why(cell)
    done = [run for own in runs.values() for run in own.values()]
    if not done:
        raise BadInput(
            f"{plan.output_folder} holds no finished run: look into "
            f"{LOG} of its folders, or start without --report_only"
        )
    labels = _common_labels(done)
    rows = []
    for system in plan.systems:
        own, absent = runs[system.name], missing[system.name]
        if system.floor:
            rows += _floors(system, own, absent)
        else:
            rows.append(Row(system.name, system, own, absent))
    return Table(plan, rows, labels, _notes(plan, done, labels))


def _why(cell):
    """Say why a cell has no results."""
    path = cell.folder / FAILED
    if path.exists():
        return f"failed: {path.read_text(encoding='utf-8').strip()}"
    return "not run" if not (cell.folder / LOG).exists() else "not finished"


def _floors(system, runs, missing):
    """Return the two rows of a logistic regression."""
    plain = {
        key: Run(
            run.cell,
            run.results | {"dev_WA": None},
            "all_layers_predictions.csv",
            "",
        )
        for key, run in runs.items()
    }
    return [
        Row(f"{system.name}, all layers", system, plain, missing),
        Row(f"{system.name}, layer chosen on dev", system, runs, missing),
    ]


def _common_labels(runs):
    """Return the classes of all runs.

    Raises
    ------
    BadInput
        If two runs differ: their figures are of different tasks.
    """
    first = runs[0]
    for run in runs:
        if run.results["labels"] != first.results["labels"]:
            raise BadInput(
                f"{run.cell.folder} has the classes "
                f"{', '.join(run.results['labels'])}, but "
                f"{first.cell.folder} {', '.join(first.results['labels'])}: "
                "they cannot be one table; delete the one that is wrong, or "
                "give the corpus the same classes in every fold"
            )
    return first.results["labels"]


def _notes(plan, runs, labels):
    """Say which folds lack a class, and what is not finished."""
    notes = []
    absent = {}
    for run in runs:
        recall = run.results["recall"]
        lacking = [label for label in labels if recall[label] is None]
        if lacking:
            absent[run.cell.fold] = lacking
    for fold, lacking in sorted(absent.items()):
        notes.append(
            f"The test set of fold {fold} has no utterance of "
            f"{', '.join(lacking)}: UA and macro-F1 are there over the other "
            "classes."
        )
    unfinished = len(plan.cells) - len(runs)
    if unfinished:
        notes.append(
            f"{unfinished} of {len(plan.cells)} runs are not finished or have "
            "failed: figures of their systems are over the runs that are "
            "there."
        )
    return notes
