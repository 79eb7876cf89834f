"""The trained part of a system: hidden states become log-probabilities."""

from collections.abc import Callable

import torch
from torch import nn

from modules.errors import BadInput


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
    distance : callable
        Returns a `modules.models.distance.TrainingDistance` for the sizes of
        the embedding's parts; None: every recording is taken to be like those
        of the training.
    temperature : float
        Divides the scores of all recordings; above 1 in a model that
        `modules.inference.adaptation` has adapted to another corpus.

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
        distance: Callable | None = None,
        temperature: float = 1.0,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.embedding = embedding(num_hidden_states, hidden_size)
        sizes = self.embedding.sizes
        self.standardization = nn.Identity()
        if standardization is not None:
            self.standardization = standardization(sizes)
        self.classifier = classifier(sum(sizes.values()), num_classes)
        self.distance = None if distance is None else distance(sizes)
        if not temperature > 0:
            raise BadInput(
                f"the head's temperature is {temperature}: give a number "
                "above 0"
            )
        self.temperature = temperature

    def classify(self, embeddings):
        """Return log-probabilities [batch, classes] of embeddings."""
        scores = self.classifier(self.standardization(embeddings)).float()
        temperature = self.temperature
        if self.distance is not None:
            temperature = temperature * self.distance.temperature_of(embeddings)
        return torch.log_softmax(scores / temperature, dim=1)

    def forward(self, hidden_states, lengths=None):
        """Return log-probabilities [batch, classes].

        Arguments
        ---------
        hidden_states, lengths
            See `modules.models.embedding.Embedding.forward`.
        """
        return self.classify(self.embedding(hidden_states, lengths))
