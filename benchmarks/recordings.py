"""Noise with the durations of IEMOCAP."""

import hashlib

import numpy as np
import soundfile

from modules.audio import SAMPLE_RATE

SECONDS = 4.5


def draw_durations(count, seed=0):
    """Draw durations in seconds with IEMOCAP's mean and range."""
    rng = np.random.default_rng(seed)
    durations = np.clip(rng.lognormal(1.29, 0.65, count), 0.6, 34)
    return np.clip(durations * SECONDS / durations.mean(), 0.6, 34)


def make_recordings(folder, durations):
    """Write noise; return manifest entries by utterance."""
    rng = np.random.default_rng(0)
    entries = {}
    for i, seconds in enumerate(durations):
        path = folder / f"{i}.wav"
        noise = 0.1 * rng.standard_normal(round(SAMPLE_RATE * seconds))
        soundfile.write(path, noise, SAMPLE_RATE)
        entries[str(i)] = {
            "wav": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "duration": len(noise) / SAMPLE_RATE,
        }
    return entries
