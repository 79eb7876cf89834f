"""openSMILE's eGeMAPS functionals in the place of an encoder.

They are computed by audEERING's package opensmile, whose licence allows
non-commercial purposes alone, such as research and teaching; commercial use
needs another one. `modules.models.vocal` is the free alternative.

Source: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS)
for voice research and affective computing", IEEE Transactions on Affective
Computing 7(2), 2016.
"""

import hashlib
import importlib.metadata

import torch
from torch import nn
from torch.nn import functional as F

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput

# What encoder_hub and acoustics call it.
EGEMAPS = "egemaps"

_FEATURE_SET = "eGeMAPSv02"
# Samples; openSMILE computes nothing of much less.
_SHORTEST_SEGMENT = 1600


def _version():
    """Return the version of opensmile.

    Raises
    ------
    BadInput
        If it is not installed.
    """
    try:
        return importlib.metadata.version("opensmile")
    except importlib.metadata.PackageNotFoundError as problem:
        raise BadInput(
            "egemaps needs opensmile, whose licence allows no commercial use: "
            "pip install -r requirements-opensmile.txt -c constraints.txt, or "
            "choose vocal"
        ) from problem


class EgemapsEncoder(nn.Module):
    """The 88 functionals of an utterance, as one frame of one layer."""

    num_hidden_states = 1
    hidden_size = 88
    is_whisper = False

    def __init__(self):
        super().__init__()
        _version()
        import opensmile

        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet[_FEATURE_SET],
            feature_level=opensmile.FeatureLevel.Functionals,
        )

    def count_frames(self, samples):
        """Return the frames of an utterance: one."""
        return 1

    def computed_seconds(self, seconds):
        """Return the seconds of audio that an utterance costs."""
        return seconds

    @torch.no_grad()
    def forward(self, wavs, lengths=None):
        """Transform; see `modules.models.encoder.FrozenEncoder.forward`.

        Zeros are added to less than a tenth of a second.
        """
        if lengths is None:
            lengths = torch.ones(len(wavs))
        samples = torch.round(lengths.cpu().double() * wavs.shape[1])
        features = []
        for wav, count in zip(wavs.cpu().float(), samples.long().tolist()):
            wav = F.pad(wav[:count], (0, max(_SHORTEST_SEGMENT - count, 0)))
            values = self.smile.process_signal(wav.numpy(), SAMPLE_RATE)
            features.append(torch.tensor(values.to_numpy()))
        states = torch.stack(features)[None].to(wavs.device)
        return states, torch.ones(len(wavs), dtype=torch.int64).to(wavs.device)


class EgemapsUpstream:
    """What is known of `EgemapsEncoder` without making it.

    See `modules.models.upstream.HubUpstream`.
    """

    is_local = False
    folder = None
    num_hidden_states, hidden_size = (
        EgemapsEncoder.num_hidden_states,
        EgemapsEncoder.hidden_size,
    )
    count_frames = EgemapsEncoder.count_frames
    computed_seconds = EgemapsEncoder.computed_seconds

    def digest(self, precision="fp32"):
        """Return the SHA-256 of its settings and of opensmile's version."""
        text = f"{_FEATURE_SET} {_SHORTEST_SEGMENT} {_version()}"
        return hashlib.sha256(text.encode()).hexdigest()

    def make(self, precision="fp32"):
        """Return the encoder."""
        return EgemapsEncoder()
