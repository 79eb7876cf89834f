"""Acoustic features of the voice in the place of an encoder, without weights.

Level, spectral shape, pitch and voice quality, which an encoder that was
trained to find words need not keep.

Sources of the formulas: Boersma, "Accurate short-term analysis of the
fundamental frequency and the harmonics-to-noise ratio of a sampled sound",
IFA Proceedings 17, 1993 (pitch, voicing, harmonics-to-noise ratio); Eyben et
al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice
research and affective computing", IEEE Transactions on Affective Computing
7(2), 2016 (alpha ratio, Hammarberg index, spectral slopes, semitones). GeMAPS
takes jitter and shimmer from single periods; here they are from frames.
"""

import math

import torch
from torch.nn import functional as F

from modules.audio import SAMPLE_RATE
from modules.models.acoustic import AcousticEncoder, AcousticUpstream, as_text

# What encoder_hub and acoustics call it.
VOCAL = "vocal"

# Channels that every frame has, in the order of `VocalEncoder`'s output.
SPECTRAL = (
    "level_dB",
    "mean_log_mel",
    "voicing",
    "harmonics_to_noise_dB",
    "alpha_ratio_dB",
    "hammarberg_index_dB",
    "slope_0_500_dB_per_kHz",
    "slope_500_1500_dB_per_kHz",
    "centroid_kHz",
    "flux",
    *(f"mfcc_{i}" for i in range(1, 13)),
)
# Further channels: "pitch" means something where "voiced" is 1, "jitter" and
# "shimmer" where "consecutive" is: this and the previous frame are voiced.
VOICED = ("pitch_semitones", "voiced", "consecutive", "jitter", "shimmer_dB")

# In samples, hertz, shares of the autocorrelation and decibels.
VOCAL_SETTINGS = {
    "window": 800,
    "hop": 160,
    # No circular overlap: a window and the longest lag are shorter.
    "dft": 1280,
    "lowest_pitch": 60,
    "highest_pitch": 500,
    "octave_cost": 0.02,
    "least_voicing": 0.5,
    "quietest_voiced": 40,
    "mel_bands": 26,
    "pitch_reference": 27.5,
}
# Goes into the digest: raise it when the code below changes what comes out.
_VOCAL_VERSION = 1

_TINY = 1e-10


def _bins(low, high):
    """Return the bins of the DFT with low < frequency <= high, in hertz."""
    width = SAMPLE_RATE / VOCAL_SETTINGS["dft"]
    return slice(int(low / width) + 1, int(high / width) + 1)


def _decibel(power):
    return 10 * torch.log10(power + _TINY)


def _change(values):
    """Return the difference from the previous frame; 0 for the first."""
    return values - torch.cat([values[:1], values[:-1]])


