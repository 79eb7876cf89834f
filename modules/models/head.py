"""The trained part of a system: hidden states become log-probabilities."""

from collections.abc import Callable

import torch
from torch import nn


class Standardization(nn.Module):
    """Standardise the values of an embedding.

    Every value gets mean 0. The variances of all values sum to 1, whatever
    their number, so that the same C regularises encoders of any size alike.
    Each part of a joint embedding has the same share of the variance.

    Arguments
    ---------
    sizes : dict
        Name of a part -> number of its values.

    Example
    -------
    >>> standardization = Standardization({"mean": 4})
    >>> standardization.fit(torch.randn(100, 4))
    >>> standardization(torch.randn(2, 4)).shape
    torch.Size([2, 4])
    """

    def __init__(self, sizes: dict[str, int]):
        super().__init__()
        self.sizes = sizes
        self.register_buffer("mean", torch.zeros(sum(sizes.values())))
        self.register_buffer("scale", torch.ones(sum(sizes.values())))

    @torch.no_grad()
    def fit(self, embeddings, parts=None):
        """Estimate mean and deviation.

        Arguments
        ---------
        embeddings : torch.Tensor
            Of the training utterances, [utterances, values].
        parts : list of str
            Parts that are used; the values of the others become 0. None: all.
        """
        parts = list(self.sizes) if parts is None else parts
        self.mean.copy_(embeddings.mean(dim=0))
        deviation = embeddings.std(dim=0, correction=0)
        # A value that is constant in training gets no influence in a test.
        constant = deviation < 1e-6 * embeddings.abs().amax(dim=0).clamp(min=1)
        self.scale.copy_((1 / deviation).masked_fill(constant, 0.0))
        values = [size for size in self.sizes.values() if size]
        used = sum(1 for name in parts if self.sizes[name])
        names = [name for name, size in self.sizes.items() if size]
        for name, scale in zip(names, self.scale.split(values)):
            scale *= (used * len(scale)) ** -0.5 if name in parts else 0.0

    def forward(self, embeddings):
        """Return standardised embeddings, [batch, values]."""
        return (embeddings - self.mean) * self.scale


class EmotionHead(nn.Module):
    """Embedding, standardisation and classifier.

    Arguments
    ---------
    num_hidden_states : int
        Hidden states of the encoder, transformer layers plus one; a pair for
        two encoders, see `modules.models.fusion`.
    hidden_size : int
        Channels of a hidden state; a pair for two encoders.
    num_classes : int
        Number of emotions.
    embedding : callable
        Returns a `modules.models.embedding.Embedding` (or a joint one) for
        the two sizes of the encoder.
    standardization : callable
        Returns a module for the sizes of the embedding's parts; None: none.
    classifier : callable
        Returns a module for the number of values and of classes.

    Example
    -------
    >>> import functools
    >>> from modules.models import embedding, layer_pooling, pooling
    >>> make = functools.partial(
    ...     embedding.Embedding,
    ...     layer_pooling=layer_pooling.LayerPooling,
    ...     pooling=pooling.MeanPooling,
    ... )
    >>> head = EmotionHead(5, 32, 4, make)
    >>> head(torch.randn(5, 2, 7, 32), torch.ones(2)).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        num_hidden_states: int,
        hidden_size: int,
        num_classes: int,
        embedding: Callable,
        standardization: Callable | None = None,
        classifier: Callable = nn.Linear,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.embedding = embedding(num_hidden_states, hidden_size)
        sizes = self.embedding.sizes
        self.standardization = nn.Identity()
        if standardization is not None:
            self.standardization = standardization(sizes)
        self.classifier = classifier(sum(sizes.values()), num_classes)

    def classify(self, embeddings):
        """Return log-probabilities [batch, classes] of embeddings."""
        scores = self.classifier(self.standardization(embeddings))
        return torch.log_softmax(scores.float(), dim=1)

    def forward(self, hidden_states, lengths=None):
        """Return log-probabilities [batch, classes].

        Arguments
        ---------
        hidden_states, lengths
            See `modules.models.embedding.Embedding.forward`.
        """
        return self.classify(self.embedding(hidden_states, lengths))
