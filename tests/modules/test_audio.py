"""Reading: the same samples as before, from any format, rate and channel."""

import io

import hostile_files as hostile
import numpy as np
import pytest
import soundfile
import torch
from exported_models import spoken
from speechbrain.dataio.preprocess import AudioNormalizer

from modules import decoding
from modules.audio import (
    read_header,
    read_length,
    read_samples,
    read_waveform,
    resample,
)

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000]


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", ["wav", "flac", "ogg", "mp3"])
def test_bit_for_bit_what_speechbrain_makes(
    tmp_path, monkeypatch, rate, channels, name
):
    """Features are stored: not a bit of their waveforms may change."""
    monkeypatch.setattr(decoding, "BLOCK", 5000)  # several blocks
    path = tmp_path / f"x.{name}"
    pair = np.stack([spoken(1, rate), spoken(1, rate, seed=1)], axis=1)
    soundfile.write(path, pair[:, :channels], rate)
    normalize = AudioNormalizer(sample_rate=16000, mix="avg-to-mono")
    for start, stop in [(0, None), (2000, 6000)]:
        samples, _ = soundfile.read(
            path, dtype="float32", always_2d=True, start=start, stop=stop
        )
        wanted = normalize(torch.from_numpy(samples), rate)
        assert read_waveform(path, start, stop).equal(wanted)
    wanted, _ = soundfile.read(path, dtype="float32", always_2d=True)
    found, _ = read_samples(io.BytesIO(path.read_bytes()))
    np.testing.assert_array_equal(found, wanted)
    assert read_length(path) == (len(wanted), rate)


@pytest.mark.parametrize("rate", [11127, 22254, 44056, 44101, 47999, 96001])
def test_odd_rates(rate):
    """A band-limited waveform is the same at every rate."""
    wanted = torch.from_numpy(spoken(2, 16000)).float()
    found = resample(torch.from_numpy(spoken(2, rate)[:, None]).float(), rate)
    assert len(found) == 32000
    middle = slice(1000, -1000)  # the ends are those of a cut waveform
    torch.testing.assert_close(
        found[middle, 0], wanted[middle], atol=2e-3, rtol=0
    )


@pytest.mark.parametrize(
    "name, codec, container, rate, least",
    [
        ("x.m4a", "aac", None, 44100, 0.95),
        ("x.mp4", "aac", None, 48000, 0.75),
        ("x.mov", "alac", None, 44100, 1),
        ("x.webm", "libopus", None, 48000, 0.75),
        ("x.mka", "flac", "matroska", 16000, 1),
        ("x.aac", "aac", "adts", 32000, 0.95),
        ("x.ts", "aac", "mpegts", 48000, 0.75),
        ("x.amr", "libopencore_amrnb", "amr", 8000, 0.75),
        ("x.3gp", "libopencore_amrnb", "3gp", 8000, 0.75),
        ("x.wma", "wmav2", "asf", 44100, 0.85),
        ("x.flv", "aac", "flv", 44100, 0.95),
        ("x.ac3", "ac3", "ac3", 48000, 0.75),
    ],
)
def test_what_phones_browsers_and_calls_write(
    tmp_path, name, codec, container, rate, least
):
    """``least``: correlation with the original; AMR keeps no waveform."""
    path = tmp_path / name
    wave = spoken(1, rate)
    hostile.write_with_ffmpeg(path, wave, rate, codec, container)
    header = read_header(path)
    samples, found = read_samples(path)
    assert header == (len(samples), found, 1) and found == rate
    np.testing.assert_array_equal(
        samples, read_samples(io.BytesIO(path.read_bytes()))[0]
    )
    np.testing.assert_array_equal(
        samples[1000:3000], read_samples(path, 1000, 3000)[0]
    )
    if least == 1:
        np.testing.assert_allclose(samples[:, 0], wave, atol=1e-4)
        return
    # An encoder may begin with silence: up to 100 ms.
    likeness = np.correlate(
        samples[: rate // 2 + rate // 10, 0], wave[: rate // 2]
    )
    start = likeness.argmax()
    alike = np.corrcoef(
        samples[start : start + rate // 2, 0], wave[: rate // 2]
    )
    assert alike[0, 1] > least


def test_both_channels_of_a_call(tmp_path):
    path = tmp_path / "x.m4a"
    pair = np.stack([spoken(1), spoken(1, seed=1)], axis=1)
    hostile.write_with_ffmpeg(path, pair, 16000, "alac", "ipod")
    for channel, index in [("left", 0), ("right", 1), (0, 0), (1, 1)]:
        wave = read_waveform(path, channel=channel)
        np.testing.assert_allclose(wave, pair[:, index], atol=1e-4)
    np.testing.assert_allclose(
        read_waveform(path), pair.mean(axis=1), atol=1e-4
    )


def test_more_than_two_channels(tmp_path):
    path = tmp_path / "x.wav"
    many = np.stack([spoken(1, 44100, seed=i) for i in range(6)], axis=1)
    soundfile.write(path, many, 44100, subtype="FLOAT")
    mean = torch.from_numpy(many.mean(axis=1, keepdims=True)).float()
    wanted = resample(mean, 44100)[:, 0]
    torch.testing.assert_close(read_waveform(path), wanted, atol=1e-6, rtol=0)
    wanted = resample(torch.from_numpy(many[:, 3:4]).float(), 44100)[:, 0]
    assert read_waveform(path, channel=3).equal(wanted)
