"""The emotion of the last seconds, while the sound is still coming."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from modules.audio import HIGHEST_RATE, LOWEST_RATE, SHORTEST, resample
from modules.errors import BadInput, printable
from modules.inference.predictor import classify
from modules.inference.recordings import check_segments
from modules.inference.records import UNKNOWN, known_or_unknown
from modules.inference.restriction import restrict

# Seconds of the window, and from answer to answer.
SEGMENT, HOP = 4.0, 1.0
RATE = 16000
_SCALE = 32768  # of 16 bits, as libsndfile scales them


def rolling_windows(
    blocks: Iterable[np.ndarray], most: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Return the last samples after each block.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        [samples] each, as they come.
    most : int
        Samples of a window; no more are kept.

    Yields
    ------
    total : int
        Samples that have come.
    window : numpy.ndarray
        The last ``most`` of them, or all.

    Example
    -------
    >>> for total, window in rolling_windows(np.arange(6).reshape(3, 2), 3):
    ...     print(total, window)
    2 [0 1]
    4 [1 2 3]
    6 [3 4 5]
    """
    total, window = 0, np.zeros(0, "float32")
    for block in blocks:
        total += len(block)
        # The copy frees what is no longer in the window.
        window = np.concatenate([window, block])[-most:].astype(block.dtype)
        yield total, window


def classify_window(
    model: torch.nn.Module, window: np.ndarray, rate: int, device: str
) -> torch.Tensor | None:
    """Return the answer that `predict` gives for a file with these samples.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
    window : numpy.ndarray
        fp32, [samples].
    rate : int
        Samples per second.
    device : str
        Where the model is.

    Returns
    -------
    scores : torch.Tensor
        Log-probabilities [classes]; None for silence and for less than one
        frame of an encoder.
    """
    waveform = resample(torch.from_numpy(window)[:, None], rate).mean(dim=1)
    if len(waveform) < SHORTEST or waveform.min() == waveform.max():
        return None
    return classify(model, [waveform], device)[0]


def read_raw(stream, count: int) -> Iterator[np.ndarray]:
    """Return blocks of raw samples: mono, 16 bits, little-endian.

    Arguments
    ---------
    stream
        Binary, such as ``sys.stdin.buffer``.
    count : int
        Samples of a block; the last one may have fewer.

    Yields
    ------
    block : numpy.ndarray
        fp32 in [-1, 1], [samples].
    """
    while content := stream.read(2 * count):
        samples = np.frombuffer(content[: len(content) // 2 * 2], "<i2")
        if len(samples):
            yield samples.astype("float32") / _SCALE


@contextlib.contextmanager
def open_microphone(rate: int, count: int):
    """Give blocks of samples of the microphone; see `read_raw`.

    Raises
    ------
    BadInput
        If sounddevice or PortAudio is missing, or there is no microphone.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as problem:  # OSError: no PortAudio
        raise BadInput(
            f"a microphone needs sounddevice and PortAudio ({problem}): pip "
            "install sounddevice, apt-get install libportaudio2, or give - "
            "for raw samples from standard input"
        ) from problem

    def blocks(stream):
        while True:
            content, is_late = stream.read(count)
            if is_late:
                print("warning: samples were lost", file=sys.stderr)
            yield np.frombuffer(content, "<i2").astype("float32") / _SCALE

    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate, channels=1, dtype="int16"
        )
    except (sounddevice.PortAudioError, ValueError) as problem:
        raise BadInput(
            f"no microphone can be opened at {rate} samples per second "
            f"({problem}): connect one, choose another --rate, or give - for "
            "raw samples from standard input"
        ) from problem
    with stream:
        yield blocks(stream)


def follow_blocks(
    blocks: Iterable[np.ndarray],
    rate: int,
    segment: float,
    classify_samples: Callable[[np.ndarray], torch.Tensor | None],
) -> Iterator[tuple[float, torch.Tensor | None]]:
    """Return the seconds that have passed and the answer, after each block.

    Arguments
    ---------
    blocks : iterable of numpy.ndarray
        fp32 in [-1, 1], [samples].
    rate : int
        Samples per second.
    segment : float
        Seconds of the window.
    classify_samples : callable
        Returns log-probabilities [classes] of a window, or None.
    """
    for total, window in rolling_windows(blocks, round(segment * rate)):
        yield total / rate, classify_samples(window)


def follow(engine, options) -> Iterator[str]:
    """Return lines for the terminal until the sound or the user ends.

    Arguments
    ---------
    engine : modules.inference.job.Engine
        The model.
    options : argparse.Namespace
        From `modules.inference.options.parse`.

    Raises
    ------
    BadInput
        If a length or the rate is out of range, or there is no microphone.
    """
    segment, hop = options.segments or SEGMENT, options.hop or HOP
    check_segments(segment, hop)
    rate = options.rate or RATE
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise BadInput(
            f"--rate must be {LOWEST_RATE} to {HIGHEST_RATE} samples per "
            f"second, not {rate}"
        )
    count = max(1, round(hop * rate))
    source: contextlib.AbstractContextManager
    if options.paths == ["microphone"]:
        source = open_microphone(rate, count)
    else:
        source = contextlib.nullcontext(read_raw(sys.stdin.buffer, count))

    def classify_samples(window):
        return classify_window(engine.model, window, rate, engine.device)

    with source as blocks, contextlib.suppress(KeyboardInterrupt):
        answers = follow_blocks(blocks, rate, segment, classify_samples)
        for seconds, scores in answers:
            yield _line(seconds, scores, engine)


def _line(seconds, scores, engine):
    """Return an answer for the terminal."""
    if scores is None:
        return f"{seconds:9.2f} s  (silence)"
    chances = restrict(scores, engine.places).exp()
    best = int(chances.argmax())
    label, chance = engine.labels[best], chances[best].item()
    text = f"{printable(label)} {chance:.3f}"
    if known_or_unknown(label, chance, engine.threshold) == UNKNOWN:
        text = f"{UNKNOWN} ({text})"
    return f"{seconds:9.2f} s  {text}"
