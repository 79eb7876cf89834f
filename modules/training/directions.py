"""Directions of the channels that a classifier of correlations uses.

The weights of a class on the correlations of c channels are a symmetric matrix
W_k, [c, c]. Where a few directions of the channels carry the emotion, these
matrices have few large eigenvalues in common, and an L2 penalty on c (c - 1) / 2
weights, which treats all directions alike, is a poor one. So there are two
classifiers: with M = sum_k W_k W_k' of the first, and M = U diag(e) U', the
second has the correlations along the columns of U diag(e)^(1/4), those of the
largest e: U diag(e)^(1/2) U' is the metric of Argyriou, Evgeniou and Pontil,
"Convex multi-task feature learning", Machine Learning 73, 2008, of which this is
one step, on both sides of the matrix. Both classifiers are convex problems.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from modules.errors import BadInput


def channels_of(pairs: int) -> int:
    """Return how many channels have so many pairs.

    Raises
    ------
    BadInput
        If no number of channels has.

    Example
    -------
    >>> channels_of(32640)
    256
    """
    channels = (1 + round((1 + 8 * pairs) ** 0.5)) // 2
    if pairs < 1 or channels * (channels - 1) // 2 != pairs:
        raise BadInput(
            f"directions are found in correlations, and {pairs} values are not "
            "one for each pair of channels: correct candidates"
        )
    return channels


def find_directions(weights: NDArray, count: int) -> NDArray:
    """Find the directions that a classifier uses.

    Arguments
    ---------
    weights : numpy.ndarray
        Of a classifier of correlations, [classes, pairs].
    count : int
        How many directions, at most.

    Returns
    -------
    directions : numpy.ndarray
        Orthogonal, the longest first, [channels, directions]; the square of
        their squared length is an eigenvalue of M, relative to the largest.

    Raises
    ------
    BadInput
        See `channels_of`.

    Example
    -------
    >>> weights = np.array([[1.0, 0.0, 0.0]])  # of channels 0 and 1
    >>> directions = find_directions(weights, 2)
    >>> bool(np.allclose(directions @ directions.T, np.diag([1, 1, 0])))
    True
    """
    channels = channels_of(weights.shape[1])
    matrices = np.zeros((len(weights), channels, channels))
    row, column = np.triu_indices(channels, 1)
    matrices[:, row, column] = matrices[:, column, row] = weights / 2
    stacked = matrices.transpose(1, 0, 2).reshape(channels, -1)
    values, vectors = np.linalg.eigh(stacked @ stacked.T)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    relative = np.clip(values, 0, None) / max(values[0], 1e-300)
    return vectors * relative**0.25


def along(correlations: torch.Tensor, directions: NDArray) -> torch.Tensor:
    """Return second moments of standardised channels along directions.

    Arguments
    ---------
    correlations : torch.Tensor
        [utterances, pairs], in any linear scale; the correlation of a channel
        with itself is taken as 0.
    directions : numpy.ndarray
        [channels, directions].

    Returns
    -------
    moments : torch.Tensor
        fp64 [utterances, directions * (directions + 1) / 2]: with the products
        of whole matrices, so that pairs of two directions have a factor of
        the square root of 2.

    Example
    -------
    >>> along(torch.tensor([[0.5]]), np.eye(2)).numpy().round(3) + 0.0
    array([[0.   , 0.707, 0.   ]])
    """
    channels, count = directions.shape
    first, second = torch.triu_indices(channels, channels, offset=1)
    row, column, factor = _moments(count)
    used = torch.from_numpy(directions.astype(np.float32))
    matrices = correlations.new_zeros(len(correlations), channels, channels)
    matrices[:, first, second] = correlations
    # The sum of the upper triangle and its mirror image, after the product.
    half = used.T @ (matrices @ used)
    found = (half + half.transpose(1, 2))[:, row, column] * factor
    return found.double()


def back(weights: torch.Tensor, directions: NDArray) -> torch.Tensor:
    """Turn weights for `along` into weights for the correlations.

    Arguments
    ---------
    weights : torch.Tensor
        fp64 [classes, directions * (directions + 1) / 2].
    directions : numpy.ndarray
        [channels, directions].

    Returns
    -------
    weights : torch.Tensor
        fp64 [classes, pairs].

    Example
    -------
    >>> directions = np.random.default_rng(0).normal(size=(5, 3))
    >>> correlations, weights = torch.randn(4, 10), torch.randn(2, 6).double()
    >>> scores = along(correlations, directions) @ weights.T
    >>> turned = back(weights, directions)
    >>> bool(
    ...     torch.allclose(correlations.double() @ turned.T, scores, atol=1e-4)
    ... )
    True
    """
    channels, count = directions.shape
    row, column, factor = _moments(count)
    matrices = weights.new_zeros(len(weights), count, count)
    matrices[:, row, column] = weights * factor
    used = torch.from_numpy(directions)
    whole = used @ matrices @ used.T
    whole = whole + whole.transpose(1, 2)
    first, second = torch.triu_indices(channels, channels, offset=1)
    return whole[:, first, second]


def _moments(count):
    """Return row, column and factor of each moment of `along`."""
    row, column = torch.triu_indices(count, count)
    return row, column, torch.where(row == column, 1.0, 2**0.5)
