"""Which moments of the frames say most, in the recommended system.

For `moments_study.yaml` alone: none of it is part of what is offered.
"""

import torch
from torch import nn

from modules.models.head import EmotionHead, Standardization
from modules.models.pooling import (
    CorrelationPooling,
    MeanPooling,
    MeanStdPooling,
    Pooling,
)
from recipes.EMODB.head_study.head import ALONE


class StdPooling(MeanStdPooling):
    """Unbiased standard deviation over the valid frames."""

    @property
    def output_size(self):
        return self.input_size

    def pool(self, features, mask):
        return super().pool(features, mask)[:, self.input_size :]


class LogCovariancePooling(Pooling):
    """Matrix logarithm of the covariance of the channels over time.

    Covariances are no vector space, their logarithms are: Arsigny et al.,
    "Log-Euclidean metrics for fast and simple calculus on diffusion tensors",
    MRM 2006. There are fewer frames than channels, so the covariance is
    shrunk towards a multiple of the identity first, by the oracle
    approximating formula: Chen et al., "Shrinkage algorithms for MMSE
    covariance estimation", IEEE TSP 2010, equation 23.
    """

    @property
    def output_size(self):
        return self.input_size * (self.input_size + 1) // 2

    def pool(self, features, mask):
        size = self.input_size
        rows, columns = torch.triu_indices(size, size)
        # So that distances are those of the matrices.
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
    # In sklearn.covariance.oas's terms, which are the paper's over size**2.
    excess = power - mean**2 / size
    share = ((power + mean**2) / ((count + 1) * excess)).clamp(max=1)
    values, vectors = torch.linalg.eigh(covariance * (1 - share))
    values = values.clamp(min=0) + share * mean + 1e-9
    return ((vectors * values.log()) @ vectors.T).float()


MOMENTS = {
    "mean": MeanPooling,
    "std": StdPooling,
    "corr": CorrelationPooling,
    "log_covariance": LogCovariancePooling,
}


class JointPooling(Pooling):
    """Several moments, one after the other.

    Arguments
    ---------
    input_size : int
        Number of channels.
    names : list of str
        Keys of `MOMENTS`.
    """

    def __init__(self, input_size, names):
        super().__init__(input_size)
        self.parts = nn.ModuleList(MOMENTS[name](input_size) for name in names)

    @property
    def output_size(self):
        return sum(self.sizes)

    @property
    def sizes(self):
        """Number of values of each."""
        return [part.output_size for part in self.parts]

    def pool(self, features, mask):
        pooled = [part.pool(features, mask) for part in self.parts]
        return torch.cat(pooled, dim=1)


class MomentsHead(EmotionHead):
    """An `EmotionHead` with any moments.

    Arguments
    ---------
    moments : str
        Keys of `MOMENTS` with + between them.
    one_layer : int
        The hidden state that is used alone; None: the mean of all.
    **options
        See `modules.models.head.EmotionHead`; ``standardize`` is true.
    """

    def __init__(self, moments, one_layer=None, **options):
        super().__init__(**options | {"pooling": "mean", "standardize": True})
        if one_layer is not None:
            self.layer_pooling.scores.data[one_layer] = ALONE
        names = moments.split("+")
        self.pooling = JointPooling(self.pooling.input_size, names)
        self.standardization = Standardization(self.pooling.sizes)
        self.classifier = nn.Linear(
            self.pooling.output_size, options["classes"]
        )
