"""Two upstreams: one of them for a part of the head, or both frame by frame."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from modules.errors import BadInput


@dataclass
class PaddedPair:
    """Hidden states of two encoders for one batch.

    Attributes
    ----------
    first, second : torch.Tensor
        [layers, batch, frames, hidden_size], each of its own sizes.
    frames : tuple of torch.Tensor
        Valid frames of both, [batch].
    """

    first: torch.Tensor
    second: torch.Tensor
    frames: tuple

    def one(self, upstream):
        """Return hidden states and relative lengths of one of them."""
        states = (self.first, self.second)[upstream]
        return states, self.frames[upstream] / states.shape[2]


@dataclass
class StoredPair:
    """Hidden states of two encoders for one recording.

    Attributes
    ----------
    first, second : modules.features.stored_states.StoredStates
    """

    first: object
    second: object

    def __len__(self):
        """Return the frames of the first, to which the second is aligned."""
        return len(self.first)

    def one(self, upstream):
        """Return the hidden states of one of them."""
        return (self.first, self.second)[upstream]

    def to(self, device):
        """Return them on a device."""
        return StoredPair(self.first.to(device), self.second.to(device))


def pair_of_sizes(sizes) -> bool:
    """Return whether sizes are those of two upstreams.

    Example
    -------
    >>> pair_of_sizes(13), pair_of_sizes((13, 25))
    (False, True)
    """
    return isinstance(sizes, tuple | list)


def align(features: torch.Tensor, frames: int) -> torch.Tensor:
    """Resample the features of an utterance to a number of frames.

    Frame i of the result is the mean of the frames within its share of the
    utterance, or the one frame that its share lies in.

    Arguments
    ---------
    features : torch.Tensor
        [its own frames, channels].
    frames : int
        Number of frames of the result.

    Returns
    -------
    aligned : torch.Tensor
        [frames, hidden_size].
    """
    if len(features) == frames:
        return features
    return F.adaptive_avg_pool1d(features.T[None], frames)[0].T


class PairPooling(nn.Module):
    """Layer pooling of two upstreams, aligned in time and concatenated.

    The frames are those of the first.

    Arguments
    ---------
    first, second : torch.nn.Module
        Layer pooling of either, such as `modules.models.layer_pooling.LayerPooling`.
    """

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def output_size(self, hidden_sizes):
        """Return the number of channels of the concatenated features."""
        first, second = hidden_sizes
        return self.first.output_size(first) + self.second.output_size(second)

    def layer_weights(self):
        """Return the weights of all layers, half for either; or None."""
        weights = [self.first.layer_weights(), self.second.layer_weights()]
        return None if weights[0] is None else torch.cat(weights) / 2

    def forward(self, hidden_states):
        """Sum the layers of both.

        Arguments
        ---------
        hidden_states : PaddedPair or list of StoredPair

        Returns
        -------
        features : torch.Tensor
            [batch, frames, widths together]; of stored utterances the frames
            of all, one after the other, [frames, widths together].
        """
        if isinstance(hidden_states, list):
            first = self.first([pair.first for pair in hidden_states])
            second = self.second([pair.second for pair in hidden_states])
            frames = [len(pair.first) for pair in hidden_states]
            second = second.split([len(p.second) for p in hidden_states])
            second = torch.cat([align(*both) for both in zip(second, frames)])
            return torch.cat([first, second], dim=1)
        first = self.first(hidden_states.first)
        second = self.second(hidden_states.second)
        longest = first.shape[1]
        aligned = [
            F.pad(align(one[:own], count), (0, 0, 0, longest - count))
            for one, count, own in zip(
                second, *(counts.tolist() for counts in hidden_states.frames)
            )
        ]
        return torch.cat([first, torch.stack(aligned)], dim=2)


class OneUpstream(nn.Module):
    """An embedding of one of two upstreams, at its own frame rate.

    Where there is one upstream alone, it is number 0.

    Arguments
    ---------
    num_hidden_states, hidden_size : int or tuple of int
        See `modules.models.embedding.Embedding`.
    upstream : int
        0 for the first, 1 for the second.
    embedding : callable
        Returns a `modules.models.embedding.Embedding` (or a joint one) for
        the two sizes of that upstream.

    Raises
    ------
    BadInput
        If there is no such upstream.

    Example
    -------
    >>> import functools
    >>> from modules.models.embedding import Embedding
    >>> from modules.models.layer_pooling import OneLayer
    >>> from modules.models.pooling import MeanPooling
    >>> part = functools.partial(
    ...     Embedding, layer_pooling=OneLayer, pooling=MeanPooling
    ... )
    >>> OneUpstream((5, 1), (32, 27), upstream=1, embedding=part).sizes
    {'embedding': 27}
    """

    def __init__(
        self,
        num_hidden_states: Any,
        hidden_size: Any,
        upstream: int,
        embedding: Callable,
    ):
        super().__init__()
        self.upstream = upstream
        sizes = [(num_hidden_states, hidden_size)]
        if pair_of_sizes(num_hidden_states):
            sizes = list(zip(num_hidden_states, hidden_size))
        if upstream not in range(len(sizes)):
            raise BadInput(
                f"a part of the head uses upstream {upstream} and the last one "
                f"is {len(sizes) - 1}: name another upstream (--acoustics "
                "vocal), or choose an --embedding without that part"
            )
        self.embedding = embedding(*sizes[upstream])

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part, by name."""
        return self.embedding.sizes

    def layer_weights(self):
        """Return the weights of the layers of that upstream, or None."""
        return self.embedding.layer_weights()

    def attention_weights(self, hidden_states, lengths):
        """Return the weight of each frame of that upstream, or None."""
        return self.embedding.attention_weights(
            *self._select(hidden_states, lengths)
        )

    def forward(self, hidden_states, lengths=None):
        """Return [batch, values].

        Arguments
        ---------
        hidden_states : PaddedPair or list of StoredPair
            Or those of one upstream, see
            `modules.models.embedding.Embedding.forward`.
        lengths : torch.Tensor
            Relative lengths of padded utterances of one upstream.
        """
        return self.embedding(*self._select(hidden_states, lengths))

    def _select(self, hidden_states, lengths):
        """Return hidden states and relative lengths of that upstream."""
        if isinstance(hidden_states, PaddedPair):
            return hidden_states.one(self.upstream)
        if isinstance(hidden_states, list):
            hidden_states = [
                pair.one(self.upstream)
                if isinstance(pair, StoredPair)
                else pair
                for pair in hidden_states
            ]
        return hidden_states, lengths


class PairedEncoder(nn.Module):
    """Two frozen encoders of the same waveforms.

    Arguments
    ---------
    first, second : torch.nn.Module
        Such as `modules.models.encoder.FrozenEncoder`.
    """

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second
        self.is_whisper = first.is_whisper or second.is_whisper

    def computed_seconds(self, seconds):
        """Return the seconds of audio that the costlier of both computes."""
        return max(
            self.first.computed_seconds(seconds),
            self.second.computed_seconds(seconds),
        )

    def forward(self, wavs, lengths=None):
        """Encode; see `modules.models.encoder.FrozenEncoder.forward`.

        Returns
        -------
        hidden_states : PaddedPair
        frames : torch.Tensor
            Of the first; [batch].
        """
        first, frames = self.first(wavs, lengths)
        second, others = self.second(wavs, lengths)
        return PaddedPair(first, second, (frames, others)), frames
