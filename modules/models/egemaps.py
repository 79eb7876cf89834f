"""openSMILE's eGeMAPS functionals in the place of an encoder.

They are computed by audEERING's package opensmile, whose licence allows
non-commercial purposes alone, such as research and teaching; commercial use
needs another one. `modules.models.vocal` is the free alternative.

Source: Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS)
for voice research and affective computing", IEEE Transactions on Affective
Computing 7(2), 2016.
"""

import importlib.metadata

import torch
from torch.nn import functional as F

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput
from modules.models.acoustic import AcousticEncoder, AcousticUpstream

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


class EgemapsEncoder(AcousticEncoder):
    """The 88 functionals of an utterance, as one frame of one layer."""

    hidden_size = 88

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

    def transform(self, waveform):
        """Return the functionals of a waveform, [1, hidden_size].

        Zeros are added to less than a tenth of a second.
        """
        wav = waveform.cpu().float()
        wav = F.pad(wav, (0, max(_SHORTEST_SEGMENT - len(wav), 0)))
        values = self.smile.process_signal(wav.numpy(), SAMPLE_RATE)
        return torch.tensor(values.to_numpy()).to(waveform.device)


class EgemapsUpstream(AcousticUpstream):
    """What is known of `EgemapsEncoder` without making it."""

    encoder = EgemapsEncoder

    def settings(self):
        """Return what the features depend on, as text."""
        return f"{_FEATURE_SET} {_SHORTEST_SEGMENT} {_version()}"
