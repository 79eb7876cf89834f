"""The curve of a model's confidence from its runs, and what a card shows of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modules.inference.confidence import (
    DEV,
    LEFT_OUT_SPEAKERS,
    Curve,
    Threshold,
    choose_threshold,
    make_curve,
)
from modules.inference.records import UNKNOWN

if TYPE_CHECKING:  # predict.py does not wait for the training
    from modules.training.run import Run

# What a card lists.
_SHOWN = (0.8, 0.9, 0.95)


def fit_curve(runs: Sequence[Run]) -> Curve | None:
    """Return the curve of one run, or of an ensemble of folds.

    Arguments
    ---------
    runs : sequence of Run
        The answer for an utterance of several of them is the mean of its
        probabilities, as that of an ensemble is.

    Returns
    -------
    curve : Curve
        Of left-out training speakers where all runs have these, else of dev;
        None if the answer "unknown" would be one of the classes.
    """
    labels = runs[0].labels
    if UNKNOWN in labels:
        return None
    source, tables = LEFT_OUT_SPEAKERS, [r.left_out_predictions() for r in runs]
    if not all(tables):
        source = DEV
        tables = [run.predictions("dev_predictions.csv") for run in runs]
    found: dict[str, list] = {}
    for row in itertools.chain.from_iterable(tables):
        chances = [float(row[label]) for label in labels]
        found.setdefault(row["utterance"], [row["truth"]]).append(chances)
    means = np.array([np.mean(own[1:], axis=0) for own in found.values()])
    truth = np.array([labels.index(own[0]) for own in found.values()])
    right = means.argmax(axis=1) == truth
    return make_curve(means.max(axis=1), right, source)


def describe_confidence(runs: Sequence[Run]) -> str | None:
    """Return the Markdown table of a card: thresholds and what they reach.

    Each run's threshold comes from its own curve; what it reaches on its test
    speakers is the mean over the runs.
    """
    curve = fit_curve(runs)
    if curve is None:
        return None
    own = [(fit_curve([run]), *_test(run)) for run in runs]
    lines = [
        "| `--min_precision` | threshold | answered | right of these | test: "
        "answered | test: right of these |",
        "|---|---|---|---|---|---|",
    ]
    for precision in _SHOWN:
        found = choose_threshold(curve, precision)
        if found is None:
            lines.append(f"| {precision:g} | not reached | | | | |")
            continue
        shares = [reached(choose_threshold(c, precision), *t) for c, *t in own]
        means = [f"{np.mean(s):.1%}" for s in zip(*shares) if None not in s]
        cells = [f"{precision:g}", f"{found.value:.3f}"]
        cells += [f"{found.coverage:.1%}", f"{found.accuracy:.1%}"]
        cells += [*means, "", ""][:2]
        lines.append(f"| {' | '.join(cells)} |")
    source = f"{curve.answered[-1]} utterances of {curve.source}"
    return f"Thresholds come from {source}.\n\n" + "\n".join(lines)


def reached(
    threshold: Threshold | None, confidence: np.ndarray, right: np.ndarray
) -> tuple[float | None, float | None]:
    """Return the share that is answered, and of that the share that is right.

    None where there is no threshold, or no answer to be right.
    """
    if threshold is None:
        return None, None
    answered = confidence >= threshold.value
    share = float(right[answered].mean()) if answered.any() else None
    return float(answered.mean()), share


def _test(run):
    """Return confidence and whether it is right, of the test utterances."""
    rows = run.predictions()
    chances = [[float(row[label]) for label in run.labels] for row in rows]
    right = [row["truth"] == row["prediction"] for row in rows]
    return np.max(chances, axis=1), np.array(right)
