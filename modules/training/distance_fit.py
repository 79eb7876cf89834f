"""Fitting the distance from the training to speakers that are left out."""

import numpy as np
import torch
from sklearn.decomposition import PCA

from modules.training.logistic_regression import leave_out

_LEFT_OUT_WITHIN = 0.95
# scikit-learn's randomised solver; more iterations change nothing here.
_SOLVER = {"svd_solver": "randomized", "iterated_power": 2, "random_state": 0}


@torch.no_grad()
def fit_distance(distance, embeddings, labels, speakers) -> torch.Tensor | None:
    """Set the buffers of a distance.

    Arguments
    ---------
    distance : modules.models.distance.TrainingDistance
        Stays 0 everywhere if no speaker can be left out.
    embeddings : torch.Tensor
        Of the training utterances, [utterances, values].
    labels : torch.Tensor
        [utterances].
    speakers : list of str
        [utterances].

    Returns
    -------
    temperatures : torch.Tensor
        What divides the scores of each utterance while its speaker is left
        out, [utterances]; None if no speaker can be.

    Example
    -------
    >>> from modules.models.distance import TrainingDistance
    >>> distance = TrainingDistance({"means": 8}, components=4)
    >>> embeddings, labels = torch.randn(60, 8), torch.arange(60) % 2
    >>> speakers = [f"speaker{i // 6}" for i in range(60)]
    >>> temperatures = fit_distance(distance, embeddings, labels, speakers)
    >>> bool((distance(embeddings) > 1).float().mean() < 0.1)
    True
    """
    values = embeddings[:, distance.columns].cpu()
    found = torch.zeros(len(values))
    folds = leave_out(labels.cpu().numpy(), speakers)
    for kept, left in folds:
        _fit(distance, values[kept], 1.0)
        whole = values.new_zeros(len(left), embeddings.shape[1])
        whole[:, distance.columns] = values[left]
        found[left] = distance(whole.to(distance.mean)).cpu()
    if not folds:
        return None
    limit = max(float(np.quantile(found.numpy(), _LEFT_OUT_WITHIN)), 1e-6)
    _fit(distance, values, limit)
    return distance.temperature_at(found / limit)


@torch.no_grad()
def add_share_beyond(chosen, head, split, embeddings):
    """Add the share of a split that lies beyond a distance of 1.

    Arguments
    ---------
    chosen : dict
        Gets ``share_beyond_training``, split -> share, if the head measures
        the distance from its training.
    head : modules.models.head.EmotionHead
        Trained.
    split : str
        "dev" or "test".
    embeddings : torch.Tensor
        Of the split, [utterances, values].
    """
    if head.distance is not None and head.distance.is_fitted:
        share = (head.distance(embeddings) > 1).float().mean().item()
        chosen.setdefault("share_beyond_training", {})[split] = share


def _fit(distance, values, limit):
    """Set the buffers for training values [utterances, values]."""
    mean, deviation = values.mean(dim=0), values.std(dim=0, correction=0)
    constant = deviation < 1e-6 * values.abs().amax(dim=0).clamp(min=1)
    scale = (1 / deviation).masked_fill(constant, 0.0) * values.shape[1] ** -0.5
    standardised = ((values - mean) * scale).numpy()
    count = min(len(distance.precision), len(values) - 1)
    found = PCA(count, **_SOLVER).fit(standardised)
    directions = torch.from_numpy(found.components_).float()
    # Directions in which the training does not vary are left to the rest.
    used = torch.from_numpy(found.explained_variance_ > 1e-9)
    directions = directions * used[:, None]
    along = torch.from_numpy(standardised) @ directions.T
    variance = along.square().mean(dim=0).clamp(min=1e-9)
    total = torch.from_numpy(standardised).square().sum(dim=1)
    residual = (total - along.square().sum(dim=1)).clamp(min=0).mean()
    distance.mean.copy_(mean)
    distance.scale.copy_(scale)
    distance.directions.zero_()
    distance.directions[:count] = directions
    distance.precision.zero_()
    precision = used / (variance * used.sum().clamp(min=1))
    distance.precision[:count] = precision / limit**2
    residual = 1 / residual if residual > 1e-6 else torch.zeros(())
    distance.residual_precision.copy_(residual / limit**2)
