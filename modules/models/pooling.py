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

# Makes the correlation of a constant channel 0; the paper's value.
EPS = 1e-9


def valid_frames_mask(lengths: torch.Tensor, frames: int) -> torch.Tensor:
    """Return which frames of a padded batch are valid.

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
    """Return the weighted mean [batch, channels] and the centred features."""
    mean = torch.einsum("bt,btc->bc", weights.to(features.dtype), features)
    return mean, features - mean[:, None]


def correlations(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted correlation of every pair of channels over time.

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


class Pooling(nn.Module):
    """Base of all poolings: sizes, mask and precision.

    Arguments
    ---------
    input_size : int
        Number of channels; ``output_size`` alone needs it. 0: not given.
    """

    # Whether training needs all utterances of a batch in one call.
    whole_batch = False

    def __init__(self, input_size: int = 0):
        super().__init__()
        self.input_size = input_size

    @property
    def output_size(self) -> int:
        """Number of values per utterance."""
        raise NotImplementedError

    def forward(self, features, lengths):
        """Pool in fp32: second moments lose too much in half precision.

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
    def output_size(self) -> int:
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
    def output_size(self) -> int:
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
    def output_size(self) -> int:
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
    temperature : float
        Divides the merged scores; above 1 it evens the weights out. The paper
        has none.

    Example
    -------
    >>> pooling = AttentiveCorrelationPooling(16, attention_heads=4)
    >>> pooling(torch.randn(2, 7, 16), torch.ones(2)).shape
    torch.Size([2, 120])
    """

    def __init__(
        self,
        input_size: int,
        attention_heads: int = 4,
        temperature: float = 1.0,
    ):
        super().__init__(input_size)
        self.temperature = temperature
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
        scores = scores / self.temperature
        return torch.softmax(scores.masked_fill(~mask, -torch.inf), dim=1)

    def pool(self, features, mask):
        """Correlate under learned weights; see `Pooling.pool`."""
        return correlations(features, self._attend(features, mask))
