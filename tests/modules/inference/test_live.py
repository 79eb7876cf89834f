"""Live sound: the answers of a file, in memory that is bounded."""

import io
import sys
import tracemalloc
import types

import numpy as np
import pytest
import soundfile
import torch
from exported_models import spoken

import predict
from modules.inference import live
from modules.inference.live import (
    classify_window,
    follow_blocks,
    read_raw,
    rolling_windows,
)
from modules.inference.loading import load_model
from modules.inference.predictor import predict as predict_files


@pytest.fixture(scope="module")
def model(exported):
    return load_model(exported)[0]


def raw(seconds, rate):
    """Return 16-bit samples of a tone complex."""
    return np.round(32767 * spoken(seconds, rate)).astype("<i2")


@pytest.mark.parametrize("rate", [16000, 44100])
def test_an_answer_equals_that_of_the_file(model, tmp_path, rate):
    """The law: at each second, what the same window in a file gives."""
    samples = raw(7, rate)
    path = str(tmp_path / "x.wav")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    wanted = {}
    for segment in (2.0, 3.0):
        rows, _ = predict_files(model, [path], segment=segment, hop=1.0)
        wanted |= {(segment, row.end): row.log_probabilities for row in rows}
    blocks = read_raw(io.BytesIO(samples.tobytes()), rate)
    found = dict(
        follow_blocks(
            blocks, rate, 3.0, lambda w: classify_window(model, w, rate, "cpu")
        )
    )
    assert sorted(found) == [1, 2, 3, 4, 5, 6, 7]
    for second in range(3, 8):
        expected = wanted[3.0, float(second)]
        torch.testing.assert_close(
            found[second], expected, atol=1e-6, rtol=1e-6
        )
    # Before the window is full: all that has come.
    expected = wanted[2.0, 2.0]
    torch.testing.assert_close(found[2], expected, atol=1e-6, rtol=1e-6)


class TwoHours:
    """A pipe with two hours of sound."""

    left = 2 * 7200 * 16000

    def read(self, count):
        count = min(count, self.left)
        self.left -= count
        return bytes(count)


def test_two_hours_in_bounded_memory():
    """A stub in the place of the model: what is kept is the window."""
    seen, end = [], 0
    tracemalloc.start()
    blocks = read_raw(TwoHours(), 16000)
    stub = lambda window: seen.append(len(window))  # noqa: E731
    for seconds, _ in follow_blocks(blocks, 16000, 4.0, stub):
        end = seconds
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert end == 7200 and len(seen) == 7200
    assert seen[:4] == [16000, 32000, 48000, 64000] and max(seen) == 64000
    assert peak < 2**21  # two hours have 460 MB


@pytest.mark.parametrize("sizes", [[1, 9, 2], [5, 5], [0, 3], [12]])
def test_windows_are_the_last_samples(sizes):
    everything = np.arange(sum(sizes), dtype="float32")
    blocks = np.split(everything, np.cumsum(sizes)[:-1])
    for total, window in rolling_windows(blocks, 5):
        assert window.tolist() == everything[max(0, total - 5) : total].tolist()


def test_lines_of_a_pipe(exported, monkeypatch, capsys):
    content = np.concatenate([raw(2, 8000), np.zeros(8000 * 3, "<i2")])
    stream = types.SimpleNamespace(buffer=io.BytesIO(content.tobytes() + b"x"))
    monkeypatch.setattr(sys, "stdin", stream)
    options = ["--live", "--rate=8000", "--segments=2", "--labels=calm,mad"]
    assert predict.main([str(exported), "-", *options, "--device=cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [
        f"{second}.00" for second in range(1, 6)
    ]
    assert lines[0].split()[2] in ("calm", "mad")
    assert float(lines[0].split()[3]) >= 0.5
    assert lines[-1].endswith("(silence)")


def test_a_microphone_gives_blocks(monkeypatch):
    class Stream:
        def __init__(self, samplerate, channels, dtype):
            assert (samplerate, channels, dtype) == (8000, 1, "int16")

        def __enter__(self):
            return self

        def __exit__(self, *problem):
            pass

        def read(self, count):
            return np.full(count, 16384, "<i2").tobytes(), False

    fake = types.SimpleNamespace(RawInputStream=Stream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    with live.open_microphone(8000, 80) as blocks:
        assert next(blocks).tolist() == [0.5] * 80


def test_a_missing_microphone_is_one_sentence(exported, monkeypatch, capsys):
    def no_device(**settings):
        raise OSError("Error querying device -1")

    fake = types.SimpleNamespace(
        RawInputStream=no_device, PortAudioError=OSError
    )
    for module, words in [
        (None, "needs sounddevice and PortAudio"),
        (fake, "no microphone can be opened"),
    ]:
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        with pytest.raises(SystemExit) as stopped:
            predict.main([str(exported), "microphone", "--live"])
        assert stopped.value.code == 2
        assert words in capsys.readouterr().err
