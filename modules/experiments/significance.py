"""What differences are worth, and what probabilities are worth.

Utterances of one speaker are alike, so speakers, not utterances, are what is
resampled and what is tested on.
"""

import itertools

import numpy as np
from scipy.optimize import minimize_scalar

# All sign flips of up to 16 speakers are counted, of more so many are drawn.
EXACT_SPEAKERS = 16
DRAWN_FLIPS = 20_000
RESAMPLES = 2_000
BINS = 15


def bootstrap_interval(confusions, level=0.95, resamples=RESAMPLES, seed=0):
    """Return intervals of WA and UA by resampling speakers.

    Percentiles of the figures over all utterances of speakers that are drawn
    with replacement.

    Arguments
    ---------
    confusions : numpy.ndarray
        [speakers, true classes, predicted classes]; counts.
    level : float
        Share of the resamples inside.
    resamples, seed : int
        How many, and where the random numbers begin.

    Returns
    -------
    intervals : dict
        "WA" and "UA" -> (low, high); UA over the classes that were drawn.
    """
    speakers = len(confusions)
    draws = np.random.default_rng(seed).multinomial(
        speakers, np.full(speakers, 1 / speakers), size=resamples
    )
    drawn = np.tensordot(draws, confusions, axes=1)  # [resamples, k, k]
    right = np.diagonal(drawn, axis1=1, axis2=2)
    counts = drawn.sum(axis=2)
    recall = np.divide(
        right, counts, out=np.full(counts.shape, np.nan), where=counts > 0
    )
    edges = 50 * (1 - level), 50 * (1 + level)
    return {
        "WA": _edges(right.sum(axis=1) / counts.sum(axis=1), edges),
        "UA": _edges(np.nanmean(recall, axis=1), edges),
    }


def _edges(values, percents):
    """Return two percentiles as floats."""
    return tuple(float(value) for value in np.percentile(values, percents))


def mean_interval(values, level=0.95, resamples=RESAMPLES, seed=0):
    """Return the interval of a mean over speakers, resampling them.

    Arguments
    ---------
    values : numpy.ndarray
        [speakers].
    level, resamples, seed
        See `bootstrap_interval`.
    """
    draws = np.random.default_rng(seed).integers(
        len(values), size=(resamples, len(values))
    )
    means = np.asarray(values)[draws].mean(axis=1)
    return _edges(means, (50 * (1 - level), 50 * (1 + level)))


def sign_flips(speakers, seed=0):
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


def paired_tests(differences, seed=0):
    """Test whether mean differences are zero, several at once.

    If two systems were equal, a speaker's difference could as well have had
    the other sign. The two-sided p is the share of all flips of signs whose
    mean is at least as far from zero. It is corrected for the number of
    comparisons in two ways: Holm's, and step-down max-T (Westfall and Young),
    which flips the signs of all comparisons together and so keeps what they
    have in common.

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


def holm(p):
    """Return p values corrected by Holm's method, [comparisons]."""
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    factors = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p[order] * factors).clip(max=1)
    return corrected


def _step_down(flipped, observed):
    """Return max-T corrected p values from statistics [flips, comparisons]."""
    order = np.argsort(-observed, kind="stable")
    # Of each comparison and all that are less extreme, the largest.
    largest = np.maximum.accumulate(flipped[:, order[::-1]], axis=1)[:, ::-1]
    p = (largest >= observed[order] - 1e-9).mean(axis=0)
    corrected = np.empty(len(p))
    corrected[order] = np.maximum.accumulate(p)
    return corrected


def reliability(probabilities, truth, bins=BINS):
    """Return what a reliability diagram shows.

    Arguments
    ---------
    probabilities : numpy.ndarray
        [utterances, classes].
    truth : numpy.ndarray
        [utterances].
    bins : int
        Of equal width, of the largest probability.

    Returns
    -------
    confidence, accuracy : numpy.ndarray
        Means per bin, [bins]; NaN in empty ones.
    counts : numpy.ndarray
        [bins].
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)

    def mean(values):
        sums = np.bincount(index, weights=values, minlength=bins)
        empty = np.full(bins, np.nan)
        return np.divide(sums, counts, out=empty, where=counts > 0)

    return mean(confidence), mean(right), counts


def expected_calibration_error(probabilities, truth, bins=BINS):
    """Return the mean gap between confidence and accuracy, by bin."""
    confidence, accuracy, counts = reliability(probabilities, truth, bins)
    gaps = np.nan_to_num(np.abs(confidence - accuracy))
    return float((counts * gaps).sum() / counts.sum())


def temper(probabilities, temperature):
    """Return probabilities whose logits are divided by a temperature."""
    logits = np.log(np.clip(probabilities, 1e-30, None)) / temperature
    logits -= logits.max(axis=1, keepdims=True)
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True)


def negative_log_likelihood(probabilities, truth):
    """Return the mean of -log of the true class's probability."""
    chosen = probabilities[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(chosen, 1e-30, None)).mean())


def fit_temperature(probabilities, truth):
    """Return the temperature with the least negative log-likelihood.

    Arguments
    ---------
    probabilities : numpy.ndarray
        Of dev, [utterances, classes].
    truth : numpy.ndarray
        [utterances].

    Returns
    -------
    temperature : float
        In [0.05, 20].
    """
    fit = minimize_scalar(
        lambda logarithm: negative_log_likelihood(
            temper(probabilities, np.exp(logarithm)), truth
        ),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return float(np.exp(fit.x))
