"""Which recordings are classified, and in which pieces."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import soundfile
import torch

from modules.audio import CHANNELS, Header, read_header, read_speech
from modules.errors import BadInput
from modules.inference.emotion_model import LONGEST_SECONDS, split_evenly

# Endings of recordings in a folder: libsndfile's formats, and those that
# phones, browsers, calls and cameras write. A file with another ending is
# recognised by its first bytes.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()}
SUFFIXES |= set(
    ".3g2 .3gp .aac .ac3 .aif .amr .ape .asf .avi .awb .dts .eac3 .flv .gsm "
    ".m4a .m4b .m4v .mka .mkv .mov .mp2 .mp4 .mpeg .mpg .mts .oga .opus .qcp "
    ".sph .spx .tta .weba .webm .wma .wmv .wv".split()
)

SHORTEST_SEGMENT = 0.1
# The step of the encoders' frames: nothing changes within it.
SHORTEST_HOP = 0.02
# A day in steps of a second, with room; a piece takes a kilobyte.
MOST_PIECES = 100_000
# Recordings that are looked at side by side.
_READERS = 4


class Part(NamedTuple):
    """Where a recording is cut.

    Attributes
    ----------
    start, stop : int
        Samples at the file's own rate.
    speaker : str
        Who speaks, if that is known.
    """

    start: int
    stop: int
    speaker: str | None = None


# Returns the parts of a recording, given its path, its header and its channel
# as `modules.audio.read_waveform` takes it.
Cutter = Callable[[str, Header, "str | int"], list[Part]]


class Problem(NamedTuple):
    """An input without an answer.

    Attributes
    ----------
    file : str
        The recording or folder.
    channel : str
        The channel that it concerns; None if all.
    sentence : str
        What is wrong with it, and what helps.
    """

    file: str
    channel: str | None
    sentence: str


def find_files(paths: Iterable[str]) -> tuple[list[str], list[Problem]]:
    """Return the recordings among files and in folders, in the order given.

    A folder is searched for files that end like a recording or begin like
    one; hidden files are left out.

    Arguments
    ---------
    paths : iterable of str
        Files and folders.

    Returns
    -------
    files : list of str
        Each once.
    problems : list of Problem
        Folders that cannot be read or have no recordings.

    Raises
    ------
    BadInput
        If there is no recording at all.
    """
    files, problems = [], []
    for path in map(os.fspath, paths):
        if not os.path.isdir(path):
            files.append(path)
            continue
        unread: list[Problem] = []
        found = list(walk(path, unread))
        problems += unread
        files += found
        if not found and not unread:
            sentence = f"{path} has no audio file in it: check its name"
            problems.append(Problem(path, None, sentence))
    if not files and problems:
        raise BadInput(problems[0].sentence)
    return list(dict.fromkeys(files)), problems


def walk(root: str, problems: list[Problem]) -> Iterator[str]:
    """Give the recordings in a folder, in the order of their paths.

    Memory grows with the largest folder, not with the tree.

    Arguments
    ---------
    root : str
        Links to folders in it are not followed.
    problems : list of Problem
        Grows by the folders that are closed.
    """
    stack = [_entries(root, problems)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry.is_dir(follow_symlinks=False):
            stack.append(_entries(entry.path, problems))
        elif not entry.name.startswith(".") and not entry.is_dir():
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in SUFFIXES or _begins_like_media(entry.path):
                yield entry.path


def _entries(folder, problems):
    """Return an iterator over what is in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as problem:
        sentence = f"{problem.filename} cannot be read ({problem.strerror})"
        problems.append(Problem(problem.filename, None, sentence))
        return iter(())


