"""Calibration against what is counted by hand, and scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from modules.experiments.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    temper,
)

rng = np.random.default_rng(3)


def test_calibration_error_by_hand():
    probabilities = np.array(
        [[0.95, 0.05], [0.91, 0.09], [0.65, 0.35], [0.35, 0.65]]
    )
    truth = np.array([0, 1, 0, 0])
    # Bin 0.9 to 1: confidence 0.93, accuracy 0.5; bin 0.6 to 0.7: 0.65, 0.5.
    wanted = (2 * abs(0.93 - 0.5) + 2 * abs(0.65 - 0.5)) / 4
    error = expected_calibration_error(probabilities, truth, bins=10)
    assert error == pytest.approx(wanted)
    counts = reliability(probabilities, truth, bins=10)[2]
    assert counts.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]


def test_certainty_is_in_the_last_bin():
    assert reliability(np.array([[1.0, 0.0]]), np.array([0]))[2][-1] == 1


def test_temperature_is_recovered():
    logits = 2 * rng.normal(size=(20_000, 4))
    chances = softmax(logits, axis=1)
    truth = (chances.cumsum(axis=1) < rng.random((20_000, 1))).sum(axis=1)
    sharpened = softmax(2.5 * logits, axis=1)
    temperature = fit_temperature(sharpened, truth)
    assert temperature == pytest.approx(2.5, rel=0.05)
    assert temper(sharpened, 2.5) == pytest.approx(chances, abs=1e-6)


def test_bins_and_likelihood_are_those_of_scikit_learn():
    chances = rng.dirichlet(np.ones(3), size=500)
    truth = rng.integers(3, size=500)
    confidence, accuracy, counts = reliability(chances, truth)
    right = chances.argmax(axis=1) == truth
    wanted = calibration_curve(right, chances.max(axis=1), n_bins=15)
    assert accuracy[counts > 0] == pytest.approx(wanted[0])
    assert confidence[counts > 0] == pytest.approx(wanted[1])
    assert counts.sum() == 500
    assert negative_log_likelihood(chances, truth) == pytest.approx(
        log_loss(truth, chances)
    )
