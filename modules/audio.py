"""Reading recordings as the encoders want them: mono, 16 kHz."""

import functools
import io
import math
import os
import warnings

import numpy as np
import torch

from modules.decoding import (
    BLOCK,
    AudioWarning,
    Header,
    blocks,
    look_at,
    open_recording,
)
from modules.errors import BadInput

SAMPLE_RATE = 16000

# What the convolutions of WavLM, HuBERT and wav2vec 2.0 need for one frame.
SHORTEST = 400
# Below, nothing of speech but its pitch is left; above, no converter goes.
LOWEST_RATE, HIGHEST_RATE = 4000, 384000
# Bytes of decoded samples in memory: 1.5 hours of stereo at 48 kHz.
MOST_IN_MEMORY = 2**31
# Elements of torchaudio's resampling kernel, which grows with the square of
# rate / gcd: 76 thousand at 44.1 kHz, but 700 million at 44101 Hz.
LARGEST_KERNEL = 2**21
# The mean of independent channels has half of their power or more; below a
# tenth, one of them is largely the other one inverted, and below a thousandth
# (30 dB), what is left is how their noise differs.
CANCELLED, SILENCED = 0.1, 0.001

# Channels with a name, by number.
CHANNELS: dict[str | int, int] = {"left": 0, "right": 1}
# What a system can be trained on.
CHANNEL_CHOICES = ("mean", "left", "right")


def read_header(path: str | os.PathLike) -> Header:
    """Return length, rate and channels of a recording.

    Arguments
    ---------
    path : str or os.PathLike
        A file on this machine.

    Raises
    ------
    BadInput
        If it cannot be read, is shorter than one frame of an encoder or longer
        than a day, or has a rate that no recorder of speech uses.
    """
    header = look_at(path)
    _check_rate(path, header.rate)
    if header.samples * SAMPLE_RATE < SHORTEST * header.rate:
        raise _too_short(path, header.samples / header.rate)
    return header


def read_length(path: str | os.PathLike) -> tuple[int, int]:
    """Return samples and rate of a recording; see `read_header`."""
    return read_header(path)[:2]


def read_samples(
    source, start=0, stop=None, channel=None, compares_channels=True
):
    """Read a recording at its own rate.

    Arguments
    ---------
    source : str, os.PathLike or io.BytesIO
        A file, or its bytes.
    start, stop : int
        Read a part: samples at the file's own rate.
    channel : str or int
        "left", "right" or a number from 0: that channel alone. "mean": both
        channels of two, which `read_waveform` averages after it has
        resampled them; the mean of more. By default all channels.
    compares_channels : bool
        Whether to notice that the channels of a mean cancel.

    Returns
    -------
    samples : numpy.ndarray
        fp32 in [-1, 1], [samples, channels].
    rate : int
        Samples per second.

    Raises
    ------
    BadInput
        If it cannot be read, has no such channel, or its channels cancel.
    """
    name = "the recording" if isinstance(source, io.IOBase) else source
    is_part = start != 0 or stop is not None
    with open_recording(source, is_part) as recording:
        _check_rate(name, recording.samplerate)
        mixer = _Mixer(channel, recording.channels, name)
        mixer.compares = mixer.compares and compares_channels
        size, kept = 0, [np.zeros((0, mixer.channels), "float32")]
        for block in blocks(recording, name, start, stop):
            kept.append(mixer.mix(block))
            size += kept[-1].nbytes
            if size > MOST_IN_MEMORY:
                raise BadInput(f"{name} is too long: cut it into parts")
        mixer.check()
        return np.concatenate(kept), recording.samplerate


def read_waveform(
    source, start=0, stop=None, channel="mean", compares_channels=True
) -> torch.Tensor:
    """Read a recording, mix it down to mono and resample it to 16 kHz.

    Arguments
    ---------
    source, start, stop, compares_channels
        See `read_samples`.
    channel : str or int
        "mean", "left", "right" or a number from 0.

    Returns
    -------
    waveform : torch.Tensor
        fp32 in [-1, 1], [samples].

    Raises
    ------
    BadInput
        See `read_samples`.
    """
    samples, rate = read_samples(
        source, start, stop, channel, compares_channels
    )
    return resample(torch.from_numpy(samples), rate).mean(dim=1)


def read_speech(path, start=0, stop=None, channel="mean") -> torch.Tensor:
    """Read as `read_waveform` does, and refuse what has no speech to classify.

    Raises
    ------
    BadInput
        If it cannot be read, is too short or has samples that are no
        numbers, or if a whole file is digital silence from end to end (a part
        of one may be).
    """
    waveform = read_waveform(path, start, stop, channel)
    if len(waveform) < SHORTEST:
        raise _too_short(path, len(waveform) / SAMPLE_RATE)
    if not waveform.isfinite().all():
        raise BadInput(
            f"{path} has samples that are no numbers (NaN or infinite): "
            "export it again"
        )
    if stop is None and waveform.min() == waveform.max():
        raise BadInput(f"{path} is silent: give a recording of speech")
    return waveform


