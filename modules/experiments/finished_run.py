"""A finished run as experiments use it: every file is read and checked."""

import pathlib
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

from modules.errors import BadInput
from modules.files import read_json
from modules.training.run import Run


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


class _Corpus(TypedDict):
    name: str


class _Graph(TypedDict):
    corpus: _Corpus


class _Epoch(TypedDict):
    train_loss: float
    dev_loss: float
    dev_WA: float


class _Record(TypedDict):
    seconds: float
    machine: dict[str, str | int | None]
    versions: dict[str, str]
    manifests: dict[str, str]


# Files that not every finished run has, and what experiments read of them.
_OPTIONAL = {
    "settings.json": TypeAdapter(dict[str, Any]),
    "graph.json": TypeAdapter(_Graph),
    "run.json": TypeAdapter(_Record),
    "manifests/test.json": TypeAdapter(dict[str, dict[str, Any]]),
    "learning_curve.json": TypeAdapter(list[_Epoch]),
}


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
    test, dev : pandas.DataFrame
        A row for each utterance: its id (``utterance``), ``speaker``, index
        of the true and of the predicted class (``truth``, ``guess``) and the
        probability of each class; dev is None if it was not saved.
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
        optional = [self._read(name, self._read_optional) for name in _OPTIONAL]
        _, self.graph, self.record, self.manifest, curve = optional
        self.learning_curve = curve or []

    def probabilities(self, split: str) -> np.ndarray:
        """Return the probabilities of "test" or "dev", [utterances, k]."""
        return getattr(self, split)[self.labels].to_numpy()

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
        columns = ["utterance", "speaker", "truth", *self.labels]
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)[columns]
        frame = frame.astype(dict.fromkeys(self.labels, float))
        finite = np.isfinite(frame[self.labels]).all(axis=None)
        if not (len(frame) and finite and frame["utterance"].is_unique):
            raise ValueError("no rows, equal ids or values that are no numbers")
        truth = [self.labels.index(label) for label in frame["truth"]]
        guess = frame[self.labels].to_numpy().argmax(axis=1)
        return frame.assign(truth=truth, guess=guess)

    def _read_optional(self, path):
        """Read one of `_OPTIONAL`; {} if there is none."""
        if not path.exists():
            return {}
        kind = _OPTIONAL[path.relative_to(self.folder).as_posix()]
        return kind.validate_python(read_json(path))


def _read_results(path):
    """Read results.json."""
    return _Results.model_validate(read_json(path)).model_dump()
