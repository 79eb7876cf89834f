"""Exported models in tests: loading, snapshots of a folder, a waveform."""

import pathlib

import numpy as np
import soundfile
from speechbrain.inference.interfaces import foreign_class

CPU = {"device": "cpu"}


def load_foreign(folder, **kwargs):
    """Load a model's folder as without this repository."""
    return foreign_class(
        source=str(folder),
        pymodule_file="custom_interface.py",
        classname="EmotionClassifier",
        run_opts=CPU,
        **kwargs,
    )


def snapshot(folder):
    """Return name -> modification time, without Python's own cache."""
    return {
        str(path.relative_to(folder)): path.lstat().st_mtime_ns
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if "__pycache__" not in path.parts and path.is_file()
    }


def spoken(seconds=2.0, rate=16000, seed=0):
    """Return a sum of tones up to 3 kHz, modulated at 3 Hz; [samples]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(
        rng.uniform(0.02, 0.1) * np.sin(2 * np.pi * f * time + f)
        for f in (120, 240, 480, 950, 1800, 2900)
    )
    return wave * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))


def write_six_recordings(folder):
    """Make a folder of six recordings, one of them silent; return it."""
    folder.mkdir()
    for number in range(6):
        wave = spoken(0.3, seed=number) * (number != 4)
        soundfile.write(folder / f"{number}.wav", wave, 16000)
    return folder
