"""Finished runs as they lie on disk: the one place that reads their files."""

import dataclasses
import pathlib

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from modules.errors import BadInput
from modules.files import read_json

# Files that not every finished run has, but that are read where they exist.
_OPTIONAL = ("settings", "graph", "run", "learning_curve", "manifests/test")


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
    def guess(self) -> np.ndarray:
        """Index of the most probable label, [utterances]."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray:
        """Whether each utterance was recognised, [utterances]."""
        return self.guess == self.truth


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes
    ----------
    folder : pathlib.Path
    results : dict
        Content of results.json.
    test, dev : Predictions
        Of the test set and of dev; dev may be None.
    settings, graph, record : dict
        Content of settings.json, graph.json and run.json; {} without.
    learning_curve : list of dict
        Content of learning_curve.json, a dict for each epoch; [] without.
    manifest : dict
        Entries of the test manifest by utterance; {} without.
    """

    folder: pathlib.Path
    results: dict
    test: Predictions
    dev: Predictions | None
    settings: dict
    graph: dict
    record: dict
    learning_curve: list
    manifest: dict

    @property
    def labels(self) -> list[str]:
        """Names of the classes."""
        return self.results["labels"]


def read_finished_run(folder: str | pathlib.Path) -> FinishedRun:
    """Read and check the files of a finished run.

    Arguments
    ---------
    folder : str or pathlib.Path
        Output folder of the run.

    Returns
    -------
    run : FinishedRun

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """
    folder = pathlib.Path(folder)
    results = _read(folder, "results.json", _read_results)
    optional = {}
    for name in _OPTIONAL:
        path = folder / f"{name}.json"
        kind = list if name == "learning_curve" else dict
        optional[name] = kind()
        if path.exists():
            optional[name] = _read(folder, f"{name}.json", _read_kind(kind))
    dev = "dev_predictions.csv"

    def read_rows(path):
        return read_predictions(path, results["labels"])

    return FinishedRun(
        folder=folder,
        results=results,
        test=_read(folder, "predictions.csv", read_rows),
        dev=_read(folder, dev, read_rows) if (folder / dev).exists() else None,
        settings=optional["settings"],
        graph=optional["graph"],
        record=optional["run"],
        learning_curve=optional["learning_curve"],
        manifest=optional["manifests/test"],
    )


def read_predictions(path: pathlib.Path, labels: list[str]) -> Predictions:
    """Read predictions.csv or dev_predictions.csv.

    Arguments
    ---------
    path : pathlib.Path
        As written by `modules.training.metrics.write_results`.
    labels : list of str
        Names of the classes.

    Returns
    -------
    predictions : Predictions

    Raises
    ------
    ValueError, KeyError
        If the file is damaged.
    """
    frame = pd.read_csv(
        path,
        dtype=dict.fromkeys(("utterance", "speaker", "truth"), str),
        keep_default_na=False,
        float_precision="round_trip",
    )
    probabilities = frame[labels].to_numpy(dtype=float)
    if not len(frame) or not np.isfinite(probabilities).all():
        raise ValueError("no utterance, or a probability that is no number")
    return Predictions(
        utterances=frame["utterance"].tolist(),
        speakers=frame["speaker"].tolist(),
        truth=np.array([labels.index(label) for label in frame["truth"]]),
        probabilities=probabilities,
    )


def _read(folder, name, reader):
    """Read one file, or refuse it in a sentence."""
    try:
        return reader(folder / name)
    except FileNotFoundError as problem:
        raise BadInput(
            f"{folder} is no finished run, since {name} is missing: finish it "
            "first, or delete the folder and start the same command again"
        ) from problem
    except (OSError, ValueError, KeyError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else "unreadable"
        raise BadInput(
            f"{folder / name} is damaged ({reason}): delete {folder} and "
            "start the same command again"
        ) from problem


def _read_results(path):
    """Read results.json."""
    return _Results.model_validate(read_json(path)).model_dump()


def _read_kind(kind):
    """Return a reader of JSON that refuses another kind of content."""

    def read(path):
        content = read_json(path)
        if not isinstance(content, kind):
            raise ValueError(f"its content is no JSON {kind.__name__}")
        return content

    return read
