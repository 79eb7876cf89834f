"""Parts that the head studies put in place of parts of the recipe's systems.

Experiment files name them, such as
``pooling: {class: recipes.EMODB.head_study.parts.StudyPooling, evenness: 1}``.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from modules.models.pooling import (
    AttentiveCorrelationPooling,
    MeanStdPooling,
    Pooling,
    correlations,
)


class CosineAdamW(torch.optim.AdamW):
    """AdamW whose learning rate falls to zero along half a cosine.

    Arguments
    ---------
    params : iterable
        What is trained.
    lr : float
        Learning rate of the first update.
    updates : int
        Number of updates after which the learning rate is zero.
    weight_decay : float
        Decoupled, as in AdamW.
    """

    def __init__(
        self, params, lr: float, updates: int, weight_decay: float = 0.0
    ):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
        self.first_lr, self.updates = lr, updates
        for group in self.param_groups:
            group["done"] = 0  # is saved in a checkpoint

    def step(self, closure=None):
        """Update with the learning rate of this update."""
        for group in self.param_groups:
            share = min(group["done"] / self.updates, 1.0)
            group["lr"] = self.first_lr * (1 + math.cos(math.pi * share)) / 2
            group["done"] += 1
        return super().step(closure)


class _AddCost(torch.autograd.Function):
    """Return values unchanged; add a cost to any loss that uses them."""

    @staticmethod
    def forward(ctx, values, cost):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, torch.ones((), device=gradient.device)


class StudyPooling(AttentiveCorrelationPooling):
    """Attentive correlation pooling with one thing changed.

    Arguments
    ---------
    input_size, attention_heads : int
        See `modules.models.pooling.AttentiveCorrelationPooling`.
    temperature : float
        Divides the scores before the softmax; None: infinite, which gives all
        frames the same weight.
    own_moments : bool
        Each head correlates under its own weights and the mean of the heads'
        correlations is returned; otherwise the heads' scores are merged.
    evenness : float
        Weight of the weights' negative entropy (in nats) in the loss.
    shrinkage : bool
        Shrink the correlations of each utterance towards zero by their
        estimated sampling error: Schaefer and Strimmer, "A shrinkage approach
        to large-scale covariance matrix estimation", SAGMB 2005. The number of
        independent frames is 1 / sum of squared weights.
    batch_size : int
        Utterances of an update, over which the entropy is averaged.

    Example
    -------
    >>> pooling = StudyPooling(16, temperature=4.0)
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    def __init__(
        self,
        input_size: int,
        attention_heads: int = 4,
        temperature: float | None = 1.0,
        own_moments: bool = False,
        evenness: float = 0.0,
        shrinkage: bool = False,
        batch_size: int = 32,
    ):
        super().__init__(input_size, attention_heads)
        self.temperature = math.inf if temperature is None else temperature
        self.own_moments = own_moments
        self.evenness = evenness / batch_size
        self.shrinkage = shrinkage

    def pool(self, features, mask):
        """Correlate under the weights of each head, or of all merged."""
        weights = self._weights(features, mask)
        if self.evenness and self.training:
            # Not torch.special.entr: its gradient at a padded frame is infinite.
            logs = weights.clamp(min=1e-12).log()
            cost = self.evenness * (weights * logs).sum() / weights.shape[2]
            weights = _AddCost.apply(weights, cost)
        pooled = [
            self._correlate(features, own) for own in weights.unbind(dim=2)
        ]
        return torch.stack(pooled).mean(dim=0)

    def _weights(self, features, mask):
        """Return weights [batch, frames, heads]; one head if merged."""
        scores = self.score(features)
        if not self.own_moments:
            scores = torch.logsumexp(scores, dim=2, keepdim=True)
        scores = scores / self.temperature
        scores = scores.masked_fill(~mask[..., None], -torch.inf)
        return torch.softmax(scores, dim=1)

    def _attend(self, features, mask):
        return self._weights(features, mask).mean(dim=2)

    def _correlate(self, features, weights):
        values = correlations(features, weights)
        if not self.shrinkage:
            return values
        frames = 1 / weights.square().sum(dim=1, keepdim=True)
        error = (1 - values.square()).square() / (frames - 1).clamp(min=1)
        share = error.sum(dim=1) / values.square().sum(dim=1).clamp(min=1e-9)
        return values * (1 - share.clamp(max=1))[:, None]


