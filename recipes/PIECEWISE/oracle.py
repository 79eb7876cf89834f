"""An oracle for attention: weight on the emotional part of a recording alone.

The manifest gives ``begin`` and ``end`` of that part in seconds, as
`recipes.PIECEWISE.prepare` lists them. The encoder reads the whole recording;
of its hidden states the frames of that part are left, so that a pooling with
even weights gives each of them the same weight and all others none.
"""

import dataclasses
from collections.abc import Iterable

from modules.errors import BadInput
from modules.features.frozen_upstream import FrozenUpstream
from modules.models.layer_pooling import OneLayer


def frames_between(
    frames: int, duration: float, begin: float, end: float
) -> slice:
    """Return the frames of a part of a recording, at least one.

    Arguments
    ---------
    frames : int
        Of the recording.
    duration, begin, end : float
        Of the recording and of the part, in seconds.

    Example
    -------
    >>> frames_between(100, 2.0, 0.5, 1.0)
    slice(25, 50, None)
    """
    first = min(frames - 1, round(begin / duration * frames))
    return slice(first, max(first + 1, round(end / duration * frames)))


class EmotionalPartUpstream(FrozenUpstream):
    """A frozen encoder of whose hidden states the emotional part is left.

    Its arguments are those of
    `modules.features.frozen_upstream.FrozenUpstream`.
    """

    def make_datasets(self, manifests, label_encoder, device, progress):
        """Return data sets of the emotional parts.

        Raises
        ------
        BadInput
            If a recording has no ``begin`` and ``end`` within it.
        """
        times = {
            split: _times(entries.values())
            for split, entries in manifests.items()
        }
        datasets = super().make_datasets(
            manifests, label_encoder, device, progress
        )
        for split, dataset in datasets.items():
            dataset.cache = _Parts(dataset.cache, times[split])
        return datasets


class OracleLayer(OneLayer):
    """The middle layer of stored utterances that are emotional parts."""

    not_exported = (
        "it was trained on the emotional parts of recordings, and whoever uses "
        "a model does not give begin and end of them"
    )


class _Parts:
    """A cache of whose recordings a part is read."""

    def __init__(self, cache, times):
        self.cache, self.times = cache, times

    def read(self, recording):
        """Return the hidden states of the part; nothing is copied."""
        states = self.cache.read(recording)
        part = frames_between(len(states), *self.times[recording])
        return dataclasses.replace(
            states, values=states.values[part], moments=states.moments[part]
        )


def _times(entries: Iterable[dict]) -> dict[str, tuple[float, float, float]]:
    """Return recording -> its duration, begin and end, in seconds."""
    times = {}
    for entry in entries:
        try:
            begin, end = float(entry["begin"]), float(entry["end"])
            fine = 0 <= begin < end <= entry["duration"] + 0.01
        except (KeyError, ValueError):
            fine = False
        if not fine:
            raise BadInput(
                f"{entry['wav']} has no begin and end of its emotional part, "
                "in seconds, in the list: make it with python -m "
                "recipes.PIECEWISE.prepare"
            )
        times[entry["sha256"]] = entry["duration"], begin, end
    return times
