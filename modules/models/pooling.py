"""Poolings: a sequence of frames becomes one vector per utterance.

Every pooling takes ``(features [batch, frames, channels], lengths [batch])``,
lengths relative to the longest utterance as everywhere in SpeechBrain, and
returns ``[batch, values]``. Padded frames never reach the result. The
arithmetic runs in at least fp32, also under autocast.

Source of the formulas: Kakouros, Stafylakis, Mosner, Burget, "Speech-based
emotion recognition with self-supervised models using attentive channel-wise
correlations and label smoothing", ICASSP 2023 (arXiv 2211.01756).
"""

import torch
from torch import nn
from torch.nn import functional as F

# Keeps the correlation of a constant channel finite; the paper's value.
EPS = 1e-9
# Channels that are correlated beside the mean: as many as the paper projects to.
_MOST_CORRELATED = 256


def valid_frames_mask(lengths, frames):
    """Tell the frames of each utterance from its padding.

    Arguments
    ---------
    lengths : torch.Tensor
        Relative lengths in (0, 1], shape [batch].
    frames : int
        Number of frames of the padded batch.

    Returns
    -------
    mask : torch.Tensor
        True on valid frames, at least one per utterance; [batch, frames].
    """
    counts = torch.round(lengths * frames).clamp(1, frames)
    steps = torch.arange(frames, device=lengths.device)
    return steps[None, :] < counts[:, None]


def _without_padding(features, lengths):
    """Return at least fp32 features, zero on padding, and their mask."""
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    mask = valid_frames_mask(lengths.to(features.device), features.shape[1])
    return features.masked_fill(~mask[..., None], 0.0), mask


def _uniform_weights(mask):
    """Return 1/T on the T valid frames of each row and 0 elsewhere."""
    return mask / mask.sum(dim=1, keepdim=True)


def _centre(features, weights):
    """Return the weighted mean [batch, channels] and what deviates from it."""
    mean = torch.einsum("bt,btc->bc", weights.to(features.dtype), features)
    return mean, features - mean[:, None]


def correlations(features, weights):
    """Correlate channels over time under weights that sum to one.

    Arguments
    ---------
    features : torch.Tensor
        [batch, frames, channels], zero on padding.
    weights : torch.Tensor
        [batch, frames], zero on padding.

    Returns
    -------
    correlations : torch.Tensor
        Strict upper triangle of the correlation matrix, row by row, in
        [-1, 1]; [batch, channels * (channels - 1) / 2].
    """
    weights = weights.to(features.dtype)
    _, centred = _centre(features, weights)
    # One factor carries the weights. Their square root in both factors would
    # give an infinite gradient at the zero weight of a padded frame.
    weighted = centred * weights[..., None]
    covariance = weighted.transpose(1, 2) @ centred  # [batch, chan, chan]
    scale = torch.rsqrt(covariance.diagonal(dim1=1, dim2=2) + EPS)
    matrix = covariance * scale[:, :, None] * scale[:, None, :]
    channels = features.shape[2]
    row, column = torch.triu_indices(
        channels, channels, offset=1, device=features.device
    )
    upper = matrix.flatten(1).index_select(1, row * channels + column)
    # Rounding alone can pass 1.
    return upper.clamp(-1.0, 1.0)


class ChannelDropout(nn.Module):
    """Drop whole channels, in all frames of an utterance, while training.

    What is kept is scaled by ``1 / (1 - p)``.

    Arguments
    ---------
    p : float
        Probability to drop a channel, in [0, 1).
    """

    def __init__(self, p=0.25):
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


