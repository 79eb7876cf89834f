"""Hidden states of all layers become one sequence of frames.

Either as their weighted sum, weights learned, or side by side. Source of the
sum's formula: Yang et al., "SUPERB: Speech processing Universal
PERformance Benchmark", Interspeech 2021 (arXiv 2105.01051), section 3.
"""

import torch
from torch import nn
from torch.nn import functional as F

from modules.errors import BadInput

# Values of hidden states that are turned into fp32 at a time, 4 MB: they stay
# in a processor's cache until they are summed, so that each stored byte comes
# from memory once.
_PART = 2**20


class LayerPooling(nn.Module):
    """Weighted sum of the hidden states of all layers, weights learned.

    The weights are a softmax over one scalar per layer, uniform at the start.

    Arguments
    ---------
    layers : int
        Number of hidden states (transformer layers plus one).
    normalize : bool
        Normalise each frame of each layer to mean 0 and deviation 1 over its
        channels first. Layers differ widely in scale, and without this the
        loudest of them rules the sum. The paper does not do it.

    Example
    -------
    >>> pooling = LayerPooling(layers=5)
    >>> pooling(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(self, layers, normalize=False):
        super().__init__()
        self.normalize = normalize
        self.scores = nn.Parameter(torch.zeros(layers))

    def channels(self, width):
        """Return how wide features are, of hidden states so wide."""
        return width

    def layer_channels(self, width, layer=None):
        """Return the channels that a layer is in: all are in all."""
        return list(range(width))

    def layer_weights(self):
        """Return the weights of the layers, which sum to one; [layers]."""
        return torch.softmax(self.scores, dim=0)

    def forward(self, hidden_states):
        """Sum the layers.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            [layers, batch, frames, width]; or utterances from a store, see
            `modules.features.stored_states.StoredStates`.

        Returns
        -------
        features : torch.Tensor
            [batch, frames, width]; of stored utterances the frames of all,
            one after the other, [frames, width].
        """
        weights = self.layer_weights()
        if isinstance(hidden_states, list):
            return _SumStored.apply(weights, hidden_states, self.normalize)
        states = hidden_states.movedim(0, -2)  # [batch, frames, layers, width]
        weights = weights.to(states.dtype).expand(states.shape[:-1])
        if self.normalize:
            mean, scale = layer_moments(states).unbind(-1)
            weights = weights * scale
            return _sum_layers(weights, states) - (weights * mean).sum(
                dim=-1, keepdim=True
            )
        return _sum_layers(weights, states)


class LayerStack(nn.Module):
    """Hidden states of all transformer layers side by side.

    The first hidden state, which no transformer layer has seen, is left out
    where there are others.

    Arguments
    ---------
    layers : int
        Number of hidden states (transformer layers plus one).
    normalize : bool
        See `LayerPooling`.

    Example
    -------
    >>> LayerStack(layers=5)(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 64])
    """

    def __init__(self, layers, normalize=False):
        super().__init__()
        self.first = 1 if layers > 1 else 0
        self.layers = layers - self.first
        self.normalize = normalize

    def channels(self, width):
        """Return how wide features are, of hidden states so wide."""
        return self.layers * width

    def layer_channels(self, width, layer=None):
        """Return the channels of a layer.

        Arguments
        ---------
        width : int
            Of a hidden state.
        layer : int
            Of the transformer, counted from 1; None: the middle one.

        Returns
        -------
        channels : list of int

        Raises
        ------
        BadInput
            If there is no such layer.
        """
        if layer is None:
            layer = max(self.layers // 2, 1)
        if not 1 <= layer <= self.layers:
            raise BadInput(
                f"correlated_layer {layer} does not exist: choose one of 1 "
                f"to {self.layers}, or null for the middle one"
            )
        return list(range((layer - 1) * width, layer * width))

    def layer_weights(self):
        """Return None: nothing is weighted."""

    def forward(self, hidden_states):
        """Put the layers side by side.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            See `LayerPooling.forward`.

        Returns
        -------
        features : torch.Tensor
            As `LayerPooling.forward` returns, but wider:
            [..., layers * width].
        """
        if isinstance(hidden_states, list):
            return torch.cat(
                [self._stack(states.float()) for states in hidden_states]
            )
        return self._stack(hidden_states.movedim(0, -2))

    def _stack(self, states):
        """Stack [..., layers, width]."""
        states = states[..., self.first :, :]
        if self.normalize:
            states = F.layer_norm(states, states.shape[-1:])
        return states.flatten(-2)


def _sum_layers(weights, states):
    """Sum [..., layers, width] under weights [..., layers]."""
    return torch.matmul(weights.unsqueeze(-2), states).squeeze(-2)


def layer_moments(states):
    """Return what normalises hidden states, eps as layer norm's.

    With the moments the sum of normalised layers is a weighted sum of the
    layers as they are, and no normalised copy of them is made.

    Arguments
    ---------
    states : torch.Tensor
        [..., width].

    Returns
    -------
    moments : torch.Tensor
        Mean and 1 / deviation over the width, [..., 2].
    """
    mean = states.mean(dim=-1)
    power = torch.linalg.vector_norm(states, dim=-1).square()
    variance = power / states.shape[-1] - mean.square()
    scale = torch.rsqrt(variance.clamp(min=0) + 1e-5)
    return torch.stack([mean, scale], dim=-1)


class _SumStored(torch.autograd.Function):
    """The same sum over stored utterances, which need no gradient.

    Each stored byte is read once forward and once backward, and no fp32 copy
    of a batch is made: PyTorch's own operations would read and write that
    copy, twice as large as the batch, several times.
    """

    @staticmethod
    def forward(ctx, weights, utterances, normalize):
        utterances = _for_device(utterances)
        weights = weights.detach()
        frames = sum(len(utterance) for utterance in utterances)
        weights = weights.expand(frames, -1)
        mean = scale = None
        if normalize:
            moments = torch.cat([u.moments for u in utterances])
            mean, scale = moments.unbind(-1)
            weights = weights * scale
        total = weights.new_empty(frames, utterances[0].values.shape[2])
        for rows, states in _parts(utterances):
            torch.bmm(
                weights[rows].unsqueeze(1), states, out=total[rows].unsqueeze(1)
            )
        if normalize:
            total -= (weights * mean).sum(dim=1, keepdim=True)
        ctx.utterances, ctx.mean, ctx.scale = utterances, mean, scale
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.float()
        layers = ctx.utterances[0].values.shape[1]
        products = gradient.new_empty(len(gradient), layers)
        for rows, states in _parts(ctx.utterances):
            # This order of factors is the fast one.
            torch.bmm(
                gradient[rows].unsqueeze(1),
                states.transpose(1, 2),
                out=products[rows].unsqueeze(1),
            )
        if ctx.mean is not None:
            total = gradient.sum(dim=1, keepdim=True)
            products = (products - ctx.mean * total) * ctx.scale
        return products.sum(dim=0), None, None


def _for_device(utterances):
    """Join utterances on a GPU: a kernel started costs more than a copy."""
    if utterances[0].values.device.type == "cpu":
        return utterances
    return [utterances[0].join(utterances)]


def _parts(utterances):
    """Yield (rows, fp32 states) of all utterances in their order."""
    values = utterances[0].values
    part = len(values)
    if values.device.type == "cpu":
        part = max(1, _PART // values[0].numel())
    start = 0
    for utterance in utterances:
        for states in utterance.parts(part):
            yield slice(start, start + len(states)), states
            start += len(states)
