"""Whole speakers are dealt into folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from modules.errors import BadInput


def deal_speakers(
    speakers: Sequence[str], labels: Sequence[str], number_of_folds: int
) -> dict[str, int]:
    """Deal whole speakers into folds with nearly equal shares of each class.

    The dealing is that of scikit-learn's `StratifiedGroupKFold`. It depends
    neither on the order of the utterances nor on a seed.

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
    {'ann': 1, 'bob': 1, 'eve': 2}
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
    folds = _stratified(sorted(zip(speakers, labels)), number_of_folds)
    if len(set(folds.values())) < number_of_folds:
        raise BadInput(
            f"The {len(names)} speakers cannot be dealt into {number_of_folds} "
            "folds with all classes: set number_of_folds to a smaller number, "
            "or add a column fold."
        )
    return {name: folds[name] for name in names}


def _stratified(pairs, number_of_folds):
    """Deal (speaker, label) pairs, sorted: speaker -> fold."""
    groups = np.array([speaker for speaker, _ in pairs], dtype=object)
    classes = np.array([label for _, label in pairs], dtype=object)
    splitter = StratifiedGroupKFold(number_of_folds)
    with warnings.catch_warnings():
        # Small classes are reported with the folds that lack them.
        warnings.simplefilter("ignore", UserWarning)
        try:
            parts = list(splitter.split(groups, classes, groups))
        except ValueError:
            # No class has as many utterances as there are folds.
            return {}
    return {
        speaker: fold
        for fold, (_, tested) in enumerate(parts, start=1)
        for speaker in groups[tested]
    }
