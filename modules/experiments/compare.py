"""Systems compared over the speakers that they were tested on."""

import itertools

import numpy as np
import pandas as pd

from modules.experiments.results_table import Row
from modules.experiments.significance import (
    bootstrap_interval,
    mean_intervals,
    paired_tests,
)


def intervals(row: Row, classes: int) -> dict:
    """Return "WA" and "UA" -> 95% interval by resampling speakers.

    Every utterance counts once, averaged over the seeds of its fold.
    """
    frame = row.utterances
    speakers, names = pd.factorize(frame["speaker"], sort=True)
    seeds = frame.groupby("fold")["seed"].transform("nunique")
    confusions = np.zeros((len(names), classes, classes))
    np.add.at(confusions, (speakers, frame["truth"], frame["guess"]), 1 / seeds)
    return bootstrap_interval(confusions)


def compare(rows: list[Row]) -> tuple[list[dict], int, int]:
    """Compare every pair of rows on the utterances that all of them have.

    Per speaker the difference of two rows' accuracies (averaged over seeds)
    and of their mean recalls of the classes that this speaker has; see
    `modules.experiments.significance.paired_tests`.

    Arguments
    ---------
    rows : list of modules.experiments.results_table.Row
        With runs.

    Returns
    -------
    pairs : list of dict
        ``first``, ``second`` (names), and of WA ``difference`` (of the mean
        over speakers), ``interval`` (95%), ``p``, ``p_holm``, ``p_max``;
        ``UA``: a dict of the same.
    speakers, utterances : int
        Number of speakers and utterances that were compared.
    """
    keys = ["speaker", "truth", "utterance"]
    # Of each utterance the share of seeds that recognised it.
    shares = [row.utterances.groupby(keys)["right"].mean() for row in rows]
    places = range(len(rows))
    common = pd.concat(shares, axis=1, join="inner", keys=places)
    by_speaker = common.groupby("speaker").mean()
    recalls = common.groupby(["speaker", "truth"]).mean()
    by_class = recalls.groupby("speaker").mean()
    speakers, utterances = len(by_speaker), len(common)
    if len(rows) < 2 or not utterances:
        return [], speakers, utterances
    pairs = list(itertools.combinations(places, 2))
    tested = [
        _tested(np.stack([means[i] - means[j] for i, j in pairs], axis=1))
        for means in (by_speaker, by_class)
    ]
    return (
        [
            {"first": rows[i].name, "second": rows[j].name, **wa, "UA": ua}
            for (i, j), wa, ua in zip(pairs, *tested)
        ],
        speakers,
        utterances,
    )


def _tested(differences: np.ndarray) -> list[dict]:
    """Return the tests of differences [speakers, pairs], a dict per pair."""
    figures = {
        "difference": differences.mean(axis=0),
        "interval": mean_intervals(differences),
    }
    names = ("p", "p_holm", "p_max")
    figures |= dict(zip(names, paired_tests(differences)))
    return [
        {name: values[pair].tolist() for name, values in figures.items()}
        for pair in range(differences.shape[1])
    ]
