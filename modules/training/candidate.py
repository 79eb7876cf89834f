"""One of several linear classifiers, and the mean of all."""

import dataclasses
from typing import Any

import torch
from numpy.typing import NDArray

from modules.training import logistic_regression


@dataclasses.dataclass
class Candidate:
    """One linear classifier among those that are averaged.

    Attributes
    ----------
    parts : dict
        Part of the embedding -> its share of the variance, relative.
    C : float
        Inverse regularisation.
    left_out_log_probability : float
        Of training speakers that were left out, in nats; None: unknown.
    share : float
        In the mean of the candidates' scores.
    scores : numpy.ndarray
        From `modules.training.logistic_regression.choose_C`, or None.
    """

    parts: dict[str, float]
    C: float
    left_out_log_probability: float | None
    share: float = 1.0
    scores: Any = dataclasses.field(default=None, repr=False)
    inputs: Any = dataclasses.field(default=None, repr=False)
    back: Any = dataclasses.field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the plain values, for results.json."""
        return {
            "parts": self.parts,
            "C": self.C,
            "left_out_log_probability": self.left_out_log_probability,
            "share": self.share,
        }


def first_inputs(inputs: NDArray, count: int) -> NDArray:
    """Return the inputs of the first utterances.

    Arguments
    ---------
    inputs : numpy.ndarray
        See `modules.training.parts.Parts.combine`.
    count : int
        How many utterances.

    Where `modules.training.parts` has replaced the values by a triangular
    factor, its further columns are zero for them.
    """
    square = inputs.shape[0] == inputs.shape[1]
    return inputs[:count, :count] if square else inputs[:count]


def mean_classifier(
    candidates: list[Candidate], targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train the candidates on the first utterances; return the mean.

    The mean of the scores of linear classifiers is that of their weights.

    Arguments
    ---------
    candidates : list of Candidate
        With inputs.
    targets : torch.Tensor
        From `modules.training.targets.make_targets`, of the first utterances,
        [utterances, classes].

    Returns
    -------
    weights, bias : torch.Tensor
        Of all standardised values, fp64 [classes, values] and [classes].
    """
    weights, bias = torch.zeros(()), torch.zeros(())
    for candidate in [c for c in candidates if c.share]:
        inputs = first_inputs(candidate.inputs, len(targets))
        own, own_bias = logistic_regression.fit(inputs, targets, candidate.C)
        weights = weights + candidate.share * candidate.back(own)
        bias = bias + candidate.share * own_bias
    return weights, bias


def left_out_scores(
    candidates: list[Candidate], temperatures: torch.Tensor | None
) -> torch.Tensor | None:
    """Return what the candidates together answer for left-out speakers.

    Arguments
    ---------
    candidates : list of Candidate
        With scores and shares.
    temperatures : torch.Tensor
        What divides the scores of each utterance, [utterances]; None: 1.

    Returns
    -------
    log_probabilities : torch.Tensor
        [utterances, classes], NaN for utterances that were never left out;
        None if none was.
    """
    if any(candidate.scores is None for candidate in candidates):
        return None
    mean = torch.from_numpy(sum(c.share * c.scores for c in candidates))
    if temperatures is not None:
        mean = mean / temperatures[:, None]
    return torch.log_softmax(mean, dim=1)
