"""A finished run as experiments use it: every file is read and checked."""

import dataclasses
import pathlib

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from modules.errors import BadInput
from modules.files import read_json
from modules.training.run import Run

# Not every finished run has them; damaged ones are refused.
_OPTIONAL = {
    "settings.json": dict,
    "graph.json": dict,
    "run.json": dict,
    "manifests/test.json": dict,
    "learning_curve.json": list,
}


class _Results(BaseModel):
    """What experiments read of results.json."""

    model_config = ConfigDict(extra="allow")

    labels: list[str] = Field(min_length=1)
    recall: dict[str, float | None]
    test_fold: int
    n_train: int
    n_dev: int
    n_test: int
    dev_WA: float | None = None
    layer_weights: list[float] | None = None


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Content of predictions.csv or dev_predictions.csv.

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
    def guess(self) -> np.ndarray:
        """Index of the most probable label, [utterances]."""
        return self.probabilities.argmax(axis=1)


class FinishedRun:
    """A finished run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Its output folder.

    Attributes
    ----------
    results : dict
        Content of results.json.
    labels : list of str
        Names of the classes.
    test, dev : Predictions
        Of the test set and of dev; dev is None if it was not saved.
    graph, record, manifest : dict
        Content of graph.json, run.json and the test manifest; {} without.
    learning_curve : list of dict
        Values of each epoch; [] without.

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """

    def __init__(self, folder: str | pathlib.Path):
        self.folder = pathlib.Path(folder)
        if not Run(folder).is_finished:
            raise BadInput(
                f"{folder} is no finished run (no results.json): finish it"
            )
        self.results = self._read("results.json", _read_results)
        self.labels = self.results["labels"]
        self.test = self._read("predictions.csv", self._read_predictions)
        self.dev = None
        if (self.folder / "dev_predictions.csv").exists():
            self.dev = self._read("dev_predictions.csv", self._read_predictions)
        optional = [self._read(name, self._read_json) for name in _OPTIONAL]
        _, self.graph, self.record, self.manifest, curve = optional
        self.learning_curve = curve

    def _read(self, name, reader):
        """Read one file, or refuse it in a sentence."""
        try:
            return reader(self.folder / name)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as e:
            reason = str(e).splitlines()[0] if str(e) else type(e).__name__
            raise BadInput(
                f"{self.folder / name} is missing or damaged ({reason}): "
                f"delete {self.folder} and start the same command again"
            ) from e

    def _read_predictions(self, path):
        """Read a file of predictions."""
        rows = Run(self.folder).predictions(path.name)
        probabilities = np.array(
            [[float(row[label]) for label in self.labels] for row in rows]
        )
        if not rows or not np.isfinite(probabilities).all():
            raise ValueError("no rows, or a probability that is no number")
        return Predictions(
            utterances=[row["utterance"] for row in rows],
            speakers=[row["speaker"] for row in rows],
            truth=np.array([self.labels.index(row["truth"]) for row in rows]),
            probabilities=probabilities,
        )

    def _read_json(self, path):
        """Read an optional JSON file of a known kind."""
        kind = _OPTIONAL[path.relative_to(self.folder).as_posix()]
        content = read_json(path) if path.exists() else kind()
        if not isinstance(content, kind):
            raise ValueError(f"not a JSON {kind.__name__}")
        return content


def _read_results(path):
    """Read results.json."""
    return _Results.model_validate(read_json(path)).model_dump()
