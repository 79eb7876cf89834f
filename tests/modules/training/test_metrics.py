"""Metrics of the field, and predictions as rows and tables."""

import pytest
import torch

from modules.training.metrics import Predictions, format_results, score

LABELS = ["ang", "hap", "sad"]


def test_metrics_by_hand():
    truth = [0, 0, 0, 0, 1, 1]
    guess = [0, 0, 0, 1, 1, 0]
    scores = score(truth, guess, LABELS)
    assert scores["WA"] == pytest.approx(4 / 6)
    # UA is the mean recall of the classes that occur; "sad" does not.
    assert scores["UA"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert scores["recall"] == {"ang": 0.75, "hap": 0.5, "sad": None}
    f1 = (2 * 3 / (2 * 3 + 1 + 1) + 2 * 1 / (2 * 1 + 1 + 1)) / 2
    assert scores["macro_f1"] == pytest.approx(f1)
    assert scores["confusion"] == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_predictions_become_rows_with_a_column_per_class():
    predictions = Predictions(
        ["a", "b"],
        torch.tensor([2, 0]),
        torch.tensor([[0.7, 0.1, 0.2], [0.999, 2**-30, 0.001]]).log(),
    )
    assert predictions.pairs() == ([2, 0], [0, 0])
    assert predictions.accuracy() == 0.5
    manifest = {"a": {"speaker": "s"}, "b": {"speaker": "t"}}
    first, second = predictions.rows(manifest, LABELS)
    assert first == {
        "utterance": "a",
        "speaker": "s",
        "truth": "sad",
        "prediction": "ang",
        "ang": "0.7",
        "hap": "0.1",
        "sad": "0.2",
    }
    assert second["hap"] == "9.31323e-10", (
        "small probabilities keep their digits"
    )


def test_results_as_a_table():
    results = score([0, 1, 0], [0, 1, 1], LABELS)
    results |= {"n_test": 3, "test_fold": 1, "seed": 7}
    table = format_results(results).splitlines()
    assert table[0].split() == ["true", "\\", "predicted", *LABELS, "recall"]
    assert table[1].split() == ["ang", "1", "1", "0", "50.0%"]
    assert table[3].split() == ["sad", "0", "0", "0", "-"]
    assert "WA 66.7%   UA 75.0%" in table[4] and "seed 7" in table[4]


@pytest.mark.parametrize(
    "labels, truth, words",
    [
        (["calm"], [0, 0], "'calm' is the only class"),
        (["calm", "mad"], [1, 1], "one class alone"),
        (["calm", "mad"], [0, 1], None),
    ],
)
def test_metrics_that_mean_nothing_have_a_warning(labels, truth, words):
    results = score(truth, truth, labels)
    results |= {"n_test": 2, "test_fold": 1, "seed": 1}
    text = format_results(results)
    assert ("warning: " in text) == (words is not None)
    assert words is None or words in text
