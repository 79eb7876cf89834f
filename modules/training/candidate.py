"""One of several linear classifiers, and the mean of all."""

import dataclasses
import functools
from typing import Annotated, Any

import pydantic
import torch
from numpy.typing import NDArray
from speechbrain.utils.logger import get_logger

from modules.errors import BadInput
from modules.training import logistic_regression
from modules.training.parts import Parts, has_directions, share_of

logger = get_logger(__name__)

# A candidate whose left-out log-probability is lower by 1 / SHARPNESS nats has
# 1 / e of the share. 20 to 100 differ by 0.2 points of WA on EmoDB, TurEV-DB
# and ASED, of the four candidates without directions; the best one alone and
# the plain mean are behind.
SHARPNESS = 50.0
# A candidate with a smaller share is left out: on recordings of another corpus
# scores of raw statistics are large. Five heads of EmoDB, adapted to 249
# recordings of ASED: 37.8% right, and 35.7% with shares of 2 to 9% for them.
LEAST_SHARE = 0.1
_Share = Annotated[
    float, pydantic.Field(ge=0, allow_inf_nan=False, strict=True)
]


@dataclasses.dataclass
class Candidate:
    """One linear classifier among those that are averaged.

    Attributes
    ----------
    parts : dict
        Part of the embedding -> its share of the variance, relative; see
        `modules.training.parts.Parts.combine`.
    C : float
        Inverse regularisation.
    left_out_log_probability : float
        Of training speakers that were left out, in nats; None: unknown.
    share : float
        In the mean of the candidates' scores.
    scores : numpy.ndarray
        From `modules.training.logistic_regression.choose_C`, or None.
    combine : callable
        Targets of the first utterances -> inputs of all, and what turns the
        weights back; see `modules.training.parts.Parts.combine`.
    """

    parts: dict[str, Any]
    C: float
    left_out_log_probability: float | None
    share: float = 1.0
    scores: Any = dataclasses.field(default=None, repr=False)
    combine: Any = dataclasses.field(default=None, repr=False)

    def summary(self) -> dict[str, Any]:
        """Return the plain values, for results.json."""
        return {
            "parts": self.parts,
            "C": self.C,
            "left_out_log_probability": self.left_out_log_probability,
            "share": self.share,
        }


class _Along(pydantic.BaseModel, extra="forbid", strict=True):
    """Correlations along learned directions."""

    share: _Share
    directions: pydantic.PositiveInt


_WEIGHTS = pydantic.TypeAdapter(dict[str, _Share | _Along])


def check_candidates(candidates: list[dict[str, Any]]) -> None:
    """Refuse weights of parts that are not what `Candidate` describes.

    Raises
    ------
    BadInput
        Naming the candidate.
    """
    for candidate in candidates:
        if not isinstance(candidate, dict):
            raise BadInput(
                f"the candidate {candidate} is not a dict such as {{means: 1}}: "
                "correct candidates"
            )
        try:
            _WEIGHTS.validate_python(candidate)
        except pydantic.ValidationError as problem:
            part = problem.errors()[0]["loc"][0]
            raise BadInput(
                f"the candidate {candidate} gives {part} neither a share of "
                "the variance, such as 1 or 0.25, nor {share: 1, directions: "
                "64}: correct candidates"
            ) from problem
        if not any(share_of(candidate, name) for name in candidate):
            raise BadInput(
                f"the candidate {candidate} gives no part a share above 0: "
                "correct candidates"
            )


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


def choose_candidates(
    parts: Parts,
    weights: list[dict[str, Any]],
    C: float | None,
    targets: torch.Tensor,
    labels: torch.Tensor,
    speakers: list[str],
    progress: bool = False,
) -> list[Candidate]:
    """Choose each candidate's C and share by left-out speakers.

    Arguments
    ---------
    parts : modules.training.parts.Parts
        Of the training utterances and, after them, of others.
    weights : list of dict
        `Candidate.parts` of each.
    C : float
        Inverse regularisation of all; None: chosen.
    targets : torch.Tensor
        Of the training utterances, [utterances, classes].
    labels : torch.Tensor
        [utterances].
    speakers : list of str
        [utterances].
    progress : bool
        Show progress bars.

    Returns
    -------
    candidates : list of Candidate
        The first one alone where nothing can be left out to compare by.
    """
    candidates = []
    for own in weights:
        combine = _combiner(parts, own)
        best: Any = C
        left_out, scores = None, None
        if C is None or len(weights) > 1:
            best, left_out, scores = logistic_regression.choose_C(
                functools.partial(_of_kept, combine, targets),
                targets,
                labels,
                speakers,
                logistic_regression.CANDIDATES if C is None else [C],
                progress,
            )
        candidates.append(
            Candidate(own, best, left_out, scores=scores, combine=combine)
        )
    if candidates[0].left_out_log_probability is None:
        return candidates[:1]
    found = torch.tensor([c.left_out_log_probability for c in candidates])
    shares = torch.softmax(SHARPNESS * found.double(), dim=0)
    # Of more than 10 alike, each has a smaller share.
    shares = shares * (shares >= shares.max().clamp(max=LEAST_SHARE))
    shares = shares / shares.sum()
    for candidate, share in zip(candidates, shares.tolist()):
        candidate.share = share
        logger.info(f"by left-out speakers: {candidate.summary()}")
    return candidates


def _combiner(parts, weights):
    """Return `Candidate.combine`; what does not depend on targets, once."""
    if has_directions(weights):
        return functools.partial(parts.combine, weights)
    combined = parts.combine(weights)
    return lambda targets, rows=None: combined


def _of_kept(combine, targets, kept):
    """Return the inputs of the utterances that have targets, by some of them."""
    inputs, _ = combine(targets[kept], kept)
    return first_inputs(inputs, len(targets))


def mean_classifier(
    candidates: list[Candidate], targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Train the candidates on the first utterances; return the mean.

    The mean of the scores of linear classifiers is that of their weights.

    Arguments
    ---------
    candidates : list of Candidate
        With combine.
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
        inputs, back = candidate.combine(targets)
        first = first_inputs(inputs, len(targets))
        own, own_bias = logistic_regression.fit(first, targets, candidate.C)
        weights = weights + candidate.share * back(own)
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
