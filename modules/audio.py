"""Reading recordings as the encoders want them: mono, 16 kHz."""

import soundfile
import torch
from speechbrain.dataio.preprocess import AudioNormalizer

from modules.errors import BadInput

SAMPLE_RATE = 16000

# What the convolutions of WavLM, HuBERT and wav2vec 2.0 need for one frame.
SHORTEST = 400

_to_mono_16k = AudioNormalizer(sample_rate=SAMPLE_RATE, mix="avg-to-mono")


def read_waveform(path, start=0, stop=None):
    """Read a recording, mix it down to mono and resample it to 16 kHz.

    Arguments
    ---------
    path : str
        Any format that libsndfile reads.
    start, stop : int
        Read a part: samples at the file's own rate.

    Returns
    -------
    waveform : torch.Tensor
        fp32 in [-1, 1], [samples].
    """
    samples, rate = soundfile.read(
        path, dtype="float32", always_2d=True, start=start, stop=stop
    )
    return _to_mono_16k(torch.from_numpy(samples), rate)


def read_length(path):
    """Return samples and rate of a recording, from its header.

    Raises
    ------
    BadInput
        If it cannot be read or is shorter than one frame of an encoder.
    """
    try:
        header = soundfile.info(path)
    except (OSError, soundfile.SoundFileError) as problem:
        raise _unreadable(path, problem) from problem
    if header.frames * SAMPLE_RATE < SHORTEST * header.samplerate:
        raise _too_short(path, header.frames / header.samplerate)
    return header.frames, header.samplerate


def read_speech(path, start=0, stop=None):
    """Read as `read_waveform` does, and refuse what nobody could judge.

    Raises
    ------
    BadInput
        If it cannot be read, is too short or holds samples that are no
        numbers, or if a whole file is digital silence from end to end (a part
        of one may be).
    """
    try:
        waveform = read_waveform(path, start, stop)
    except (OSError, soundfile.SoundFileError) as problem:
        raise _unreadable(path, problem) from problem
    if len(waveform) < SHORTEST:
        raise _too_short(path, len(waveform) / SAMPLE_RATE)
    if not waveform.isfinite().all():
        raise BadInput(
            f"{path} holds samples that are no numbers (NaN or infinite): "
            "export it again"
        )
    if stop is None and waveform.min() == waveform.max():
        raise BadInput(f"{path} is silent: give a recording of speech")
    return waveform


def _too_short(path, seconds):
    """Return the sentence for less than one frame of an encoder."""
    return BadInput(
        f"{path} lasts {1000 * seconds:.0f} ms: give at least "
        f"{1000 * SHORTEST // SAMPLE_RATE} ms of speech, better a second"
    )


def _unreadable(path, problem):
    """Return the sentence for a file that libsndfile cannot read."""
    reason = getattr(problem, "error_string", None) or problem
    return BadInput(
        f"{path} cannot be read ({str(reason).strip().rstrip('.')}): give a "
        "file that libsndfile reads, such as WAV, FLAC, OGG or MP3"
    )
