"""How the learning rate changes during training.

Each schedule returns a factor of the learning rate for the share of the
training that is done, so that a run that continues after a kill needs no state
of its own. In the first ``warm_up`` of the training the factor rises evenly
from 0 to 1.
"""

import math


def constant(done: float, warm_up: float = 0.0) -> float:
    """Return 1 after the warm-up.

    Arguments
    ---------
    done : float
        Share of the training that is done, from 0 to 1.
    warm_up : float
        Share of the training in which the learning rate rises.

    Example
    -------
    >>> constant(0.05, warm_up=0.1), constant(0.7, warm_up=0.1)
    (0.5, 1.0)
    """
    return min(1.0, done / warm_up) if warm_up else 1.0


def linear(done: float, warm_up: float = 0.0) -> float:
    """Fall evenly to 0 after the warm-up; see `constant`.

    Example
    -------
    >>> linear(0.75), linear(0.025, warm_up=0.1)
    (0.25, 0.25)
    """
    return min(constant(done, warm_up), 1 - _decayed(done, warm_up))


def cosine(done: float, warm_up: float = 0.0) -> float:
    """Fall to 0 along half a cosine after the warm-up; see `constant`.

    Example
    -------
    >>> round(cosine(0.5), 9), cosine(1.0, warm_up=0.1)
    (0.5, 0.0)
    """
    fallen = (1 + math.cos(math.pi * _decayed(done, warm_up))) / 2
    return min(constant(done, warm_up), fallen)


def _decayed(done, warm_up):
    """Return the share of what follows the warm-up that is done."""
    return min(1.0, max(0.0, done - warm_up) / (1 - warm_up))
