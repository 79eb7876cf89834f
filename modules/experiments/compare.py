"""Rows of a table compared over the speakers that they were tested on."""

import collections
import itertools

import numpy as np

from modules.experiments.significance import (
    bootstrap_interval,
    mean_interval,
    paired_tests,
)


def speaker_confusions(row, classes):
    """Return speaker -> counts [true, predicted], averaged over seeds.

    Arguments
    ---------
    row : modules.experiments.results_table.Row
        With at least one run.
    classes : int
        How many.
    """
    seeds = collections.Counter(fold for fold, _ in row.runs)
    confusions = collections.defaultdict(lambda: np.zeros((classes, classes)))
    for (fold, _), run in row.runs.items():
        test = run.test
        for speaker, truth, guess in zip(test.speakers, test.truth, test.guess):
            confusions[speaker][truth, guess] += 1 / seeds[fold]
    return dict(sorted(confusions.items()))


def intervals(row, classes):
    """Return "WA" and "UA" -> 95% interval by resampling speakers."""
    confusions = speaker_confusions(row, classes)
    return bootstrap_interval(np.stack(list(confusions.values())))


def correctness(row):
    """Return (speaker, class, utterance) -> share of seeds that were right."""
    right = collections.defaultdict(list)
    for run in row.runs.values():
        test = run.test
        keys = zip(test.speakers, map(int, test.truth), test.utterances)
        for key, hit in zip(keys, test.right):
            right[key].append(hit)
    return {key: float(np.mean(hits)) for key, hits in right.items()}


def speaker_scores(scores, common):
    """Return the mean score of each speaker, and the mean over its classes.

    Arguments
    ---------
    scores : dict
        From `correctness`.
    common : list of tuple
        Keys that count.

    Returns
    -------
    means : numpy.ndarray
        WA and UA, [2, speakers].
    """
    speakers = collections.defaultdict(lambda: collections.defaultdict(list))
    for key in common:
        speakers[key[0]][key[1]].append(scores[key])
    return np.array(
        [
            [
                np.mean(list(itertools.chain(*classes.values()))),
                np.mean([np.mean(hits) for hits in classes.values()]),
            ]
            for classes in speakers.values()
        ]
    ).T


def compare(rows):
    """Compare every pair of rows on the utterances that all of them have.

    Per speaker the difference of two rows' accuracies (over seeds averaged)
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
        How many were compared on.
    """
    scores = [correctness(row) for row in rows]
    common = sorted(set.intersection(*map(set, scores))) if scores else []
    speakers = len({key[0] for key in common})
    if len(rows) < 2 or not common:
        return [], speakers, len(common)
    means = np.stack([speaker_scores(own, common) for own in scores])
    indices = list(itertools.combinations(range(len(rows)), 2))
    tested = [
        _tested(
            np.stack(
                [means[i, k] - means[j, k] for i, j in indices], axis=1
            )  # [speakers, pairs]
        )
        for k in range(2)
    ]
    return (
        [
            {"first": rows[i].name, "second": rows[j].name, **wa, "UA": ua}
            for (i, j), wa, ua in zip(indices, *tested)
        ],
        speakers,
        len(common),
    )


def _tested(differences):
    """Return per pair what differences [speakers, pairs] say."""
    return [
        {
            "difference": float(difference.mean()),
            "interval": mean_interval(difference),
            "p": float(p),
            "p_holm": float(p_holm),
            "p_max": float(p_max),
        }
        for difference, p, p_holm, p_max in zip(
            differences.T, *paired_tests(differences)
        )
    ]
