"""Parts of an embedding, weighted and turned into few values.

Embeddings may have 100 000 values. A linear classifier with an L2 penalty
depends on the embeddings X through the products X X' of all pairs of
utterances alone, and L with L L' = X X' has at most as many values as there
are utterances. Products are computed once per part: those of several parts
together are their weighted sum.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from modules.errors import BadInput

# Values of embeddings that are in fp64 at a time.
_COLUMNS = 4096
# Added to each utterance's product with itself, relative to it: products of
# centred embeddings have no inverse. It changes a score by less than 1e-10 * C.
_RIDGE = 1e-10


class Parts:
    """The standardised parts of the embeddings of a corpus.

    Arguments
    ---------
    embeddings : torch.Tensor
        As they are, fp32 [utterances, values].
    standardization : modules.models.standardization.Standardization
        Fitted; it names the parts. Each has a total variance of 1.

    Raises
    ------
    BadInput
        If a value is not finite.

    Example
    -------
    >>> from modules.models.standardization import Standardization
    >>> embeddings = torch.randn(10, 300)
    >>> standardization = Standardization({"means": 100, "voice": 200})
    >>> standardization.fit(embeddings)
    >>> parts = Parts(embeddings, standardization)
    >>> inputs, back = parts.combine({"means": 1.0, "voice": 0.25})
    >>> inputs.shape, back(torch.ones(3, 10, dtype=torch.float64)).shape
    ((10, 10), torch.Size([3, 300]))
    """

    def __init__(self, embeddings: torch.Tensor, standardization):
        # The sum of an array with a NaN or an infinite value is not finite.
        if not torch.isfinite(embeddings.sum(dim=0, dtype=torch.float64)).all():
            raise BadInput(
                "the embeddings contain NaN or infinite values: delete the "
                "stored hidden states and encode the corpus again"
            )
        self.embeddings = embeddings.detach()
        self.standardization = standardization
        self._products = {}

    @property
    def names(self) -> list[str]:
        """Names of the parts that have values."""
        return [name for name, n in self.standardization.sizes.items() if n]

    def combine(
        self, weights: dict[str, float]
    ) -> tuple[NDArray, Callable[[torch.Tensor], torch.Tensor]]:
        """Weight parts and turn them into few values.

        Arguments
        ---------
        weights : dict
            Part -> its share of the variance, relative to the others'.

        Returns
        -------
        inputs : numpy.ndarray
            fp64 [utterances, at most utterances]: of the concatenated parts,
            whose total variance is 1, or with the same products of all pairs.
        back : callable
            Turns weights for ``inputs``, or for its first columns, fp64
            [classes, columns], into weights for all standardised values,
            [classes, values]; 0 for other parts.

        Raises
        ------
        BadInput
            If the embedding has no such part.
        """
        unknown = sorted(set(weights) - set(self.standardization.sizes))
        if unknown:
            raise BadInput(
                f"a candidate names the part {', '.join(unknown)}, and the "
                f"embedding has {', '.join(self.standardization.sizes)}: "
                "correct candidates"
            )
        total = sum(weights[name] for name in self.names if name in weights)
        shares = {
            name: weights[name] / total
            for name in self.names
            if weights.get(name)
        }
        values = sum(self.standardization.sizes[name] for name in shares)
        if len(self.embeddings) > values:
            return self._concatenate(shares)
        products = sum(
            share * self._pairs(name) for name, share in shares.items()
        )
        diagonal = products.diagonal().copy()
        np.fill_diagonal(
            products, diagonal + _RIDGE * np.where(diagonal > 0, diagonal, 1.0)
        )
        factor = cholesky(products, lower=True, overwrite_a=True)

        def back(weights):
            used = weights.shape[1]
            triangle = factor[:used, :used]
            of_utterances = torch.from_numpy(
                solve_triangular(
                    triangle, weights.numpy().T, trans=1, lower=True
                ).T
            )
            return self._joint(
                {
                    name: share
                    * torch.cat(
                        [
                            of_utterances @ block[:used]
                            for block in self._blocks(name)
                        ],
                        dim=1,
                    )
                    for name, share in shares.items()
                }
            )

        return factor, back

    def _concatenate(self, shares):
        """Return the parts themselves, where they have few values."""
        inputs = torch.cat(
            [
                share**0.5 * torch.cat(list(self._blocks(name)), dim=1)
                for name, share in shares.items()
            ],
            dim=1,
        ).numpy()

        def back(weights):
            sizes = [self.standardization.sizes[name] for name in shares]
            parts = zip(shares.items(), weights.split(sizes, dim=1))
            return self._joint(
                {name: share**0.5 * own for (name, share), own in parts}
            )

        return inputs, back

    def _joint(self, weights):
        """Return weights for all values, of those of the used parts."""
        classes = len(next(iter(weights.values())))
        return torch.cat(
            [
                weights.get(name, torch.zeros(classes, size).double())
                for name, size in self.standardization.sizes.items()
            ],
            dim=1,
        )

    def _pairs(self, name):
        """Return the products of all pairs of utterances of a part."""
        if name not in self._products:
            self._products[name] = sum(
                block @ block.T for block in self._blocks(name)
            ).numpy()
        return self._products[name]

    def _blocks(self, name):
        """Yield the standardised values of a part, fp64, some columns each."""
        start = 0
        for other, size in self.standardization.sizes.items():
            if other == name:
                break
            start += size
        for first in range(start, start + size, _COLUMNS):
            columns = slice(first, min(first + _COLUMNS, start + size))
            yield self.standardization(self.embeddings, columns).double()
