"""How far a recording lies from those that a head was trained on.

Sources: the Mahalanobis distance as a sign of inputs unlike the training, Lee
et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples
and Adversarial Attacks", NeurIPS 2018 (arXiv 1807.03888), here of all classes
together and within the directions of largest variance; what lies outside them
as in Jackson and Mudholkar, "Control Procedures for Residuals Associated with
Principal Component Analysis", Technometrics 21, 1979.
"""

import torch
from torch import nn

from modules.errors import BadInput

# The distance from which on all recordings are alike unknown.
_UNKNOWN_FROM = 1.5


class TrainingDistance(nn.Module):
    """Distance of an embedding from those of the training.

    `modules.training.distance_fit` sets the buffers. A distance of 1 is the
    95th percentile of training speakers that are left out in turn, so that 5%
    of the recordings of unseen speakers of the same corpus lie beyond it.

    Arguments
    ---------
    sizes : dict
        Name of a part of the embedding -> number of its values.
    part : str
        The part that is compared; None: the first one.
    components : int
        Directions of largest variance.
    temperature : float
        Divides the scores of recordings at a distance of 1.5 and more: a
        classifier is surer of them than it is right. Between 1 and 1.5 the
        divisor grows evenly from 1. recipes/CROSS/README.md chooses it.

    Raises
    ------
    BadInput
        If the embedding has no such part, or the temperature is not above 0.

    Example
    -------
    >>> distance = TrainingDistance({"means": 6, "voice": 2}, part="means")
    >>> distance(torch.randn(3, 8))
    tensor([0., 0., 0.])
    """

    def __init__(
        self,
        sizes: dict[str, int],
        part: str | None = None,
        components: int = 64,
        temperature: float = 8.0,
    ):
        super().__init__()
        names = [name for name, size in sizes.items() if size]
        part = names[0] if part is None else part
        if part not in sizes:
            raise BadInput(
                f"distance: the embedding has no part {part!r}: choose one of "
                f"{', '.join(names)}"
            )
        if not temperature > 0:
            raise BadInput(
                f"the distance's temperature is {temperature}: give a number "
                "above 0"
            )
        start = sum(
            size
            for name, size in list(sizes.items())[: list(sizes).index(part)]
        )
        values = sizes[part]
        self.columns = slice(start, start + values)
        self.temperature = temperature
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("scale", torch.zeros(values))
        # Directions in rows; those that are not used are 0.
        components = min(components, values)
        self.register_buffer("directions", torch.zeros(components, values))
        self.register_buffer("precision", torch.zeros(components))
        self.register_buffer("residual_precision", torch.zeros(()))

    def forward(self, embeddings):
        """Return distances [batch] of embeddings [batch, values]."""
        values = embeddings[:, self.columns]
        values = (values - self.mean.to(values)) * self.scale
        along = values @ self.directions.T
        # The directions are orthonormal.
        residual = values.square().sum(dim=1) - along.square().sum(dim=1)
        squared = along.square() @ self.precision
        squared = squared + residual.clamp(min=0) * self.residual_precision
        return squared.sqrt()

    @property
    def is_fitted(self):
        """Whether speakers were left out; else every distance is 0."""
        return bool(self.scale.any())

    def temperature_of(self, embeddings):
        """Return what the scores are divided by, [batch, 1]."""
        return self.temperature_at(self(embeddings)[:, None])

    def temperature_at(self, distances):
        """Return what the scores are divided by at distances, of any shape."""
        beyond = (distances - 1) / (_UNKNOWN_FROM - 1)
        return 1 + (self.temperature - 1) * beyond.clamp(0, 1)
