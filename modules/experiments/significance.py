"""Intervals of figures and tests of differences, over test speakers.

The utterances of one speaker depend on each other, so speakers are resampled
and tested, not utterances.
"""

import itertools

import numpy as np
from scipy import stats

# All sign flips are counted for up to 16 speakers, so many drawn for more.
EXACT_SPEAKERS = 16
DRAWN_FLIPS = 20_000
RESAMPLES = 2_000
LEVEL = 0.95


def bootstrap_interval(confusions: np.ndarray, seed: int = 0) -> dict:
    """Return intervals of WA and UA by resampling speakers.

    The edges are percentiles of the figures over all utterances of speakers
    that are drawn with replacement. `scipy.stats.bootstrap` has no statistic
    of a whole matrix for each speaker.

    Arguments
    ---------
    confusions : numpy.ndarray
        Counts, [speakers, true classes, predicted classes].
    seed : int
        Of the random numbers.

    Returns
    -------
    intervals : dict
        "WA" and "UA" -> [low, high]; UA over the classes that were drawn.
    """
    speakers = len(confusions)
    draws = np.random.default_rng(seed).multinomial(
        speakers, np.full(speakers, 1 / speakers), size=RESAMPLES
    )
    drawn = np.tensordot(draws, confusions, axes=1)  # [resamples, k, k]
    right = np.diagonal(drawn, axis1=1, axis2=2)
    counts = drawn.sum(axis=2)
    recall = np.divide(
        right, counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
    edges = 50 * (1 - LEVEL), 50 * (1 + LEVEL)
    accuracy = right.sum(axis=1) / counts.sum(axis=1)
    return {
        "WA": np.percentile(accuracy, edges).tolist(),
        "UA": np.percentile(np.nanmean(recall, axis=1), edges).tolist(),
    }


def mean_intervals(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return intervals of means over speakers, by resampling speakers.

    Arguments
    ---------
    values : numpy.ndarray
        [speakers, comparisons].
    seed : int
        Of the random numbers.

    Returns
    -------
    intervals : numpy.ndarray
        Low and high edge, [comparisons, 2].
    """
    if len(values) < 2:
        return np.repeat(values[0, :, None], 2, axis=1)
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return np.stack([found.low, found.high], axis=1)


def sign_flips(speakers: int, seed: int = 0) -> np.ndarray:
    """Return signs [flips, speakers], the first of which changes nothing.

    All of them for up to `EXACT_SPEAKERS`, else `DRAWN_FLIPS` drawn ones.
    """
    if speakers <= EXACT_SPEAKERS:
        return np.array(list(itertools.product((1, -1), repeat=speakers)))
    signs = np.random.default_rng(seed).choice(
        (1, -1), size=(DRAWN_FLIPS, speakers)
    )
    signs[0] = 1
    return signs


def paired_tests(
    differences: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test whether mean differences are zero, several at once.

    If two systems were equal, a speaker's difference could as well have had
    the other sign. The two-sided p is the share of all flips of signs whose
    mean is at least as far from zero, as in `scipy.stats.permutation_test`.
    It is corrected for the number of comparisons in two ways: by Holm's
    method, and by step-down max-T (Westfall and Young), which flips the signs
    of all comparisons together and so keeps their dependence. Since max-T
    needs every flip of every comparison, p comes from the same flips.

    Arguments
    ---------
    differences : numpy.ndarray
        [speakers, comparisons].
    seed : int
        For more than `EXACT_SPEAKERS` speakers.

    Returns
    -------
    p, p_holm, p_max : numpy.ndarray
        [comparisons].
    """
    differences = np.asarray(differences, dtype=float)
    signs = sign_flips(len(differences), seed)
    # The sum of squares is the same for all flips, so that dividing by its
    # root orders flips as a t statistic does and makes comparisons alike.
    scale = np.sqrt((differences**2).sum(axis=0))
    scaled = differences / np.where(scale > 0, scale, 1)
    flipped = np.abs(signs @ scaled)  # [flips, comparisons]
    observed = flipped[0]
    # Equal up to rounding counts as equal.
    as_far = flipped >= observed - 1e-9
    p = as_far.mean(axis=0)
    return p, holm(p), _step_down(flipped, observed)


def holm(p: np.ndarray) -> np.ndarray:
    """Return p values corrected by Holm's method, [comparisons].

    scipy has the corrections of the false discovery rate only, and
    statsmodels would be installed for these five lines alone.

    Example
    -------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * factors).clip(max=1)
    return corrected


def _step_down(flipped: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return max-T corrected p values from statistics [flips, comparisons]."""
    order = np.argsort(-observed, kind="stable")
    # Of each comparison and all that are less extreme, the largest.
    largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    p = (largest >= observed[order] - 1e-9).mean(axis=0)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p)
    return corrected
