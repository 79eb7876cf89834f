"""Train, dev and test: decided here, once for all corpora."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterable

import numpy as np

from data_prep.corpus import Utterance, first_few
from data_prep.folds import count_classes, even_out
from modules.errors import BadInput

SPLITS = ("train", "dev", "test")
DEV_SPLITS = ("random", "speaker")
# Of an exchange of speakers; another seed could not choose another dev where
# every small gain counts.
_LEAST_GAIN = 0.05


def split(
    utterances: Iterable[Utterance],
    test_fold: int,
    dev_split: str,
    seed: int,
    dev_share: float = 0.2,
) -> dict[str, list[Utterance]]:
    """Split a corpus into train, dev and test.

    Utterances that come with a split of their own stay in it; if none of them
    is in dev, dev is taken from train.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus, in any order: the order makes no difference.
    test_fold : int
        The fold to test on; 1 for utterances with a split of their own.
    dev_split : str
        "random": dev is a random part of the other folds and shares speakers
        with train, as in SUPERB. "speaker": dev is made of whole speakers,
        chosen so that it has the classes of the whole as nearly as possible.
    seed : int
        Chooses dev.
    dev_share : float
        Dev's share of the utterances that are not tested on. Whole speakers
        come as near to it as they do in one pass.

    Returns
    -------
    dict
        "train", "dev" and "test", each a list of Utterance sorted by id.

    Raises
    ------
    BadInput
        If the fold or the kind of split is unknown, or nothing is left to
        train on.
    """
    utterances = sorted(utterances, key=lambda utterance: utterance.id)
    if dev_split not in DEV_SPLITS:
        raise BadInput(
            f"dev_split {dev_split!r} is unknown: choose one of "
            f"{', '.join(DEV_SPLITS)}."
        )
    if any(u.split for u in utterances):
        return _split_as_given(
            utterances, test_fold, dev_split, seed, dev_share
        )
    folds = sorted({u.fold for u in utterances if u.fold is not None})
    if test_fold not in folds:
        raise BadInput(
            f"test_fold {test_fold!r} is not among the folds: choose one of "
            f"{', '.join(map(str, folds))}."
        )
    rest = [u for u in utterances if u.fold != test_fold]
    train, dev = _take_dev(
        rest, dev_split, seed, dev_share, f"Outside test_fold {test_fold}"
    )
    test = [u for u in utterances if u.fold == test_fold]
    return {"train": train, "dev": dev, "test": test}


def _split_as_given(utterances, test_fold, dev_split, seed, dev_share):
    """Put every utterance into the split that it comes with."""
    if test_fold != 1:
        raise BadInput(
            f"test_fold is {test_fold!r}, but the list has a column split and "
            "so it has one fold: set test_fold to 1, and number_of_folds to 1 "
            "for cross_validate.py."
        )
    parts = {
        name: [u for u in utterances if u.split == name] for name in SPLITS
    }
    for name in ("train", "test"):
        if not parts[name]:
            raise BadInput(
                f"The column split has no row with {name}: mark the rows to "
                f"{name} on, or delete the column."
            )
    if not parts["dev"]:
        parts["train"], parts["dev"] = _take_dev(
            parts["train"], dev_split, seed, dev_share, "In train"
        )
    shared = _speakers(parts["train"]) & _speakers(parts["dev"])
    if dev_split == "speaker" and shared:
        raise BadInput(
            "dev_split is speaker, but the column split has a speaker in train "
            f"and in dev ({first_few(sorted(shared))}): correct the column or "
            "set dev_split to random."
        )
    return parts


def _speakers(utterances):
    """Return the speakers of utterances."""
    return {utterance.speaker for utterance in utterances}


def _take_dev(utterances, dev_split, seed, dev_share, where):
    """Divide utterances into train and dev."""
    if len(utterances) < 2:
        raise BadInput(
            f"{where} there are {len(utterances)} utterances, too few for "
            "train and dev: add utterances of other speakers."
        )
    generator = random.Random(seed)
    target = dev_share * len(utterances)
    if dev_split == "random":
        size = min(max(round(target), 1), len(utterances) - 1)
        dev = {u.id for u in generator.sample(utterances, size)}
    else:
        speakers = _dev_speakers(utterances, target, generator)
        dev = {u.id for u in utterances if u.speaker in speakers}
    return (
        [u for u in utterances if u.id not in dev],
        [u for u in utterances if u.id in dev],
    )


def _dev_speakers(utterances, target, generator):
    """Choose speakers with about `target` utterances between them."""
    labels = collections.defaultdict(collections.Counter)
    for utterance in utterances:
        labels[utterance.speaker][utterance.label] += 1
    left = collections.Counter(utterance.label for utterance in utterances)
    order = sorted(labels)
    generator.shuffle(order)

    def keeps_every_class(speaker):
        return all(left[k] > count for k, count in labels[speaker].items())

    # A speaker too large to bring dev nearer to its target than no dev at all
    # is still better than no dev, so the smallest such one is the way out.
    possible = [s for s in order if keeps_every_class(s)]
    if not possible:
        raise BadInput(
            "dev_split speaker leaves train without a class, whichever of the "
            f"{len(order)} speakers is taken for dev: use dev_split random."
        )
    chosen, size = set(), 0
    for speaker in possible:
        larger = size + sum(labels[speaker].values())
        nearer = abs(larger - target) < abs(size - target)
        if nearer and keeps_every_class(speaker):
            chosen.add(speaker)
            left -= labels[speaker]
            size = larger
    if not chosen:
        chosen = {min(possible, key=lambda s: sum(labels[s].values()))}
    return _evened(utterances, chosen, target / len(utterances))


def _evened(utterances, chosen, share):
    """Exchange speakers of dev and train until the classes are even."""
    names = sorted({utterance.speaker for utterance in utterances})
    counts = count_classes(
        [utterance.speaker for utterance in utterances],
        [utterance.label for utterance in utterances],
    )
    in_dev = np.array([name in chosen for name in names], dtype=int)
    in_dev = even_out(counts, in_dev, [1 - share, share], _LEAST_GAIN)
    return {name for name, inside in zip(names, in_dev) if inside}
