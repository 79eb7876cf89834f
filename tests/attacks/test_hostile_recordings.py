"""Hostile and broken recordings: an answer or one sentence, soon."""

import errno
import io
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import warnings

import hostile_files as hostile
import numpy as np
import pytest
import soundfile
from conftest import ROOT
from hostile_files import tone

from modules import decoding, spool
from modules.audio import (
    AudioWarning,
    read_header,
    read_samples,
    read_speech,
    read_waveform,
)
from modules.decoding import check_recording
from modules.errors import BadInput, printable


def listen(path):
    """Bind a socket to a path, which stays."""
    with socket.socket(socket.AF_UNIX) as one:
        # A socket's name has at most 107 bytes.
        here = os.getcwd()
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.chdir(here)


def nan(path, value):
    """Write a recording with one sample that is no number."""
    waveform = tone()
    waveform[100] = value
    soundfile.write(path, waveform, 16000, subtype="FLOAT")


def m4a(path, cut):
    """Write a cut M4A, whose index at the end is missing."""
    hostile.write_with_ffmpeg(path, tone(), 16000, "aac")
    path.write_bytes(path.read_bytes()[:cut])


def bytes_of(content):
    """Return what writes some bytes."""
    return lambda path: path.write_bytes(content)


# name -> (file name, what makes it, words of the sentence)
REFUSED = {
    "missing": ("x.wav", lambda p: None, "no such file"),
    "folder of a file": (
        "x.wav/y.wav",
        lambda p: p.parent.write_bytes(b"x"),
        "no such file",
    ),
    "folder": ("x.wav", lambda p: p.mkdir(), "is a folder"),
    "pipe": ("x.wav", os.mkfifo, "pipe or a device"),
    "device": (
        "x.wav",
        lambda p: p.symlink_to("/dev/zero"),
        "pipe or a device",
    ),
    "socket": ("x.wav", listen, "pipe or a device"),
    "dangling link": (
        "x.wav",
        lambda p: p.symlink_to("nowhere.wav"),
        "no such file",
    ),
    "link to itself": ("x.wav", lambda p: p.symlink_to(p), "cannot be read"),
    "name too long": (
        f"{'x' * 300}.wav",
        lambda p: None,
        "cannot be read .File name too long",
    ),
    "zero byte in the name": ("x\0.wav", lambda p: None, "cannot be read"),
    "no bytes": ("x.wav", lambda p: p.touch(), "0 bytes"),
    "text": ("x.wav", bytes_of(b"not audio at all"), "cannot be read"),
    "zeros": ("x.mp3", bytes_of(bytes(5000)), "cannot be read"),
    "no samples": ("x.wav", bytes_of(hostile.wav()[:44]), "cannot be read"),
    "10 ms": (
        "x.wav",
        lambda p: soundfile.write(p, tone(0.01), 16000),
        "lasts 10 ms",
    ),
    "silence": (
        "x.wav",
        lambda p: soundfile.write(p, 0 * tone(), 16000),
        "is silent",
    ),
    "NaN": ("x.wav", lambda p: nan(p, np.nan), "no numbers"),
    "infinity": ("x.wav", lambda p: nan(p, np.inf), "no numbers"),
    "rate of 1 Hz": ("x.wav", bytes_of(hostile.wav(1)), "1 samples per sec"),
    "rate of 2 GHz": (
        "x.wav",
        bytes_of(hostile.wav(2**31 - 1)),
        "2147483647 samples per second",
    ),
    "rate of 0": ("x.wav", bytes_of(hostile.wav(0)), "cannot be read"),
    "no channels": (
        "x.wav",
        bytes_of(hostile.wav(channels=0, waveform=tone())),
        "cannot be read",
    ),
    "no header": ("x.raw", bytes_of(bytes(range(256)) * 99), "has no header"),
    "cut FLAC": (
        "x.flac",
        bytes_of(hostile.encoded(tone(3), format="FLAC")[:2000]),
        "cannot be read",
    ),
    "OGG that ends before it begins": (
        "x.ogg",
        bytes_of(hostile.ogg_of_position("VORBIS", 0)[:2000]),
        "cannot be read",
    ),
    "inverted channel": (
        "x.wav",
        lambda p: soundfile.write(p, np.stack([tone(), -tone()], 1), 16000),
        "choose one of them .--channel left",
    ),
    "M4A without an index": ("x.m4a", lambda p: m4a(p, 900), "cannot be read"),
    "video without sound": ("x.mp4", hostile.write_video, "no sound track"),
    "playlist": (
        "x.m4a",
        bytes_of(b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n"),
        "cannot be read",
    ),
    "list of files": (
        "x.aac",
        bytes_of(b"ffconcat version 1.0\nfile 'other.wav'\n"),
        "cannot be read",
    ),
    "manifest with addresses": (
        "x.mp4",
        bytes_of(
            b"<?xml version='1.0'?><MPD><BaseURL>http://x/</BaseURL></MPD>"
        ),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(tmp_path, name):
    file, make, words = REFUSED[name]
    path = pathlib.Path(tmp_path, file)
    make(path)
    with pytest.raises(BadInput, match=words) as refusal:
        read_header(path)
        read_speech(path)
    sentence = str(refusal.value)
    assert sentence.startswith(("no such file: ", printable(str(path))))
    assert "\n" not in sentence


# name -> (file name, its bytes, samples per channel that are in it)
ANSWERED = {
    "FLAC of unknown length": ("x.flac", hostile.flac_of_length(0), 16000),
    "FLAC of absurd length": (
        "x.flac",
        hostile.flac_of_length(2**36 - 1),
        16000,
    ),
    "FLAC of one sample": ("x.flac", hostile.flac_of_length(1), 16000),
    "FLAC of half its length": ("x.flac", hostile.flac_of_length(8000), 16000),
    "FLAC with a tag in front": (
        "x.flac",
        b"ID3\3\0\0\0\0\2\1" + bytes(257) + hostile.flac_of_length(8000),
        16000,
    ),
    "FLAC with a tag at the end": (
        "x.flac",
        hostile.flac_of_length(16000) + b"TAG" + b"x" * 125,
        16000,
    ),
    "FLAC with zeros at the end": (
        "x.flac",
        hostile.flac_of_length(16000) + bytes(5000),
        16000,
    ),
    "Vorbis of absurd length": (
        "x.ogg",
        hostile.ogg_of_position("VORBIS", 2**62),
        None,
    ),
    "Vorbis of a month": (
        "x.ogg",
        hostile.ogg_of_position("VORBIS", 2**35),
        None,
    ),
    "Opus that ends before it begins": (
        "x.opus",
        hostile.ogg_of_position("OPUS", 0),
        None,
    ),
    "Opus of negative length": (
        "x.opus",
        hostile.ogg_of_position("OPUS", -5),
        None,
    ),
    "MP3 of years": ("x.mp3", hostile.mp3_of_frames(2**32 - 1), None),
    "WAV of unknown length": (
        "x.wav",
        hostile.wav(data_size=2**32 - 1),
        16000,
    ),
    "WAV that was not closed": ("x.wav", hostile.wav(data_size=0), 16000),
    "WAV that is cut": ("x.wav", hostile.wav()[:20044], 10000),
    "WAV of odd rate": ("x.wav", hostile.wav(44101), 16000),
    "WAV of 8 channels": ("x.wav", hostile.wav(channels=8), 16000),
    "WAV called raw": ("x.raw", hostile.wav(), 16000),
    "WAV called MP3": ("x.mp3", hostile.wav(), 16000),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_bytes_are_believed(tmp_path, name):
    file, content, samples = ANSWERED[name]
    path = tmp_path / file
    path.write_bytes(content)
    found, rate, _ = read_header(path)
    assert found == samples or (samples is None and 0 < found < 4 * rate)
    whole, _ = read_samples(path)
    assert len(whole) == found
    in_memory, _ = read_samples(io.BytesIO(content))
    np.testing.assert_array_equal(whole, in_memory)
    # A part is where it is in the whole, which a wrong header must not shift.
    part, _ = read_samples(path, 4000, 8000)
    np.testing.assert_allclose(part, whole[4000:8000], atol=1e-6)
    assert read_speech(path).isfinite().all()


def test_a_header_that_names_more_is_doubted(tmp_path):
    path = tmp_path / "x.mp3"
    path.write_bytes(hostile.mp3_of_frames(10000))
    with pytest.warns(AudioWarning, match="is it whole"):
        samples, rate, _ = read_header(path)
    assert 2.5 < samples / rate < 3.5


def test_a_file_of_more_bytes_than_its_header_names_is_a_warning(tmp_path):
    speech = tone(60)
    whole = {
        "x.mp3": hostile.encoded(speech, format="MP3"),
        "x.wav": hostile.wav(waveform=speech[:, None]),
    }
    for file, content in whole.items():
        (tmp_path / file).write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_header(tmp_path / file)
    more = {
        "two.mp3": whole["x.mp3"] * 4,  # cat one.mp3 two.mp3 ...
        "two.wav": hostile.wav(waveform=speech[:, None], data_size=32000),
    }
    for file, content in more.items():
        (tmp_path / file).write_bytes(content)
        with pytest.warns(AudioWarning, match="is that all of it"):
            read_header(tmp_path / file)


def test_a_recording_of_days_is_refused_before_it_is_decoded(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(decoding, "LONGEST_RECORDING", 36)
    monkeypatch.setattr(decoding, "BLOCK", 2**10)
    for file in ("x.flac", "x.wav", "x.ogg"):
        soundfile.write(tmp_path / file, np.zeros(37 * 8000), 8000)
        with pytest.raises(BadInput, match="lasts more than"):
            read_header(tmp_path / file)


def test_a_bomb_does_not_fill_the_memory(tmp_path, monkeypatch):
    from modules import audio

    soundfile.write(tmp_path / "x.flac", np.zeros(10**6), 8000)
    monkeypatch.setattr(audio, "MOST_IN_MEMORY", 10**6)
    with pytest.raises(BadInput, match="too long"):
        read_samples(tmp_path / "x.flac")


def test_a_bomb_does_not_fill_the_disk(tmp_path, monkeypatch):
    hostile.write_with_ffmpeg(tmp_path / "x.m4a", tone(3), 16000, "aac")
    (tmp_path / "x.flac").write_bytes(hostile.flac_of_length(0))
    monkeypatch.setattr(spool, "MOST_ON_DISK", 10**4)
    for file in ("x.m4a", "x.flac"):
        with pytest.raises(BadInput, match="too long"):
            read_samples(tmp_path / file, 0, 100)


DECODERS = {
    "crash": ("import os; os.kill(os.getpid(), 11)", "its decoder crashed"),
    "hang": ("import time; time.sleep(60)", "its decoder did not end in"),
    "noise": ("print('{', file=__import__('sys').stderr)", "decoder crashed"),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_that_fails_costs_one_recording(tmp_path, monkeypatch, name):
    program, words = DECODERS[name]
    hostile.write_with_ffmpeg(tmp_path / "x.m4a", tone(), 16000, "aac")
    with monkeypatch.context() as patch:
        patch.setattr(spool, "_DECODER", program)
        patch.setattr(spool, "DECODER_SECONDS", 0.5)
        with pytest.raises(BadInput, match=words):
            read_speech(tmp_path / "x.m4a")
    assert len(read_speech(tmp_path / "x.m4a")) > 15000


def test_without_pyav_the_remedy_is_named(tmp_path, monkeypatch):
    hostile.write_with_ffmpeg(tmp_path / "x.m4a", tone(), 16000, "aac")
    monkeypatch.setattr(spool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="pip install av"):
        read_speech(tmp_path / "x.m4a")


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    hostile.write_with_ffmpeg(tmp_path / "x.m4a", tone(), 16000, "aac")

    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(BadInput, match="make room there or set TMPDIR"):
        read_speech(tmp_path / "x.m4a")


def test_nothing_of_the_working_folder_is_executed(tmp_path, monkeypatch):
    hostile.write_with_ffmpeg(tmp_path / "x.m4a", tone(), 16000, "aac")
    for name in ("av", "json", "io", "resource"):
        (tmp_path / f"{name}.py").write_text("open('executed', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    # This process looks for PyAV without executing it.
    assert len(read_speech("x.m4a")) > 15000
    assert not pathlib.Path("executed").exists()


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems refuse such names"
)
@pytest.mark.parametrize("ending", ["wav", "m4a"])
def test_a_name_that_is_not_utf8(tmp_path, ending):
    hostile.write_with_ffmpeg(
        tmp_path / f"x.{ending}",
        tone(),
        16000,
        {"wav": "pcm_s16le", "m4a": "aac"}[ending],
    )
    name = os.fsdecode(b"\xe9t\xe9." + ending.encode())
    path = (tmp_path / f"x.{ending}").rename(tmp_path / name)
    assert len(read_speech(str(path))) > 15000


def test_a_channel_that_is_not_there(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(), 16000)
    assert len(read_speech(tmp_path / "x.wav", channel="left")) == 16000
    for channel, words in [("right", "has 1 channel"), ("up", "is unknown")]:
        with pytest.raises(BadInput, match=words):
            read_speech(tmp_path / "x.wav", channel=channel)


def test_a_file_that_changes_is_looked_at_again(tmp_path):
    path = tmp_path / "x.m4a"
    for seconds in (1, 2):
        hostile.write_with_ffmpeg(path, tone(seconds), 16000, "aac")
        assert read_header(path).samples == pytest.approx(
            16000 * seconds, abs=2048
        )


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="for root every file is readable",
)
def test_no_permission(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(), 16000)
    path.chmod(0)
    with pytest.raises(BadInput, match="cannot be read"):
        read_speech(path)


# The peak is the process's own: getrusage counts the one that started it too.
MEMORY = """
import pathlib, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
from modules.audio import read_waveform
waveform = read_waveform(sys.argv[1])
status = pathlib.Path("/proc/self/status").read_text()
print(len(waveform), re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("rate, channels", [(44101, 1), (48000, 16)])
def test_a_minute_takes_less_than_a_gigabyte(tmp_path, rate, channels):
    path = tmp_path / "x.wav"
    minute = np.tile(tone(1, rate).astype("float32"), 60)
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for start in range(0, len(minute), 2**16):
            part = minute[start : start + 2**16, None]
            file.write(np.repeat(part, channels, axis=1))
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    samples, kilobytes = map(int, done.stdout.split())
    assert samples == 960000
    assert kilobytes < 2**20


def test_check_recording_lets_recordings_pass(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(), 16000)
    assert check_recording(tmp_path / "x.wav").st_size == 32044
    assert len(read_waveform(tmp_path / "x.wav")) == 16000
