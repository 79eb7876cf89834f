"""A model in a program of one's own: any kind of recording in, answers out."""

import io
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from modules.audio import (
    HIGHEST_RATE,
    LOWEST_RATE,
    SAMPLE_RATE,
    SHORTEST,
    read_length,
    read_samples,
    read_speech,
    resample,
)
from modules.errors import BadInput
from modules.inference.confidence import read_threshold
from modules.inference.emotion_model import split_evenly
from modules.inference.loading import check_speakers, load_model, locate_model
from modules.inference.predictor import Row, choose_device, classify
from modules.inference.records import RESTRICTED, average, known_or_unknown
from modules.inference.restriction import choose_labels, restrict
from modules.models.padding import count_samples

# Floating-point samples beyond it are integers that were not divided.
_LOUDEST = 10.0


class Answer(NamedTuple):
    """The emotion in a recording.

    Attributes
    ----------
    emotion : str
        The most probable class, or "unknown"; None if there is a problem.
    probabilities : dict
        Class -> probability.
    problem : str
        Why there is no answer; None if there is one.
    """

    emotion: str | None
    probabilities: dict[str, float]
    problem: str | None = None


class Recognizer:
    """A trained model for recordings in files, in memory, one or many.

    It may be called by several threads at once.

    Arguments
    ---------
    source : str
        A folder that export.py wrote, or the name of one on the Hub.
    device : str
        By default cuda if there is one, else cpu.
    labels : list of str
        Answer with these classes alone, see
        `modules.inference.restriction.restrict`.
    min_precision : float
        Wished share of right answers: less probable ones are "unknown", see
        `modules.inference.confidence`.

    Example
    -------
    >>> recognizer = Recognizer("exported/emodb")  # doctest: +SKIP
    >>> recognizer("speech.wav").emotion  # doctest: +SKIP
    'anger'
    >>> recognizer(waveform, rate=44100).probabilities  # doctest: +SKIP
    {'anger': 0.9, 'neutral': 0.1}
    """

    def __init__(
        self,
        source: str,
        device: str | None = None,
        labels: list[str] | None = None,
        min_precision: float | None = None,
    ):
        self.device = choose_device(device)
        folder = locate_model(source)
        self.model, every = load_model(folder, self.device)
        check_speakers(folder, self.model.is_adapted)
        if labels and min_precision:
            raise BadInput(RESTRICTED)
        self.threshold = read_threshold(folder, every, min_precision)
        self.places = choose_labels(every, labels)
        self.labels = [every[place] for place in self.places]

    def __call__(
        self, recordings, rate: int | None = None, lengths=None
    ) -> Answer | list[Answer]:
        """Return the answer for a recording, or a list for several.

        Arguments
        ---------
        recordings
            A path, the bytes of a file, an open binary file, samples [samples]
            as an array or a tensor; or several: a list of these, or samples
            [recordings, samples].
        rate : int
            Samples per second of arrays and tensors.
        lengths : sequence of float or of int
            Of the recordings in [recordings, samples], which are padded: in
            samples, or as shares of the longest.

        Returns
        -------
        answer : Answer or list of Answer
            One of several that cannot be read has a problem in its answer.

        Raises
        ------
        BadInput
            If the only recording cannot be read, or lengths do not fit.
        """
        if lengths is not None or _dimensions(recordings) == 2:
            recordings = _unpad(recordings, lengths)
        if not isinstance(recordings, list | tuple):
            return self._answer(recordings, rate, "the recording")
        answers = []
        for number, recording in enumerate(recordings, start=1):
            try:
                name = f"recording {number}"
                answers.append(self._answer(recording, rate, name))
            except BadInput as problem:
                answers.append(Answer(None, {}, str(problem)))
        return answers

    def _answer(self, recording, rate, name):
        """Return the answer for one recording."""
        rows = [
            Row(name, 0.0, 0.0, classify(self.model, [part], self.device)[0])
            for part in _parts(recording, rate, name, self.model.channel)
        ]
        scores = restrict(average(rows).log_probabilities, self.places)
        chances = dict(zip(self.labels, scores.exp().tolist()))
        best = max(chances, key=chances.get)
        emotion = known_or_unknown(best, chances[best], self.threshold)
        return Answer(emotion, chances)


