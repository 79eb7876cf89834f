"""Functionals: the voice of an utterance in a fixed number of moments."""

import torch

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.models.pooling import EPS, Pooling
from modules.models.vocal import SPECTRAL, VOCAL_SETTINGS, VOICED

# Frames of `modules.models.vocal` per second.
_RATE = SAMPLE_RATE / VOCAL_SETTINGS["hop"]


def _moments(values, weights):
    """Return mean and deviation over time, [batch, channels] each.

    Both are 0 and sqrt(EPS) where no frame has a weight.
    """
    weights = weights[..., None]
    count = weights.sum(dim=1).clamp(min=1)
    mean = (values * weights).sum(dim=1) / count
    squares = (values - mean[:, None]).square() * weights
    return mean, torch.sqrt(squares.sum(dim=1) / count + EPS)


def _mean(values, weights):
    """Return the mean over time, [batch] or [batch, channels]."""
    if values.dim() == 3:
        weights = weights[..., None]
    return (values * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class FunctionalsPooling(Pooling):
    """Moments of the channels of `modules.models.vocal.VocalEncoder`.

    In this order: mean, deviation and mean absolute difference from frame to
    frame of the channels `modules.models.vocal.SPECTRAL`; their mean and
    deviation over voiced frames; mean, deviation and mean absolute difference
    of the pitch over voiced frames; share of voiced frames; voiced runs per
    second; mean length of a voiced run in seconds; mean jitter; mean shimmer;
    logarithm of the number of frames.

    Arguments
    ---------
    input_size : int
        Number of channels: that of `VocalEncoder`.

    Raises
    ------
    BadInput
        If it is another number.

    Example
    -------
    >>> FunctionalsPooling(27)(torch.randn(2, 90, 27), torch.ones(2)).shape
    torch.Size([2, 119])
    """

    def __init__(self, input_size: int):
        super().__init__(input_size)
        needed = len(SPECTRAL) + len(VOICED)
        if input_size != needed:
            raise BadInput(
                f"FunctionalsPooling needs the {needed} channels of vocal, "
                f"not {input_size}: name vocal as that upstream, or choose "
                "another pooling"
            )

    @property
    def output_size(self) -> int:
        return 5 * len(SPECTRAL) + 9

    def pool(self, features, mask):
        spectral = features[..., : len(SPECTRAL)]
        pitch, voiced, consecutive, jitter, shimmer = features[
            ..., len(SPECTRAL) :
        ].unbind(dim=2)
        # A flag that was stored in few bits is near 0 or 1.
        voiced, consecutive = (
            ((flag > 0.5) & mask).to(features.dtype)
            for flag in (voiced, consecutive)
        )
        valid = mask.to(features.dtype)
        changes = (spectral[:, 1:] - spectral[:, :-1]).abs()
        steps = (pitch[:, 1:] - pitch[:, :-1]).abs()
        pitch_mean, pitch_deviation = _moments(pitch[..., None], voiced)
        one_each = [
            _mean(steps, consecutive[:, 1:]),
            *self._runs(voiced, valid.sum(dim=1)),
            _mean(jitter, consecutive),
            _mean(shimmer, consecutive),
            valid.sum(dim=1).log(),
        ]
        return torch.cat(
            [
                *_moments(spectral, valid),
                _mean(changes, valid[:, 1:]),
                *_moments(spectral, voiced),
                pitch_mean,
                pitch_deviation,
                torch.stack(one_each, dim=1),
            ],
            dim=1,
        )

    @staticmethod
    def _runs(voiced, frames):
        """Return share, runs per second and seconds of a run, [batch] each."""
        begins = (voiced[:, 1:] > voiced[:, :-1]).to(voiced.dtype)
        runs = begins.sum(dim=1) + voiced[:, 0]
        count = voiced.sum(dim=1)
        return (
            count / frames,
            runs * _RATE / frames,
            count / runs.clamp(min=1) / _RATE,
        )
