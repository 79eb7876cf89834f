"""Figures of one system in parts: by class, fold, gender, epoch and layer.

Every function returns plain values, as results.json has them.
"""

import collections
from typing import Any

import numpy as np
import pandas as pd

from modules.experiments import calibration
from modules.experiments.plan import Plan
from modules.experiments.results_table import METRICS, Row
from modules.inference.confidence import make_curve
from modules.training.metrics import score

# Accuracies whose coverage is given.
ACCURACIES = (0.8, 0.9, 0.95)
# The accuracy of fewer answers is not drawn.
_LEAST_ANSWERS = 10
# Columns of a learning curve.
CURVES = ("train_loss", "dev_loss", "dev_WA")


def best_on_dev(rows: list[Row]) -> Row:
    """Return the row with the best dev accuracy; no test figure counts.

    A late fusion counts only among late fusions: dev chose its weights.
    """
    trained = [row for row in rows if not row.system.fuses] or rows
    return max(trained, key=lambda row: row.dev() or 0)


def learning_curves(row: Row) -> dict:
    """Return fold -> name -> value of each epoch, means over seeds.

    The seeds of a fold count as far as all of them went. Folds without
    epochs are absent.
    """
    curves = collections.defaultdict(list)
    for (fold, _), run in row.runs.items():
        if run.learning_curve:
            curves[fold].append(pd.DataFrame(run.learning_curve))
    means = {}
    for fold, seeds in sorted(curves.items()):
        epochs = pd.concat(seeds).groupby(level=0).mean()
        means[fold] = epochs[: min(map(len, seeds))].to_dict("list")
    return means


def layer_weights(row: Row) -> dict:
    """Return fold -> weight of each layer, means over seeds; {} without."""
    weights = collections.defaultdict(list)
    for (fold, _), run in row.runs.items():
        if run.results["layer_weights"]:
            weights[fold].append(run.results["layer_weights"])
    return {
        fold: np.mean(own, axis=0).tolist()
        for fold, own in sorted(weights.items())
    }


def recall(counts: np.ndarray, labels: list[str]) -> dict:
    """Return label -> recall from counts [true, predicted], or None.

    Example
    -------
    >>> recall(np.array([[3, 1], [0, 0]]), ["angry", "sad"])
    {'angry': 0.75, 'sad': None}
    """
    sums = counts.sum(axis=1)
    return {
        label: float(counts[i, i] / sums[i]) if sums[i] else None
        for i, label in enumerate(labels)
    }


def by_gender(row: Row, labels: list[str]) -> dict:
    """Return gender -> figures over all folds and seeds; {} if not known."""
    figures = {}
    for gender, own in row.utterances.groupby("gender"):
        scores = score(own["truth"].tolist(), own["guess"].tolist(), labels)
        figures[gender] = {key: scores[key] for key in (*METRICS, "recall")}
    return figures


def calibrate(row: Row) -> dict | None:
    """Return the calibration before and after temperature scaling.

    A temperature is fitted on the dev set of each run and applied to its test
    set; figures are over the test utterances of all folds and seeds.

    Returns
    -------
    figures : dict
        ``temperature`` (mean), ``ece`` and ``nll`` (before and after), and
        ``before`` and ``after``: ``confidence``, ``accuracy`` and number of
        ``utterances`` of each bin that is not empty. None without dev.
    """
    truths, before, after, temperatures = [], [], [], []
    for run in row.runs.values():
        if run.dev is None:
            return None
        temperature = calibration.fit_temperature(
            run.probabilities("dev"), run.dev["truth"].to_numpy()
        )
        temperatures.append(temperature)
        truths.append(run.test["truth"])
        before.append(run.probabilities("test"))
        after.append(calibration.temper(before[-1], temperature))
    truth = np.concatenate(truths)
    both = np.concatenate(before), np.concatenate(after)
    return {
        "temperature": float(np.mean(temperatures)),
        "ece": [calibration.expected_calibration_error(p, truth) for p in both],
        "nll": [calibration.negative_log_likelihood(p, truth) for p in both],
        "before": _diagram(both[0], truth),
        "after": _diagram(both[1], truth),
    }


