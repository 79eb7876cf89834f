"""Decoding recordings of any format, in blocks, without believing a header.

libsndfile reads WAV, FLAC, OGG, MP3 and the like in this process. Any other
format (M4A, MP4, WebM, AMR, AAC, WMA) is left to FFmpeg, see `modules.spool`.
"""

import contextlib
import functools
import io
import os
import stat
import warnings
from typing import NamedTuple

import soundfile

from modules.errors import BadInput
from modules.spool import decode_with_ffmpeg, kept, unreadable, write_blocks

# A day in seconds: no session is recorded in one file for longer, but a few
# bytes of FLAC can decode to years of silence.
LONGEST_RECORDING = 24 * 3600
# Samples of all channels that are decoded at once.
BLOCK = 2**20
# And where the header names no more of them.
_FEW = 2**12
# Bytes of a FLAC file with the number of samples: half of the first and four.
_FLAC_LENGTH = range(21, 26)
# Bytes per sample where a file's size shows whether its header is right.
_WIDTHS = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2}
_WIDTHS |= {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}


class AudioWarning(UserWarning):
    """Something about a recording that makes its answer doubtful."""


class Header(NamedTuple):
    """What a recording is, as far as its bytes bear it out.

    Attributes
    ----------
    samples : int
        Per channel.
    rate : int
        Samples per second.
    channels : int
        Number of channels.
    """

    samples: int
    rate: int
    channels: int


