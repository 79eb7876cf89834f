#!/usr/bin/env python3
"""Recordings in, emotions out: a model in ONNX, without PyTorch.

    python emotion_onnx.py FILE... [--threads N]

needs NumPy, soundfile and onnxruntime alone (pip install numpy soundfile
onnxruntime), and model.onnx and model.json in the folder of this file:

    from emotion_onnx import EmotionOnnx

    model = EmotionOnnx()
    probabilities = model.classify_file("speech.wav")
    print(model.labels[probabilities.argmax()])

Recordings of more than a minute are classified in windows of at most a minute,
whose probabilities are averaged.

Exit status: 0; 1 if a recording has no answer; 2 if nothing could be done.
"""

import argparse
import functools
import json
import math
import os
import pathlib
import sys

import numpy as np
import soundfile

GRAPH, SETTINGS = "model.onnx", "model.json"

SAMPLE_RATE = 16000
# Rates at which speech is recorded.
LOWEST_RATE, HIGHEST_RATE = 4000, 384000
LONGEST_RECORDING = 24 * 3600

# The sinc function that resamples: zero crossings on either side, and where
# it cuts off, as a share of the lower of the two Nyquist frequencies. These
# are the values that the recordings of the training were resampled with.
_CROSSINGS, _ROLLOFF = 6, 0.99

# Whisper's spectrogram: samples of a Fourier transform, from one to the next,
# and of one frame of the encoder.
_FOURIER, _HOP, _FRAME = 400, 160, 320
# What the training read of stereo.
_MEAN, _CHANNELS = "mean", ("left", "right")
_FIT, _FIT_STEP = "fit", 2 * SAMPLE_RATE


class Problem(ValueError):
    """Something that a user can put right; its message is one sentence."""


@functools.lru_cache(maxsize=8)
def _sinc_filters(up, down):
    """Return a filter per phase of the output, [up, taps].

    A Hann-windowed sinc function, evaluated between two input samples.
    """
    cutoff = _ROLLOFF * min(1.0, up / down)
    reach = math.ceil(_CROSSINGS / cutoff)
    phases = (np.arange(up) * down % up) / up
    time = (np.arange(-reach, reach + 2) - phases[:, None]) * cutoff
    time = time.clip(-_CROSSINGS, _CROSSINGS)
    window = np.cos(np.pi * time / (2 * _CROSSINGS)) ** 2
    return (cutoff * np.sinc(time) * window).astype("float32")


