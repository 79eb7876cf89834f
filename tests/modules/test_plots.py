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


@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("attention", [None, np.full(100, 0.01)])
def test_panels_and_curves(parts, attention):
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
    expected = [0, 0.5] if parts == 1 else [0.25, 0.75, 1.25, 1.75]
    np.testing.assert_allclose(times, expected)


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
    assert len(drawn.axes[-1].get_legend().get_texts()) == 1
    plot_confusion(tmp_path / "c.png", [[1, 0], [0, 1]], [name, "b"], name)
    plot_layer_weights(tmp_path / "w.png", [0.5, 0.5], name)
    # Without dollar signs, what is drawn is what is written.
    assert plain_text("glad") == "glad"