def check_recording(path: str | os.PathLike) -> os.stat_result:
    """Refuse what is no file with bytes in it, before it is opened.

    Opening a pipe or a device can block for ever.

    Arguments
    ---------
    path : str or os.PathLike
        A file on this machine.

    Returns
    -------
    status : os.stat_result
        Of the file.

    Raises
    ------
    BadInput
        If there is no such file, or it is a folder, a pipe, a device or empty.

    Example
    -------
    >>> check_recording("missing.wav")
    Traceback (most recent call last):
    modules.errors.BadInput: no such file: missing.wav (check its name)
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise BadInput(f"no such file: {path} (check its name)") from problem
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise unreadable(path, reason) from problem
    if stat.S_ISDIR(status.st_mode):
        raise BadInput(f"{path} is a folder: give a recording")
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(
            f"{path} is a pipe or a device: save the recording as a file first"
        )
    if status.st_size == 0:
        raise unreadable(path, "it has 0 bytes")
    return status


def look_at(path: str | os.PathLike) -> Header:
    """Return length, rate and channels of a recording.

    Samples are counted by decoding where the size of the file does not bear
    out its header; the result is kept as long as the file does not change.

    Raises
    ------
    BadInput
        If it cannot be decoded or is longer than `LONGEST_RECORDING`.
    """
    return _look(*_identify(path))[0]


def _identify(path):
    """Return the path and a stamp that changes with the file."""
    status = check_recording(path)
    return os.fspath(path), (
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    )


@functools.lru_cache(maxsize=2**14)
def _look(path, stamp):
    """Return the header and whether libsndfile can go to any sample."""
    try:
        file = _open_sndfile(path)
    except _Unknown:
        spool = _spooled(path, stamp)
        return Header(spool.frames, spool.samplerate, spool.channels), False
    with file:
        samples, width = file.named, _WIDTHS.get(file.subtype)
        is_packed = file.format == "FLAC" or width is None
        if is_packed or samples * file.channels * width > stamp[0]:
            samples = sum(len(block) for block in blocks(file, path))
            _warn_of_loss(path, samples, file)
        elif samples > LONGEST_RECORDING * file.samplerate:
            raise _too_long(path)
        header = Header(samples, file.samplerate, file.channels)
        named = samples * file.channels * width if width else _xing_bytes(path)
        if file.format != "FLAC" and named:
            _warn_of_more(path, header, named, stamp[0])
        return header, samples == file.named


@contextlib.contextmanager
def open_recording(source, is_part: bool = False):
    """Open a recording of any format.

    Arguments
    ---------
    source : str, os.PathLike or io.BytesIO
        A file, or its bytes.
    is_part : bool
        Whether `blocks` will be asked for a part.

    Yields
    ------
    recording
        With samplerate and channels; for `blocks`.

    Raises
    ------
    BadInput
        If no decoder opens it.
    """
    in_memory = isinstance(source, io.IOBase)
    path, stamp = (source, None) if in_memory else _identify(source)
    if is_part and not in_memory and not _look(path, stamp)[1]:
        yield _spooled(path, stamp).reader()
        return
    try:
        file = _open_sndfile(path, is_part and not in_memory)
    except _Unknown:
        spool = _spool(path) if in_memory else _spooled(path, stamp)
        yield spool.reader()
        return
    with file:
        yield file


def blocks(recording, name, start: int = 0, stop: int | None = None):
    """Decode a recording, or a part of it, block by block.

    Arguments
    ---------
    recording
        From `open_recording`.
    name : str
        For sentences.
    start, stop : int
        Samples per channel; by default to the end.

    Yields
    ------
    block : numpy.ndarray
        fp32, [samples, channels].

    Raises
    ------
    BadInput
        If the decoder fails, or does not end within `LONGEST_RECORDING`.
    """
    longest = LONGEST_RECORDING * recording.samplerate
    most = max(1, BLOCK // recording.channels)
    left = (longest + 1 if stop is None else stop) - start
    named = getattr(recording, "named", longest) - start
    try:
        # libmpg123 rounds differently if it has not been sent to the start.
        if start or getattr(recording, "format", None) == "MP3":
            recording.seek(start)
        while left > 0:
            # After the samples that a header names may be something else.
            count = min(most, left, named if named > 0 else _FEW)
            block = recording.read(count, "float32", always_2d=True)
            if not len(block):
                return
            left, named = left - len(block), named - len(block)
            yield block
    except (OSError, soundfile.SoundFileError) as problem:
        if named <= 0:
            return
        reason = getattr(problem, "error_string", None) or problem
        raise unreadable(name, reason) from problem
    if stop is None:
        raise _too_long(name)


def _warn_of_loss(name, samples, file):
    """Warn where a header names more than there is, and might be right."""
    longest = LONGEST_RECORDING * file.samplerate
    if samples + file.samplerate < file.named <= longest:
        warnings.warn(
            f"{name} ends after {samples / file.samplerate:.1f} s; its header "
            f"names {file.named / file.samplerate:.1f} s: is it whole?",
            AudioWarning,
            stacklevel=2,
        )


def _xing_bytes(path):
    """Return how many bytes the header of an MP3 file names, or None."""
    with open(path, "rb") as file:
        file.seek(_end_of_id3(file))
        head = file.read(2**10)
    place = max(head.find(b"Xing"), head.find(b"Info"))
    has_both = place >= 0 and head[place + 7 : place + 8] >= b"\3"
    return (
        int.from_bytes(head[place + 12 : place + 16], "big")
        if has_both
        else None
    )


def _warn_of_more(name, header, named, size):
    """Warn where a file has far more bytes than its header names.

    libmpg123 and libsndfile stop there, and what follows may be a picture.
    """
    if size > 2 * named + 2**16:
        warnings.warn(
            f"{name} has {size} bytes; its header names {named}, of which the "
            f"{header.samples / header.rate:.1f} s are read: is that all of "
            "it? If not, convert it to FLAC",
            AudioWarning,
            stacklevel=2,
        )


def _too_long(name):
    """Return the sentence for a recording of more than a day."""
    return BadInput(
        f"{name} lasts more than {LONGEST_RECORDING // 3600} hours: cut it into parts"
    )


class _Unknown(Exception):
    """libsndfile does not open it, and why."""


class _Forward(soundfile.SoundFile):
    """Reads on without looking up its place, which a wrong header prevents.

    ``named`` is the number of samples that the header names, ``opened`` a
    file that is closed with this one.
    """

    opened = None

    def __init__(self, source, named=None):
        super().__init__(source)
        self.named = self.frames if named is None else named

    def close(self):
        """Close the file."""
        super().close()
        if self.opened is not None:
            self.opened.close()

    def seekable(self):
        """Return False."""
        return False


class _FlacOfAnyLength:
    """The bytes of a FLAC file, without the number of samples in its header.

    libFLAC decodes them to their end. Else it stops at that number, whatever
    follows.
    """

    def __init__(self, file, begin):
        self.file, self.seek, self.tell = file, file.seek, file.tell
        self.length = [begin + place for place in _FLAC_LENGTH]

    def read(self, count):
        """Return bytes."""
        begin, data = self.tell(), bytearray(self.file.read(count))
        for place in self.length:
            if begin <= place < begin + len(data):
                # Half of the first byte is of the field before.
                kept = 0xF0 if place == self.length[0] else 0
                data[place - begin] &= kept
        return bytes(data)


def _open_sndfile(source, is_part=False):
    """Open a path or bytes with libsndfile.

    ``is_part``: go to any sample of FLAC, whose header is right.
    """
    file = _open_as_named(source)
    if file.format != "FLAC" or is_part:
        return file
    named = file.named
    file.close()
    if isinstance(source, io.IOBase):
        begin = _end_of_id3(source)
        return _Forward(_FlacOfAnyLength(source, begin), named)
    opened = open(source, "rb")
    whole = _FlacOfAnyLength(opened, _end_of_id3(opened))
    file = _Forward(whole, named)
    file.opened = opened
    return file


def _end_of_id3(file):
    """Return where the sound begins, which may have a tag in front."""
    file.seek(0)
    start = file.read(10)
    file.seek(0)
    if start[:3] != b"ID3":
        return 0
    # Seven bits of each byte.
    return 10 + sum(b << 7 * n for n, b in enumerate(reversed(start[6:])))


def _open_as_named(source):
    """Open a path or bytes with libsndfile, which believes the header."""
    if isinstance(source, str) and os.name == "posix":
        source = os.fsencode(source)  # soundfile refuses what is not UTF-8
    try:
        file = _Forward(source)
    except (soundfile.SoundFileError, OSError) as problem:
        reason = getattr(problem, "error_string", None) or problem
        raise _Unknown(str(reason).strip().rstrip(".")) from problem
    except TypeError as problem:  # soundfile wants rate and channels of .raw
        raise _Unknown("it has no header: convert it to WAV") from problem
    if file.frames > 0 and file.samplerate > 0:
        return file
    file.close()
    raise _Unknown("its header names no samples")


def _spooled(path, stamp):
    """Return the `Spool` of a file, which is decoded anew if it has changed."""
    return kept((path, stamp), lambda: _spool(path))


def _spool(source):
    """Decode a path or bytes into a `Spool`."""
    is_path = not isinstance(source, io.IOBase)
    name = source if is_path else "the recording"
    try:
        file = _open_sndfile(source)
    except _Unknown as problem:
        return decode_with_ffmpeg(source, name, str(problem))
    with file:
        parts = blocks(file, name)
        return write_blocks(parts, file.samplerate, file.channels, name)
