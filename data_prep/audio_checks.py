"""Audio files are read once, before anything is trained on them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from data_prep.corpus import Utterance
from modules.audio import (
    CHANNELS,
    SAMPLE_RATE,
    SHORTEST,
    SILENCED,
    read_samples,
    share_of_mean,
)
from modules.errors import BadInput

PROBLEMS = {
    "missing": "There is no such audio file: {}; put it there or take its "
    "utterance out.",
    "empty": "An audio file has 0 bytes: {}; copy it again or take its "
    "utterance out.",
    "broken": "An audio file cannot be read: {}; give WAV, FLAC, MP3, M4A or the "
    "like, or take its utterance out.",
    "short": "An audio file is shorter than one frame of the encoder (25 ms): "
    "{}; take its utterance out.",
    "not finite": "An audio file has NaN or infinite samples: {}; export it "
    "again or take its utterance out.",
    "no channel": "An audio file does not have the channel that is asked for: "
    "{}; give --channel mean or left.",
    "cancelled": "An audio file is near silence when its channels are "
    "averaged, since one is the other one inverted: {}; give --channel left or "
    "take its utterance out.",
}


@dataclasses.dataclass(frozen=True)
class Audio:
    """The facts about an audio file.

    Arguments
    ---------
    sample_rate : int
        Samples per second.
    channels : int
        Number of channels.
    duration : float
        Seconds.
    silent : bool
        Whether all samples that are read of it are zero.
    sha256 : str
        Of the bytes of the file.
    content : str
        Of the decoded samples and their rate: two files with the same content
        are the same recording, whatever their headers.
    channel : str
        The one of several channels that is read; None for their mean.
    share_of_mean : float
        See `modules.audio.share_of_mean`; 1 where no mean is read.
    """

    sample_rate: int
    channels: int
    duration: float
    silent: bool
    sha256: str
    content: str
    channel: str | None = None
    share_of_mean: float = 1.0


class UnusableAudio(Exception):
    """An audio file with a problem; `kind` is a key of `PROBLEMS`."""

    def __init__(self, kind):
        super().__init__(kind)
        self.kind = kind


def inspect_audio(path: str, channel: str | None = None) -> Audio:
    """Read an audio file once and return the facts about it.

    Arguments
    ---------
    path : str
        The file.
    channel : str
        "mean", "left" or "right": what is read of several channels; None if
        nothing is.

    Returns
    -------
    Audio
        The facts.

    Raises
    ------
    UnusableAudio
        If nothing can be trained on it.
    """
    if not os.path.exists(path):
        raise UnusableAudio("missing")
    # Opening a pipe waits for ever.
    if not os.path.isfile(path):
        raise UnusableAudio("broken")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        raise UnusableAudio("broken") from None
    if not content:
        raise UnusableAudio("empty")
    samples, sample_rate = _decode(content)
    if len(samples) * SAMPLE_RATE < SHORTEST * sample_rate:
        raise UnusableAudio("short")
    if not np.isfinite(samples).all():
        raise UnusableAudio("not finite")
    own, share = _mix(samples, channel)
    decoded = hashlib.sha256(f"{sample_rate} {samples.shape}".encode())
    decoded.update(samples.tobytes())
    return Audio(
        sample_rate=sample_rate,
        channels=samples.shape[1],
        duration=len(samples) / sample_rate,
        silent=not own.any(),
        sha256=hashlib.sha256(content).hexdigest(),
        content=decoded.hexdigest(),
        channel=channel if own is not samples else None,
        share_of_mean=share,
    )


def _mix(samples, channel):
    """Return what is read of samples, and what their mean has of their power."""
    if channel == "mean":
        share = share_of_mean(samples)
        if share < SILENCED:
            raise UnusableAudio("cancelled")
        return samples, share
    index = CHANNELS.get(channel, 0)
    if index >= samples.shape[1]:
        raise UnusableAudio("no channel")
    is_one = channel is not None and samples.shape[1] > 1
    return samples[:, index] if is_one else samples, 1.0


def _decode(content):
    """Return samples [samples, channels] and rate of the bytes of a file."""
    try:
        return read_samples(io.BytesIO(content))
    except BadInput:
        raise UnusableAudio("broken") from None


def inspect_all(
    utterances: Iterable[Utterance],
    data_folder: str | os.PathLike,
    channel: str = "mean",
) -> tuple[dict[str, Audio], dict[str, list[str]]]:
    """Read the audio files of all utterances.

    Arguments
    ---------
    utterances : iterable of Utterance
        The corpus.
    data_folder : str or pathlib.Path
        The folder of relative paths.
    channel : str
        See `inspect_audio`.

    Returns
    -------
    audio : dict
        Utterance id -> Audio, of usable files.
    problems : dict
        Key of `PROBLEMS` -> paths of unusable files.
    """
    utterances = list(utterances)
    audio, problems = {}, {}
    # A progress bar is for waits, and small corpora have none.
    for utterance in tqdm(
        utterances, "checking audio", disable=len(utterances) < 1000
    ):
        path = os.path.join(data_folder, utterance.wav)
        try:
            audio[utterance.id] = inspect_audio(path, channel)
        except UnusableAudio as problem:
            problems.setdefault(problem.kind, []).append(path)
    return audio, problems
