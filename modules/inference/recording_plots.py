"""A plot of each recording and its answers."""

import os
import pathlib

import torch

from modules.audio import CHANNELS, SAMPLE_RATE, read_length, read_speech
from modules.inference.emotion_model import LONGEST_SECONDS
from modules.plots import draw_recording, save_figure


def plot_recordings(folder, model, rows, labels, device, channel) -> None:
    """Draw one plot per recording, or of its first minute.

    Arguments
    ---------
    folder : str
        Of the plots.
    model : modules.inference.emotion_model.EmotionModel
        Gives the attention.
    rows : list of modules.inference.predictor.Row
        Answers.
    labels : list of str
        Names of the classes.
    device : str
        Where the model is.
    channel : str or int
        See `modules.audio.read_speech`.
    """
    recordings = {}
    for row in rows:
        recordings.setdefault((row.file, row.channel), []).append(row)
    taken = set()
    for (file, name), own in recordings.items():
        stem = os.path.basename(file)
        # A name has at most 255 bytes, the ending and a number included.
        while len(os.fsencode(stem)) > 200:
            stem = stem[:-1]
        stem += "" if name is None else f"_{name}"
        title, number = stem, 1
        while title in taken:  # a.wav of two folders
            number += 1
            title = f"{stem}_{number}"
        taken.add(title)
        if name is not None:
            channel = CHANNELS[name] if name in CHANNELS else int(name) - 1
        path = pathlib.Path(folder) / f"{title}.png"
        _plot(path, model, own, labels, device, channel)


def _plot(path, model, rows, labels, device, channel):
    """Draw one recording; see `plot_recordings`."""
    file = rows[0].file
    samples, rate = read_length(file)
    stop = min(samples, LONGEST_SECONDS * rate)
    waveform = read_speech(file, 0, stop, channel)
    with torch.inference_mode():
        attention = model.attention(waveform.to(device))
    title = os.path.basename(file)
    if rows[0].channel is not None:
        title += f", channel {rows[0].channel}"
    if samples > LONGEST_SECONDS * rate:
        title += f" (first {LONGEST_SECONDS} s)"
    scores = torch.stack([row.log_probabilities for row in rows])
    figure = draw_recording(
        title,
        waveform.numpy(),
        SAMPLE_RATE,
        labels,
        times=[(row.start, row.end) for row in rows],
        probabilities=scores.exp().numpy(),
        attention=None if attention is None else attention.cpu().numpy(),
    )
    save_figure(figure, path, dpi=120)
