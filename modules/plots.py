"""Plots: a recording and its classification over time, and of runs."""

import numpy as np
from matplotlib.figure import Figure

from modules.errors import printable
from modules.files import whole_file


def plain_text(text: str) -> str:
    """Return a name such that matplotlib draws it as it is.

    Between two dollar signs matplotlib reads mathematics, and a label that
    starts with an underscore is left out of legends.

    Arguments
    ---------
    text : str
        A label, a title or the name of a file.

    Returns
    -------
    str
        For every text that matplotlib draws.

    Example
    -------
    >>> plain_text("cash$_$")
    'cash\\\\$_\\\\$'
    """
    text = text.replace("$", r"\$")
    # A character without width.
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


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
        For `save_figure`.
    """
    seconds = len(waveform) / sample_rate
    panels = 3 if attention is None else 4
    figure = Figure(figsize=(9, 2 * panels), layout="constrained")
    *own, last = figure.subplots(panels)
    draw_waveform(own[0], waveform, sample_rate)
    draw_spectrogram(own[1], waveform, sample_rate)
    if attention is not None:
        draw_attention(own[2], attention, seconds)
    if len(times) == 1:
        draw_bars(last, labels, probabilities[0])
    else:
        draw_probabilities(last, labels, times, probabilities)
        own.append(last)
    for axes in own:
        axes.set_xlim(0, seconds)
    for axes in own[:-1]:
        axes.tick_params(labelbottom=False)
    own[-1].set_xlabel("seconds")
    figure.suptitle(plain_text(printable(title)))
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
    """Draw a line per class over several parts, see `draw_recording`."""
    middles = [(start + end) / 2 for start, end in times]
    for label, values in zip(labels, np.transpose(probabilities)):
        axes.plot(middles, values, label=plain_text(printable(label)))
    axes.set_ylim(0, 1)
    axes.set_ylabel("probability")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def draw_bars(axes, labels, probabilities):
    """Draw a bar per class: the probabilities [classes] of one part."""
    names = [plain_text(printable(label)) for label in labels]
    places = range(len(labels))
    bars = axes.barh(places, probabilities)
    axes.bar_label(bars, [f"{p:.1%}" for p in probabilities], padding=3)
    axes.set_yticks(places, names)
    axes.invert_yaxis()  # the first class is above the others
    axes.set_xlim(0, 1.1)
    axes.set_xlabel("probability")


def save_figure(figure, path, dpi=150):
    """Write a plot as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, bbox_inches="tight")


def plot_confusion(path, confusion, labels, title):
    """Draw a confusion matrix: share of each true class, and counts.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the plot.
    confusion : list of list of int
        Counts; rows: truth.
    labels : list of str
        Names of the classes.
    title : str
        Above the matrix.
    """
    counts = np.array(confusion)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    side = 2.2 + 0.7 * len(labels)
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{share:.0%}\n{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share > 0.5 else "black",
        )
    ticks = [plain_text(label) for label in labels]
    axes.set_xticks(range(len(labels)), ticks, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), ticks)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(plain_text(title), fontsize=10)
    save_figure(figure, path)


def plot_layer_weights(path, weights, title):
    """Draw the learned weight of each layer beside the uniform one.

    Arguments
    ---------
    path : str
        Of the picture.
    weights : list of float
        Sum to one.
    title : str
        Names the system.
    """
    figure = Figure(figsize=(max(4, 0.3 * len(weights)), 3))
    axes = figure.subplots()
    axes.bar(range(len(weights)), weights, color="tab:blue")
    axes.axhline(
        1 / len(weights), color="tab:gray", linestyle="--", label="uniform"
    )
    axes.set_xlabel("layer (0: input of the transformer)")
    axes.set_ylabel("weight")
    axes.set_title(plain_text(title), fontsize=10)
    axes.set_ylim(top=1.3 * max(weights))  # room for the legend
    axes.legend(loc="upper right")
    axes.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, path)
