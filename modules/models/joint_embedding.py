"""Several embeddings of the same hidden states, concatenated."""

import torch
from torch import nn


class JointEmbedding(nn.Module):
    """Several embeddings of the same hidden states, concatenated.

    Arguments
    ---------
    num_hidden_states, hidden_size : int
        See `modules.models.embedding.Embedding`.
    parts : dict
        Name -> callable that returns an embedding for the two sizes.

    Example
    -------
    >>> import functools
    >>> from modules.models.embedding import Embedding
    >>> from modules.models.layer_pooling import LayerPooling, OneLayer
    >>> from modules.models.pooling import CorrelationPooling, MeanPooling
    >>> part = functools.partial(Embedding, layer_pooling=OneLayer)
    >>> joint = JointEmbedding(
    ...     5,
    ...     32,
    ...     parts={
    ...         "mean": functools.partial(part, pooling=MeanPooling),
    ...         "corr": functools.partial(part, pooling=CorrelationPooling),
    ...     },
    ... )
    >>> joint.sizes
    {'mean': 32, 'corr': 496}
    """

    def __init__(self, num_hidden_states: int, hidden_size: int, parts: dict):
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                name: part(num_hidden_states, hidden_size)
                for name, part in parts.items()
            }
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Number of values of each part, by name."""
        return {
            name: sum(part.sizes.values()) for name, part in self.parts.items()
        }

    def layer_weights(self):
        """Return None: the parts have weights of their own."""

    def attention_weights(self, hidden_states, lengths):
        """Return the attention of the first part that has one, or None."""
        for part in self.parts.values():
            weights = part.attention_weights(hidden_states, lengths)
            if weights is not None:
                return weights
        return None

    def forward(self, hidden_states, lengths=None):
        """Return [batch, values]; see `modules.models.embedding.Embedding.forward`."""
        return torch.cat(
            [part(hidden_states, lengths) for part in self.parts.values()],
            dim=1,
        )
