"""Target probabilities of utterances, and the weights of their classes."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight

BALANCED = "balanced"


def class_weights(
    setting: str | None, labels: torch.Tensor, num_classes: int
) -> torch.Tensor | None:
    """Return how much an utterance of each class counts in the training.

    Arguments
    ---------
    setting : str
        "balanced": n / (classes * count), as in scikit-learn, so that every
        class counts alike and the mean over the utterances is 1. None: 1.
    labels : torch.Tensor
        Of the training utterances, [utterances].
    num_classes : int
        Number of classes; one without an utterance has the weight 1.

    Returns
    -------
    weights : torch.Tensor
        fp64 [classes]; None if all are 1.

    Example
    -------
    >>> class_weights("balanced", torch.tensor([0, 0, 0, 1]), 2).tolist()
    [0.6666666666666666, 2.0]
    """
    if setting is None:
        return None
    found = labels.cpu().numpy()
    present = np.unique(found)
    weights = torch.ones(num_classes, dtype=torch.float64)
    own = compute_class_weight(setting, classes=present, y=found)
    weights[torch.from_numpy(present)] = torch.from_numpy(own)
    return None if bool((weights == 1).all()) else weights


def make_targets(
    labels: torch.Tensor,
    num_classes: int,
    entries: Sequence[dict],
    soft_labels: str | None = None,
    label_smoothing: float = 0.0,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return target probabilities, each times the weight of the utterance.

    The weight is that of the utterance's label, also where soft labels or
    label smoothing spread the target over other classes: an utterance of
    weight 2 counts as the same utterance twice.

    Arguments
    ---------
    labels : torch.Tensor
        [utterances].
    num_classes : int
        Number of classes.
    entries : sequence of dict
        Manifest entries, [utterances].
    soft_labels : str
        Field of the entries with the share of listeners who agreed.
    label_smoothing : float
        Share of the probability that is spread over all classes.
    weights : torch.Tensor
        From `class_weights`.

    Returns
    -------
    targets : torch.Tensor
        fp64 [utterances, classes].

    Example
    -------
    >>> make_targets(torch.tensor([1]), 2, [{}], label_smoothing=0.2).tolist()
    [[0.1, 0.9]]
    """
    certain = torch.nn.functional.one_hot(labels, num_classes).double()
    if soft_labels is None:
        share = torch.ones(len(labels), 1, dtype=torch.float64)
    else:
        share = torch.tensor(
            [[entry[soft_labels]] for entry in entries], dtype=torch.float64
        )
    others = (1 - certain) / max(num_classes - 1, 1)
    targets = share * certain + (1 - share) * others
    smoothed = (1 - label_smoothing) * targets + label_smoothing / num_classes
    return smoothed if weights is None else smoothed * weights[labels, None]
