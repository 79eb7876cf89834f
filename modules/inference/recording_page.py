"""Answers for recordings as HTML: waveform, emotion over time, table.

Everything is in the text: no script, no style and no font from elsewhere.
"""

from __future__ import annotations

import itertools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jinja2
import numpy as np

from modules.audio import read_length, read_speech
from modules.errors import BadInput, printable
from modules.inference.emotion_model import split_evenly
from modules.inference.records import known_or_unknown

TEMPLATE = pathlib.Path(__file__).with_suffix(".html")
# Distinguishable with any colour vision (Okabe and Ito), light and dark.
COLOURS = (
    "#d55e00 #0072b2 #009e73 #cc79a7 #e69f00 #56b4e9 #7f7f7f #8a6d3b #6a51a3 "
    "#b2182b"
).split()
# Columns of a waveform: of a wide screen, two pixels each.
_COLUMNS = 600
_TICKS = 6
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)


class Answer(NamedTuple):
    """What the page shows of a recording.

    Attributes
    ----------
    path : str
        Of the recording.
    seconds : float
        Its length.
    probabilities : list of float
        Of the whole recording, by class.
    segments : list of tuple
        (start, end, probabilities), seconds.
    warnings : list of str
        About the recording.
    threshold : float
        Below this highest probability the answer is unknown.
    """

    path: str
    seconds: float
    probabilities: list[float]
    segments: list[tuple[float, float, list[float]]]
    warnings: list[str]
    threshold: float = 0.0


def colour(number: int) -> str:
    """Return the colour of a class by its number.

    Example
    -------
    >>> colour(0) == colour(10)
    True
    """
    return COLOURS[number % len(COLOURS)]


def envelope(path: str, columns: int = _COLUMNS) -> np.ndarray:
    """Return the lowest and highest value of a recording in each column.

    Arguments
    ---------
    path : str
        Of the recording; it is read in windows of at most a minute.
    columns : int
        How many parts of equal length.

    Returns
    -------
    np.ndarray
        [columns, 2], the largest absolute value scaled to one.
    """
    samples, rate = read_length(path)
    parts = []
    windows = split_evenly(samples, rate)
    each = max(1, columns // len(windows))
    for start, stop in windows:
        try:
            waveform = read_speech(path, start, stop).numpy()
        except BadInput:  # a window without an answer
            waveform = np.zeros(1)
        for part in np.array_split(waveform, each):
            ends = (part.min(), part.max()) if len(part) else (0.0, 0.0)
            parts.append(ends)
    values = np.array(parts)
    return values / max(np.abs(values).max(), 1e-9)


def wave_points(values: np.ndarray) -> str:
    """Return the outline of a waveform for SVG, 1000 wide and 100 high.

    Example
    -------
    >>> wave_points(np.array([[-1.0, 1.0], [0.0, 0.0]]))
    '0,2 1000,50 1000,50 0,98'
    """
    x = np.linspace(0, 1000, len(values))
    upper = zip(x, 50 - 48 * values[:, 1])
    lower = zip(x[::-1], 50 - 48 * values[::-1, 0])
    return " ".join(
        f"{a:.4g},{b:.4g}" for a, b in itertools.chain(upper, lower)
    )


def ticks(seconds: float) -> list[float]:
    """Return round times for the axis of a recording, at most six.

    Example
    -------
    >>> ticks(4.2)
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    step = next((s for s in _STEPS if seconds / s < _TICKS), seconds)
    return [round(float(t), 1) for t in np.arange(0, seconds, step)]


def bands(answer: Answer, labels: list[str]) -> list[dict]:
    """Return the rectangles of the probabilities over time.

    A segment reaches from the middle between it and the one before to the
    middle between it and the next.

    Returns
    -------
    list of dict
        ``x``, ``y``, ``width``, ``height`` in an area 1000 wide and 100 high,
        ``colour`` and ``title``.
    """
    middles = [(start + end) / 2 for start, end, _ in answer.segments]
    inner = [(a + b) / 2 for a, b in itertools.pairwise(middles)]
    edges = [0.0, *inner, answer.seconds]
    scale = 1000 / answer.seconds
    found = []
    for (left, right), (start, end, values) in zip(
        itertools.pairwise(edges), answer.segments
    ):
        tops = np.cumsum([0.0, *values])
        found += [
            {
                "x": round(left * scale, 2),
                "width": round((right - left) * scale, 2),
                "y": round(100 * tops[k], 2),
                "height": round(100 * value, 2),
                "colour": colour(k),
                "title": f"{start:.1f} to {end:.1f} s: {labels[k]} {value:.0%}",
            }
            for k, value in enumerate(values)
            if value >= 0.002
        ]
    return found


def _name(probabilities, labels, threshold):
    """Return the most probable class, or unknown below the threshold."""
    best = int(np.argmax(probabilities))
    return known_or_unknown(labels[best], probabilities[best], threshold)


def _shown(answer, labels, link):
    """Return what the template shows of a recording."""
    order = np.argsort(answer.probabilities)[::-1]
    emotion = _name(answer.probabilities, labels, answer.threshold)
    best = labels[int(order[0])]
    return {
        "name": printable(os.path.basename(answer.path)),
        "seconds": answer.seconds,
        "emotion": emotion,
        "nearest": "" if emotion == best else best,
        "bars": [
            (labels[k], answer.probabilities[k], colour(int(k))) for k in order
        ],
        "wave": wave_points(envelope(answer.path)),
        "bands": bands(answer, labels),
        "ticks": [
            (time, 100 * time / answer.seconds)
            for time in ticks(answer.seconds)
        ],
        "segments": [
            (start, end, _name(values, labels, answer.threshold), values)
            for start, end, values in answer.segments
        ],
        "warnings": answer.warnings,
        "link": link(answer.path),
    }


def render(
    answers: list[Answer],
    problems: list[str],
    labels: list[str],
    link: Callable[[str], str | None] = lambda path: None,
    table: str | None = None,
) -> str:
    """Return the HTML of all answers.

    Arguments
    ---------
    answers : list of Answer
    problems : list of str
        A sentence for each recording without an answer.
    labels : list of str
        Names of the classes.
    link : callable
        Returns the address of a recording for the browser's player, or None.
    table : str
        Address of all segments as CSV, or None.

    Returns
    -------
    str
        With names and labels escaped.
    """
    template = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).from_string(TEMPLATE.read_text(encoding="utf-8"))
    labels = [printable(label) for label in labels]
    return template.render(
        answers=[_shown(answer, labels, link) for answer in answers],
        problems=[printable(text) for text in problems],
        labels=labels,
        table=table,
    )
