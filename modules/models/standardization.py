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

    @torch.no_grad()
    def adapt(self, mean, variance, count, shrinkage=5.0):
        """Move mean and variance towards those of other recordings.

        Their share is count / (count + shrinkage). A value without influence
        stays without.

        Arguments
        ---------
        mean, variance : torch.Tensor
            Of the embeddings of these recordings, fp64 [values].
        count : int
            Number of these embeddings; a variance takes two or more.
        shrinkage : float
            The number at which both have the same share.
        """
        share = count / (count + shrinkage)
        parts = self.scale.double().split(list(self.sizes.values()))
        before = torch.cat(
            [1 / (max(len(part), 1) ** 0.5 * part) for part in parts]
        ).square()
        now = before
        if count > 1:
            now = share * variance.to(before) + (1 - share) * before
        self.mean.copy_(share * mean.to(before) + (1 - share) * self.mean)
        # An unused value has scale 0, and before is infinite.
        self.scale.mul_(torch.where(self.scale > 0, (before / now).sqrt(), 0.0))

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
