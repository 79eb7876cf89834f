"""The finished runs of an experiment, read back and summed up."""

import dataclasses
import functools

import numpy as np
import pandas as pd

from modules.errors import BadInput
from modules.experiments.finished_run import FinishedRun
from modules.experiments.plan import FAILED, LOG, Plan, PlannedRun, System
from modules.training.metrics import score

METRICS = {"WA": "WA", "UA": "UA", "macro_f1": "macro-F1"}
# Manifest fields with the share of annotators who chose the label.
AGREEMENT = ("agreement", "recognised")


@dataclasses.dataclass
class Row:
    """One system and its finished runs.

    Attributes
    ----------
    system : modules.experiments.plan.System
    runs : dict
        (fold, seed) -> FinishedRun.
    missing : dict
        (fold, seed) -> (planned run, reason why it has no results).
    """

    system: System
    runs: dict
    missing: dict

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.system.name

    @functools.cached_property
    def scores(self) -> dict:
        """(fold, seed) -> dict of `modules.training.metrics.score`."""
        return {
            key: score(list(run.test.truth), list(run.test.guess), run.labels)
            for key, run in self.runs.items()
        }

    @functools.cached_property
    def figures(self) -> pd.DataFrame:
        """A row of `METRICS` for each (fold, seed)."""
        return pd.DataFrame(
            [
                [own[metric] for metric in METRICS]
                for own in self.scores.values()
            ],
            index=pd.MultiIndex.from_tuples(self.runs, names=["fold", "seed"]),
            columns=list(METRICS),
        )

    @functools.cached_property
    def utterances(self) -> pd.DataFrame:
        """A row for each test utterance of each run.

        Columns: fold, seed, utterance, speaker, truth, guess, right,
        confidence, gender and agreement (None where unknown).
        """
        frames = []
        for (fold, seed), run in self.runs.items():
            own = run.test.drop(columns=run.labels)
            own = own.assign(fold=fold, seed=seed)
            own["right"] = own["guess"] == own["truth"]
            own["confidence"] = run.probabilities("test").max(axis=1)
            entries = [run.manifest.get(u, {}) for u in own["utterance"]]
            own["gender"] = [entry.get("gender") for entry in entries]
            own["agreement"] = [
                next((e[key] for key in AGREEMENT if key in e), None)
                for e in entries
            ]
            frames.append(own)
        return pd.concat(frames, ignore_index=True)

    def by_fold(self) -> pd.DataFrame:
        """Return `METRICS` of each fold, means over its seeds."""
        return self.figures.groupby("fold").mean()

    def by_seed(self) -> pd.DataFrame:
        """Return `METRICS` of each seed that has all folds, means over them."""
        folds = {fold for fold, _ in [*self.runs, *self.missing]}
        complete = self.figures.groupby("seed").filter(
            lambda own: len(own) == len(folds)
        )
        return complete.groupby("seed").mean()

    def summary(self, metric: str) -> dict:
        """Return mean, and standard deviation over folds and over seeds.

        Over folds: of the figures averaged over seeds. Over seeds: of the
        means over folds. Sample deviations; None for fewer than two.
        """
        folds, seeds = self.by_fold()[metric], self.by_seed()[metric]
        return {
            "mean": float(folds.mean()) if len(folds) else None,
            "std_folds": float(folds.std()) if len(folds) > 1 else None,
            "std_seeds": float(seeds.std()) if len(seeds) > 1 else None,
        }

    def dev(self) -> float | None:
        """Return the mean dev accuracy, or None."""
        values = [run.results["dev_WA"] for run in self.runs.values()]
        values = [value for value in values if value is not None]
        return float(np.mean(values)) if values else None

    def confusion(self, fold: int | None = None) -> np.ndarray:
        """Return counts [true, predicted] over seeds, of a fold or of all."""
        return np.sum(
            [
                own["confusion"]
                for (own_fold, _), own in self.scores.items()
                if fold in (None, own_fold)
            ],
            axis=0,
        )


@dataclasses.dataclass
class Table:
    """All rows of an experiment.

    Attributes
    ----------
    plan : modules.experiments.plan.Plan
    rows : list of Row
    labels : list of str
    notes : list of str
        What limits the figures, for the reader.
    """

    plan: Plan
    rows: list
    labels: list
    notes: list

    @property
    def finished(self) -> list[Row]:
        """The rows that have at least one run."""
        return [row for row in self.rows if row.runs]


def collect(plan: Plan) -> Table:
    """Read all finished runs of a plan.

    Raises
    ------
    BadInput
        If no run is finished, or the folds have different classes.
    """
    rows = {system.name: Row(system, {}, {}) for system in plan.systems}
    done, reasons = [], []
    for run in plan.runs:
        row, key = rows[run.system.name], (run.fold, run.seed)
        try:
            if not run.finished:
                raise BadInput(_why(run))
            row.runs[key] = FinishedRun(run.folder)
            done.append(row.runs[key])
        except BadInput as problem:
            row.missing[key] = run, str(problem)
            reasons.append(str(problem))
    if not done:
        raise BadInput(
            f"{plan.output_folder} has no finished run ({reasons[0]}): look "
            f"into {LOG} of its folders, or start without --report_only"
        )
    labels = _common_labels(done)
    return Table(plan, list(rows.values()), labels, _notes(plan, rows, labels))


def _why(run: PlannedRun) -> str:
    """Return the reason why a run has no results."""
    path = run.folder / FAILED
    if path.exists():
        text = path.read_text(encoding="utf-8", errors="replace")
        return f"failed: {text.strip()}"
    return "not run" if not (run.folder / LOG).exists() else "not finished"


def _common_labels(runs: list[FinishedRun]) -> list[str]:
    """Return the classes of all runs; refuse runs of different classes."""
    first = runs[0]
    for run in runs:
        if run.labels != first.labels:
            raise BadInput(
                f"{run.folder} has the classes {', '.join(run.labels)}, but "
                f"{first.folder} {', '.join(first.labels)}: they cannot be "
                "one table; delete the one that is wrong, or give the corpus "
                "the same classes in every fold"
            )
    return first.labels


def _notes(plan: Plan, rows: dict, labels: list[str]) -> list[str]:
    """Return sentences on folds that lack a class and on missing runs."""
    absent, unfinished = {}, 0
    for row in rows.values():
        unfinished += len(row.missing)
        for (fold, _), run in row.runs.items():
            recall = run.results["recall"]
            lacking = [label for label in labels if recall.get(label) is None]
            if lacking:
                absent[fold] = lacking
    notes = [
        f"The test set of fold {fold} has no utterance of "
        f"{', '.join(lacking)}: UA and macro-F1 are there over the other "
        "classes."
        for fold, lacking in sorted(absent.items())
    ]
    if unfinished:
        notes.append(
            f"Results are missing for {unfinished} of {len(plan.runs)} runs, "
            "which are not finished, failed or damaged: the figures of their "
            "systems are means over the other runs."
        )
    return [*notes, *_protocol_notes(rows)]


def _protocol_notes(rows: dict) -> list[str]:
    """Return notes on systems whose embeddings are normalised by speaker."""
    notes = []
    for row in rows.values():
        used = [
            run.results.get("speaker_normalization") is True
            for run in row.runs.values()
        ]
        if any(used):
            notes.append(
                f"{row.name}: in {sum(used)} of {len(used)} runs embeddings "
                "are those minus the mean of their speaker, which takes the "
                "other recordings of a test speaker: a protocol of its own"
            )
    return notes
