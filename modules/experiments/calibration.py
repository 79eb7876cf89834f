"""How well probabilities agree with accuracy, before and after scaling.

scikit-learn's `calibration_curve` returns no counts of its bins, which the
expected calibration error needs, and its `log_loss` checks its input anew at
each step of a search and clips at 2e-16; scipy's functions do both here.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binned_statistic

BINS = 15
_LEAST = 1e-30


def reliability(
    probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the points of a reliability diagram.

    Arguments
    ---------
    probabilities : numpy.ndarray
        [utterances, classes].
    truth : numpy.ndarray
        [utterances].
    bins : int
        Number of bins of equal width, of the largest probability.

    Returns
    -------
    confidence, accuracy : numpy.ndarray
        Means per bin, [bins]; NaN in empty ones.
    counts : numpy.ndarray
        [bins].
    """
    # Rounded probabilities may exceed 1 by a little.
    confidence = probabilities.max(axis=1).clip(max=1)
    right = probabilities.argmax(axis=1) == truth
    means, edges, _ = binned_statistic(
        confidence, [confidence, right], bins=bins, range=(0, 1)
    )
    return *means, np.histogram(confidence, edges)[0]


def expected_calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS
) -> float:
    """Return the mean gap between confidence and accuracy over the bins."""
    confidence, accuracy, counts = reliability(probabilities, truth, bins)
    gaps = np.nan_to_num(np.abs(confidence - accuracy))
    return float(np.average(gaps, weights=counts))


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Return probabilities whose logits are divided by a temperature.

    Example
    -------
    >>> temper(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
    [[0.75, 0.25]]
    """
    logits = np.log(probabilities.clip(min=_LEAST)) / temperature
    return softmax(logits, axis=1)


def negative_log_likelihood(
    probabilities: np.ndarray, truth: np.ndarray
) -> float:
    """Return the mean of -log of the true class's probability."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(chosen.clip(min=_LEAST)).mean())


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Return the temperature with the least negative log-likelihood.

    Arguments
    ---------
    probabilities : numpy.ndarray
        Of dev, [utterances, classes].
    truth : numpy.ndarray
        [utterances].

    Returns
    -------
    temperature : float
        In [0.05, 20].
    """

    def loss(logarithm):
        tempered = temper(probabilities, np.exp(logarithm))
        return negative_log_likelihood(tempered, truth)

    bounds = np.log(0.05), np.log(20)
    fit = minimize_scalar(loss, bounds=bounds, method="bounded")
    return float(np.exp(fit.x))
