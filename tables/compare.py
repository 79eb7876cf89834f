"""Rows of a table compared over the speakers that they were tested on."""

import collections
import itertools

import numpy as np

from tables.statistics import bootstrap_interval, mean_interval, paired_tests


def speaker_confusions(row, classes):
    """Return speaker -> counts [true, predicted], averaged over seeds.

    Arguments
    ---------
    row : tables.collect.Row
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
    """Return (speaker, utterance) -> share of seeds that were right."""
    right = collections.defaultdict(list)
    for run in row.runs.values():
        test = run.test
        for speaker, utterance, hit in zip(
            test.speakers, test.utterances, test.right
        ):
            right[speaker, utterance].append(hit)
    return {key: float(np.mean(hits)) for key, hits in right.items()}


def compare(rows):
    """Compare every pair of rows on the utterances that all of them have.

    Per speaker the difference of two rows' accuracies (over seeds averaged);
    see `tables.statistics.paired_tests`.

    Arguments
    ---------
    rows : list of tables.collect.Row
        With runs.

    Returns
    -------
    pairs : list of dict
        ``first``, ``second`` (names), ``difference`` (of the mean accuracy
        over speakers), ``interval`` (95%), ``p``, ``p_holm``, ``p_max``.
    speakers, utterances : int
        How many were compared on.
    """
    scores = [correctness(row) for row in rows]
    common = set.intersection(*map(set, scores)) if scores else set()
    by_speaker = collections.defaultdict(list)
    for speaker, utterance in sorted(common):
        by_speaker[speaker].append((speaker, utterance))
    if len(rows) < 2 or not common:
        return [], len(by_speaker), len(common)
    accuracy = np.array(
        [
            [np.mean([own[key] for key in keys]) for own in scores]
            for keys in by_speaker.values()
        ]
    )  # [speakers, rows]
    pairs = list(itertools.combinations(range(len(rows)), 2))
    differences = np.stack(
        [accuracy[:, i] - accuracy[:, j] for i, j in pairs], axis=1
    )
    tests = zip(*paired_tests(differences))
    return (
        [
            {
                "first": rows[i].name,
                "second": rows[j].name,
                "difference": float(difference.mean()),
                "interval": mean_interval(difference),
                "p": float(p),
                "p_holm": float(p_holm),
                "p_max": float(p_max),
            }
            for (i, j), difference, (p, p_holm, p_max) in zip(
                pairs, differences.T, tests
            )
        ],
        len(by_speaker),
        len(common),
    )
