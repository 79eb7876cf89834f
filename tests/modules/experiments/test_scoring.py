"""Scores of labelled recordings whose labels are partly the model's."""

import numpy as np
import pytest

from modules.errors import BadInput
from modules.experiments.scoring import (
    format_scores,
    parse_labels_map,
    score_recordings,
)

LABELS = ["anger", "calm", "joy"]


def scores(**changes):
    probabilities = [
        [0.8, 0.1, 0.1],
        [0.1, 0.2, 0.7],
        [0.2, 0.7, 0.1],
        [0.3, 0.3, 0.4],
        [0.9, 0.05, 0.05],
    ]
    options = {
        "probabilities": np.array(probabilities),
        "truth": ["mad", "mad", "calm", "calm", "fear"],
        "speakers": ["a", "b", "a", "b", "a"],
        "labels": LABELS,
        "labels_map": {"mad": "anger"},
    }
    return score_recordings(**options | changes)


def test_labels_that_the_model_lacks_are_left_out_and_counted():
    result = scores()
    assert result["n"] == 4 and result["left_out"] == {"fear": 1}
    assert result["labels"] == ["anger", "calm"]


def test_answers_as_they_are_and_of_the_shared_classes():
    result = scores()
    # Two recordings are answered with joy, which the list does not have.
    assert result["answered_otherwise"] == 2
    assert result["all"]["WA"] == 0.5
    # Without joy: anger, calm (0.2 > 0.1), calm, anger or calm (equal).
    assert result["shared"]["confusion"] == [[1, 1], [1, 1]]
    low, high = result["shared"]["interval"]["WA"]
    assert 0 <= low <= result["shared"]["WA"] <= high <= 1


def test_one_speaker_has_no_interval():
    result = scores(speakers=["a"] * 5)
    assert result["all"]["interval"] is None
    assert "%" in format_scores(result)


def test_no_shared_class_is_one_sentence():
    with pytest.raises(BadInput, match="give --labels_map such as"):
        scores(truth=["x"] * 5)


@pytest.mark.parametrize("text", ["hap", "=joy", "hap=", "a=b,a=c"])
def test_a_wrong_map_is_one_sentence(text):
    with pytest.raises(BadInput, match="--labels_map"):
        parse_labels_map(text)


@pytest.mark.filterwarnings("error")
def test_one_shared_class_is_a_sentence_and_no_warning():
    result = scores(truth=["calm"] * 5)
    assert result["all"]["WA"] == 0.2
    assert result["shared"]["confusion"] == [[5]]
    text = format_scores(result)
    assert "one shared class alone cannot be scored" in text
    assert "shared classes alone: WA" not in text
