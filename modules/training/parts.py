"""Parts of an embedding, weighted and turned into few values.

Embeddings may have 100 000 values. A linear classifier with an L2 penalty
depends on the embeddings X through the products X X' of all pairs of
utterances alone, and L with L L' = X X' has at most as many values as there
are utterances. Products are computed once per part: those of several parts
together are their weighted sum.
"""

import functools
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from modules.errors import BadInput
from modules.training import directions, logistic_regression

# Values of embeddings that are in fp64 at a time.
_COLUMNS = 4096
# Utterances whose square matrices of correlations are in memory at a time.
_ROWS = 64
# Of the classifier by which directions are found: 10 and 100 gave the same.
_FIRST_C = 100.0
_LEAST = 1e-30
# Added to each utterance's product with itself, relative to it: products of
# centred embeddings have no inverse. It changes a score by less than 1e-10 * C.
_RIDGE = 1e-10


class _View(NamedTuple):
    """A part, or what is made of its values.

    Attributes
    ----------
    size : int
        Number of values.
    blocks : callable
        Returns the values, fp64 [utterances, some columns] each.
    products : callable
        Returns the products of all pairs of utterances.
    back : callable
        Turns weights for these values into weights for those of the part.
    """

    size: int
    blocks: Callable[[], Iterable[torch.Tensor]]
    products: Callable[[], NDArray]
    back: Callable[[torch.Tensor], torch.Tensor]


def share_of(weights: dict[str, Any], name: str) -> float:
    """Return the share of the variance that a candidate gives to a part.

    Example
    -------
    >>> share_of({"correlations": {"share": 0.5, "directions": 64}}, "means")
    0.0
    """
    weight = weights.get(name, 0.0)
    return float(weight["share"] if isinstance(weight, dict) else weight)


def has_directions(weights: dict[str, Any]) -> bool:
    """Return whether a candidate's inputs depend on targets.

    Example
    -------
    >>> has_directions({"means": 1, "voice": 0.25})
    False
    """
    return any(isinstance(weight, dict) for weight in weights.values())


def check_weights(weights: dict[str, Any], sizes: dict[str, int]) -> None:
    """Refuse a candidate that does not fit an embedding.

    Arguments
    ---------
    weights : dict
        See `Parts.combine`.
    sizes : dict
        Name of a part -> number of its values.

    Raises
    ------
    BadInput
        If the embedding has no such part, none of the parts has values and a
        share, or one for which directions are to be found has no correlations.

    Example
    -------
    >>> check_weights({"means": 1}, {"means": 20, "voice": 0})
    """
    unknown = sorted(set(weights) - set(sizes))
    if unknown:
        raise BadInput(
            f"a candidate names the part {', '.join(unknown)}, and the "
            f"embedding has {', '.join(sizes)}: correct candidates"
        )
    used = [name for name in weights if sizes[name] and share_of(weights, name)]
    if not used:
        raise BadInput(
            f"the parts of the candidate {weights} have no values in this "
            "embedding: correct candidates"
        )
    for name in used:
        if isinstance(weights[name], dict):
            directions.channels_of(sizes[name])


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
        self._single = {}
        self._lock = threading.RLock()  # folds are threads

    @property
    def names(self) -> list[str]:
        """Names of the parts that have values."""
        return [name for name, n in self.standardization.sizes.items() if n]

    def combine(
        self,
        weights: dict[str, Any],
        targets: torch.Tensor | None = None,
        rows: NDArray | None = None,
    ) -> tuple[NDArray, Callable[[torch.Tensor], torch.Tensor]]:
        """Weight parts and turn them into few values.

        Arguments
        ---------
        weights : dict
            Part -> its share of the variance, relative to the others'; or,
            for correlations, ``{"share": share, "directions": count}``: along
            the directions of `modules.training.directions`.
        targets : torch.Tensor
            By which directions are found, [rows, classes].
        rows : numpy.ndarray
            The utterances by which they are found; None: the first ones.

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
            See `check_weights`.
        """
        check_weights(weights, self.standardization.sizes)
        shares = {name: share_of(weights, name) for name in self.names}
        total = sum(shares.values())
        shares = {n: share / total for n, share in shares.items() if share}
        views = {
            name: self._view(name, weights[name], targets, rows)
            for name in shares
        }
        if len(self.embeddings) > sum(view.size for view in views.values()):
            return self._concatenate(shares, views)
        products = sum(
            share * views[name].products() for name, share in shares.items()
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
                    * views[name].back(
                        torch.cat(
                            [
                                of_utterances @ block[:used]
                                for block in views[name].blocks()
                            ],
                            dim=1,
                        )
                    )
                    for name, share in shares.items()
                }
            )

        return factor, back

    def _view(self, name, weight, targets, rows):
        """Return a part as it is, or along directions."""
        size = self.standardization.sizes[name]
        if not isinstance(weight, dict):
            blocks = functools.partial(self._blocks, name)
            pairs = functools.partial(self._pairs, name)
            return _View(size, blocks, pairs, lambda weights: weights)
        inputs, back = self._alone(name)
        rows = np.arange(len(targets)) if rows is None else rows
        own, _ = logistic_regression.fit(inputs[rows], targets, _FIRST_C)
        found = directions.find_directions(
            back(own)[:, self._columns(name)].numpy(), weight["directions"]
        )
        moments = self._moments(name, found)
        # A total variance of 1, as that of all parts.
        norm = moments[rows].square().sum(dim=1).mean().clamp(min=_LEAST) ** 0.5
        moments /= norm
        return _View(
            moments.shape[1],
            lambda: [moments],
            lambda: (moments @ moments.T).numpy(),
            lambda weights: directions.back(weights / norm, found),
        )

    def _alone(self, name):
        """Return one part as `combine` does."""
        with self._lock:
            if name not in self._single:
                self._single[name] = self.combine({name: 1.0})
            return self._single[name]

    def _moments(self, name, found):
        """Return the second moments of a part along directions."""
        columns = self._columns(name)
        return torch.cat(
            [
                directions.along(self.standardization(some, columns), found)
                for some in self.embeddings.split(_ROWS)
            ]
        )

    def _concatenate(self, shares, views):
        """Return the parts themselves, where they have few values."""
        inputs = torch.cat(
            [
                share**0.5 * torch.cat(list(views[name].blocks()), dim=1)
                for name, share in shares.items()
            ],
            dim=1,
        ).numpy()

        def back(weights):
            sizes = [view.size for view in views.values()]
            parts = zip(shares.items(), weights.split(sizes, dim=1))
            return self._joint(
                {
                    name: views[name].back(share**0.5 * own)
                    for (name, share), own in parts
                }
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
        with self._lock:
            if name not in self._products:
                self._products[name] = sum(
                    block @ block.T for block in self._blocks(name)
                ).numpy()
            return self._products[name]

    def _columns(self, name):
        """Return which values of the embedding are a part's."""
        start = 0
        for other, size in self.standardization.sizes.items():
            if other == name:
                return slice(start, start + size)
            start += size
        raise KeyError(name)

    def _blocks(self, name):
        """Yield the standardised values of a part, fp64, some columns each."""
        own = self._columns(name)
        for first in range(own.start, own.stop, _COLUMNS):
            columns = slice(first, min(first + _COLUMNS, own.stop))
            yield self.standardization(self.embeddings, columns).double()
