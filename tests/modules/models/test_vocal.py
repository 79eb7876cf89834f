"""Features of the voice: what they measure, and law 2."""

import numpy as np
import pytest
import torch

from modules.features.cache import FeatureCache
from modules.models.upstream import make_encoder, open_upstream
from modules.models.vocal import (
    SPECTRAL,
    VOCAL_SETTINGS,
    VOICED,
    VocalEncoder,
    VocalUpstream,
)

CHANNEL = {name: i for i, name in enumerate(SPECTRAL + VOICED)}


@pytest.fixture(scope="module")
def encoder():
    return VocalEncoder()


def harmonics(pitch, seconds=0.5, count=7):
    """Return a sum of harmonics with the phases 1, 2, ...; [samples]."""
    time = torch.arange(round(16000 * seconds)) / 16000
    return 0.1 * sum(
        torch.sin(2 * torch.pi * pitch * k * time + k) / k
        for k in range(1, count + 1)
    )


def test_batch_mates_and_padding_do_not_matter():
    encoder = make_encoder("vocal")
    wavs = [0.1 * torch.randn(n) for n in (400, 800, 7777, 16000)]
    batch = torch.full((4, 16000), 9.0)
    for row, wav in zip(batch, wavs):
        row[: len(wav)] = wav
    lengths = torch.tensor([len(wav) for wav in wavs]) / 16000
    states, frames = encoder(batch, lengths)
    assert states.shape == (1, 4, 96, 27)
    for i, wav in enumerate(wavs):
        alone, own = encoder(wav[None])
        assert own.item() == frames[i] == encoder.count_frames(len(wav))
        assert torch.equal(alone[0, 0], states[0, i, : frames[i]])
        assert not states[0, i, frames[i] :].any(), "zero on padding"


@pytest.mark.parametrize("pitch", [70, 101.3, 187, 333, 440])
def test_the_pitch_of_harmonics(encoder, pitch):
    features = encoder.transform(harmonics(pitch))
    semitones = 12 * np.log2(pitch / VOCAL_SETTINGS["pitch_reference"])
    found = features[:, CHANNEL["pitch_semitones"]]
    torch.testing.assert_close(
        found, torch.full_like(found, semitones), atol=0.05, rtol=0
    )
    assert features[:, CHANNEL["voiced"]].all()
    assert features[:, CHANNEL["jitter"]].max() < 0.01
    assert features[1:, CHANNEL["consecutive"]].all()
    assert not features[0, CHANNEL["consecutive"]]


@pytest.mark.parametrize("ratio", [0.1, 1.0, 10.0])
def test_the_harmonics_to_noise_ratio(encoder, ratio):
    """Boersma's equation 4: the ratio of the powers, in white noise."""
    wav = harmonics(180.0, 4.0)
    noise = torch.randn(len(wav)) * (wav.square().mean() / ratio).sqrt()
    found = encoder.transform(wav + noise)[:, CHANNEL["voicing"]].median()
    if ratio < 1:
        assert found < 0.5
    else:
        assert found == pytest.approx(ratio / (1 + ratio), abs=0.08)


def test_the_autocorrelation_is_that_of_a_fourier_transform(encoder):
    wav = 0.1 * torch.randn(800)
    power = encoder._power(wav)
    hann = torch.hann_window(800, periodic=False)
    spectrum = torch.fft.rfft((wav - wav.mean()) * hann, 1280)
    torch.testing.assert_close(power[0], spectrum.abs().square())
    own = torch.fft.irfft(torch.fft.rfft(hann, 1280).abs().square())
    curve = torch.fft.irfft(power[0], 1280) / (own / own[0])
    found = (power @ encoder.correlate)[0]
    found, curve = found / found[0], curve[: len(found)] / curve[0]
    torch.testing.assert_close(found, curve, atol=1e-5, rtol=1e-4)


def test_spectral_measures_of_a_tone(encoder):
    """Between the bins of a tone of 1500 Hz lies all power."""
    time = torch.arange(16000) / 16000
    features = encoder.transform(0.1 * torch.sin(2 * torch.pi * 1500 * time))
    mean = features.mean(dim=0)
    assert mean[CHANNEL["centroid_kHz"]] == pytest.approx(1.5, abs=0.01)
    assert mean[CHANNEL["alpha_ratio_dB"]] < -30
    assert mean[CHANNEL["hammarberg_index_dB"]] > 30
    assert mean[CHANNEL["flux"]] < 0.01


def test_the_level_is_in_decibels(encoder):
    wav = harmonics(150.0)
    loud, quiet = encoder.transform(wav), encoder.transform(0.1 * wav)
    torch.testing.assert_close(
        loud[:, 0] - quiet[:, 0], torch.full((len(loud),), 20.0)
    )
    same = [CHANNEL[name] for name in ("voicing", "pitch_semitones", "flux")]
    torch.testing.assert_close(
        loud[:, same], quiet[:, same], atol=1e-4, rtol=1e-4
    )


def test_quiet_frames_are_unvoiced(encoder):
    wav = torch.cat([harmonics(150.0), 0.005 * harmonics(150.0)])
    voiced = encoder.transform(wav)[:, CHANNEL["voiced"]]
    assert voiced[:45].all() and not voiced[55:].any()


@pytest.mark.parametrize("samples", [1, 400, 799, 4000])
@pytest.mark.parametrize("value", [0.0, 0.5, 1e-30, 30000.0])
def test_silence_and_constants_are_finite(encoder, samples, value):
    states, _ = encoder(torch.full((1, samples), value))
    assert torch.isfinite(states).all()
    # A constant of less than a window, which zeros follow, is a step.
    if samples > 800 or not value:
        assert not states[..., CHANNEL["voiced"]].any()


def test_the_digest_depends_on_the_version_alone(monkeypatch):
    upstream = open_upstream("vocal")
    assert isinstance(upstream, VocalUpstream)
    before = upstream.digest()
    assert before == upstream.digest("bf16"), "always in fp32"
    monkeypatch.setitem(VocalUpstream.settings.__globals__, "_VOCAL_VERSION", 2)
    assert upstream.digest() != before


def test_it_has_no_weights_and_can_be_cached(encoder, tmp_path):
    assert not encoder.state_dict()
    cache = FeatureCache(tmp_path, "vocal")
    assert (cache.num_hidden_states, cache.hidden_size) == (1, 27)
    assert cache.folder.name.startswith("vocal-")
