"""A recording drawn over time: waveform, spectrogram, attention."""

import torch
from matplotlib import pyplot as plt

from modules.audio import SAMPLE_RATE


def draw_speech(waveform, attention=None, more=(), size=(9, 2)):
    """Draw waveform and spectrogram, and attention under them.

    Arguments
    ---------
    waveform : torch.Tensor
        At 16 kHz, [samples].
    attention : torch.Tensor
        Weight of each frame, [frames], or None.
    more : iterable of str
        Names of empty panels to add below, on the same axis of time.
    size : tuple
        Width of a panel and its height, in inches.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : dict
        Name of the panel -> matplotlib.axes.Axes.
    """
    names = ["waveform", "spectrogram"]
    if attention is not None:
        names.append("attention")
    names += more
    seconds = len(waveform) / SAMPLE_RATE
    figure, panels = plt.subplots(
        len(names), figsize=(size[0], size[1] * len(names)), sharex=True
    )
    axes = dict(zip(names, panels))
    time = torch.arange(len(waveform)) / SAMPLE_RATE
    axes["waveform"].plot(time, waveform, linewidth=0.4)
    # A floor under the logarithm: digital silence is not minus infinity.
    axes["spectrogram"].specgram(
        waveform.numpy() + 1e-7, NFFT=400, Fs=SAMPLE_RATE, noverlap=240
    )
    axes["spectrogram"].set_ylabel("Hz")
    if attention is not None:
        count = len(attention)
        frames = (torch.arange(count) + 0.5) * seconds / count
        axes["attention"].plot(frames, attention)
        axes["attention"].axhline(
            1 / count, color="tab:gray", linestyle="--", linewidth=0.8
        )
        axes["attention"].set_ylim(bottom=0)
    for name in names:
        axes[name].set_title(name, fontsize=9, loc="left")
    axes["waveform"].set_xlim(0, seconds)
    panels[-1].set_xlabel("seconds")
    return figure, axes
