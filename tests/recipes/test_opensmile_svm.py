"""openSMILE with a support vector machine, on the utterances of runs."""

import numpy as np
import pytest

from modules.errors import BadInput
from recipes.EMODB import opensmile_svm


def entries(labels, speakers):
    return [
        {"label": label, "speaker": speaker}
        for label, speaker in zip(labels, speakers)
    ]


def test_it_learns_what_other_speakers_share():
    draw = np.random.default_rng(0)
    labels = np.tile(["calm", "mad"], 40)
    speakers = np.repeat([f"s{i}" for i in range(8)], 10)
    inputs = draw.normal(size=(80, 5)) + 4 * (labels == "mad")[:, None]
    found = opensmile_svm.train_and_answer(
        inputs[:60], entries(labels[:60], speakers), inputs[60:]
    )
    assert (found == labels[60:]).mean() > 0.9


def test_a_single_utterance_of_a_class_is_refused():
    with pytest.raises(BadInput, match="single training utterance"):
        opensmile_svm.train_and_answer(
            np.zeros((3, 2)), entries("aab", "stu"), np.zeros((1, 2))
        )


def test_runs_are_compared_on_their_own_utterances(linear_runs, monkeypatch):
    class Constant:
        def __call__(self, listed):
            return np.arange(float(len(listed)))[:, None]

    monkeypatch.setattr(opensmile_svm, "Functionals", Constant)
    frame = opensmile_svm.compare(
        opensmile_svm.find_runs(linear_runs[0], [1, 2])
    )
    tested = [
        row["utterance"]
        for run in opensmile_svm.find_runs(linear_runs[0], [1, 2])
        for row in run.predictions()
    ]
    assert len(frame) == len(tested)
    text = opensmile_svm.describe(frame)
    assert "run minus svm: WA" in text and "speakers" in text
