"""Figures of the report's sections, from the runs of a table."""

import collections
import re

import numpy as np

from modules.experiments.significance import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    temper,
)
from modules.files import read_json
from modules.training.metrics import score

# What manifests call the share of annotators who chose the label.
AGREEMENT = ("agreement", "recognised")
_EPOCH = re.compile(
    r"epoch: (\d+) - train loss: (\S+) - valid loss: (\S+), valid WA: (\S+)"
)


def representative(rows):
    """Return the row that is best on dev; the test set has no say."""
    heads = [row for row in rows if row.system.is_trained] or rows
    return max(heads, key=lambda row: row.dev() or 0)


def learning_curves(row):
    """Return fold -> [epochs, 3]: train loss, dev loss, dev accuracy.

    Means over the seeds of a fold, as far as all of them went.
    """
    curves = collections.defaultdict(list)
    for (fold, _), run in row.runs.items():
        path = run.cell.folder / "train_log.txt"
        if not path.exists():
            continue
        # An epoch that was cut off and run again is there twice.
        epochs = {
            int(epoch): [float(value) for value in values]
            for epoch, *values in _EPOCH.findall(path.read_text())
        }
        if epochs:
            curves[fold].append([epochs[epoch] for epoch in sorted(epochs)])
    means = {}
    for fold, seeds in sorted(curves.items()):
        shortest = min(map(len, seeds))
        means[fold] = np.mean([seed[:shortest] for seed in seeds], axis=0)
    return means


def layer_weights(row):
    """Return fold -> weight of each layer, mean over seeds; {} without."""
    weights = collections.defaultdict(list)
    for (fold, _), run in row.runs.items():
        if run.results.get("layer_weights"):
            weights[fold].append(run.results["layer_weights"])
    return {fold: np.mean(own, axis=0) for fold, own in sorted(weights.items())}


def manifest(run, split="test"):
    """Return the entries of a manifest, or {} if it is gone."""
    path = run.cell.folder / "manifests" / f"{split}.json"
    return read_json(path) if path.exists() else {}


def by_gender(row, labels):
    """Return gender -> `score` over all folds and seeds; {} if not known."""
    truth, guess = collections.defaultdict(list), collections.defaultdict(list)
    for run in row.runs.values():
        entries = manifest(run)
        for utterance, t, g in zip(
            run.test.utterances, run.test.truth, run.test.guess
        ):
            gender = entries.get(utterance, {}).get("gender")
            if gender:
                truth[gender].append(int(t))
                guess[gender].append(int(g))
    return {
        gender: score(truth[gender], guess[gender], labels)
        for gender in sorted(truth)
    }


def recall_by_fold(row, labels):
    """Return fold -> label -> recall over the seeds of the fold, or None."""
    recalls = {}
    for fold in sorted({fold for fold, _ in row.runs}):
        counts = row.confusion(fold)
        sums = counts.sum(axis=1)
        recalls[fold] = {
            label: counts[i, i] / sums[i] if sums[i] else None
            for i, label in enumerate(labels)
        }
    return recalls


def pooled_recall(row, labels):
    """Return label -> recall over all folds and seeds, or None."""
    counts = row.confusion()
    sums = counts.sum(axis=1)
    return {
        label: counts[i, i] / sums[i] if sums[i] else None
        for i, label in enumerate(labels)
    }


def calibration(row):
    """Return how far probabilities can be believed, before and after.

    A temperature is fitted on the dev set of each run and used on its test
    set; figures are over the test utterances of all folds and seeds.

    Returns
    -------
    figures : dict
        ``truth`` [n], ``before`` and ``after`` [n, classes], ``ece`` and
        ``nll`` (two each), ``temperature`` (mean), or None without dev.
    """
    truth, before, after, temperatures = [], [], [], []
    for run in row.runs.values():
        if run.dev is None or not len(run.dev.truth):
            return None
        temperature = fit_temperature(run.dev.probabilities, run.dev.truth)
        temperatures.append(temperature)
        truth.append(run.test.truth)
        before.append(run.test.probabilities)
        after.append(temper(run.test.probabilities, temperature))
    truth = np.concatenate(truth)
    both = np.concatenate(before), np.concatenate(after)
    return {
        "truth": truth,
        "before": both[0],
        "after": both[1],
        "ece": [expected_calibration_error(p, truth) for p in both],
        "nll": [negative_log_likelihood(p, truth) for p in both],
        "temperature": float(np.mean(temperatures)),
    }


def smoothing_siblings(plan, row, rows):
    """Return the rows that differ from a row in label smoothing alone.

    By smoothing, the row itself among them; [row] if there is no other.
    """

    def rest(other):
        values = dict(plan.resolved[other.system.name])
        values.pop("label_smoothing", None)
        return values

    siblings = [
        other
        for other in rows
        if other.system.is_trained and rest(other) == rest(row)
    ]
    if not row.system.is_trained or len(siblings) < 2:
        return [row]
    return sorted(siblings, key=lambda other: smoothing(plan, other))


def smoothing(plan, row):
    """Return the label smoothing of a row."""
    return plan.resolved[row.system.name]["label_smoothing"]


def agreement(row, most_bins=5):
    """Return accuracy against the share of annotators who chose the label.

    Returns
    -------
    bins : list of dict
        ``low``, ``high`` (shares), ``utterances``, ``accuracy`` (over seeds
        too); [] if the manifests do not tell.
    """
    shares, hits = [], []
    for run in row.runs.values():
        entries = manifest(run)
        for utterance, hit in zip(run.test.utterances, run.test.right):
            entry = entries.get(utterance, {})
            known = [entry[key] for key in AGREEMENT if key in entry]
            if known:
                shares.append(round(known[0], 6))
                hits.append((utterance, hit))
    if len(set(shares)) < 2:
        return []
    # Values, where they are few; else as many utterances in each as can be.
    shares = np.array(shares)
    edges = np.unique(shares)
    if len(edges) > most_bins:
        quantiles = np.linspace(0, 1, most_bins + 1)[1:]
        edges = np.unique(np.quantile(shares, quantiles, method="nearest"))
    index = np.searchsorted(edges, shares)
    bins = []
    for i in range(len(edges)):
        inside = np.flatnonzero(index == i)
        bins.append(
            {
                "low": float(shares[inside].min()),
                "high": float(shares[inside].max()),
                "utterances": len({hits[j][0] for j in inside}),
                "accuracy": float(np.mean([hits[j][1] for j in inside])),
            }
        )
    return bins
