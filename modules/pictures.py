"""Pictures of a recording: what was said when, and what was made of it."""

import numpy as np
from matplotlib.figure import Figure


def draw_recording(
    title, waveform, sample_rate, labels, times, probabilities, attention=None
):
    """Draw waveform, spectrogram, attention and probabilities over time.

    Arguments
    ---------
    title : str
        Name of the recording.
    waveform : numpy.ndarray
        In [-1, 1], [samples].
    sample_rate : int
        Samples per second.
    labels : list of str
        Names of the classes.
    times : list of tuple
        (start, end) in seconds of each part that was classified.
    probabilities : numpy.ndarray
        [parts, classes].
    attention : numpy.ndarray
        Weight of each frame, [frames]; None if there is none.

    Returns
    -------
    figure : matplotlib.figure.Figure
        For `modules.results.save_figure`.
    """
    seconds = len(waveform) / sample_rate
    panels = 3 if attention is None else 4
    figure = Figure(figsize=(9, 2 * panels), layout="constrained")
    axes = iter(figure.subplots(panels, sharex=True))
    draw_waveform(next(axes), waveform, sample_rate)
    draw_spectrogram(next(axes), waveform, sample_rate)
    if attention is not None:
        draw_attention(next(axes), attention, seconds)
    last = next(axes)
    draw_probabilities(last, labels, times, probabilities)
    last.set_xlabel("seconds")
    last.set_xlim(0, seconds)
    figure.suptitle(title)
    return figure


def draw_waveform(axes, waveform, sample_rate):
    """Draw a waveform [samples]."""
    time = np.arange(len(waveform)) / sample_rate
    axes.plot(time, waveform, linewidth=0.4)
    axes.set_ylabel("waveform")


def draw_spectrogram(axes, waveform, sample_rate):
    """Draw 80 dB below the loudest point; windows of 25 ms, 10 ms apart."""
    window, step = round(0.025 * sample_rate), round(0.01 * sample_rate)
    # A floor under the logarithm: digital silence is not minus infinity.
    _, _, _, picture = axes.specgram(
        np.pad(waveform, (0, max(0, 2 * window - len(waveform)))) + 1e-7,
        NFFT=window,
        Fs=sample_rate,
        noverlap=window - step,
        cmap="magma",
    )
    top = picture.get_array().max()
    picture.set_clim(top - 80, top)
    axes.set_facecolor(picture.get_cmap()(0.0))
    axes.set_ylabel("Hz")


def draw_attention(axes, attention, seconds):
    """Draw the weight of each frame [frames] of so many seconds."""
    frames = (np.arange(len(attention)) + 0.5) * seconds / len(attention)
    axes.plot(frames, attention)
    axes.axhline(1 / len(attention), color="tab:gray", linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("attention\n(dashed: uniform)")


def draw_probabilities(axes, labels, times, probabilities):
    """Draw a line per class over the parts, see `draw_recording`."""
    middles = [(start + end) / 2 for start, end in times]
    if len(times) == 1:
        middles, probabilities = times[0], np.repeat(probabilities, 2, axis=0)
    for label, values in zip(labels, np.transpose(probabilities)):
        axes.plot(middles, values, label=label)
    axes.set_ylim(0, 1)
    axes.set_ylabel("probability")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
