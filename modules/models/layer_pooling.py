"""Layer pooling: the hidden states of all layers become one sequence of frames.

Source of the weighted sum: Yang et al., "SUPERB: Speech processing Universal
PERformance Benchmark", Interspeech 2021 (arXiv 2105.01051), section 3.
"""

import torch
from torch import nn
from torch.nn import functional as F

from modules.errors import BadInput

# Values of hidden states that are converted to fp32 at a time, 4 MB: they stay
# in a processor's cache until they are summed, so that each stored byte is
# read from memory once.
_PART = 2**20
# In fp32 the sum of layers whose means are at most so many deviations is exact
# to 1e-6; others are centred first, which takes nearly twice as long on a CPU.
# In Whisper tiny.en the largest ratio on 20 recordings of EmoDB is 2.1.
_FAR = 8.0


class LayerPooling(nn.Module):
    """Weighted sum of all hidden states; a softmax gives learned weights.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    normalize : bool
        Normalise each frame of each layer to mean 0 and deviation 1 over its
        channels first. The scales of the layers differ widely, and without
        normalisation the layer of the largest scale dominates the sum. The
        paper does not normalise.
    learned : bool
        Whether the weights are trained; otherwise they stay uniform.

    Example
    -------
    >>> pooling = LayerPooling(num_hidden_states=5)
    >>> pooling(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(
        self,
        num_hidden_states: int,
        normalize: bool = False,
        learned: bool = True,
    ):
        super().__init__()
        self.normalize = normalize
        self.scores = nn.Parameter(
            torch.zeros(num_hidden_states), requires_grad=learned
        )

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return hidden_size

    def layer_weights(self):
        """Return the weights of the layers, which sum to one; [layers]."""
        return torch.softmax(self.scores, dim=0)

    def forward(self, hidden_states):
        """Sum the layers.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            [layers, batch, frames, hidden_size]; or stored utterances,
            `modules.features.stored_states.StoredStates`.

        Returns
        -------
        features : torch.Tensor
            [batch, frames, hidden_size]; of stored utterances the frames of
            all in one sequence, [frames, hidden_size].
        """
        weights = self.layer_weights()
        if isinstance(hidden_states, list):
            return _SumStored.apply(weights, hidden_states, self.normalize)
        # [batch, frames, layers, hidden_size]
        states = _normalized(hidden_states.movedim(0, -2), self.normalize)
        weights = weights.to(states.dtype).expand(states.shape[:-1])
        return torch.matmul(weights.unsqueeze(-2), states).squeeze(-2)


class LayerStack(nn.Module):
    """The hidden states of several layers, concatenated along the channels.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    normalize : bool
        See `LayerPooling`.
    include_input : bool
        Whether the input of the first transformer layer is one of them.

    Example
    -------
    >>> LayerStack(num_hidden_states=5)(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 64])
    """

    def __init__(
        self,
        num_hidden_states: int,
        normalize: bool = False,
        include_input: bool = False,
    ):
        super().__init__()
        # An encoder of one hidden state, such as filter banks, has no other.
        self.first = 0 if include_input or num_hidden_states == 1 else 1
        self.layers = num_hidden_states - self.first
        self.normalize = normalize

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return self.layers * hidden_size

    def layer_weights(self):
        """Return None: no layer has a weight."""

    def forward(self, hidden_states):
        """Concatenate layers; see `LayerPooling.forward`.

        Returns
        -------
        features : torch.Tensor
            [..., layers * hidden_size].
        """
        if isinstance(hidden_states, list):
            return torch.cat([self._stack(s.float()) for s in hidden_states])
        return self._stack(hidden_states.movedim(0, -2))

    def _stack(self, states):
        """Concatenate [..., layers, hidden_size]."""
        states = states[..., self.first :, :]
        return _normalized(states, self.normalize).flatten(-2)


class OneLayer(nn.Module):
    """The hidden states of one layer.

    Arguments
    ---------
    num_hidden_states : int
        Number of transformer layers plus one.
    layer : int
        Transformer layer, from 1; 0 is the input of the first one. None
        chooses the middle layer.
    normalize : bool
        See `LayerPooling`.

    Raises
    ------
    BadInput
        If the encoder has no such layer.

    Example
    -------
    >>> OneLayer(num_hidden_states=5)(torch.randn(5, 2, 7, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(
        self,
        num_hidden_states: int,
        layer: int | None = None,
        normalize: bool = False,
    ):
        super().__init__()
        last = num_hidden_states - 1
        self.layer = last // 2 if layer is None else layer
        if layer is None and last:
            self.layer = max(self.layer, 1)
        self.normalize = normalize
        if not 0 <= self.layer <= last:
            raise BadInput(
                f"layer {layer} does not exist: choose one of 0 to {last}, or "
                "null for the middle one"
            )

    def output_size(self, hidden_size):
        """Return the number of channels of the features."""
        return hidden_size

    def layer_weights(self):
        """Return None: no layer has a weight."""

    def forward(self, hidden_states):
        """Select the layer; see `LayerPooling.forward`."""
        if isinstance(hidden_states, list):
            states = self._stored(hidden_states)
        else:
            states = hidden_states[self.layer]
        return _normalized(states, self.normalize)

    def _stored(self, utterances):
        """Return the layer of stored utterances, [frames, hidden_size]."""
        if utterances[0].scales is not None:
            return torch.cat([u.layer(self.layer) for u in utterances])
        # One conversion of all: each kernel launch of a GPU costs more.
        return torch.cat([u.values[:, self.layer] for u in utterances]).float()


def _normalized(states, normalize):
    """Return states, normalised over their last dimension or as they are."""
    if not normalize:
        return states
    # Layer normalisation loses digits where a mean is large beside the
    # deviation; a difference of numbers of like size loses none.
    centred = states - states.mean(dim=-1, keepdim=True)
    return F.layer_norm(centred, states.shape[-1:])


def layer_moments(states: torch.Tensor) -> torch.Tensor:
    """Return mean and 1 / deviation of hidden states over their channels.

    With them the sum of normalised layers is a weighted sum of the layers as
    they are, and no normalised copy is made.

    Arguments
    ---------
    states : torch.Tensor
        [..., hidden_size].

    Returns
    -------
    moments : torch.Tensor
        [..., 2]; epsilon as in layer normalisation.
    """
    mean = states.mean(dim=-1, keepdim=True)
    variance, rest = torch.var_mean(states - mean, dim=-1, correction=0)
    scale = torch.rsqrt(variance + 1e-5)
    return torch.stack([mean[..., 0] + rest, scale], dim=-1)


class _SumStored(torch.autograd.Function):
    """The weighted sum over stored utterances, which need no gradient.

    The forward and the backward pass read each stored byte once and make no
    fp32 copy of a batch. PyTorch's own operations would write that copy, twice
    as large as the batch, and read it several times.
    """

    @staticmethod
    def forward(ctx, weights, utterances, normalize):
        utterances = _for_device(utterances)
        weights = weights.detach()
        frames = sum(len(utterance) for utterance in utterances)
        weights = weights.expand(frames, -1)
        scale = None
        if normalize:
            scale = torch.cat([u.moments[..., 1] for u in utterances])
            weights = weights * scale
        total = weights.new_empty(frames, utterances[0].values.shape[2])
        for rows, states in _parts(utterances, normalize):
            torch.bmm(
                weights[rows].unsqueeze(1), states, out=total[rows].unsqueeze(1)
            )
        if normalize:
            # Normalised layers have mean 0, and so has their sum.
            total -= total.mean(dim=1, keepdim=True)
        ctx.utterances, ctx.scale = utterances, scale
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.float()
        normalize = ctx.scale is not None
        if normalize:
            # Its products with centred states are those with the states.
            gradient = gradient - gradient.mean(dim=1, keepdim=True)
        layers = ctx.utterances[0].values.shape[1]
        products = gradient.new_empty(len(gradient), layers)
        for rows, states in _parts(ctx.utterances, normalize):
            # This order of factors is the fast one.
            torch.bmm(
                gradient[rows].unsqueeze(1),
                states.transpose(1, 2),
                out=products[rows].unsqueeze(1),
            )
        if normalize:
            products = products * ctx.scale
        return products.sum(dim=0), None, None


def _for_device(utterances):
    """Join utterances on a GPU: each kernel launch costs more than a copy."""
    if utterances[0].values.device.type == "cpu":
        return utterances
    return [utterances[0].join(utterances)]


def _parts(utterances, normalize):
    """Yield (rows, fp32 states) of all utterances in their order.

    If they are normalised later, the mean of each frame of a layer may be
    subtracted: then it is wherever the sum would lose digits.
    """
    values = utterances[0].values
    on_cpu = values.device.type == "cpu"
    part = max(1, _PART // values[0].numel()) if on_cpu else len(values)
    start = 0
    for utterance in utterances:
        means = None
        if normalize:
            means, scale = utterance.moments.unbind(-1)
            # A GPU subtracts while it converts, and would wait for the answer.
            if on_cpu and (means * scale).abs().max() <= _FAR:
                means = None
        for states in utterance.parts(part, means):
            yield slice(start, start + len(states)), states
            start += len(states)