class VocalEncoder(AcousticEncoder):
    """Features of windows of 50 ms, as an encoder of one layer.

    Every utterance is transformed alone. The Fourier transform is a product
    with constant matrices, so that a graph in ONNX can contain it.

    Example
    -------
    >>> states, frames = VocalEncoder()(torch.randn(2, 16000))
    >>> states.shape, frames.tolist()
    (torch.Size([1, 2, 96, 27]), [96, 96])
    """

    hidden_size = len(SPECTRAL) + len(VOICED)

    def __init__(self):
        super().__init__()
        # torchaudio is imported where it is used: it takes a second.
        from torchaudio.functional import create_dct, melscale_fbanks

        size, bins = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["dft"] // 2 + 1
        step = 2 * math.pi / VOCAL_SETTINGS["dft"]
        number = torch.arange(bins, dtype=torch.float64)
        hann = torch.hann_window(size, periodic=False, dtype=torch.float64)
        hann = hann[size // 2 :, None]
        # Distances from the window's middle, which halve the products: the
        # even part of a frame has cosines alone, the odd part sines.
        places = torch.arange(size // 2, dtype=torch.float64) + 0.5
        angles = step * torch.outer(places, number)
        self._constant("cosines", hann * angles.cos())
        self._constant("sines", hann * angles.sin())
        self.first_lag = SAMPLE_RATE // VOCAL_SETTINGS["highest_pitch"]
        self.last_lag = SAMPLE_RATE // VOCAL_SETTINGS["lowest_pitch"]
        lags = torch.arange(self.last_lag + 1, dtype=torch.float64)
        correlate = torch.outer(number, lags).mul(step).cos()
        correlate[1:-1] *= 2  # the bins above half of the sampling rate
        window = (2 * hann * angles.cos()).sum(dim=0).square() @ correlate
        self._constant("correlate", correlate / window * window[0])
        octaves = torch.log2(lags[self.first_lag : -1] / self.first_lag)
        self._constant("cost", VOCAL_SETTINGS["octave_cost"] * octaves)
        frequency = number * SAMPLE_RATE / VOCAL_SETTINGS["dft"] / 1000
        self._constant("frequency", frequency)
        slopes = torch.zeros(bins, 2, dtype=torch.float64)
        for column, band in enumerate((_bins(0, 500), _bins(500, 1500))):
            centred = frequency[band] - frequency[band].mean()
            slopes[band, column] = centred / centred.square().sum()
        self._constant("slopes", slopes)
        count = VOCAL_SETTINGS["mel_bands"]
        mel = melscale_fbanks(bins, 20.0, 8000.0, count, SAMPLE_RATE)
        self._constant("mel", mel)
        self._constant("dct", create_dct(13, count, "ortho"))
        self.requires_grad_(False)

    def _constant(self, name, values):
        self.register_buffer(name, values.float(), persistent=False)

    def count_frames(self, samples):
        """Return the frames of an utterance, at 100 per second."""
        window, hop = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["hop"]
        return (max(samples, window) - window) // hop + 1

    def transform(self, waveform: torch.Tensor) -> torch.Tensor:
        """Return the features of one waveform.

        Arguments
        ---------
        waveform : torch.Tensor
            Mono, 16 kHz, fp32; zeros are added to less than a window;
            [samples].

        Returns
        -------
        features : torch.Tensor
            Channels `SPECTRAL` and `VOICED`; [frames, hidden_size].
        """
        power = self._power(waveform.float())
        period, voicing = self._period(power)
        noise = 10 * torch.log10(voicing.clamp(min=1e-3) / (1 - voicing))
        level = _decibel(power.mean(dim=1))
        quietest = level.max() - VOCAL_SETTINGS["quietest_voiced"]
        voiced = (voicing > VOCAL_SETTINGS["least_voicing"]) & (
            level > quietest
        )
        before = torch.cat([voiced[:1] & False, voiced[:-1]])
        pitch = SAMPLE_RATE / VOCAL_SETTINGS["pitch_reference"] / period
        columns = [
            12 * torch.log2(pitch),
            voiced.float(),
            (voiced & before).float(),
            _change(period).abs() / period,
            _change(level).abs(),
        ]
        spectral = self._spectral(power)
        return torch.cat(
            [
                level[:, None],
                spectral[:, :1],
                torch.stack([voicing, noise], dim=1),
                spectral[:, 1:],
                torch.stack(columns, dim=1),
            ],
            dim=1,
        )

    def _power(self, waveform):
        """Return the power spectrum of each frame, [frames, bins]."""
        window, hop = VOCAL_SETTINGS["window"], VOCAL_SETTINGS["hop"]
        missing = torch.sym_max(window - waveform.shape[0], 0)
        waveform = F.pad(waveform, (0, missing))
        steps = waveform.shape[0] // hop
        blocks = waveform[: steps * hop].view(steps, hop)
        last = window // hop - 1
        frames = torch.cat(
            [blocks[i : steps - last + i] for i in range(last + 1)], dim=1
        )
        frames = frames - frames.mean(dim=1, keepdim=True)
        early, late = frames.split(window // 2, dim=1)
        early = early.flip(1)
        real, imaginary = (
            (late + early) @ self.cosines,
            (late - early) @ self.sines,
        )
        return real.square() + imaginary.square()

    def _period(self, power):
        """Return the period in samples and the voicing of each frame.

        The autocorrelation, divided by the window's own, has its highest
        peak at the period; short periods are preferred.
        """
        curve = power @ self.correlate
        curve = curve / curve[:, :1].clamp(min=_TINY)
        candidates = curve[:, self.first_lag : -1]
        lag = (candidates - self.cost).argmax(dim=1, keepdim=True)
        lag = lag + self.first_lag
        before, peak, after = (
            curve.gather(1, lag + i)[:, 0] for i in (-1, 0, 1)
        )
        # A parabola through three points has its maximum between two lags.
        bend = before - 2 * peak + after
        shift = (before - after) / 2 / bend.clamp(max=-1e-6)
        return lag[:, 0] + shift.clamp(-1.0, 1.0), peak.clamp(0.0, 0.9999)

    def _spectral(self, power):
        """Return what depends on the shape of the spectrum, [frames, 20]."""
        log_power = _decibel(power)
        bands = torch.log(power @ self.mel + _TINY)
        alpha = _decibel(power[:, _bins(50, 1000)].sum(dim=1)) - _decibel(
            power[:, _bins(1000, 5000)].sum(dim=1)
        )
        hammarberg = log_power[:, _bins(0, 2000)].amax(dim=1) - log_power[
            :, _bins(2000, 5000)
        ].amax(dim=1)
        centroid = power @ self.frequency
        centroid = centroid / power.sum(dim=1).clamp(min=_TINY)
        shape = power.sqrt()
        shape = shape / shape.sum(dim=1, keepdim=True).clamp(min=_TINY)
        flux = _change(shape).square().sum(dim=1).sqrt()
        slopes = (log_power @ self.slopes).unbind(dim=1)
        columns = [bands.mean(dim=1), alpha, hammarberg, *slopes]
        columns = torch.stack([*columns, centroid, flux], dim=1)
        return torch.cat([columns, (bands @ self.dct)[:, 1:]], dim=1)


class VocalUpstream(AcousticUpstream):
    """What is known of `VocalEncoder` without making it."""

    encoder = VocalEncoder

    def settings(self):
        """Return what the features depend on, as text."""
        return as_text(_VOCAL_VERSION, VOCAL_SETTINGS)