def _begins_like_media(path):
    """Whether the first bytes are those of a container of sound."""
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            head = file.read(400)
    except OSError:
        return False
    if head[4:8] == b"ftyp":  # MP4 and its relatives, photographs among them
        return head[8:12] not in (b"heic", b"heix", b"mif1", b"msf1", b"avif")
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return head[8:12] in (b"WAVE", b"AVI ", b"AIFF", b"AIFC")
    if head[:1] == b"G":  # an MPEG transport stream has it in each packet
        return len(head) > 376 and head[188:189] == head[376:377] == b"G"
    return head.startswith(
        (b"fLaC", b"OggS", b"ID3", b"#!AMR", b"caff", b".snd")
        + (b"\xff\xfb", b"\xff\xf1", b"\xff\xf9", b"FLV\x01")
        + (b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11")  # Matroska, ASF
    )


@dataclasses.dataclass
class Piece:
    """A part of a recording that is classified at once.

    Attributes
    ----------
    file : str
        The recording.
    start, stop : int
        Samples at the file's own rate.
    rate : int
        Samples per second.
    whole : bool
        Whether it is the whole recording.
    channel : str or int
        See `modules.audio.read_waveform`.
    name : str
        Of the channel, where each is classified; else None.
    is_silent : bool
        Whether it is digital silence, once it has been read.
    speaker : str
        Whose turn it is, where turns are given; else None.
    log_probabilities : torch.Tensor
        [classes], once classified.
    embedding : torch.Tensor
        [values], once classified, where embeddings are wanted.
    distance : float
        From the training, once classified; None: the model has none.
    """

    file: str
    start: int
    stop: int
    rate: int
    whole: bool
    channel: str | int = "mean"
    name: str | None = None
    is_silent: bool = False
    speaker: str | None = None
    log_probabilities: torch.Tensor | None = None
    embedding: torch.Tensor | None = None
    distance: float | None = None

    @property
    def seconds(self) -> float:
        """Duration."""
        return (self.stop - self.start) / self.rate

    def read(self) -> torch.Tensor:
        """Return the waveform at 16 kHz, [samples]."""
        part = () if self.whole else (self.start, self.stop)
        waveform = read_speech(self.file, *part, channel=self.channel)
        self.is_silent = bool(waveform.min() == waveform.max())
        return waveform


def cut(
    samples: int,
    rate: int,
    segment: float | None = None,
    hop: float | None = None,
) -> list[tuple[int, int]]:
    """Return where a recording is cut, as (start, stop) in samples.

    Arguments
    ---------
    samples, rate : int
        Of the recording.
    segment, hop : float
        Length of the segments and distance of their starts in seconds; all
        are of that length, and the last one ends where the recording ends.
        Without them the recording is one piece, or, if it is longer than
        `LONGEST_SECONDS`, several of equal length.

    Raises
    ------
    BadInput
        If there are more than `MOST_PIECES`.

    Example
    -------
    >>> cut(20, 10, segment=1.0, hop=0.8)
    [(0, 10), (8, 18), (10, 20)]
    """
    if segment is None:
        return split_evenly(samples, rate)
    length = min(round(segment * rate), samples)
    step = max(1, round(hop * rate))
    if (samples - length) // step >= MOST_PIECES:
        raise BadInput(
            f"a recording of {samples / rate:.0f} s has more than "
            f"{MOST_PIECES} segments: choose a larger --hop"
        )
    starts = list(range(0, samples - length + 1, step))
    if starts[-1] + length < samples:
        starts.append(samples - length)
    return [(start, start + length) for start in starts]


def check_segments(segment: float | None, hop: float | None) -> None:
    """Refuse lengths that no segment can have.

    Raises
    ------
    BadInput
        Naming the option of predict.py.
    """
    if segment is None:
        if hop is not None:
            raise BadInput("--hop needs --segments, the length of a segment")
        return
    if not SHORTEST_SEGMENT <= segment <= LONGEST_SECONDS:
        raise BadInput(
            f"--segments must be {SHORTEST_SEGMENT} to {LONGEST_SECONDS} "
            f"seconds, not {segment:g}"
        )
    if hop is not None and not SHORTEST_HOP <= hop < float("inf"):
        raise BadInput(
            f"--hop must be {SHORTEST_HOP} seconds or more, the step of the "
            f"encoder's frames, not {hop:g}"
        )


def cut_evenly(segment: float | None, hop: float | None) -> Cutter:
    """Return a cutter that cuts every recording as `cut` does."""

    def cutter(file, header, channel):
        parts = cut(header.samples, header.rate, segment, hop)
        return [Part(*part) for part in parts]

    return cutter


def cut_files(
    files: Iterable[str],
    cutter: Cutter = cut_evenly(None, None),
    channel: str = "mean",
) -> tuple[list[Piece], list[Problem]]:
    """Cut recordings.

    Arguments
    ---------
    files : iterable of str
        Recordings.
    cutter : callable
        Cuts one; see `Cutter`.
    channel : str
        "mean", "left", "right" or "each": every channel is a recording of
        its own.

    Returns
    -------
    pieces : list of Piece
        In the order of the files.
    problems : list of Problem
        Files that cannot be read or cut.
    """

    def cut_file(file):
        try:
            return _cut_file(file, cutter, channel)
        except BadInput as problem:
            return Problem(file, None, str(problem))

    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        results = list(readers.map(cut_file, files))
    pieces = [p for r in results if not isinstance(r, Problem) for p in r]
    return pieces, [r for r in results if isinstance(r, Problem)]


def _cut_file(file, cutter, channel):
    """Return the pieces of one recording."""
    header, pieces = read_header(file), []
    for number, name in _channels(channel, header):
        parts = cutter(file, header, number)
        if channel == "each" and header.channels * len(parts) > MOST_PIECES:
            raise BadInput(
                f"{file} has {header.channels} channels with "
                f"{len(parts)} segments each: choose --channel mean"
            )
        for start, stop, speaker in parts:
            piece = Piece(file, start, stop, header.rate, False, number, name)
            piece.whole = (start, stop) == (0, header.samples)
            piece.speaker = speaker
            pieces.append(piece)
    return pieces


def _channels(channel, header: Header):
    """Return (what `read_speech` wants, name in the table) of each row."""
    if channel != "each":
        return [(channel, None)]
    names = {number: name for name, number in CHANNELS.items()}
    if header.channels != 2:
        names = {}
    return [
        (number, names.get(number, str(number + 1)))
        for number in range(header.channels)
    ]


def make_batches(
    pieces: Iterable[Piece],
    batch_size: int,
    cost: Callable[[float], float] = float,
    longest: float = LONGEST_SECONDS,
) -> list[list[Piece]]:
    """Put pieces of nearly equal length together, the longest first.

    A batch has at most ``batch_size`` pieces and, padding included, at most
    ``longest`` seconds, so that memory is bounded and, should it not do,
    fails at once. ``cost`` returns the seconds that the encoder computes for
    a piece of some seconds.
    """
    batches = []
    for piece in sorted(pieces, key=lambda piece: -piece.seconds):
        if (
            batches
            and len(batches[-1]) < batch_size
            and cost(batches[-1][0].seconds) * (len(batches[-1]) + 1) <= longest
        ):
            batches[-1].append(piece)
        else:
            batches.append([piece])
    return batches
