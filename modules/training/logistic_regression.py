"""Multinomial logistic regression, its C chosen by left-out speakers."""

import warnings

import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)

CANDIDATES = (10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
PARTS = 5
_COLUMNS = 4096


def rotate(inputs):
    """Turn inputs into as few values as there are utterances.

    Distances and products stay as they are, and so does what the squares of
    weights cost: the minimum is the same, and is found sooner. By way of the
    products of all pairs of utterances, so that no second copy of embeddings
    with many thousand values is held.

    Arguments
    ---------
    inputs : torch.Tensor
        [n, values].

    Returns
    -------
    rotated : torch.Tensor
        fp64 [n, at most n].
    back : callable
        Turns weights for ``rotated``, [classes, at most n], into weights for
        ``inputs``, fp64 [classes, values].
    """
    if inputs.shape[0] >= inputs.shape[1]:
        return inputs.double(), lambda weights: weights
    parts = inputs.split(_COLUMNS, dim=1)
    products = sum(part.double() @ part.double().T for part in parts)
    powers, axes = torch.linalg.eigh(products)
    # Beyond what fp32 inputs can tell there is rounding alone.
    kept = powers > 1e-12 * powers[-1]
    axes, lengths = axes[:, kept], powers[kept].sqrt()

    def back(weights):
        shares = (weights / lengths) @ axes.T
        return torch.cat([shares @ part.double() for part in parts], dim=1)

    return axes * lengths, back


def choose_C(inputs, targets, labels, speakers):
    """Choose how freely weights may grow, by speakers left out.

    Arguments
    ---------
    inputs, targets : torch.Tensor
        See `fit`.
    labels : torch.Tensor
        [n].
    speakers : list of str
        [n].

    Returns
    -------
    C : float
        Of `CANDIDATES`, the one that gives left-out utterances the highest
        mean log-probability, of equals the smallest; where nothing can be
        left out, the middle one.
    left_out : float
        That log-probability, in nats; None where nothing can be left out.
        What else a system chooses can be chosen by it: no test speaker has
        a part in it.
    """
    parts = leave_out(labels, speakers)
    if not parts:
        logger.warning(
            "too few utterances of a class to leave any out: the classifier's "
            "regularisation is not fitted to this corpus"
        )
        return CANDIDATES[len(CANDIDATES) // 2], None
    heard = []
    for kept, left in parts:
        # A class that only the left-out part has says nothing.
        left = left[torch.isin(labels[left], labels[kept])]
        found, scores = None, []
        for C in CANDIDATES:
            found = fit(inputs[kept], targets[kept], C, found)
            weights, bias = found
            scores.append(
                torch.log_softmax(inputs[left] @ weights.T + bias, dim=1)
                .gather(1, labels[left, None])
                .flatten()
            )
        heard.append(torch.stack(scores))
    means = torch.cat(heard, dim=1).mean(dim=1).tolist()
    return CANDIDATES[means.index(max(means))], max(means)


def leave_out(labels, speakers):
    """Divide utterances into parts to be left out in turn.

    By speakers where every class has two or more, else by utterances.

    Returns
    -------
    parts : list of tuple
        (kept, left out) indices; empty if a class has a single utterance.
    """
    groups = None
    voices = {(int(k), s) for k, s in zip(labels, speakers)}
    classes, counts = labels.unique(return_counts=True)
    heard = [sum(k == int(c) for k, _ in voices) for c in classes]
    if min(heard) >= 2:
        groups = speakers
        parts = min(PARTS, len(set(speakers)))
        splitter = StratifiedGroupKFold(parts)
    else:
        logger.warning(
            "a class is spoken by a single speaker of the training part: the "
            "voice may be learnt in its place"
        )
        parts = min(PARTS, int(counts.min()))
        splitter = StratifiedKFold(max(parts, 2))
    if parts < 2:
        return []
    with warnings.catch_warnings():
        # Fewer utterances of a class than parts: some parts lack it.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [
            (torch.from_numpy(kept), torch.from_numpy(left))
            for kept, left in splitter.split(
                labels.numpy(), labels.numpy(), groups
            )
            if len(left)
        ]


def fit(inputs, targets, C, start=None):
    """Find the weights of multinomial logistic regression.

    Arguments
    ---------
    inputs : torch.Tensor
        fp64 [n, values].
    targets : torch.Tensor
        Probabilities, fp64 [n, classes].
    C : float
        The squares of the weights cost 1 / (2 * C) beside the
        summed loss.
    start : tuple
        Weights and bias to begin with; zero by default.

    Returns
    -------
    weights : torch.Tensor
        fp64 [classes, values].
    bias : torch.Tensor
        fp64 [classes].
    """
    classes = targets.shape[1]
    shape = classes, inputs.shape[1]
    start = start or (inputs.new_zeros(shape), inputs.new_zeros(classes))
    weights, bias = (part.clone().requires_grad_() for part in start)
    optimizer = torch.optim.LBFGS(
        [weights, bias],
        max_iter=1000,
        tolerance_grad=1e-4,
        tolerance_change=1e-9,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        scores = torch.log_softmax(inputs @ weights.T + bias, dim=1)
        cost = weights.square().sum() / (2 * C)
        loss = cost - (targets * scores).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach(), bias.detach()