def resample(samples: np.ndarray, rate: int) -> np.ndarray:
    """Resample one channel to 16 kHz.

    Arguments
    ---------
    samples : numpy.ndarray
        fp32, [samples].
    rate : int
        Samples per second.

    Returns
    -------
    samples : numpy.ndarray
        fp32, [samples * 16000 / rate].

    Example
    -------
    >>> resample(np.zeros(44100, "float32"), 44100).shape
    (16000,)
    """
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    if up == down:
        return samples
    filters = _sinc_filters(up, down)
    taps = filters.shape[1]
    reach = taps // 2 - 1
    count = -(-len(samples) * up // down)
    padded = np.pad(samples, (reach, taps + down))
    parts = np.lib.stride_tricks.sliding_window_view(padded, taps)
    result = np.empty(count, "float32")
    for phase, weights in enumerate(filters[:count]):
        own = parts[phase * down // up :: down][: -(-(count - phase) // up)]
        result[phase::up] = own @ weights
    return result


def split_into_windows(
    samples: int, window: int | str | None, longest: int
) -> tuple[int, int]:
    """Return how Whisper's encoder divides an utterance.

    Arguments
    ---------
    samples : int
        Length of the utterance at 16 kHz.
    window : int or str
        Seconds of a window, "fit" for the next multiple of 2 s, or None for
        the longest.
    longest : int
        Samples of the longest window.

    Returns
    -------
    part, size : int
        Samples of each part but the last, and of its window.
    """
    if isinstance(window, str):  # "fit"
        count = -(-samples // longest)
        part = -(-samples // (count * _FRAME)) * _FRAME
        return part, min(-(-part // _FIT_STEP) * _FIT_STEP, longest)
    size = longest if window is None else window * SAMPLE_RATE
    return size, size


def whisper_inputs(
    waveform: np.ndarray, window: int | str | None, longest: int
) -> dict[str, np.ndarray]:
    """Return the inputs of a graph with Whisper's encoder.

    Arguments
    ---------
    waveform : numpy.ndarray
        Mono, 16 kHz, [samples].
    window, longest
        See `split_into_windows`.

    Returns
    -------
    inputs : dict
        ``windows``, the samples that the Fourier transforms of each window
        cover, [windows, samples]; ``kept``, the frames of all windows that
        are the utterance's, [frames].
    """
    part, size = split_into_windows(len(waveform), window, longest)
    windows, kept = [], []
    for number, start in enumerate(range(0, len(waveform), part)):
        own = waveform[start : start + part]
        padded = np.zeros(min(size + _FOURIER, 30 * SAMPLE_RATE), "float32")
        padded[: len(own)] = own
        padded = np.pad(padded, _FOURIER // 2, mode="reflect")
        windows.append(padded[: size + _FOURIER - _HOP])
        frames = np.arange(-(-len(own) // _FRAME))
        kept.append(number * (size // _FRAME) + frames)
    return {"windows": np.stack(windows), "kept": np.concatenate(kept)}


def _read_settings(path):
    """Return what model.json contains, checked."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        labels, whisper = settings["labels"], settings["whisper"]
        counts = [settings["longest_seconds"], settings["shortest_samples"]]
        counts.append(settings["operator_set"])
        if whisper is not None:
            counts += [whisper["longest"], whisper["longest"] % _FRAME + 1]
            if whisper["window"] not in (None, _FIT):
                counts.append(whisper["window"])
        good = isinstance(labels, list) and labels
        good = good and settings.get("channel", _MEAN) in (_MEAN, *_CHANNELS)
        good = good and all(isinstance(label, str) for label in labels)
        good = good and all(type(n) is int and 0 < n < 2**31 for n in counts)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        good = False
    if not good:
        raise Problem(
            f"{path} is missing or damaged: export the model again with "
            "export.py --onnx"
        )
    return settings


def _open_session(path, threads, operator_set):
    """Return onnxruntime's session of a graph.

    Raises
    ------
    Problem
        If onnxruntime is missing, too old, or cannot read the graph.
    """
    try:
        import onnxruntime
    except ImportError as problem:
        raise Problem(
            "onnxruntime is not installed: pip install onnxruntime"
        ) from problem
    if not path.is_file():
        raise Problem(
            f"{path} does not exist: export the model with export.py --onnx"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors become our sentences
    # Idle threads sleep: waiting in a loop doubles the time of a core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
    except Exception as problem:  # onnxruntime's classes have no common base
        if "opset" in str(problem).lower():
            raise Problem(
                f"{path} needs operator set {operator_set} of ONNX, which "
                f"onnxruntime {onnxruntime.__version__} does not have: pip "
                "install --upgrade onnxruntime"
            ) from problem
        raise Problem(
            f"{path} is damaged, or onnxruntime {onnxruntime.__version__} "
            "cannot compute it: export the model again with export.py --onnx"
        ) from problem


class EmotionOnnx:
    """A model that ``export.py --onnx`` wrote.

    Arguments
    ---------
    folder : str or pathlib.Path
        Contains model.onnx and model.json; by default the folder of this file.
    threads : int
        Threads of one classification; onnxruntime's choice by default.

    Attributes
    ----------
    labels : list of str
        Names of the classes.

    Raises
    ------
    Problem
        If the model cannot be loaded.
    """

    def __init__(
        self,
        folder: str | os.PathLike | None = None,
        threads: int | None = None,
    ):
        folder = pathlib.Path(folder or pathlib.Path(__file__).parent)
        self._settings = _read_settings(folder / SETTINGS)
        self._session = _open_session(
            folder / GRAPH, threads, self._settings["operator_set"]
        )
        self.labels = self._settings["labels"]
        self.longest_seconds = self._settings["longest_seconds"]
        self.whisper = self._settings["whisper"]
        self.channel = self._settings.get("channel", _MEAN)
        self._shortest = self._settings["shortest_samples"]

    def run(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classify a waveform.

        Arguments
        ---------
        waveform : numpy.ndarray
            Mono, 16 kHz, fp32, [samples]; at most a minute.

        Returns
        -------
        probabilities : numpy.ndarray
            [classes].
        embedding : numpy.ndarray
            [values].
        """
        inputs = {"waveform": waveform}
        if self.whisper is not None:
            inputs |= whisper_inputs(waveform, **self.whisper)
        inputs = {i.name: inputs[i.name] for i in self._session.get_inputs()}
        try:
            probabilities, embedding = self._session.run(None, inputs)
        except Exception as problem:  # see _open_session
            raise Problem(
                f"{GRAPH} cannot be computed with {len(waveform)} samples: "
                "export the model again with export.py --onnx"
            ) from problem
        return probabilities, embedding

    def classify_file(self, path: str | os.PathLike) -> np.ndarray:
        """Return the probabilities [classes] of a recording of any length.

        Raises
        ------
        Problem
            If it cannot be read, is too short, silent, or has samples that
            are no numbers.
        """
        parts, loudest = [], 0.0
        for waveform in self._read(path):
            loudest = max(loudest, float(np.ptp(waveform)))
            parts.append(self.run(waveform)[0])
        if loudest == 0:
            raise Problem(f"{path} is silent: give a recording of speech")
        mean = np.mean(parts, axis=0)
        if not np.isfinite(mean).all():
            raise Problem(
                f"{path}: the model gives no finite probabilities, so its "
                "weights are damaged or the recording has absurd values"
            )
        return mean / mean.sum()

    def _read(self, path):
        """Yield the windows of a recording, mono at 16 kHz."""
        try:
            with soundfile.SoundFile(os.fspath(path)) as file:
                rate, samples = file.samplerate, file.frames
                self._check(path, rate, samples)
                count = -(-samples // (self.longest_seconds * rate))
                edges = [samples * i // count for i in range(count + 1)]
                for start, stop in zip(edges, edges[1:]):
                    file.seek(start)
                    block = file.read(stop - start, "float32", always_2d=True)
                    if len(block) < stop - start:
                        raise Problem(f"{path} ends early: record it again")
                    waveform = resample(self._mix(path, block), rate)
                    if not np.isfinite(waveform).all():
                        raise Problem(
                            f"{path} has samples that are no numbers (NaN or "
                            "infinite): export it again"
                        )
                    yield waveform
        except (OSError, RuntimeError) as problem:
            raise Problem(
                f"{path} cannot be read as a recording: give a wav, flac, ogg "
                "or mp3 file"
            ) from problem

    def _mix(self, path, block):
        """Return what the training read of stereo, [samples]."""
        if self.channel == _MEAN:
            return block.mean(axis=1)
        index = _CHANNELS.index(self.channel)
        if index >= block.shape[1]:
            raise Problem(f"{path} is mono: give stereo, as in the training")
        return block[:, index]

    def _check(self, path, rate, samples):
        """Refuse a recording that has no speech to classify."""
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise Problem(
                f"{path} has {rate} samples per second: give a recording with "
                f"{LOWEST_RATE} to {HIGHEST_RATE}"
            )
        if samples > LONGEST_RECORDING * rate:
            raise Problem(
                f"{path} lasts more than a day, or its header does not name "
                "its length: convert it to WAV"
            )
        if samples * SAMPLE_RATE < self._shortest * rate:
            raise Problem(
                f"{path} lasts {1000 * samples / rate:.0f} ms: give at least "
                f"{1000 * self._shortest / SAMPLE_RATE:.0f} ms of speech, "
                "better a second"
            )


def main(arguments: list[str] | None = None) -> int:
    """Classify from the command line; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot print a name is no reason to print nothing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(
        description="Recognise the emotion in recordings of speech."
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings")
    parser.add_argument(
        "--threads", type=int, help="default: onnxruntime's choice"
    )
    options = parser.parse_args(arguments)
    try:
        model = EmotionOnnx(threads=options.threads)
    except Problem as problem:
        print(f"error: {_printable(problem)}", file=sys.stderr)
        return 2
    status = 0
    print("\t".join(["file", "emotion", *map(_printable, model.labels)]))
    for file in options.files:
        try:
            scores = model.classify_file(file)
        except Problem as problem:
            print(f"skipped: {_printable(problem)}", file=sys.stderr)
            status = 1
            continue
        cells = [file, model.labels[int(scores.argmax())]]
        cells += [f"{score:.3f}" for score in scores]
        print("\t".join(map(_printable, cells)))
    return status


def _printable(text):
    """Return a text whose control characters a terminal does not obey."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode()
        for c in str(text)
    )


if __name__ == "__main__":
    sys.exit(main())