def resample(samples: torch.Tensor, rate: int) -> torch.Tensor:
    """Resample to 16 kHz, as SpeechBrain's `AudioNormalizer` does.

    Arguments
    ---------
    samples : torch.Tensor
        [samples, channels].
    rate : int
        Samples per second.

    Returns
    -------
    samples : torch.Tensor
        [samples * 16000 / rate, channels].

    Example
    -------
    >>> resample(torch.zeros(44101, 2), 44101).shape
    torch.Size([16000, 2])
    """
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    if up == down or not len(samples):
        return samples
    if up * down <= LARGEST_KERNEL:
        return _resampler(rate)(samples.T).T
    import scipy.signal  # takes a second and is needed for odd rates only

    resampled = scipy.signal.resample_poly(samples.numpy(), up, down, axis=0)
    return torch.from_numpy(resampled)


@functools.lru_cache(maxsize=16)
def _resampler(rate):
    """Return the module that SpeechBrain resamples with."""
    import torchaudio.transforms

    return torchaudio.transforms.Resample(rate, SAMPLE_RATE)


def channel_index(channel: str | int, channels: int, name: str) -> int:
    """Return the number of a channel, from 0.

    Raises
    ------
    BadInput
        If there is no such channel.
    """
    index = CHANNELS.get(channel, channel)
    if not isinstance(index, int) or index < 0:
        raise BadInput(
            f"channel {channel!r} is unknown: choose mean, left, right or "
            "a number from 0"
        )
    if index >= channels:
        raise BadInput(
            f"{name} has {channels} channel{'s' * (channels > 1)}, and "
            f"{channel!r} is none of them: choose mean or left"
        )
    return index


def share_of_mean(samples: np.ndarray) -> float:
    """Return how much of the channels' power their mean has.

    Arguments
    ---------
    samples : numpy.ndarray
        [samples, channels].

    Returns
    -------
    share : float
        1 for equal channels, about a half for two independent ones, 0 if one
        is the other one inverted.

    Example
    -------
    >>> share_of_mean(np.float32([[1, 1], [1, -1]]))
    0.5
    """
    mixer = _Mixer("mean", samples.shape[1], "")
    for start in range(0, len(samples), BLOCK):
        mixer.mix(samples[start : start + BLOCK])
    return mixer.share()


class _Mixer:
    """Picks a channel of blocks, or mixes them, and notices cancellation."""

    def __init__(self, channel, channels, name):
        self.name, self.total = name, channels
        self.averages = channel == "mean"
        self.index = None
        if channel is not None and not self.averages:
            self.index = channel_index(channel, channels, name)
        # Both channels of two are resampled before they are averaged, as
        # SpeechBrain does; more would take too much memory.
        self.mixes = self.averages and channels > 2
        is_one = self.mixes or self.index is not None
        self.channels = 1 if is_one else channels
        self.compares = self.averages and channels > 1
        self.power = self.power_of_mean = 0.0

    def mix(self, block):
        """Return [samples, 1] or [samples, channels] of a block."""
        if self.index is not None:
            return block[:, self.index, None]
        if not self.averages or self.total == 1:
            return block
        mean = block.mean(axis=1, keepdims=True)
        if self.compares:
            self._compare(block, mean)
        return mean if self.mixes else block

    def _compare(self, block, mean):
        """Add up the power of a block, and of its mean."""
        with np.errstate(over="ignore", invalid="ignore"):
            self.power += np.square(block, dtype="float64").mean(axis=1).sum()
            self.power_of_mean += np.square(mean, dtype="float64").sum()

    def share(self):
        """Return how much of the channels' power their mean has."""
        return float(self.power_of_mean / self.power) if self.power else 1.0

    def check(self):
        """Refuse or warn where the mean of the channels cancels them."""
        share = self.share()
        if share < SILENCED:
            raise BadInput(
                f"{self.name} is near silence when its channels are averaged, "
                "since one is the other one inverted: choose one of them "
                "(--channel left)"
            )
        if share < CANCELLED:
            warnings.warn(
                f"the mean of the channels of {self.name} has {share:.1%} of "
                "their power, since they cancel: choose one of them "
                "(--channel left)",
                AudioWarning,
                stacklevel=3,
            )


def _check_rate(name, rate):
    """Refuse a rate that no recorder of speech uses."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise BadInput(
            f"{name} has {rate} samples per second: give a recording with "
            f"{LOWEST_RATE} to {HIGHEST_RATE}"
        )


def _too_short(path, seconds):
    """Return the sentence for less than one frame of an encoder."""
    return BadInput(
        f"{path} lasts {1000 * seconds:.0f} ms: give at least "
        f"{1000 * SHORTEST // SAMPLE_RATE} ms of speech, better a second"
    )
