"""Predictions equal those of training, at any length, in any format."""

import pathlib
import threading
import time
import types

import numpy as np
import pytest
import soundfile
import torch
from exported_models import spoken
from hostile_files import write_with_ffmpeg

from modules.errors import BadInput
from modules.inference.loading import load_model
from modules.inference.predictor import choose_device, predict


@pytest.fixture(scope="module")
def loaded(exported):
    return load_model(exported)


@pytest.mark.parametrize("jobs, batch_size", [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_log_probabilities_are_those_of_training(
    loaded, trained, tone_corpus, jobs, batch_size
):
    model, labels = loaded
    assert labels == ["calm", "glad", "mad"]
    expected = trained.log_probabilities[1]
    folder = pathlib.Path(tone_corpus).parent
    files = [str(folder / f"{name}.wav") for name in expected]
    rows, problems = predict(model, files, jobs=jobs, batch_size=batch_size)
    assert not problems and [row[0] for row in rows] == files
    for row, name in zip(rows, expected):
        torch.testing.assert_close(row[3], expected[name], atol=1e-5, rtol=0)


# Largest difference of a probability from that of the 16 kHz fp32 original.
# Lossy formats and resampling change the waveform a little.
MARGIN = 0.02


def test_formats_rates_and_channels_agree(loaded, tmp_path):
    def write(name, rate=16000, channels=1, **options):
        wave = spoken(rate=rate)
        wave = np.stack([wave] * channels, axis=1)
        soundfile.write(tmp_path / name, wave, rate, **options)
        return str(tmp_path / name)

    files = [
        write("original.wav", subtype="FLOAT"),
        write("pcm16.wav", subtype="PCM_16"),
        write("8k.wav", 8000, subtype="FLOAT"),
        write("44k.wav", 44100, subtype="FLOAT"),
        write("48k_stereo.wav", 48000, 2),
        write("24bit.wav", subtype="PCM_24"),
        write("x.flac"),
        write("x.ogg", 44100, 2),
        write("x.mp3", 44100, 2),
        write("odd_rate.wav", 44101, subtype="FLOAT"),
    ]
    # Not raw AAC: no header names the silence that its encoder begins with.
    for name, rate, codec in [
        ("x.m4a", 44100, "aac"),
        ("x.mp4", 48000, "aac"),
        ("x.webm", 48000, "libopus"),
        ("x.mka", 48000, "libopus"),
        ("x.mov", 44100, "alac"),
    ]:
        files.append(str(tmp_path / name))
        write_with_ffmpeg(files[-1], spoken(rate=rate), rate, codec)
    model, _ = loaded
    rows, problems = predict(model, files)
    assert not problems
    chances = torch.stack([row[3].exp() for row in rows])
    differences = (chances - chances[0]).abs().amax(dim=1)
    assert differences.max() < MARGIN, dict(zip(files, differences.tolist()))


def test_each_channel_is_a_row(loaded, tmp_path):
    stereo, silent, three = [str(tmp_path / f"{i}.wav") for i in range(3)]
    left, right = spoken(seed=1), spoken(seed=2)
    pair = np.stack([left, right], axis=1)
    soundfile.write(stereo, pair, 16000, subtype="FLOAT")
    soundfile.write(silent, pair * [1, 0], 16000, subtype="FLOAT")
    soundfile.write(three, pair[:, [0, 1, 0]], 16000, subtype="FLOAT")
    model, _ = loaded
    rows, problems = predict(model, [stereo, silent, three], channel="each")
    assert [(row.file, row.channel) for row in rows] == [
        (stereo, "left"),
        (stereo, "right"),
        (silent, "left"),
        (three, "1"),
        (three, "2"),
        (three, "3"),
    ]
    assert [(p.file, p.channel) for p in problems] == [(silent, "right")]
    assert "is silent" in problems[0].sentence
    for name, wave in [("left", left), ("right", right)]:
        (alone,), _ = predict(model, [stereo], channel=name)
        with torch.inference_mode():
            wanted = model(torch.from_numpy(wave).float()[None])[0]
        torch.testing.assert_close(
            alone.log_probabilities, wanted, atol=1e-5, rtol=0
        )
        row = rows[["left", "right"].index(name)]
        # Matrices of another height are summed in another order.
        torch.testing.assert_close(
            row.log_probabilities, alone.log_probabilities, atol=1e-6, rtol=0
        )


def test_a_long_silence_has_no_answer(loaded, tmp_path):
    path = str(tmp_path / "x.wav")
    soundfile.write(path, np.zeros(62 * 8000), 8000)
    model, _ = loaded
    for segment in (None, 10):
        rows, problems = predict(model, [path], segment=segment)
        assert not rows and "is silent" in problems[0].sentence


def test_probabilities_that_are_not_finite_are_no_answer(tmp_path):
    path = str(tmp_path / "x.wav")
    soundfile.write(path, spoken(), 16000)

    class Damaged(torch.nn.Module):
        encoder = types.SimpleNamespace(computed_seconds=float)

        def forward(self, wavs, lengths):
            return torch.full((len(wavs), 3), float("nan"))

    rows, problems = predict(Damaged(), [path])
    assert not rows and "no finite probabilities" in problems[0].sentence


def test_devices(tmp_path):
    assert choose_device("cpu") == "cpu"
    assert choose_device(None) in ("cpu", "cuda")
    for name in ("foo", "meta", "cuda:77", "", "cpu,cuda"):
        with pytest.raises(BadInput, match="does not exist on this machine"):
            choose_device(name)


def test_segments_over_time(loaded, tmp_path):
    path = str(tmp_path / "x.wav")
    wave = spoken(7.3)
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    model, _ = loaded
    rows, _ = predict(model, [path], segment=4, hop=1, batch_size=3)
    assert [(row[1], round(row[2], 3)) for row in rows] == [
        (0.0, 4.0),
        (1.0, 5.0),
        (2.0, 6.0),
        (3.0, 7.0),
        (3.3, 7.3),
    ]
    for _, start, end, found in (row[:4] for row in rows):
        part = wave[round(start * 16000) : round(end * 16000)]
        with torch.inference_mode():
            alone = model(torch.from_numpy(part).float()[None])[0]
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)


def test_side_by_side_but_never_more_than_a_minute(tmp_path):
    files = []
    for i, seconds in enumerate([45, 25, 21, 16, 15, 14, 14, 14, 1, 1]):
        files.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(files[-1], spoken(seconds, 8000), 8000)
    now, most = [], []
    lock = threading.Lock()

    class Stub(torch.nn.Module):
        encoder = types.SimpleNamespace(computed_seconds=float)

        def forward(self, wavs, lengths):
            with lock:
                now.append(wavs.numel() / 16000)
                most.append((len(now), sum(now), torch.get_num_threads()))
            time.sleep(0.1)  # the others come
            with lock:
                now.remove(wavs.numel() / 16000)
            return torch.zeros(len(wavs), 3)

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        rows, problems = predict(Stub(), files, jobs=4)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(threads)
    assert len(rows) == 10 and not problems
    assert max(count for count, _, _ in most) == 4
    assert max(seconds for _, seconds, _ in most) <= 60
    # The longest has all threads for itself, the shortest have one each.
    assert most[0][2] == 4 and most[-1][2] == 1


def test_an_hour_never_lies_in_memory(tmp_path):
    """Whatever the length: a minute at a time reaches the encoder."""
    path = str(tmp_path / "hour.wav")
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_U8") as out:
        minute = spoken(60, 8000)
        for _ in range(60):
            out.write(minute)
    seen = []

    class Stub(torch.nn.Module):
        encoder = types.SimpleNamespace(computed_seconds=float)

        def forward(self, wavs, lengths):
            seen.append(wavs.numel())
            logits = torch.zeros(len(wavs), 3)
            logits[:, len(seen) % 3] = 1
            return logits.log_softmax(dim=1)

    rows, problems = predict(Stub(), [path])
    assert len(seen) == 60 and max(seen) <= 60 * 16000 and not problems
    assert rows[0][2] == 3600
    torch.testing.assert_close(rows[0][3].exp(), torch.full((3,), 1 / 3))


def test_a_long_file_gives_the_mean_of_its_windows(loaded, tmp_path):
    path = str(tmp_path / "x.wav")
    wave = spoken(62)
    soundfile.write(path, wave, 16000, subtype="FLOAT")
    model, _ = loaded
    rows, _ = predict(model, [path])
    halves = torch.from_numpy(wave).float().view(2, -1)
    with torch.inference_mode():
        mean = model(halves).exp().mean(dim=0)
    torch.testing.assert_close(rows[0][3].exp(), mean, atol=1e-5, rtol=0)
