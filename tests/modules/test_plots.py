"""Plots of a recording."""

import io

import numpy as np
import pytest

from modules.plots import (
    draw_recording,
    plain_text,
    plot_confusion,
    plot_layer_weights,
)


@pytest.mark.parametrize("attention", [None, np.full(100, 0.01)])
def test_panels_and_curves(attention, parts=4):
    waveform = np.sin(np.arange(32000) / 10)
    probabilities = np.tile([[0.7, 0.2, 0.1]], (parts, 1))
    figure = draw_recording(
        "x.wav",
        waveform,
        16000,
        ["calm", "glad", "mad"],
        [(i / 2, i / 2 + 0.5) for i in range(parts)],
        probabilities,
        attention,
    )
    last = figure.axes[-1]
    assert len(figure.axes) == (3 if attention is None else 4)
    assert last.get_xlim() == (0, 2)
    drawn = {line.get_label(): line.get_ydata() for line in last.lines}
    assert list(drawn) == ["calm", "glad", "mad"]
    np.testing.assert_allclose(drawn["glad"], 0.2)
    times = [line.get_xdata() for line in last.lines][0]
    np.testing.assert_allclose(times, [0.25, 0.75, 1.25, 1.75])


def test_one_part_has_a_bar_per_class():
    labels, probabilities = ["calm", "glad", "mad"], [0.7, 0.2, 0.1]
    figure = draw_recording(
        "x", np.zeros(32000), 16000, labels, [(0, 2)], np.array([probabilities])
    )
    *others, last = figure.axes
    assert [bar.get_width() for bar in last.patches] == probabilities
    assert [text.get_text() for text in last.get_yticklabels()] == labels
    assert not last.lines and last.get_ylim()[0] > last.get_ylim()[1]
    assert [axes.get_xlim() for axes in others] == [(0, 2)] * 2


@pytest.mark.parametrize("samples", [400, 401, 3000])
def test_shortest_recordings_and_silence(samples):
    for waveform in (np.zeros(samples), np.ones(samples)):
        figure = draw_recording(
            "x", waveform, 16000, ["a"], [(0, samples / 16000)], np.ones((1, 1))
        )
        figure.savefig(io.BytesIO())


@pytest.mark.parametrize("name", ["a$b$c", "$x_$", "$\\frac$", "_x", "a\\$b$"])
def test_names_are_drawn_as_they_are(tmp_path, name):
    drawn = draw_recording(
        name, np.zeros(800), 16000, [name], [(0, 0.05)], np.ones((1, 1))
    )
    drawn.savefig(io.BytesIO())
    assert len(drawn.axes[-1].get_yticklabels()) == 1
    plot_confusion(tmp_path / "c.png", [[1, 0], [0, 1]], [name, "b"], name)
    plot_layer_weights(tmp_path / "w.png", [0.5, 0.5], name)
    # Without dollar signs, what is drawn is what is written.
    assert plain_text("glad") == "glad"
