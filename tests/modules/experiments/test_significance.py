"""Statistics against what is counted by hand, and by brute force."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from modules.experiments.significance import (
    bootstrap_interval,
    holm,
    mean_intervals,
    paired_tests,
)

rng = np.random.default_rng(3)


def test_sign_flips_by_brute_force():
    differences = rng.normal(0.3, 1, size=(6, 3))
    differences[:, 2] = 0  # equal systems
    p, _, p_max = paired_tests(differences)
    for k in range(3):
        observed = abs(differences[:, k].mean())
        count = 0
        for signs in itertools.product((1, -1), repeat=6):
            flipped = sum(s * d for s, d in zip(signs, differences[:, k])) / 6
            count += abs(flipped) >= observed - 1e-12
        assert p[k] == pytest.approx(count / 2**6)
    assert p[2] == p_max[2] == 1
    assert (p_max >= p).all()


def test_ten_speakers_all_better_give_the_least_p():
    differences = np.abs(rng.normal(size=(10, 40))) + 0.1
    p, p_holm, p_max = paired_tests(differences)
    assert p == pytest.approx(2 / 1024)
    assert p_max == pytest.approx(2 / 1024)
    assert p_holm == pytest.approx(40 * 2 / 1024)


def test_max_t_keeps_its_promise_where_nothing_differs():
    """At most 5% of families have a corrected p below 0.05."""
    alarms = 0
    for trial in range(300):
        accuracy = np.random.default_rng(trial).normal(size=(8, 4))
        pairs = list(itertools.combinations(range(4), 2))
        differences = np.stack(
            [accuracy[:, i] - accuracy[:, j] for i, j in pairs], axis=1
        )
        alarms += paired_tests(differences)[2].min() <= 0.05
    assert alarms / 300 < 0.09


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])


def test_many_speakers_are_drawn_and_deterministic():
    differences = rng.normal(0, 1, size=(40, 2))
    assert paired_tests(differences)[0].tolist() == (
        paired_tests(differences)[0].tolist()
    )


def test_interval_of_speakers_by_a_plain_loop():
    confusions = rng.integers(0, 9, size=(7, 3, 3)) + np.eye(3, dtype=int)
    low, high = bootstrap_interval(confusions)["UA"]
    loop = np.random.default_rng(8)
    drawn = []
    for _ in range(4000):
        total = confusions[loop.integers(7, size=7)].sum(axis=0)
        drawn.append((np.diag(total) / total.sum(axis=1)).mean())
    assert [low, high] == pytest.approx(
        np.percentile(drawn, [2.5, 97.5]), abs=0.01
    )


def test_equal_speakers_have_no_interval():
    same = np.repeat(np.array([[[3, 1], [2, 2]]]), 5, axis=0)
    assert bootstrap_interval(same)["WA"] == pytest.approx((5 / 8, 5 / 8))


def test_p_is_that_of_scipy():
    differences = rng.normal(0.5, 1, size=(9, 3))
    wanted = permutation_test(
        (differences,),
        lambda sample, axis: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=2**9,
    ).pvalue
    assert paired_tests(differences)[0] == pytest.approx(wanted)


def test_interval_of_a_mean_by_a_plain_loop():
    values = rng.normal(size=(7, 2))
    draws = np.random.default_rng(0).integers(7, size=(2000, 7))
    means = values[draws].mean(axis=1)
    wanted = np.percentile(means, [2.5, 97.5], axis=0).T
    assert mean_intervals(values) == pytest.approx(wanted)
    assert mean_intervals(values[:1]) == pytest.approx(
        np.stack([values[0], values[0]], axis=1)
    )
