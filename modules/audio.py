"""Reading recordings as the encoders want them: mono, 16 kHz."""

import soundfile
import torch
from speechbrain.dataio.preprocess import AudioNormalizer

SAMPLE_RATE = 16000

_to_mono_16k = AudioNormalizer(sample_rate=SAMPLE_RATE, mix="avg-to-mono")


def read_waveform(path):
    """Read a recording, mix it down to mono and resample it to 16 kHz.

    Arguments
    ---------
    path : str
        Any format that libsndfile reads.

    Returns
    -------
    waveform : torch.Tensor
        fp32 in [-1, 1], [samples].
    """
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return _to_mono_16k(torch.from_numpy(samples), rate)
