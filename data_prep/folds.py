"""Whole speakers are dealt into folds, the classes as evenly as possible."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.model_selection import StratifiedGroupKFold

from data_prep.corpus import Utterance, first_few
from modules.errors import BadInput

# scikit-learn's folds of more speakers are even, and their pairs are many.
_MOST_SPEAKERS = 500
# A class that a part lacks is worse than any unevenness, and worse still is a
# class of which one part has everything: nothing else can be trained on it.
_LACKED, _ALONE, _EMPTY = 10.0, 1e3, 1e6
# Of speakers and classes, adjusted mutual information: 0 where each speaker
# has all classes alike (EmoDB, TurEV-DB and ASED: below 0.05), 1 where each
# has one class.
_CONFOUNDED = 0.5

_LACKING = (
    "Some test folds lack a class, so that its recall is not tested there: {}."
)
_FEW = (
    "Some classes have fewer speakers than there are folds, so that not every "
    "fold tests them: {}."
)
_ONE_FOLD = (
    "Some classes are in one fold alone, so that a model that is tested there "
    "cannot learn them: {}."
)
_TOGETHER = (
    "Speakers and classes go together (adjusted mutual information {}, where "
    "1 means one class a speaker), so that a classifier may learn voices in "
    "place of emotions: record each class from more speakers."
)


def deal_speakers(
    speakers: Sequence[str], labels: Sequence[str], number_of_folds: int
) -> dict[str, int]:
    """Deal whole speakers into folds with nearly equal shares of each class.

    scikit-learn's `StratifiedGroupKFold` deals them, one after the other, and
    `even_out` moves and exchanges them. The result depends neither on the
    order of the utterances nor on a seed.

    Arguments
    ---------
    speakers : sequence of str
        The speaker of each utterance.
    labels : sequence of str
        The label of each utterance.
    number_of_folds : int
        How many folds.

    Returns
    -------
    dict
        Speaker -> fold, from 1.

    Raises
    ------
    BadInput
        If there are fewer speakers than folds, or fewer than two folds.

    Example
    -------
    >>> deal_speakers(["ann", "ann", "bob", "eve"], ["a", "b", "a", "b"], 2)
    {'ann': 2, 'bob': 1, 'eve': 1}
    """
    if number_of_folds < 2:
        raise BadInput(
            f"number_of_folds is {number_of_folds}: at least 2 are needed, one "
            "to test on and one to train on."
        )
    names = sorted(set(speakers))
    if len(names) == 1:
        raise BadInput(
            f"All utterances are of one speaker ({names[0]}), so that no "
            "speaker is left to test on: add recordings of other people."
        )
    if len(names) < number_of_folds:
        raise BadInput(
            f"{len(names)} speakers cannot be dealt into {number_of_folds} "
            f"folds: set number_of_folds to {len(names)}"
            f"{' or less' if len(names) > 2 else ''}, or add recordings of "
            "other people."
        )
    if len(names) == number_of_folds:
        return {name: fold for fold, name in enumerate(names, start=1)}
    counts = count_classes(speakers, labels)
    dealt = _stratified(counts, number_of_folds)
    folds = even_out(counts, dealt, [1 / number_of_folds] * number_of_folds)
    return dict(zip(names, (folds + 1).tolist()))


def deal_utterances(
    utterances: Iterable[Utterance], number_of_folds: int
) -> list[Utterance]:
    """Deal the speakers of a corpus that has no folds of its own.

    Arguments
    ---------
    utterances : iterable of Utterance
        Those without a fold are dealt, with nearly equal shares of each class
        of each `corpus` that their `extra` names.
    number_of_folds : int
        How many folds.

    Returns
    -------
    list of Utterance
        Each has a fold.

    Raises
    ------
    BadInput
        See `deal_speakers`.
    """
    utterances = list(utterances)
    without = [u for u in utterances if u.fold is None]
    if not without:
        return utterances
    speakers = [u.speaker for u in without]
    labels = [f"{u.label} {u.extra.get('corpus', '')}" for u in without]
    folds = deal_speakers(speakers, labels, number_of_folds)
    return [
        dataclasses.replace(u, fold=folds[u.speaker]) if u.fold is None else u
        for u in utterances
    ]


def count_classes(speakers: Sequence[str], labels: Sequence[str]) -> NDArray:
    """Count the utterances of each speaker and class.

    Arguments
    ---------
    speakers, labels : sequence of str
        Of each utterance.

    Returns
    -------
    counts : numpy.ndarray
        [speakers, classes], both in alphabetical order.

    Example
    -------
    >>> count_classes(["eve", "ann", "eve"], ["a", "b", "a"]).tolist()
    [[0, 1], [2, 0]]
    """
    rows = {name: row for row, name in enumerate(sorted(set(speakers)))}
    columns = {name: column for column, name in enumerate(sorted(set(labels)))}
    counts = np.zeros((len(rows), len(columns)), dtype=int)
    for speaker, label in zip(speakers, labels):
        counts[rows[speaker], columns[label]] += 1
    return counts


def _stratified(counts, number_of_folds):
    """Return the fold, from 0, of each speaker by scikit-learn's dealing."""
    groups, classes = (
        np.repeat(places.ravel(), counts.ravel())
        for places in np.indices(counts.shape)
    )
    # In turn, where no class has as many utterances as there are folds.
    folds = np.arange(len(counts)) % number_of_folds
    splitter = StratifiedGroupKFold(number_of_folds)
    with warnings.catch_warnings():
        # `describe_unevenness` reports small classes.
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = list(splitter.split(groups, classes, groups))
        except ValueError:
            return folds
    for fold, (_, tested) in enumerate(parts):
        folds[groups[tested]] = fold
    return folds


