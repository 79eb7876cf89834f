"""Standardising the values of an embedding."""

import torch
from torch import nn


class Standardization(nn.Module):
    """Standardise the values of an embedding.

    Every value gets mean 0. The variances of a part's values sum to 1,
    whatever their number, so that the same C regularises encoders of any size
    alike.

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
    def fit(self, embeddings):
        """Estimate mean and deviation.

        Arguments
        ---------
        embeddings : torch.Tensor
            Of the training utterances, [utterances, values].
        """
        self.mean.copy_(embeddings.mean(dim=0))
        deviation = embeddings.std(dim=0, correction=0)
        # A value that is constant in training gets no influence in a test.
        least, most = embeddings.aminmax(dim=0)
        constant = deviation < 1e-6 * torch.maximum(-least, most).clamp(min=1)
        self.scale.copy_((1 / deviation).masked_fill(constant, 0.0))
        for scale in self.scale.split(list(self.sizes.values())):
            scale *= max(len(scale), 1) ** -0.5

    def forward(self, embeddings, columns=slice(None)):
        """Standardise embeddings.

        Arguments
        ---------
        embeddings : torch.Tensor
            [batch, values].
        columns : slice
            The values that are returned.

        Returns
        -------
        standardised : torch.Tensor
            [batch, columns].
        """
        values = embeddings[:, columns] - self.mean[columns]
        return values * self.scale[columns]