def _dimensions(recordings):
    """Return the number of axes of an array or a tensor, else None."""
    return getattr(recordings, "ndim", None)


def _unpad(recordings, lengths):
    """Return a list of the recordings [recordings, samples] without padding."""
    if _dimensions(recordings) != 2:
        raise BadInput(
            "lengths belong to padded recordings [recordings, samples]: leave "
            "them out for anything else"
        )
    if lengths is None:
        return list(recordings)
    counts = count_samples(lengths, recordings.shape[1]).tolist()
    if len(counts) != len(recordings):
        raise BadInput(
            f"{len(counts)} lengths do not fit {len(recordings)} recordings: "
            "give one for each"
        )
    return [own[:count] for own, count in zip(recordings, counts)]


def _parts(recording, rate, name, channel) -> Iterator[torch.Tensor]:
    """Return waveforms at 16 kHz of at most a minute; refuse bad recordings."""
    if isinstance(recording, str | os.PathLike):
        windows = split_evenly(*read_length(recording))
        if len(windows) == 1:
            yield read_speech(recording, channel=channel)
        else:
            for start, stop in windows:
                yield read_speech(recording, start, stop, channel)
        return
    samples, rate = _samples(recording, rate, name, channel)
    _check(samples, rate, name)
    for start, stop in split_evenly(len(samples), rate):
        part = torch.from_numpy(samples[start:stop])
        yield resample(part, rate).mean(dim=1)


def _samples(recording, rate, name, channel):
    """Return fp32 samples [samples, channels] and their rate."""
    if hasattr(recording, "read"):
        recording = recording.read()
    if isinstance(recording, bytes | bytearray | memoryview):
        return read_samples(io.BytesIO(recording), channel=channel)
    if isinstance(recording, torch.Tensor):
        recording = recording.detach().cpu().numpy()
    if not isinstance(recording, np.ndarray) or recording.ndim != 1:
        kind = getattr(recording, "shape", type(recording).__name__)
        raise BadInput(
            f"{name} is {kind}: give a path, bytes, an open binary file, or "
            "samples [samples] of one channel"
        )
    if rate is None:
        raise BadInput(f"{name} has no rate: give rate=, samples per second")
    if type(rate) is not int or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise BadInput(
            f"the rate of {name} is {rate!r}: give an integer from "
            f"{LOWEST_RATE} to {HIGHEST_RATE}"
        )
    return _as_float(recording, name)[:, None], rate


def _as_float(samples, name):
    """Return samples as fp32 in [-1, 1]."""
    kind = samples.dtype
    if kind == np.uint8:
        return (samples.astype("float32") - 128) / 128
    if kind.kind == "i":
        return (samples / -float(np.iinfo(kind).min)).astype("float32")
    if kind.kind != "f":
        raise BadInput(
            f"{name} has samples of type {kind}: give integers or floats"
        )
    # A copy: PyTorch warns of arrays that it must not write to.
    return np.array(samples, "float32")


def _check(samples, rate, name):
    """Refuse samples that are no speech."""
    seconds = len(samples) / rate
    if seconds * SAMPLE_RATE < SHORTEST:
        raise BadInput(f"{name} lasts {1000 * seconds:.0f} ms: give a second")
    if not np.isfinite(samples).all():
        raise BadInput(
            f"{name} has samples that are no numbers (NaN or infinite): give "
            "another"
        )
    if np.abs(samples).max() > _LOUDEST:
        raise BadInput(
            f"{name} has floating-point samples up to "
            f"{np.abs(samples).max():.0f}: divide them such that they lie in "
            "[-1, 1]"
        )
    if samples.min() == samples.max():
        raise BadInput(f"{name} is silent: give a recording of speech")
