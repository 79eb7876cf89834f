"""The answer "unknown": a threshold on the highest probability.

A classifier with the option to reject: El-Yaniv and Wiener, "On the Foundations
of Noise-free Selective Classification", JMLR 11, 2010. The threshold comes from
the training part or from dev, never from test.
"""

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from modules.errors import BadInput
from modules.files import read_json
from modules.inference.records import UNKNOWN

CONFIDENCE = "confidence.json"
LEFT_OUT_SPEAKERS, DEV = "left-out training speakers", "dev"
# One-sided: with 24 of 24 right answers a precision of 0.88 is shown.
_LEVEL = 0.95
_MOST_POINTS = 200
_MOST_BYTES = 2**16


class Curve(NamedTuple):
    """How many utterances have a probability of so much, and how many right.

    Attributes
    ----------
    source : str
        `LEFT_OUT_SPEAKERS` or `DEV`.
    thresholds : numpy.ndarray
        Of the highest probability, descending, [points].
    answered, right : numpy.ndarray
        Utterances at or above the threshold, and those of them whose most
        probable class is the label, [points]; the last point is of all.
    """

    source: str
    thresholds: np.ndarray
    answered: np.ndarray
    right: np.ndarray

    def lower_bounds(self) -> np.ndarray:
        """Return the precision that each point shows, [points].

        The lower end of a one-sided 95% interval of Clopper and Pearson
        (Biometrika 26, 1934): of few answers it is far below their accuracy.
        It takes utterances for independent and a threshold for given.
        """
        from scipy.stats import beta  # takes a second

        wrong = self.answered - self.right
        bounds = beta.ppf(1 - _LEVEL, self.right, wrong + 1)
        return np.where(self.right > 0, bounds, 0.0)


class Threshold(NamedTuple):
    """A threshold and what it leaves of the utterances that it comes from.

    Attributes
    ----------
    value : float
        Answers with a lower probability are unknown.
    coverage : float
        Share of the utterances that are answered.
    accuracy : float
        Share of the answers that are right.
    """

    value: float
    coverage: float
    accuracy: float


def make_curve(
    confidence: np.ndarray,
    right: np.ndarray,
    source: str,
    most: int = _MOST_POINTS,
) -> Curve:
    """Return the curve of utterances.

    Arguments
    ---------
    confidence : numpy.ndarray
        Highest probability, [utterances].
    right : numpy.ndarray
        Whether its class is the label, [utterances].
    source : str
        See `Curve`.
    most : int
        Points that are kept; utterances of equal confidence share one.

    Example
    -------
    >>> curve = make_curve(np.array([0.9, 0.5, 0.9]), np.array([1, 0, 1]), DEV)
    >>> curve.thresholds.tolist(), curve.answered.tolist()
    ([0.9, 0.5], [2, 3])
    >>> curve.right.tolist()
    [2, 2]
    """
    order = np.argsort(-confidence, kind="stable")
    ordered = confidence[order]
    counts = np.cumsum(right[order].astype(int))
    last = np.flatnonzero(np.append(ordered[1:] < ordered[:-1], True))
    if len(last) > most:
        places = np.linspace(0, len(last) - 1, most).round().astype(int)
        last = last[places]
    return Curve(source, ordered[last], last + 1, counts[last])


def choose_threshold(curve: Curve, precision: float) -> Threshold | None:
    """Return the lowest threshold that shows a precision.

    Arguments
    ---------
    curve : Curve
    precision : float
        Wished share of right answers, see `Curve.lower_bounds`.

    Returns
    -------
    threshold : Threshold
        0 where all utterances together show it; None if no point does.
    """
    reached = np.flatnonzero(curve.lower_bounds() >= precision)
    if not len(reached):
        return None
    place = reached[-1]
    answered, everyone = curve.answered[place], curve.answered[-1]
    return Threshold(
        float(curve.thresholds[place]) if answered < everyone else 0.0,
        float(answered / everyone),
        float(curve.right[place] / answered),
    )


def plain_curve(curve: Curve) -> dict[str, Any]:
    """Return the content of confidence.json."""
    return {
        "source": curve.source,
        "thresholds": curve.thresholds.tolist(),
        "answered": curve.answered.tolist(),
        "right": curve.right.tolist(),
    }


def read_curve(folder: pathlib.Path) -> Curve:
    """Read the curve in a model's folder.

    Raises
    ------
    BadInput
        If there is none, or it is damaged.
    """
    path = folder / CONFIDENCE
    if not path.exists():
        raise BadInput(
            f"--min_precision needs {CONFIDENCE}, which {folder} does not have: "
            "an adapted model has none, others get it when export.py writes "
            "them again from their run"
        )
    try:
        values = read_json(path, _MOST_BYTES)
        curve = Curve(
            str(values["source"]),
            np.array(values["thresholds"], dtype=np.float64),
            np.array(values["answered"], dtype=np.int64),
            np.array(values["right"], dtype=np.int64),
        )
        _check(curve)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as problem:
        raise BadInput(
            f"{path} is damaged: export the model again, or leave out "
            "--min_precision"
        ) from problem
    return curve


def _check(curve):
    """Refuse numbers that are no curve, by ValueError."""
    shapes = {values.shape for values in curve[1:]}
    wrong = curve.answered - curve.right
    fine = (
        curve.source in (LEFT_OUT_SPEAKERS, DEV)
        and len(shapes) == curve.thresholds.ndim == 1
        and len(wrong) > 0
        and (np.diff(curve.thresholds) < 0).all()
        and ((curve.thresholds >= 0) & (curve.thresholds <= 1)).all()
        and (np.diff(curve.answered) > 0).all()
        and ((curve.right >= 0) & (wrong >= 0)).all()
    )
    if not fine:
        raise ValueError("no curve")


def read_threshold(
    folder: pathlib.Path, labels: Sequence[str], precision: float | None
) -> float:
    """Return the threshold of a model for a wished precision.

    Arguments
    ---------
    folder : pathlib.Path
        Of the model.
    labels : sequence of str
        Names of its classes.
    precision : float
        In (0, 1); None: every recording is answered.

    Raises
    ------
    BadInput
        If it is out of range, the model has no curve, or no threshold
        reaches this precision.

    Example
    -------
    >>> read_threshold(pathlib.Path("exported/emodb"), ["anger"], None)
    0.0
    """
    if precision is None:
        return 0.0
    if not 0 < precision < 1:
        raise BadInput(
            f"--min_precision must lie between 0 and 1, not {precision:g}: "
            "give such as 0.9"
        )
    if UNKNOWN in labels:
        raise BadInput(
            f"--min_precision answers '{UNKNOWN}', which is a class of the "
            "model: leave it out, or train with another name of that class"
        )
    curve = read_curve(folder)
    found = choose_threshold(curve, precision)
    if found is None:
        best = np.floor(1000 * curve.lower_bounds().max()) / 1000
        raise BadInput(
            f"--min_precision {precision:g} is never reached: of the "
            f"{curve.answered[-1]} utterances of {curve.source} the most "
            f"probable answers reach {best:g} at best (95% bound): give a lower "
            "one"
        )
    return found.value
