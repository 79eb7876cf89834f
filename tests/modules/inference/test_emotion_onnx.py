"""The file beside a graph: resampling, windows, recordings, the command."""

import math
import types

import numpy as np
import pytest
import soundfile
import torch
from exported_models import spoken
from hostile_files import flac_of_length
from hypothesis import given, settings, strategies as st

from modules.audio import LARGEST_KERNEL, resample as torch_resample
from modules.inference import emotion_onnx
from modules.inference.emotion_onnx import (
    EmotionOnnx,
    Problem,
    resample,
    split_into_windows,
    whisper_inputs,
)
from modules.models import whisper_window


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.sampled_from([8000, 11025, 22050, 24000, 44100, 48000, 96000]),
        st.integers(4000, 50_000),
    ),
    st.integers(400, 5000),
)
def test_resampling_is_that_of_the_training(rate, count):
    samples = np.random.default_rng(0).standard_normal(count).astype("float32")
    found = resample(samples, rate)
    common = math.gcd(rate, 16000)
    wanted = torch_resample(torch.from_numpy(samples[:, None]), rate)[:, 0]
    assert found.shape == wanted.shape
    if 16000 * rate // common**2 <= LARGEST_KERNEL:
        # torchaudio computes its filters in single precision.
        np.testing.assert_allclose(found, wanted, atol=2e-4)


@pytest.mark.parametrize("rate", [22051, 44101])
def test_odd_rates_keep_a_tone(rate):
    """Here torchaudio's kernel would be too large and scipy's is used."""
    tone = np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype("float32")
    wanted = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    found = resample(tone, rate)[200:-200]
    np.testing.assert_allclose(found, wanted[200:-200], atol=2e-3)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(400, 16000 * 60),
    st.sampled_from(["fit", None, 1, 3, 30]),
    st.sampled_from([30, 10, 3]),
)
def test_windows_are_those_of_the_encoder(samples, window, longest):
    if window not in ("fit", None):
        window = min(window, longest)
    longest *= 16000
    part, size = split_into_windows(samples, window, longest)
    found = [
        (min(part, samples - start), size) for start in range(0, samples, part)
    ]
    assert found == whisper_window.split_into_windows(samples, window, longest)


def test_inputs_of_whisper_cover_every_frame_once():
    waveform = np.arange(16000 * 31, dtype="float32")
    inputs = whisper_inputs(waveform, "fit", 480_000)
    assert inputs["windows"].shape == (2, 16 * 16000 + 240)
    assert len(inputs["kept"]) == len(np.unique(inputs["kept"])) == 31 * 50
    assert inputs["windows"][0, 200] == 0 and inputs["windows"][0, 201] == 1


class Session:
    """In the place of a graph: three classes, the loudness of an utterance."""

    def get_inputs(self):
        return [types.SimpleNamespace(name="waveform")]

    def run(self, names, inputs):
        power = np.square(inputs["waveform"]).mean()
        return np.array([power, 0.5, 0.5]) / (1 + power), inputs["waveform"]


@pytest.fixture
def model(tmp_path, monkeypatch):
    settings = (
        '{"labels": ["a", "b", "c\\u001b[2J"], "longest_seconds": 60, '
        '"shortest_samples": 400, "operator_set": 18, "whisper": null}'
    )
    (tmp_path / "model.json").write_text(settings)
    monkeypatch.setattr(emotion_onnx, "_open_session", lambda *_: Session())
    monkeypatch.setattr(
        emotion_onnx, "__file__", str(tmp_path / "emotion_onnx.py")
    )
    return EmotionOnnx()


def test_channels_are_averaged_and_windows_too(model, tmp_path):
    path = tmp_path / "stereo.flac"
    wave = np.stack([spoken(70), 0.5 * spoken(70, seed=1)], axis=1)
    soundfile.write(path, wave, 16000, subtype="PCM_24")
    mono = wave.mean(axis=1)
    halves = np.split(mono, 2)
    wanted = np.mean([model.run(half)[0] for half in halves], axis=0)
    found = model.classify_file(path)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def write(path, samples, rate=16000):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_bad_recordings_are_one_sentence(model, tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF....WAVEfmt ")
    nan = spoken(1.0).astype("float32")
    nan[100] = np.nan
    endless = tmp_path / "endless.flac"
    endless.write_bytes(flac_of_length(0))
    for path, words in (
        (tmp_path / "none.wav", "cannot be read"),
        (broken, "cannot be read"),
        (write(tmp_path / "short.wav", spoken(0.01)), "lasts 10 ms"),
        (write(tmp_path / "silent.wav", np.zeros(16000)), "is silent"),
        (write(tmp_path / "nan.wav", nan), "no numbers"),
        (endless, "does not name its length"),
        (write(tmp_path / "slow.wav", spoken(1.0), 1000), "1000 samples per"),
    ):
        with pytest.raises(Problem, match=words) as refused:
            model.classify_file(path)
        assert "\n" not in str(refused.value)


def test_command(model, tmp_path, capsys):
    good = write(tmp_path / "good.wav", spoken(1.0))
    assert emotion_onnx.main([str(good)]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split("\t")[:3] == ["file", "emotion", "a"]
    assert "\x1b" not in header
    assert row.split("\t")[:2] == [str(good), "b"]
    assert emotion_onnx.main([str(tmp_path / "no.wav"), str(good)]) == 1
    out, err = capsys.readouterr()
    assert "skipped:" in err and len(out.splitlines()) == 2
    (tmp_path / "model.json").unlink()
    assert emotion_onnx.main([str(good)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"labels": "abc"}',
        '{"labels": ["a"], "longest_seconds": -1, "shortest_samples": 400, '
        '"operator_set": 18, "whisper": null}',
        '{"labels": ["a"], "longest_seconds": 60, "shortest_samples": 400, '
        '"operator_set": 18, "whisper": {"window": "x", "longest": 480000}}',
    ],
)
def test_damaged_settings(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(Problem, match="missing or damaged"):
        EmotionOnnx(tmp_path)


def test_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(Problem, match="pip install onnxruntime"):
        emotion_onnx._open_session(tmp_path / "model.onnx", None, 18)
