"""Decoded recordings in temporary files, and FFmpeg in its own process.

FFmpeg comes with PyAV, whose wheels bring it; torchcodec, pydub and audioread
need one that the user installs. It runs in a process of its own, so that a
crash, a hang or a bomb costs one recording.
"""

import collections
import concurrent.futures
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
from typing import Any, BinaryIO

import numpy as np

from modules.errors import BadInput

# Bytes of decoded samples in a temporary file: 6 hours of stereo at 48 kHz.
MOST_ON_DISK = 2**33
# Bytes of decoded recordings that are kept for the next part that is read.
KEPT_ON_DISK = 2**30
# Seconds that a decoder gets at least, and megabytes per further second: a
# tenth of the speed of FFmpeg on one slow core.
DECODER_SECONDS, DECODER_MEGABYTES = 60, 0.5


# Decodes standard input with PyAV to fp32 samples on standard output; the last
# line of standard error is a description. It is a string because an exported
# model is one file, and importing that file would load torch. The lists keep
# FFmpeg from playlists, which name other files, and from video decoders.
_DECODER = """
import io, json, sys
ending, most, *sys.path = sys.argv[1:]
FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,avi,caf,dts,eac3,flac,flv,"
    "gsm,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,ogg,oma,qcp,rm,tak,"
    "tta,voc,w64,wav,webm,wv,xwma"
)
CODECS = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,"
    "adpcm_yamaha,alac,amrnb,amrwb,ape,cook,dca,eac3,flac,g723_1,g729,gsm,"
    "gsm_ms,libopencore_amrnb,libopencore_amrwb,libopus,mp1,mp1float,mp2,"
    "mp2float,mp3,mp3float,mpc7,mpc8,nellymoser,opus,pcm_alaw,pcm_f32be,"
    "pcm_f32le,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,"
    "pcm_s32be,pcm_s32le,pcm_s8,pcm_u8,qcelp,ra_144,ra_288,sipr,speex,tak,"
    "truehd,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice"
)

class Recording(io.FileIO):
    name = "recording" + ending

def limit():
    import resource
    for kind, value in (("AS", 2**30), ("CORE", 0), ("CPU", 3600)):
        resource.setrlimit(getattr(resource, "RLIMIT_" + kind), (value, value))

def decode():
    import av
    written, first, resampler = 0, None, None
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS}
    options["protocol_whitelist"] = "none"
    with av.open(Recording(0), container_options=options,
                 metadata_errors="replace") as container:
        if not container.streams.audio:
            return {"reason": "it has no sound track"}
        for frame in container.decode(container.streams.audio[0]):
            now = frame.sample_rate, frame.layout.name
            if first is None:
                first = last = now
                channels = frame.layout.nb_channels
            if resampler is None or now != last:
                last = now
                resampler = av.AudioResampler("flt", first[1], first[0])
            for part in resampler.resample(frame):
                size = 4 * channels * part.samples
                written += size
                if written > int(most):
                    return {"reason": "it is too long"}
                sys.stdout.buffer.write(memoryview(part.planes[0])[:size])
    if first is None:
        return {"reason": "its sound track is empty"}
    return {"rate": first[0], "channels": channels}

try:
    limit()
except (ImportError, ValueError, OSError):
    pass
try:
    result = decode()
    sys.stdout.buffer.flush()
except MemoryError:
    result = {"reason": "its decoder takes more than 1 GB"}
except Exception as problem:
    text = getattr(problem, "strerror", None) or str(problem)
    result = {"reason": "FFmpeg: " + text.split(chr(10))[0]}
print(chr(10) + json.dumps(result), file=sys.stderr)
"""


def unreadable(name, reason) -> BadInput:
    """Return the sentence for a recording that cannot be decoded."""
    return BadInput(
        f"{name} cannot be read ({str(reason).strip().rstrip('.')}): give a "
        "recording such as WAV, FLAC, OGG, MP3 or M4A"
    )


class Spool:
    """Decoded samples in a temporary file that has no name."""

    def __init__(self, file, rate, channels):
        self.file, self.samplerate, self.channels = file, rate, channels
        self.bytes = file.seek(0, os.SEEK_END)
        self.frames = self.bytes // (4 * channels)
        self.position, self.lock = 0, threading.Lock()

    def reader(self):
        """Return a view with a position of its own."""
        view = object.__new__(Spool)
        view.__dict__.update(self.__dict__, position=0)
        return view

    def seek(self, position):
        """Go to a sample."""
        self.position = position

    def read(self, count, dtype, always_2d):
        """Return at most so many samples, as `soundfile.SoundFile.read`."""
        count = max(0, min(count, self.frames - self.position))
        samples = np.empty((count, self.channels), dtype)
        with self.lock:
            self.file.seek(4 * self.channels * self.position)
            if count:
                self.file.readinto(memoryview(samples).cast("B"))
        self.position += count
        return samples


