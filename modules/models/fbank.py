"""Log-mel filter banks in the place of an encoder: no pretrained weights."""

from modules.audio import SAMPLE_RATE
from modules.models.acoustic import AcousticEncoder, AcousticUpstream, as_text

# What encoder_hub calls it.
FBANK = "fbank"

# SpeechBrain's Fbank; hop and window in milliseconds.
FBANK_SETTINGS = {"n_mels": 80, "n_fft": 400, "hop_length": 10}

_FBANK_HOP = SAMPLE_RATE * FBANK_SETTINGS["hop_length"] // 1000

# Goes into the digest: raise it when the code below changes what comes out.
_FBANK_VERSION = 1


class FbankEncoder(AcousticEncoder):
    """SpeechBrain's log-mel filter banks, as an encoder of one layer.

    The mean over time of each channel of an utterance is taken off. Every
    utterance is transformed alone: the floor of the decibels is relative to
    its own maximum, and its last frame does not include padding.

    Example
    -------
    >>> import torch
    >>> states, frames = FbankEncoder()(torch.randn(2, 16000))
    >>> states.shape, frames.tolist()
    (torch.Size([1, 2, 101, 80]), [101, 101])
    """

    hidden_size = FBANK_SETTINGS["n_mels"]

    def __init__(self):
        super().__init__()
        # SpeechBrain is imported where it is used: it takes a second.
        from speechbrain.lobes.features import Fbank

        self.fbank = Fbank(sample_rate=SAMPLE_RATE, **FBANK_SETTINGS)
        self.requires_grad_(False)

    def count_frames(self, samples):
        """Return the frames of an utterance, at 100 per second."""
        return samples // _FBANK_HOP + 1

    def transform(self, waveform):
        """Return the bands of a waveform, [frames, hidden_size]."""
        bands = self.fbank(waveform[None])[0]
        return bands - bands.mean(dim=0)


class FbankUpstream(AcousticUpstream):
    """What is known of `FbankEncoder` without making it."""

    encoder = FbankEncoder

    def settings(self):
        """Return what the features depend on, as text."""
        return as_text(_FBANK_VERSION, FBANK_SETTINGS)