def even_out(
    counts: NDArray,
    parts: NDArray,
    shares: Sequence[float],
    least_gain: float = 1e-9,
) -> NDArray:
    """Move and exchange speakers as long as the parts become more even.

    What becomes smaller is the sum of squared differences between the share
    of a class, and of all utterances, that a part has and should have. First
    of all each part gets something of each class, and no part everything.

    Arguments
    ---------
    counts : numpy.ndarray
        Utterances, [speakers, classes].
    parts : numpy.ndarray
        The part of each speaker, from 0, to begin with, [speakers].
    shares : sequence of float
        The share that each part should have.
    least_gain : float
        Changes that reduce the sum by less are not made.

    Returns
    -------
    parts : numpy.ndarray
        [speakers].

    Example
    -------
    >>> counts = np.array([[1, 1], [1, 0], [0, 1]])
    >>> even_out(counts, np.array([0, 0, 1]), [0.5, 0.5]).tolist()
    [1, 0, 0]
    """
    parts = np.array(parts)
    if len(parts) > _MOST_SPEAKERS:
        return parts
    # The last column is of all utterances.
    rows = np.column_stack([counts, counts.sum(axis=1)]).astype(float)
    rows /= rows.sum(axis=0)
    sums = np.zeros((len(shares), rows.shape[1]))
    np.add.at(sums, parts, rows)
    targets = np.array(shares)
    improved = True
    while improved:
        improved = False
        for speaker in range(len(parts)):
            improved |= _improve(
                rows, parts, sums, targets, speaker, least_gain
            )
    return parts


def _improve(rows, parts, sums, targets, speaker, least_gain):
    """Make the best change of a speaker's part; return whether there is one."""
    own = parts[speaker]
    others = np.flatnonzero(parts != own)
    places = [part for part in range(len(targets)) if part != own]
    # Exchanges with a speaker of another part, then moves to another part.
    given = np.concatenate([rows[others], np.zeros((len(places), len(rows.T)))])
    there = np.concatenate([parts[others], places]).astype(int)
    difference = given - rows[speaker]
    gains = (
        _cost(sums[own], targets[own])
        + _cost(sums[there], targets[there])
        - _cost(sums[own] + difference, targets[own])
        - _cost(sums[there] - difference, targets[there])
    )
    best = int(gains.argmax())
    if gains[best] < least_gain:
        return False
    if best < len(others):
        parts[others[best]] = own
    parts[speaker] = there[best]
    sums[own] += difference[best]
    sums[there[best]] -= difference[best]
    return True


