"""Multinomial logistic regression, its C chosen by left-out speakers.

The optimum is scikit-learn's, of the few values that `modules.training.parts`
makes of wide embeddings.
"""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from speechbrain.utils.logger import get_logger
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from modules.threads import workers

logger = get_logger(__name__)

# Single words (TurEV-DB) want the lowest; EmoDB 300 to 1000.
CANDIDATES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3)
MAX_FOLDS = 5
# newton-cg ends close to the optimum where lbfgs, at a tolerance as fast,
# is off by 1e-2 in probability for large C: benchmarks/README.md.
_SOLVER = {"solver": "newton-cg", "max_iter": 1000}
_SEARCH_TOLERANCE, _FIT_TOLERANCE = 1e-7, 1e-9
# Score of a class that has no training utterance: its probability is 0.
_ABSENT = -1e4


def choose_C(
    inputs: NDArray | Callable[[NDArray], NDArray],
    targets: torch.Tensor,
    labels: torch.Tensor,
    speakers: Sequence[str],
    candidates: Sequence[float] = CANDIDATES,
    progress: bool = False,
) -> tuple[float, float | None, NDArray | None]:
    """Choose C by cross-validation over speakers.

    Arguments
    ---------
    inputs : numpy.ndarray or callable
        fp64 [utterances, values]; see `modules.training.parts`. A callable
        returns those that are learned from the given utterances.
    targets : torch.Tensor
        From `modules.training.targets.make_targets`, [utterances, classes].
    labels : torch.Tensor
        [utterances].
    speakers : list of str
        [utterances].
    candidates : list of float
        In ascending order: each starts from the weights of the one before.
    progress : bool
        Show a progress bar.

    Returns
    -------
    C : float
        The candidate with the highest mean log-probability of the labels of
        left-out utterances, each with the weight of its targets, of equals the
        smallest; where nothing can be left out, the middle one. Utterances of
        a class that the kept ones lack do not count.
    left_out : float
        That log-probability, in nats; None where nothing can be left out.
    scores : numpy.ndarray
        Log-probabilities of the left-out utterances at C, [utterances,
        classes], NaN in the rows of others; None where nothing can be left
        out.

    Example
    -------
    >>> labels = torch.arange(40) % 2
    >>> inputs = (torch.randn(40, 5) + labels[:, None]).double().numpy()
    >>> targets = torch.nn.functional.one_hot(labels).double()
    >>> speakers = [f"speaker{i // 10}" for i in range(40)]
    >>> C, left_out, scores = choose_C(inputs, targets, labels, speakers)
    >>> C in CANDIDATES and left_out < 0, scores.shape
    (True, (40, 2))
    """
    labels = labels.numpy()
    folds = _usable(leave_out(labels, speakers), labels)
    if not folds:
        logger.warning(
            "too few utterances of a class to leave any out: C is not chosen "
            "by cross-validation"
        )
        return candidates[len(candidates) // 2], None, None
    bar = tqdm(
        desc="C by left-out speakers",
        total=len(folds) * len(candidates),
        disable=not progress,
        leave=False,
    )

    def score(fold):
        return _left_out_scores(inputs, targets.numpy(), fold, candidates, bar)

    # One thread a fold, of BLAS too: the result does not depend on their number.
    with bar, workers(torch.get_num_threads()) as pool, threadpool_limits(1):
        found = list(pool.map(score, folds))
    left = np.concatenate([left for _, left in folds])
    scores = np.concatenate(found, axis=1)
    own = scores[:, np.arange(len(left)), labels[left]]
    weights = targets.numpy()[left].sum(axis=1)
    means = np.average(own, axis=1, weights=weights)
    best = int(means.argmax())
    whole = np.full((len(labels), targets.shape[1]), np.nan)
    whole[left] = scores[best]
    return candidates[best], float(means[best]), whole


def leave_out(
    labels: NDArray, speakers: Sequence[str]
) -> list[tuple[NDArray, NDArray]]:
    """Divide utterances into folds to be left out in turn.

    By speakers where every class has two or more, else by utterances.

    Arguments
    ---------
    labels : numpy.ndarray
        [utterances].
    speakers : list of str
        [utterances].

    Returns
    -------
    folds : list of tuple
        (kept, left out) indices, at most `MAX_FOLDS`; empty if a class has a
        single utterance.

    Example
    -------
    >>> leave_out(np.array([0, 1, 0, 1]), ["a", "a", "b", "b"])
    [(array([2, 3]), array([0, 1])), (array([0, 1]), array([2, 3]))]
    """
    labels = np.asarray(labels)
    pairs = {(int(label), name) for label, name in zip(labels, speakers)}
    classes, counts = np.unique(labels, return_counts=True)
    speakers_of = [sum(c == label for c, _ in pairs) for label in classes]
    if min(counts) < 2:
        return []
    groups = None
    if min(speakers_of) >= 2:
        groups = list(speakers)
        # scikit-learn refuses more folds than the largest class has members.
        most = min(len(set(speakers)), int(max(counts)))
        splitter = StratifiedGroupKFold(min(MAX_FOLDS, most))
    else:
        logger.warning(
            "a class of the training part has a single speaker: the "
            "classifier may learn the voice in place of the class"
        )
        splitter = StratifiedKFold(min(MAX_FOLDS, int(min(counts))))
    with warnings.catch_warnings():
        # Fewer utterances of a class than folds: some folds lack it.
        warnings.filterwarnings("ignore", message="The least populated class")
        return [
            fold
            for fold in splitter.split(labels, labels, groups)
            if len(fold[1])
        ]


def fit(
    inputs: NDArray, targets: torch.Tensor, C: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the weights of multinomial logistic regression.

    Arguments
    ---------
    inputs : numpy.ndarray
        fp64 [utterances, values]; see `modules.training.parts`.
    targets : torch.Tensor
        From `modules.training.targets.make_targets`, [utterances, classes]:
        one-hot, smoothed or soft, times the utterance's weight.
    C : float
        Inverse regularisation, as in scikit-learn.

    Returns
    -------
    weights : torch.Tensor
        fp64 [classes, values].
    bias : torch.Tensor
        fp64 [classes]; -10 000 for a class without a target above 0.

    Example
    -------
    >>> inputs = np.array([[-1.0], [1.0]])
    >>> weights, bias = fit(inputs, torch.eye(2), C=1.0)
    >>> bool(weights[0, 0] < 0 < weights[1, 0])
    True
    """
    rows, labels, sample_weight = _as_labels(targets.numpy())
    model = LogisticRegression(C=C, tol=_FIT_TOLERANCE, **_SOLVER)
    with threadpool_limits(1):
        model.fit(inputs[rows], labels, sample_weight=sample_weight)
    weights, bias = _all_classes(model, targets.shape[1])
    return torch.from_numpy(weights), torch.from_numpy(bias)


def _left_out_scores(inputs, targets, fold, candidates, bar):
    """Return log-probabilities, [candidates, left out, classes]."""
    kept, left = fold
    if callable(inputs):
        inputs = inputs(kept)
    rows, kept_labels, sample_weight = _as_labels(targets[kept])
    kept_inputs, left_inputs = inputs[kept][rows], inputs[left]
    model = LogisticRegression(
        tol=_SEARCH_TOLERANCE, warm_start=True, **_SOLVER
    )
    scores = []
    for C in candidates:
        model.set_params(C=C).fit(kept_inputs, kept_labels, sample_weight)
        weights, bias = _all_classes(model, targets.shape[1])
        logits = torch.from_numpy(left_inputs @ weights.T + bias)
        scores.append(torch.log_softmax(logits, dim=1).numpy())
        bar.update()
    return np.stack(scores)


def _as_labels(targets):
    """Return rows, labels and weights that have the targets as their mean.

    Soft targets repeat an utterance for each class with a target above 0.
    """
    rows, labels = np.nonzero(targets)
    weight = targets[rows, labels]
    return rows, labels, None if (weight == 1).all() else weight


def _all_classes(model, num_classes):
    """Return weights and bias of all classes, also of absent ones."""
    weights = np.zeros((num_classes, model.coef_.shape[1]))
    bias = np.full(num_classes, _ABSENT)
    coefficients, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps the difference alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weights[model.classes_], bias[model.classes_] = coefficients, intercepts
    return weights, bias


def _usable(folds, labels):
    """Return the folds that can be trained; of these what can be tested."""
    usable = []
    for kept, left in folds:
        left = left[np.isin(labels[left], labels[kept])]
        if len(left) and len(np.unique(labels[kept])) > 1:
            usable.append((kept, left))
    return usable