class Pooling(nn.Module):
    """What all poolings share: the sizes.

    Arguments
    ---------
    input_size : int
        Number of channels; needed for ``output_size`` alone.
    """

    # Whether training needs all utterances of a batch in one call.
    whole_batch = False

    def __init__(self, input_size=None):
        super().__init__()
        self.input_size = input_size

    @property
    def output_size(self):
        """Number of values per utterance."""
        raise NotImplementedError

    @property
    def sizes(self):
        """Number of values of each moment, in their order."""
        return [self.output_size]

    def forward(self, features, lengths):
        """Pool without autocast: second moments do not stand half precision.

        Arguments
        ---------
        features : torch.Tensor
            [batch, frames, channels].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        pooled : torch.Tensor
            [batch, values].
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.pool(*_without_padding(features, lengths))

    def pool(self, features, mask):
        """Pool features that are zero where the mask is False."""
        raise NotImplementedError


class MeanPooling(Pooling):
    """Mean over the valid frames.

    Example
    -------
    >>> MeanPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 16])
    """

    @property
    def output_size(self):
        return self.input_size

    def pool(self, features, mask):
        return _centre(features, _uniform_weights(mask))[0]


class MeanStdPooling(Pooling):
    """Mean and unbiased standard deviation over the valid frames.

    Example
    -------
    >>> MeanStdPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 32])
    """

    @property
    def output_size(self):
        return 2 * self.input_size

    def pool(self, features, mask):
        mean, centred = _centre(features, _uniform_weights(mask))
        squares = centred.square().masked_fill(~mask[..., None], 0.0)
        freedom = (mask.sum(dim=1, keepdim=True) - 1).clamp(min=1)
        variance = squares.sum(dim=1) / freedom
        return torch.cat([mean, torch.sqrt(variance + EPS)], dim=1)


class CorrelationPooling(Pooling):
    """Pearson correlation of every pair of channels over the valid frames.

    Example
    -------
    >>> CorrelationPooling()(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    @property
    def output_size(self):
        """Number of pairs of channels."""
        return self.input_size * (self.input_size - 1) // 2

    def pool(self, features, mask):
        """Correlate under uniform weights; see `Pooling.pool`."""
        return correlations(features, _uniform_weights(mask))


class AttentiveCorrelationPooling(CorrelationPooling):
    """Correlation of channels under learned weights of the frames.

    The heads' scores are merged by log-sum-exp before the softmax over time:
    one weight per frame, and an output that does not grow with the heads.

    Arguments
    ---------
    input_size : int
        Number of channels.
    attention_heads : int
        Number of heads.

    Example
    -------
    >>> pooling = AttentiveCorrelationPooling(16, attention_heads=4)
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    def __init__(self, input_size, attention_heads=4):
        super().__init__(input_size)
        self.score = nn.Sequential(
            nn.Linear(input_size, input_size),
            nn.ReLU(),
            nn.Linear(input_size, attention_heads),
        )

    def attention_weights(self, features, lengths):
        """Return the weight of each frame.

        Arguments
        ---------
        features : torch.Tensor
            [batch, frames, channels].
        lengths : torch.Tensor
            Relative lengths, [batch].

        Returns
        -------
        weights : torch.Tensor
            Sum to 1 over the valid frames, 0 on padding; [batch, frames].
        """
        with torch.autocast(features.device.type, enabled=False):
            return self._attend(*_without_padding(features, lengths))

    def _attend(self, features, mask):
        """Return the weight of each frame under a mask, [batch, frames]."""
        scores = torch.logsumexp(self.score(features), dim=2)
        return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)

    def pool(self, features, mask):
        """Correlate under learned weights; see `Pooling.pool`."""
        return correlations(features, self._attend(features, mask))


class MeanCorrelationPooling(Pooling):
    """Mean of all channels, and correlation of every pair of some.

    A correlation knows nothing of the mean. Of many channels 256, spread
    evenly, are correlated: the number of pairs grows with the square.

    Arguments
    ---------
    input_size : int
        Number of channels.
    correlated : list of int
        Those that are correlated, such as the channels of one layer; None:
        all.

    Example
    -------
    >>> pooling = MeanCorrelationPooling(16, correlated=[0, 1, 2])
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 19])
    """

    def __init__(self, input_size, correlated=None):
        super().__init__(input_size)
        channels = torch.arange(input_size)
        if correlated is not None:
            channels = torch.tensor(correlated)
        if len(channels) > _MOST_CORRELATED:
            places = torch.linspace(0, len(channels) - 1, _MOST_CORRELATED)
            channels = channels[places.round().long()]
        self.register_buffer("correlated", channels, persistent=False)

    @property
    def sizes(self):
        count = len(self.correlated)
        return [self.input_size, count * (count - 1) // 2]

    @property
    def output_size(self):
        return sum(self.sizes)

    def pool(self, features, mask):
        weights = _uniform_weights(mask)
        mean, _ = _centre(features, weights)
        chosen = features.index_select(2, self.correlated)
        return torch.cat([mean, correlations(chosen, weights)], dim=1)


POOLINGS = {
    "mean": MeanPooling,
    "mean_std": MeanStdPooling,
    "corr": CorrelationPooling,
    "mean_corr": MeanCorrelationPooling,
    "attentive_corr": AttentiveCorrelationPooling,
}