def _cost(sums, targets):
    """Return how uneven parts are whose shares are sums [..., classes]."""
    lacked, alone = sums < 1e-9, sums > 1 - 1e-9
    cost = np.square(sums - np.expand_dims(targets, -1))
    cost = cost + _LACKED * lacked + _ALONE * alone
    return cost.sum(axis=-1) + _EMPTY * lacked[..., -1]


def describe_unevenness(utterances: Iterable[Utterance]) -> list[str]:
    """Describe what the folds of a corpus cannot show, and why.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus, with its folds.

    Returns
    -------
    list of str
        Sentences: a class that a test fold lacks, a class of fewer speakers
        than folds, a class that a training lacks, classes that go with
        speakers.

    Example
    -------
    >>> corpus = [
    ...     Utterance("1", "1.wav", "a", "ann", 1),
    ...     Utterance("2", "2.wav", "b", "ann", 1),
    ...     Utterance("3", "3.wav", "a", "eve", 2),
    ... ]
    >>> for sentence in describe_unevenness(corpus):
    ...     print(sentence[:45])
    Some test folds lack a class, so that its rec
    Some classes have fewer speakers than there a
    Some classes are in one fold alone, so that a
    """
    utterances = list(utterances)
    found = {
        _LACKING: _lacking(utterances),
        _FEW: _few_speakers(utterances),
        _ONE_FOLD: _in_one_fold(utterances),
        _TOGETHER: _confounding(utterances),
    }
    return [
        sentence.format(first_few(names, 10))
        for sentence, names in found.items()
        if names
    ]


def _collect(utterances, key, value):
    """Return the set of values of each key, in the order of the keys."""
    found = collections.defaultdict(set)
    for utterance in utterances:
        found[getattr(utterance, key)].add(getattr(utterance, value))
    return dict(sorted(found.items()))


def _tested(utterances):
    """Return the folds that a run tests; fold 0 is tested by none."""
    return {utterance.fold for utterance in utterances} - {0}


def _lacking(utterances):
    """Describe the folds that lack a class."""
    labels = _collect(utterances, "fold", "label")
    every = set().union(*labels.values())
    return [
        f"fold {fold} without {' and '.join(sorted(every - labels[fold]))}"
        for fold in sorted(_tested(utterances))
        if every - labels[fold]
    ]


def _few_speakers(utterances):
    """Describe the classes of fewer speakers than folds."""
    folds = len(_tested(utterances))
    return [
        f"{label} has {len(speakers)}"
        for label, speakers in _collect(utterances, "label", "speaker").items()
        if len(speakers) < folds
    ]


def _in_one_fold(utterances):
    """Describe the classes that one fold has alone."""
    tested = _tested(utterances)
    return [
        f"{label} in fold {min(folds)}"
        for label, folds in _collect(utterances, "label", "fold").items()
        if len(folds) == 1 and folds <= tested and len(tested) > 1
    ]


def _confounding(utterances):
    """Return the adjusted mutual information, if it is high, in a list."""
    counts = collections.Counter(u.speaker for u in utterances)
    # The class of a speaker's only utterance cannot be learned from the voice.
    several = [u for u in utterances if counts[u.speaker] > 1]
    value = adjusted_mutual_info_score(
        [utterance.label for utterance in several],
        [utterance.speaker for utterance in several],
        average_method="min",
    )
    return [f"{value:.2f}"] if several and value >= _CONFOUNDED else []
