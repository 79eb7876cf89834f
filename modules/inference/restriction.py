"""Answers with some of a model's classes."""

import torch

from modules.errors import BadInput


def choose_labels(labels: list[str], wanted: list[str] | None) -> list[int]:
    """Return the places of wanted classes, in the order of the model.

    Arguments
    ---------
    labels : list of str
        Names of the model's classes.
    wanted : list of str
        Some of them; None: all.

    Raises
    ------
    BadInput
        If one is unknown, or there are fewer than two.

    Example
    -------
    >>> choose_labels(["anger", "fear", "neutral"], ["neutral", "anger"])
    [0, 2]
    """
    if wanted is None:
        return list(range(len(labels)))
    for label in wanted:
        if label not in labels:
            raise BadInput(
                f"--labels: the model has no class '{label}': choose from "
                f"{', '.join(labels)}"
            )
    if len(set(wanted)) < 2:
        raise BadInput("--labels needs two classes or more: add one")
    return [place for place, label in enumerate(labels) if label in wanted]


def restrict(scores: torch.Tensor, places: list[int]) -> torch.Tensor:
    """Return log-probabilities given that the class is one of some.

    Arguments
    ---------
    scores : torch.Tensor
        Log-probabilities [..., classes].
    places : list of int
        From `choose_labels`.

    Returns
    -------
    scores : torch.Tensor
        [..., places]; unchanged if these are all classes.
    """
    if len(places) == scores.shape[-1]:
        return scores
    return torch.log_softmax(scores[..., places], dim=-1)
