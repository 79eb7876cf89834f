"""Log-mel filter banks in the place of an encoder: no pretrained weights."""

import hashlib
import json

import torch
from torch import nn

from modules.audio import SAMPLE_RATE

# What encoder_hub calls it.
FBANK = "fbank"

# SpeechBrain's Fbank; hop and window in milliseconds.
FBANK_SETTINGS = {"n_mels": 80, "n_fft": 400, "hop_length": 10}

_FBANK_HOP = SAMPLE_RATE * FBANK_SETTINGS["hop_length"] // 1000

# Goes into the digest: raise it when the code below changes what comes out.
_FBANK_VERSION = 1


class FbankEncoder(nn.Module):
    """SpeechBrain's log-mel filter banks, as an encoder of one layer.

    The mean over time of each channel of an utterance is taken off. Every
    utterance is transformed alone: the floor of the decibels is relative to
    its own maximum, and its last frame does not include padding.

    Example
    -------
    >>> states, frames = FbankEncoder()(torch.randn(2, 16000))
    >>> states.shape, frames.tolist()
    (torch.Size([1, 2, 101, 80]), [101, 101])
    """

    num_hidden_states = 1
    hidden_size = FBANK_SETTINGS["n_mels"]
    is_whisper = False

    def __init__(self):
        super().__init__()
        # SpeechBrain is imported where it is used: it takes a second.
        from speechbrain.lobes.features import Fbank

        self.fbank = Fbank(sample_rate=SAMPLE_RATE, **FBANK_SETTINGS)
        self.requires_grad_(False)

    def count_frames(self, samples):
        """Return the frames of an utterance, at 100 per second."""
        return samples // _FBANK_HOP + 1

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`."""
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = []
        for wav, count in zip(wavs, samples.long().tolist()):
            bands = self.fbank(wav[None, :count])[0]  # [frames, hidden_size]
            features.append(bands - bands.mean(dim=0))
        frames = torch.tensor([len(one) for one in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        return padded[None], frames.to(wavs.device)


class FbankUpstream:
    """What is known of `FbankEncoder` without making it.

    See `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    num_hidden_states, hidden_size = (
        FbankEncoder.num_hidden_states,
        FbankEncoder.hidden_size,
    )
    count_frames = FbankEncoder.count_frames
    computed_seconds = FbankEncoder.computed_seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings; it computes in fp32 always."""
        settings = {"version": _FBANK_VERSION, **FBANK_SETTINGS}
        text = json.dumps(settings, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return FbankEncoder()
