"""The answer "unknown": its threshold, where it comes from, what it reaches."""

import collections
import csv
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binomtest

import export
from modules.errors import BadInput
from modules.inference.confidence import (
    CONFIDENCE,
    DEV,
    LEFT_OUT_SPEAKERS,
    Curve,
    choose_threshold,
    make_curve,
    plain_curve,
    read_curve,
    read_threshold,
)
from modules.inference.confidence_fit import (
    describe_confidence,
    fit_curve,
    reached,
)
from modules.training.run import LEFT_OUT, find_runs

LABELS = ["calm", "glad", "mad"]


def bound(right, answered):
    """Return the lower 95% bound by scipy's exact test."""
    found = binomtest(right, answered, alternative="greater")
    return found.proportion_ci(0.95, "exact").low


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1),
    st.floats(0.05, 0.95),
)
def test_the_threshold_is_the_lowest_that_reaches_the_precision(pairs, wished):
    confidence = np.array([value / 10 for value, _ in pairs])
    right = np.array([own for _, own in pairs])
    found = choose_threshold(make_curve(confidence, right, DEV), wished)
    fine = [
        value
        for value in set(confidence.tolist())
        for own in [right[confidence >= value]]
        if bound(int(own.sum()), len(own)) >= wished
    ]
    assert (found is None) == (not fine)
    if found:
        everyone = min(fine) == confidence.min()
        assert found.value == (0 if everyone else min(fine))
        shares = reached(found, confidence, right)
        assert shares == pytest.approx((found.coverage, found.accuracy))


def test_a_long_curve_keeps_its_ends():
    rng = np.random.default_rng(0)
    confidence, right = rng.uniform(size=5000), rng.uniform(size=5000) > 0.2
    curve = make_curve(confidence, right, DEV, most=50)
    assert len(curve.thresholds) == 50
    assert curve.answered[0] == 1 and curve.answered[-1] == 5000
    assert curve.right[-1] == right.sum()
    for value, answered, own in zip(*curve[1:]):
        assert answered == (confidence >= value).sum()
        assert own == right[confidence >= value].sum()


def read_rows(path):
    with open(path, newline="") as lines:
        return list(csv.DictReader(lines))


def test_an_utterance_of_several_folds_has_the_mean_of_left_out(linear_runs):
    runs = find_runs(linear_runs[0], [1, 2])
    found = collections.defaultdict(list)
    for folder in linear_runs:
        rows = read_rows(folder / LEFT_OUT)
        tested = {r["speaker"] for r in read_rows(folder / "predictions.csv")}
        assert rows and not tested & {row["speaker"] for row in rows}
        for row in rows:
            chances = [float(row[label]) for label in LABELS]
            found[row["utterance"], row["truth"]].append(chances)
    assert {len(own) for own in found.values()} == {1, 2}
    means = {key: np.mean(own, axis=0) for key, own in found.items()}
    curve = fit_curve(runs)
    assert curve.source == LEFT_OUT_SPEAKERS
    assert curve.answered[-1] == len(means)
    assert curve.right[-1] == sum(
        LABELS[own.argmax()] == truth for (_, truth), own in means.items()
    )
    assert curve.thresholds[0] == max(own.max() for own in means.values())


def test_test_plays_no_role_in_the_threshold(linear_runs, tmp_path):
    folder = tmp_path / "fold_1"
    shutil.copytree(linear_runs[0], folder)
    (folder / "predictions.csv").unlink()
    curve = fit_curve(find_runs(folder, None))
    assert plain_curve(curve) == plain_curve(
        fit_curve(find_runs(linear_runs[0], None))
    )
    (folder / LEFT_OUT).unlink()
    curve = fit_curve(find_runs(folder, None))
    rows = read_rows(folder / "dev_predictions.csv")
    assert curve.source == DEV and curve.answered[-1] == len(rows)


def test_a_run_with_a_class_unknown_has_no_curve(linear_runs, monkeypatch):
    (run,) = find_runs(linear_runs[0], None)
    monkeypatch.setitem(vars(run), "labels", ["calm", "glad", "unknown"])
    assert fit_curve([run]) is None and describe_confidence([run]) is None


def test_the_card_has_what_each_threshold_reaches(linear_runs, linear_model):
    runs = find_runs(linear_runs[0], [1, 2])
    card = (linear_model / "README.md").read_text()
    assert describe_confidence(runs) in card
    lines = [line for line in card.splitlines() if line.startswith("| 0.8 |")]
    found = choose_threshold(fit_curve(runs), 0.8)
    if found is None:
        assert lines == ["| 0.8 | not reached | | | | |"]
    else:
        assert lines[0].startswith(f"| 0.8 | {found.value:.3f} |")


def test_what_is_exported_is_read_back(linear_runs, linear_model):
    written = plain_curve(fit_curve(find_runs(linear_runs[0], [1, 2])))
    assert plain_curve(read_curve(linear_model)) == written


CURVE = Curve(
    DEV, np.array([0.9, 0.5]), np.array([100, 200]), np.array([99, 120])
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / CONFIDENCE).write_text(json.dumps(plain_curve(CURVE)))
    return tmp_path


@pytest.mark.parametrize(
    "precision, labels, words",
    [
        (0.99, LABELS, "never reached: of the 200 .* of dev .* 0.953 at best"),
        (1.0, LABELS, "must lie between 0 and 1, not 1"),
        (0.9, ["unknown"], "answers 'unknown', which is a class of the model"),
    ],
)
def test_a_precision_that_cannot_be_had(folder, precision, labels, words):
    with pytest.raises(BadInput, match=words):
        read_threshold(folder, labels, precision)


def test_the_threshold_of_a_model(folder):
    assert read_threshold(folder, LABELS, 0.9) == 0.9
    assert read_threshold(folder, LABELS, 0.5) == 0.0, "all reach it"
    assert read_threshold(folder, LABELS, None) == 0.0


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": [0.5, 0.9]},
        {"thresholds": [0.9, float("nan")]},
        {"thresholds": [2.0, 0.5]},
        {"answered": [100]},
        {"answered": [200, 100]},
        {"right": [101, 120]},
        {"right": [-1, 120]},
        {"right": "many"},
        {"right": [10**400, 120]},
        {"thresholds": [], "answered": [], "right": []},
        {"thresholds": [[0.9, 0.5]]},
        {"answered": [[100, 200], [100, 200]]},
        {"thresholds": [0.5], "answered": [[200]], "right": [199]},
        {"source": "x" * 10**4},
    ],
)
def test_a_damaged_curve_is_refused(folder, change):
    text = json.dumps(plain_curve(CURVE) | change)
    (folder / CONFIDENCE).write_text(text)
    with pytest.raises(BadInput, match="is damaged: export the model again"):
        read_threshold(folder, LABELS, 0.9)


def test_an_adapted_model_has_no_curve(linear_model, foreign_folder, tmp_path):
    adapted = tmp_path / "adapted"
    arguments = [str(linear_model), str(adapted), "--adapt_to"]
    export.main([*arguments, str(foreign_folder)])
    with pytest.raises(BadInput, match="an adapted model has none"):
        read_threshold(adapted, LABELS, 0.9)
