"""Between layer pooling and pooling: which channels are used."""

import torch
from torch import nn
from torch.nn import functional as F


class EvenChannels(nn.Module):
    """Keep channels that are spread evenly over all; nothing is trained.

    The number of pairs that a correlation pooling returns grows with the
    square of the number of channels. It takes the place of the projection.

    Arguments
    ---------
    in_features : int
        Number of channels.
    out_features : int
        Number of channels that are kept at most; 256 as the paper projects to.

    Example
    -------
    >>> EvenChannels(8, out_features=3)(torch.arange(8.0))
    tensor([0., 4., 7.])
    """

    def __init__(self, in_features: int, out_features: int = 256):
        super().__init__()
        kept = min(in_features, out_features)
        places = torch.linspace(0, in_features - 1, kept).round().long()
        self.out_features = kept
        self.register_buffer("places", places, persistent=False)

    def forward(self, features):
        """Return [..., kept] of features [..., channels]."""
        return features.index_select(-1, self.places)


class ChannelDropout(nn.Module):
    """Drop whole channels, in all frames of an utterance, while training.

    The channels that stay are scaled by ``1 / (1 - p)``.

    Arguments
    ---------
    p : float
        Probability to drop a channel, in [0, 1); p_d in the paper.

    Example
    -------
    >>> ChannelDropout(0.25).eval()(torch.ones(1, 2, 3)).sum()
    tensor(6.)
    """

    def __init__(self, p: float = 0.25):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"channel dropout must be in [0, 1), not {p}")
        self.p = p

    def forward(self, features):
        """Drop channels of features [batch, frames, channels]."""
        # F.dropout1d drops rows of [batch, channels, frames].
        return F.dropout1d(
            features.transpose(1, 2), self.p, self.training
        ).transpose(1, 2)