class StdPooling(MeanStdPooling):
    """Unbiased standard deviation over the valid frames.

    Example
    -------
    >>> StdPooling(16)(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 16])
    """

    @property
    def output_size(self) -> int:
        return self.input_size

    def pool(self, features, mask):
        return super().pool(features, mask)[:, self.input_size :]


class LogCovariancePooling(Pooling):
    """Matrix logarithm of the covariance of the channels over time.

    The logarithms of covariance matrices form a vector space, the matrices do
    not: Arsigny et al., "Log-Euclidean metrics for fast and simple calculus on
    diffusion tensors", MRM 2006. There are fewer frames than channels, so the
    covariance is shrunk towards a multiple of the identity first, by the
    oracle approximating formula: Chen et al., "Shrinkage algorithms for MMSE
    covariance estimation", IEEE TSP 2010, equation 23.

    Example
    -------
    >>> LogCovariancePooling(4)(torch.randn(2, 7, 4), torch.ones(2)).shape
    torch.Size([2, 10])
    """

    @property
    def output_size(self) -> int:
        return self.input_size * (self.input_size + 1) // 2

    def pool(self, features, mask):
        size = self.input_size
        rows, columns = torch.triu_indices(size, size)
        # Makes distances of vectors equal to those of the matrices.
        scale = torch.where(rows == columns, 1.0, 2**0.5)
        logs = [
            _logarithm(utterance[valid])[rows, columns] * scale
            for utterance, valid in zip(features, mask)
        ]
        return torch.stack(logs)


def _logarithm(frames):
    """Return the logarithm of the shrunk covariance of [frames, channels]."""
    count, size = frames.shape
    centred = (frames - frames.mean(dim=0)).double()
    covariance = centred.T @ centred / count
    mean = covariance.diagonal().mean()
    power = covariance.square().mean()
    # As in sklearn.covariance.oas: the paper's terms divided by size**2.
    excess = power - mean**2 / size
    share = ((power + mean**2) / ((count + 1) * excess)).clamp(max=1)
    values, vectors = torch.linalg.eigh(covariance * (1 - share))
    values = values.clamp(min=0) + share * mean + 1e-9
    return ((vectors * values.log()) @ vectors.T).float()


class LowRankClassifier(nn.Sequential):
    """A linear classifier whose weights have a low rank.

    Arguments
    ---------
    in_features, out_features : int
        Number of values and of classes.
    rank : int
        Rank of the weights.

    Example
    -------
    >>> LowRankClassifier(100, 7, rank=2)(torch.randn(3, 100)).shape
    torch.Size([3, 7])
    """

    def __init__(self, in_features: int, out_features: int, rank: int):
        super().__init__(
            nn.Linear(in_features, rank, bias=False),
            nn.Linear(rank, out_features),
        )


class StandardizedClassifier(nn.Linear):
    """A linear classifier of values standardised over the batch.

    Batch normalisation without scale and shift; in a test with the statistics
    of the training.

    Example
    -------
    >>> StandardizedClassifier(100, 7)(torch.randn(3, 100)).shape
    torch.Size([3, 7])
    """

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features)
        self.normalization = nn.BatchNorm1d(in_features, affine=False)

    def forward(self, values):
        """Return scores [batch, classes]."""
        norm = self.normalization
        if self.training and len(values) == 1:
            # A last batch of one utterance has no deviation of its own.
            values = F.batch_norm(
                values, norm.running_mean, norm.running_var, eps=norm.eps
            )
        else:
            values = norm(values)
        return super().forward(values)
