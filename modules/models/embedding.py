"""Hidden states of an utterance become its embedding.

An embedding is layer pooling, projection, channel dropout and pooling, in this
order. `modules.models.joint_embedding` concatenates several of them.
"""

from collections.abc import Callable

import torch
from torch import nn

from modules.models.channels import ChannelDropout
from modules.models.fusion import PairPooling
from modules.models.padding import pad_utterances

# Utterances that are padded to one length and pooled together on a CPU.
_LIKE_LENGTHS = 4


class Embedding(nn.Module):
    """Layer pooling, projection, channel dropout, pooling.

    Arguments
    ---------
    num_hidden_states : int
        Of the encoder; a pair for two encoders, see `modules.models.fusion`.
    hidden_size : int
        Of the encoder; a pair for two encoders.
    layer_pooling : callable
        Returns a module such as `modules.models.layer_pooling.LayerPooling`
        for a number of hidden states.
    pooling : callable
        Returns a `modules.models.pooling.Pooling` for a number of channels.
    projection : callable
        Returns a module with ``out_features``, such as `torch.nn.Linear`, for
        a number of channels; None: no projection.
    channel_dropout : float
        Probability to drop a channel while training (p_d in the paper).

    Example
    -------
    >>> from modules.models.layer_pooling import LayerPooling
    >>> from modules.models.pooling import MeanPooling
    >>> embedding = Embedding(5, 32, LayerPooling, MeanPooling)
    >>> embedding(torch.randn(5, 2, 7, 32), torch.ones(2)).shape
    torch.Size([2, 32])
    """

    def __init__(
        self,
        num_hidden_states: int | tuple[int, int],
        hidden_size: int | tuple[int, int],
        layer_pooling: Callable,
        pooling: Callable,
        projection: Callable | None = None,
        channel_dropout: float = 0.0,
    ):
        super().__init__()
        if not isinstance(num_hidden_states, int):
            self.layer_pooling = PairPooling(
                *(layer_pooling(count) for count in num_hidden_states)
            )
        else:
            self.layer_pooling = layer_pooling(num_hidden_states)
        channels = self.layer_pooling.output_size(hidden_size)
        self.projection = nn.Identity()
        if projection is not None:
            self.projection = projection(channels)
            channels = self.projection.out_features
        self.channel_dropout = ChannelDropout(channel_dropout)
        self.pooling = pooling(channels)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part; one part here."""
        return {"embedding": self.pooling.output_size}

    def layer_weights(self):
        """Return the learned weights of the layers, [layers], or None."""
        return self.layer_pooling.layer_weights()

    def frames(self, hidden_states):
        """Return features before pooling, [..., frames, channels].

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            See `modules.models.layer_pooling.LayerPooling.forward`, or
            `modules.models.fusion.PairPooling.forward` for two encoders.
        """
        return self.projection(self.layer_pooling(hidden_states))

    def forward(self, hidden_states, lengths=None):
        """Return one embedding per utterance.

        Arguments
        ---------
        hidden_states : torch.Tensor or list
            Padded, [layers, batch, frames, hidden_size]; or stored
            utterances, `modules.features.stored_states.StoredStates`.
        lengths : torch.Tensor
            Relative lengths of padded utterances, [batch].

        Returns
        -------
        embeddings : torch.Tensor
            [batch, values].
        """
        features = self.frames(hidden_states)
        if isinstance(hidden_states, list):
            counts = [len(utterance) for utterance in hidden_states]
            return self._pool_packed(features, counts)
        return self._pool(features, lengths)

    def attention_weights(self, hidden_states, lengths):
        """Return the weight of each frame, [batch, frames], or None.

        None if the pooling has no attention.
        """
        if not hasattr(self.pooling, "attention_weights"):
            return None
        features = self.frames(hidden_states)
        return self.pooling.attention_weights(features, lengths)

    def _pool(self, features, lengths):
        """Pool padded features [batch, frames, channels]."""
        return self.pooling(self.channel_dropout(features), lengths)

    def _pool_packed(self, features, counts):
        """Pool utterances that lie one after the other, [frames, channels]."""
        # Utterances of like length together need little padding. On a GPU
        # more kernel launches would cost more than they save.
        on_cpu = features.device.type == "cpu"
        whole = self.training and self.pooling.whole_batch
        size = _LIKE_LENGTHS if on_cpu and not whole else len(counts)
        utterances = features.split(counts)
        order = sorted(range(len(counts)), key=counts.__getitem__)
        pooled = [
            self._pool(
                *pad_utterances([utterances[i] for i in order[start:][:size]])
            )
            for start in range(0, len(order), size)
        ]
        return torch.cat(pooled)[torch.tensor(order).argsort()]
