"""Metrics and files of a run."""

import json

import pytest

from modules.training.metrics import format_results, score, write_results

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


def test_results_are_written_last_and_whole(tmp_path):
    results = score([0, 1, 2], [0, 1, 1], LABELS) | {
        "system": "x",
        "test_fold": 1,
        "n_test": 3,
        "seed": 1,
    }
    rows = [{"utterance": "a, b", "truth": "ang"}]
    write_results(tmp_path, results, rows)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    text = (tmp_path / "predictions.csv").read_text()
    assert text.splitlines() == ["utterance,truth", '"a, b",ang']
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "confusion.png",
        "predictions.csv",
        "results.json",
    ]
    assert "WA 66.7%   UA 66.7%" in format_results(results)