_kept: collections.OrderedDict[Any, concurrent.futures.Future] = (
    collections.OrderedDict()
)
_kept_lock = threading.Lock()


def _forget_all():
    """Begin anew in a forked process: its files would share a position."""
    global _kept_lock
    _kept_lock = threading.Lock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def kept(key, make) -> Spool:
    """Return what ``make`` made for a key, made once while there is room.

    Threads that ask for the same key meanwhile wait.
    """
    with _kept_lock:
        is_new = key not in _kept
        if is_new:
            _kept[key] = concurrent.futures.Future()
        future = _kept[key]
        _kept.move_to_end(key)
    if is_new:
        try:
            future.set_result(make())
        except BaseException as problem:
            future.set_exception(problem)
            with _kept_lock:
                _kept.pop(key, None)
        _forget_oldest()
    return future.result()


def _forget_oldest():
    """Drop spools until `KEPT_ON_DISK` is enough; readers keep theirs."""
    with _kept_lock:
        sizes = {
            key: future.result().bytes
            for key, future in _kept.items()
            if future.done()
        }
        for key in list(sizes)[:-1]:
            if sum(sizes.values()) <= KEPT_ON_DISK:
                return
            del _kept[key], sizes[key]


@contextlib.contextmanager
def _disk(name):
    """Turn a full disk into a sentence."""
    try:
        yield
    except OSError as problem:
        raise BadInput(
            f"{name} cannot be decoded in {tempfile.gettempdir()} "
            f"({problem.strerror}): make room there or set TMPDIR"
        ) from problem


def write_blocks(blocks, rate: int, channels: int, name: str) -> Spool:
    """Write fp32 samples [samples, channels] to a `Spool`.

    Raises
    ------
    BadInput
        If they are too long or the disk is full.
    """
    with _disk(name):
        out = tempfile.TemporaryFile()
        for block in blocks:
            if out.tell() + block.nbytes > MOST_ON_DISK:
                raise unreadable(name, "it is too long")
            out.write(block)
        return Spool(out, rate, channels)


def decode_with_ffmpeg(source, name: str, reason: str) -> Spool:
    """Decode with FFmpeg, in a process of its own.

    Arguments
    ---------
    source : str or io.BytesIO
        A path, or the bytes of a file.
    name : str
        For sentences.
    reason : str
        Why libsndfile does not read it.

    Returns
    -------
    spool : Spool
        The first sound track.

    Raises
    ------
    BadInput
        If PyAV is missing or FFmpeg does not decode it to its end.
    """
    if importlib.util.find_spec("av") is None:
        reason += "; other formats need PyAV: pip install av"
        raise unreadable(name, reason)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_disk(name))
        out = tempfile.TemporaryFile()
        if isinstance(source, str):
            file: BinaryIO = open(source, "rb")
            suffix = os.path.splitext(source)[1]
        else:
            file, suffix = tempfile.TemporaryFile(), ""
            file.write(source.getbuffer())
            file.seek(0)
        stack.enter_context(file)
        found = _run_decoder(file, out, suffix)
    if "reason" in found:
        raise unreadable(name, f"{reason}; {found['reason']}")
    return Spool(out, found["rate"], found["channels"])


def _run_decoder(source, out, suffix):
    """Return what `_DECODER` prints about a file, or the reason why not."""
    seconds = os.fstat(source.fileno()).st_size / 1e6 / DECODER_MEGABYTES
    seconds = min(3600, DECODER_SECONDS + seconds)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _DECODER, suffix]
            # Without the working folder, where a stranger's av.py may lie.
            + [str(MOST_ON_DISK), *filter(None, sys.path)],
            stdin=source,
            stdout=out,
            stderr=subprocess.PIPE,
            timeout=seconds,
        )
        return json.loads(done.stderr.rstrip().rpartition(b"\n")[2])
    except subprocess.TimeoutExpired:
        return {"reason": f"its decoder did not end in {seconds:.0f} s"}
    except ValueError:
        return {"reason": "its decoder crashed"}
