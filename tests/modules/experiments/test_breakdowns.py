"""Breakdowns against what is counted by hand."""

import types

import numpy as np
import pandas as pd
import pytest

from modules.experiments import breakdowns
from modules.experiments.results_table import Row

LABELS = ["calm", "mad"]


def run(guess, manifest=None, **more):
    """Return a finished run with four utterances."""
    test = pd.DataFrame(
        {
            "utterance": ["a", "b", "c", "d"],
            "speaker": ["x", "x", "y", "y"],
            "truth": [0, 1, 0, 1],
            "guess": guess,
        }
    )
    chances = np.where(np.eye(2)[guess] > 0, 0.8, 0.2)
    test[LABELS] = chances
    return types.SimpleNamespace(
        test=test,
        labels=LABELS,
        manifest=manifest or {},
        probabilities=lambda split: chances,
        **more,
    )


def row(runs, name="x", fuses=()):
    """Return a row of these runs."""
    return Row(types.SimpleNamespace(name=name, fuses=fuses), runs, {})


def test_agreement_and_gender():
    shares = {"a": 1.0, "b": 0.6, "c": 1.0, "d": 0.6}
    manifest = {
        name: {"agreement": share, "gender": "fm"[name in "ab"]}
        for name, share in shares.items()
    }
    own = row({(1, 1): run([0, 0, 0, 1], manifest)})
    low, high = breakdowns.agreement(own)
    assert low == {"low": 0.6, "high": 0.6, "utterances": 2, "accuracy": 0.5}
    assert high["accuracy"] == 1.0
    genders = breakdowns.by_gender(own, LABELS)
    assert genders["m"]["WA"] == 0.5 and genders["f"]["WA"] == 1.0
    assert genders["m"]["recall"] == {"calm": 1.0, "mad": 0.0}
    unknown = row({(1, 1): run([0, 0, 0, 1])})
    assert breakdowns.agreement(unknown) == []
    assert breakdowns.by_gender(unknown, LABELS) == {}


def test_learning_curves_are_means_as_far_as_all_seeds_went():
    def curve(*losses):
        return [dict.fromkeys(breakdowns.CURVES, loss) for loss in losses]

    own = row(
        {
            (1, 1): types.SimpleNamespace(learning_curve=curve(3.0, 2.0)),
            (1, 2): types.SimpleNamespace(learning_curve=curve(1.0, 1.0, 0.0)),
            (2, 1): types.SimpleNamespace(learning_curve=[]),
        }
    )
    curves = breakdowns.learning_curves(own)
    assert curves == {1: dict.fromkeys(breakdowns.CURVES, [2.0, 1.5])}


def test_siblings_differ_in_smoothing_alone():
    plan = types.SimpleNamespace(
        resolved={
            "a": {"lr": 1, "label_smoothing": 0.2},
            "b": {"lr": 1, "label_smoothing": 0.0},
            "c": {"lr": 2, "label_smoothing": 0.1},
            "d": {"lr": 1},
        }
    )
    rows = {name: row({}, name) for name in "abcd"}
    found = breakdowns.smoothing_siblings(plan, rows["a"], list(rows.values()))
    assert [own.name for own in found] == ["b", "a"]
    for name in "cd":
        alone = breakdowns.smoothing_siblings(
            plan, rows[name], list(rows.values())
        )
        assert [own.name for own in alone] == [name]


def test_best_on_dev_is_trained():
    def results(accuracy):
        return {(1, 1): types.SimpleNamespace(results={"dev_WA": accuracy})}

    trained = row(results(0.5), "trained")
    fused = row(results(0.9), "fused", fuses=("a", "b"))
    assert breakdowns.best_on_dev([trained, fused]) is trained
    assert breakdowns.best_on_dev([fused]) is fused


def test_examples_are_the_most_confident_of_the_first_seed():
    own = row({(1, 2): run([0, 1, 0, 1]), (1, 1): run([0, 0, 0, 1])})
    examples = breakdowns.confident_examples(own, LABELS, count=2)
    assert [one["utterance"] for one in examples["right"]] == ["a", "c"]
    (wrong,) = examples["wrong"]
    assert wrong["truth"] == "mad" and wrong["guess"] == "calm"
    assert wrong["probabilities"] == {"calm": 0.8, "mad": 0.2}
    assert wrong["seed"] == 1


@pytest.mark.parametrize("folds, complete", [((1, 2), True), ((1,), False)])
def test_summary_over_folds_and_complete_seeds(folds, complete):
    own = row({(fold, 1): run([0, 0, 0, 1]) for fold in (1, 2)})
    own.runs |= {(fold, 2): run([0, 1, 0, 1]) for fold in folds}
    own.missing |= {} if complete else {(2, 2): (None, "not run")}
    summary = own.summary("WA")
    # Fold 1: 0.875; fold 2: 0.875 or, of one seed, 0.75.
    second = 0.875 if complete else 0.75
    assert summary["mean"] == pytest.approx((0.875 + second) / 2)
    assert summary["std_folds"] == pytest.approx((0.875 - second) / 2**0.5)
    wanted = 0.25 / 2**0.5 if complete else None
    assert summary["std_seeds"] == pytest.approx(wanted)


def test_coverage_counts_the_most_confident_answers():
    own = row({(1, 1): run([0, 0, 0, 1])})
    sure = [0.9, 0.6, 0.8, 0.7]
    own.runs[1, 1].probabilities = lambda split: np.array([sure, sure]).T
    found = breakdowns.coverage(own)
    # a, c and d are right; fewer than ten utterances: the last point alone.
    assert found["coverage"] == [1.0] and found["accuracy"] == [0.75]
    assert found["at"] == {0.8: 0.75, 0.9: 0.75, 0.95: 0.75}
