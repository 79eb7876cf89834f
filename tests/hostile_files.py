"""Recordings as attackers, pipes and broken programs write them."""

import io
import struct

import av
import numpy as np
import soundfile

RATE = 16000


def tone(seconds=1.0, rate=RATE, amplitude=0.3):
    """Return a tone of 300 Hz, [samples]."""
    time = np.arange(round(seconds * rate)) / rate
    return amplitude * np.sin(2 * np.pi * 300 * time)


def encoded(waveform, rate=RATE, **options):
    """Return the bytes of a file that libsndfile writes."""
    file = io.BytesIO()
    soundfile.write(file, waveform, rate, **options)
    return bytearray(file.getvalue())


def write_with_ffmpeg(path, waveform, rate, codec, container=None):
    """Write a recording in a format that libsndfile does not have.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the file.
    waveform : numpy.ndarray
        [samples] or [samples, 2].
    rate : int
        Samples per second.
    codec, container : str
        FFmpeg's names.
    """
    channels = waveform[0].size
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        rates = {"libopencore_amrnb": 12200, "wmav2": 64000}
        if codec in rates:
            stream.bit_rate = rates[codec]
        packed = waveform.astype("float32").reshape(len(waveform), -1)
        for start in range(0, len(packed), 1024):
            frame = av.AudioFrame.from_ndarray(
                packed[start : start + 1024].reshape(1, -1),
                format="flt",
                layout=stream.layout.name,
            )
            frame.sample_rate, frame.pts = rate, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def write_video(path):
    """Write a video without a sound track."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(5):
            picture = np.zeros((32, 32, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def flac_of_length(samples):
    """Return a second in FLAC whose header names another length; 0: unknown."""
    content = encoded(tone(), format="FLAC")
    fields = int.from_bytes(content[18:26], "big")
    fields = fields >> 36 << 36 | samples
    content[18:26] = fields.to_bytes(8, "big")
    return content


def ogg_of_position(subtype, position):
    """Return three seconds in OGG whose last page names another position."""
    content = encoded(tone(3), format="OGG", subtype=subtype)
    start = content.rindex(b"OggS")
    page = content[start:]
    page[6:14] = struct.pack("<q", position)
    page[22:26] = bytes(4)
    page[22:26] = struct.pack("<I", _ogg_checksum(page))
    return content[:start] + page


def _ogg_checksum(page):
    """Return the CRC of an OGG page (RFC 3533, appendix A)."""
    remainder = 0
    for byte in page:
        remainder ^= byte << 24
        for _ in range(8):
            remainder <<= 1
            if remainder >> 32:
                remainder ^= 0x104C11DB7
    return remainder


def mp3_of_frames(frames):
    """Return three seconds in MP3 whose header names so many frames."""
    content = encoded(tone(3), format="MP3")
    start = content.index(b"Info") if b"Info" in content else -1
    start = content.index(b"Xing") if start < 0 else start
    content[start + 8 : start + 12] = struct.pack(">I", frames)
    return content


def wav(rate=RATE, data_size=None, channels=1, waveform=None):
    """Return a WAV file whose header names what is given."""
    if waveform is None:
        waveform = np.repeat(tone()[:, None], channels, axis=1)
    samples = (32767 * waveform).astype("<i2").tobytes()
    size = len(samples) if data_size is None else data_size
    return b"".join(
        [
            b"RIFF",
            struct.pack("<I", min(36 + size, 2**32 - 1)),
            b"WAVEfmt ",
            struct.pack("<IHHIIHH", 16, 1, channels, rate, 0, 2 * channels, 16),
            b"data",
            struct.pack("<I", size),
            samples,
        ]
    )
