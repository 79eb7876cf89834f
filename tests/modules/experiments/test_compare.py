"""Systems compared speaker by speaker, in WA and in UA."""

import types

import numpy as np
import pandas as pd
import pytest

from modules.experiments.compare import compare
from modules.experiments.results_table import Row


def row(name, guesses, truth, speakers):
    """Return a row with one run per seed."""
    runs = {}
    for seed, guess in enumerate(guesses):
        test = pd.DataFrame({"speaker": speakers, "truth": truth})
        test = test.assign(utterance=test.index.astype(str), guess=guess)
        runs[1, seed] = types.SimpleNamespace(
            test=test,
            labels=[],
            manifest={},
            probabilities=lambda _: np.eye(2)[guess],
        )
    return Row(types.SimpleNamespace(name=name), runs, {})


def test_differences_by_hand():
    speakers = ["a"] * 4 + ["b"] * 2
    truth = [0, 0, 0, 1, 0, 1]
    # The second seed of the first system misses a's only utterance of class 1.
    first = row("x", [[0, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 1]], truth, speakers)
    second = row("y", [[0, 0, 0, 0, 0, 1]], truth, speakers)
    (pair,), count, utterances = compare([first, second])
    assert (count, utterances) == (2, 6)
    # a: 3.5 of 4 against 3 of 4; recalls 1 and 0.5 against 1 and 0.
    assert pair["difference"] == pytest.approx((0.5 / 4 + 0) / 2)
    assert pair["UA"]["difference"] == pytest.approx((0.25 + 0) / 2)
    assert pair["p"] == pair["UA"]["p"] == 1.0
    assert compare([first])[0] == []