def _diagram(probabilities: np.ndarray, truth: np.ndarray) -> dict:
    """Return the points of a reliability diagram, without empty bins."""
    found = calibration.reliability(probabilities, truth)
    names = ("confidence", "accuracy", "utterances")
    return {n: own[found[2] > 0].tolist() for n, own in zip(names, found)}


def coverage(row: Row) -> dict:
    """Return how accurate the most confident answers to test utterances are.

    Over all folds and seeds. The thresholds are read off the test utterances:
    the curve describes the system, and no model gets a threshold from it.

    Returns
    -------
    figures : dict
        ``coverage`` (share that is answered) and ``accuracy`` (of these), in
        the order of falling thresholds, and ``at``: one of `ACCURACIES` ->
        the largest coverage that has this accuracy; None if none has.
    """
    found = row.utterances
    curve = make_curve(
        found["confidence"].to_numpy(), found["right"].to_numpy(), "test"
    )
    covered = curve.answered / curve.answered[-1]
    accuracy = curve.right / curve.answered
    shown = curve.answered >= min(_LEAST_ANSWERS, curve.answered[-1])
    return {
        "coverage": covered[shown].tolist(),
        "accuracy": accuracy[shown].tolist(),
        "at": {
            wished: max(covered[accuracy >= wished].tolist(), default=None)
            for wished in ACCURACIES
        },
    }


def smoothing(plan: Plan, row: Row) -> float | None:
    """Return the label smoothing of a row, or None."""
    return plan.resolved[row.name].get("label_smoothing")


def smoothing_siblings(plan: Plan, row: Row, rows: list[Row]) -> list[Row]:
    """Return the rows that differ from a row in label smoothing alone.

    By smoothing, the row itself among them; [row] if there is no other.
    """

    def rest(other: Row) -> dict:
        values = plan.resolved[other.name]
        return {k: v for k, v in values.items() if k != "label_smoothing"}

    siblings = [
        other
        for other in rows
        if smoothing(plan, other) is not None and rest(other) == rest(row)
    ]
    if len(siblings) < 2 or row not in siblings:
        return [row]
    return sorted(siblings, key=lambda other: smoothing(plan, other) or 0.0)


def agreement(row: Row, most_bins: int = 5) -> list[dict]:
    """Return accuracy against the share of annotators who chose the label.

    A dict for each bin of shares, from ``low`` to ``high``; the accuracy is
    over seeds too. [] if the manifests have no such share.
    """
    frame = row.utterances.dropna(subset=["agreement"])
    shares = frame["agreement"].astype(float).round(6)
    frame = frame.assign(agreement=shares)
    # Values, where they are few; else as many utterances in each as can be.
    edges = np.unique(shares)
    if len(edges) < 2:
        return []
    if len(edges) > most_bins:
        quantiles = np.linspace(0, 1, most_bins + 1)[1:]
        edges = np.unique(np.quantile(shares, quantiles, method="nearest"))
    return [
        {
            "low": float(own["agreement"].min()),
            "high": float(own["agreement"].max()),
            "utterances": own["utterance"].nunique(),
            "accuracy": float(own["right"].mean()),
        }
        for _, own in frame.groupby(np.searchsorted(edges, shares))
    ]


def confident_examples(row: Row, labels: list[str], count: int = 3) -> dict:
    """Return the most confident right and wrong test utterances.

    Of the row's first seed only, so that no utterance is there twice; as
    many right ones as wrong ones, in lists of dicts.
    """
    frame = row.utterances
    frame = frame[frame["seed"] == frame["seed"].min()]
    frame = frame.sort_values("confidence", ascending=False, kind="stable")
    examples: dict[str, Any] = {"system": row.name}
    for kind, right in (("right", True), ("wrong", False)):
        chosen = frame[frame["right"] == right].head(count)
        examples[kind] = [
            _example(row, line, labels) for line in chosen.itertuples()
        ]
    return examples


def _example(row: Row, line, labels: list[str]) -> dict:
    """Return one line of `Row.utterances` with all its probabilities."""
    run = row.runs[line.fold, line.seed]
    place = list(run.test["utterance"]).index(line.utterance)
    chances = run.probabilities("test")[place]
    return {
        "utterance": line.utterance,
        "speaker": line.speaker,
        "fold": line.fold,
        "seed": line.seed,
        "truth": labels[line.truth],
        "guess": labels[line.guess],
        "probabilities": dict(zip(labels, chances.tolist())),
    }
