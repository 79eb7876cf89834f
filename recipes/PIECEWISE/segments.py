"""Multiple-instance classification: the parts of an utterance have scores.

A rival of attention where emotion fills a part of an utterance. `SegmentMeans`
is the pooling and `SegmentClassifier` the classifier of one system.
"""

import torch
from torch import nn

from modules.models.pooling import Pooling


class SegmentMeans(Pooling):
    """Mean of the frames in each of several equal parts of an utterance.

    Arguments
    ---------
    input_size : int
        Number of channels.
    segments : int
        Number of parts. Neighbours share a frame where the frames cannot be
        divided.

    Example
    -------
    >>> SegmentMeans(16, segments=4)(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 64])
    """

    def __init__(self, input_size: int, segments: int = 8):
        super().__init__(input_size)
        self.segments = segments

    @property
    def output_size(self) -> int:
        """Number of channels of all segments."""
        return self.segments * self.input_size

    def pool(self, features, mask):
        """Average within each segment; see `Pooling.pool`."""
        frames = mask.sum(dim=1)[:, None]  # [batch, 1]
        place = torch.arange(self.segments, device=mask.device)[None]
        first = place * frames // self.segments  # [batch, segments]
        last = ((place + 1) * frames - 1) // self.segments
        step = torch.arange(mask.shape[1], device=mask.device)
        inside = (step >= first[..., None]) & (step <= last[..., None])
        weights = inside.to(features.dtype)
        weights = weights / weights.sum(dim=2, keepdim=True)
        return (weights @ features).flatten(1)


class SegmentClassifier(nn.Module):
    """A linear classifier of segments, whose scores are merged.

    A class has a high score where one segment has: the scores of an utterance
    are the log-sum-exp of those of its segments, a smooth maximum.

    Arguments
    ---------
    in_features : int
        Number of values of all segments.
    out_features : int
        Number of classes.
    segments : int
        As `SegmentMeans` has.

    Example
    -------
    >>> SegmentClassifier(64, 7, segments=4)(torch.randn(2, 64)).shape
    torch.Size([2, 7])
    """

    def __init__(self, in_features: int, out_features: int, segments: int = 8):
        super().__init__()
        self.segments = segments
        self.linear = nn.Linear(in_features // segments, out_features)

    def forward(self, values):
        """Return scores [batch, classes] of values [batch, all segments]."""
        values = values.unflatten(1, (self.segments, -1))
        return torch.logsumexp(self.linear(values), dim=1)
