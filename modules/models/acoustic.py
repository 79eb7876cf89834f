"""What encoders without weights have in common: features computed by code."""

import hashlib
import json

import torch
from torch import nn


class AcousticEncoder(nn.Module):
    """Features of a waveform in the place of an encoder of one layer.

    A subclass has `transform`, `hidden_size` and `count_frames`. Every
    utterance is transformed alone, so that padding changes no feature.
    """

    num_hidden_states = 1
    hidden_size: int
    is_whisper = False

    def transform(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the features of a waveform [samples], [frames, hidden_size]."""
        raise NotImplementedError

    def count_frames(self, samples: int) -> int:
        """Return the frames of an utterance."""
        raise NotImplementedError

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`."""
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = [
            self.transform(wav[:count])
            for wav, count in zip(wavs, samples.long().tolist())
        ]
        frames = torch.tensor([len(one) for one in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        return padded[None], frames.to(wavs.device)


class AcousticUpstream:
    """What is known of an `AcousticEncoder` without making it.

    A subclass names the encoder's class and describes its settings. See
    `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    encoder: type[AcousticEncoder]

    @property
    def num_hidden_states(self) -> int:
        """Number of layers."""
        return self.encoder.num_hidden_states

    @property
    def hidden_size(self) -> int:
        """Number of channels."""
        return self.encoder.hidden_size

    def count_frames(self, samples):
        """Return the frames of an utterance."""
        return self.encoder.count_frames(self, samples)

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return self.encoder.computed_seconds(self, seconds)

    def settings(self) -> str:
        """Return what the features depend on, as text."""
        raise NotImplementedError

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings; it computes in fp32 always."""
        return hashlib.sha256(self.settings().encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return self.encoder()


def as_text(version: int, settings: dict) -> str:
    """Return settings in one order, with the version of the code.

    Example
    -------
    >>> as_text(1, {"hop": 10})
    '{"hop": 10, "version": 1}'
    """
    return json.dumps({"version": version, **settings}, sort_keys=True)
