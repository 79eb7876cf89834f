"""Windows of Whisper: how much audio one pass of its encoder covers.

Whisper was trained on windows of 30 s, to which every utterance is padded.
The cost of a pass grows with the window, so that an utterance of 2 s costs as
much as one of 30 s. A shorter window cuts the log-mel spectrogram and the
position embeddings. It depends on the utterance alone, never on batch mates.
"""

from typing import Any

import torch
from torch.nn import functional as F

from modules.audio import SAMPLE_RATE
from modules.errors import BadInput

# The window is the next multiple of 2 s.
FIT = "fit"
_STEP = 2 * SAMPLE_RATE

# Samples of one frame of Whisper's encoder: 20 ms.
FRAME = SAMPLE_RATE // 50


def check_window(window: int | str | None, longest: int) -> int | str | None:
    """Return a window, None for the longest; refuse one that does not exist.

    Arguments
    ---------
    window : int or str
        Seconds, "fit", or None for the longest.
    longest : int
        Frames that the encoder has position embeddings for.

    Raises
    ------
    BadInput
        Naming the window and the longest one.

    Example
    -------
    >>> check_window(6, longest=1500), check_window(30, longest=1500)
    (6, None)
    """
    if window is None or window == FIT:
        return window
    seconds = longest * FRAME // SAMPLE_RATE
    if isinstance(window, bool) or not isinstance(window, int):
        raise BadInput(
            f"whisper_window must be fit, or seconds from 1 to {seconds}, not "
            f"{window}"
        )
    if not 1 <= window <= seconds:
        raise BadInput(
            f"whisper_window {window} must be from 1 to the {seconds} s that "
            "this encoder has positions for"
        )
    return None if window == seconds else window


def split_into_windows(
    samples: int, window: int | str | None, longest: int
) -> list[tuple[int, int]]:
    """Return the parts of an utterance and the window of each.

    Arguments
    ---------
    samples : int
        Length of the utterance at 16 kHz.
    window : int or str
        Seconds, "fit", or None for the longest.
    longest : int
        Samples of the longest window.

    Returns
    -------
    parts : list of tuple
        Samples of the part and of its window. "fit" divides utterances that
        are longer than the longest window into parts of equal length and
        equal windows; other windows into full windows and a rest.

    Example
    -------
    >>> split_into_windows(40_000, "fit", 480_000)
    [(40000, 64000)]
    >>> split_into_windows(40_000, None, 480_000)
    [(40000, 480000)]
    """
    if not isinstance(window, str):
        size = longest if window is None else window * SAMPLE_RATE
        return [
            (min(size, samples - start), size)
            for start in range(0, samples, size)
        ]
    count = -(-samples // longest)
    # Whole frames, so that the frames of the parts add up.
    size = -(-samples // (count * FRAME)) * FRAME
    fitting = min(-(-size // _STEP) * _STEP, longest)
    return [
        (min(size, samples - start), fitting)
        for start in range(0, samples, size)
    ]


def encode_window(encoder: Any, mels: torch.Tensor) -> torch.Tensor:
    """Return the hidden states of windows of any length.

    transformers' forward pass accepts the full window alone. For that one both
    give the same values, which a test compares.

    Arguments
    ---------
    encoder : transformers.models.whisper.modeling_whisper.WhisperEncoder
        In evaluation mode.
    mels : torch.Tensor
        Log-mel spectrograms, [windows, bands, 2 * frames].

    Returns
    -------
    hidden_states : torch.Tensor
        [layers, windows, frames, hidden_size].
    """
    states = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mels)))).transpose(1, 2)
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    hidden_states = [states]
    for layer in encoder.layers:
        states = layer(states, None)
        hidden_states.append(states)
    hidden_states[-1] = encoder.layer_norm(states)
    return torch.stack(hidden_states)


def log_mel(wrapper, waveform: torch.Tensor, size: int) -> torch.Tensor:
    """Return the log-mel spectrogram of one window, [1, bands, frames].

    The floor is relative to the maximum of the spectrogram, therefore one window
    at a time. Padding beyond the window keeps its last frames
    those of the spectrogram of 30 s.

    Arguments
    ---------
    wrapper : modules.models.encoder_loading.WhisperModel
    waveform : torch.Tensor
        At most ``size`` samples.
    size : int
        Samples of the window.
    """
    padded = min(size + wrapper.n_fft, 30 * SAMPLE_RATE)
    audio = F.pad(waveform, (0, padded - len(waveform)))
    spectrum = torch.stft(
        audio[None],
        wrapper.n_fft,
        wrapper.hop_length,
        window=torch.hann_window(wrapper.n_fft, device=audio.device),
        return_complex=True,
    )
    power = spectrum[..., :-1].abs() ** 2
    mels = (wrapper._mel_filters @ power).clamp(min=1e-10).log10()
    mels = torch.maximum(mels, mels.max() - 8.0)
    return ((mels + 4.0) / 4.0)[..., : size // wrapper.hop_length]
