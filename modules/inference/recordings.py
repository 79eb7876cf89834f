"""Which recordings are heard, and in which pieces."""

import dataclasses
import pathlib

import soundfile
import torch

from modules.audio import read_length, read_speech
from modules.errors import BadInput
from modules.inference.speechbrain_interface import (
    LONGEST_SECONDS,
    split_evenly,
)

# libsndfile also reads formats without a header or a usual ending; give such
# a file by its name.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".aif",
    ".oga",
    ".opus",
    ".sph",
}


def find_files(paths):
    """Return the files to listen to, in the order given.

    Folders are searched for files with an audio format's ending.

    Raises
    ------
    BadInput
        If a folder holds none.
    """
    files = []
    for given in paths:
        path = pathlib.Path(given)
        if not path.is_dir():
            files.append(str(path))
            continue
        found = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not file.name.startswith(".")
            and file.is_file()
        )
        if not found:
            raise BadInput(
                f"{path} holds no audio file (endings: "
                f"{', '.join(sorted(SUFFIXES))})"
            )
        files += found
    return list(dict.fromkeys(files))


@dataclasses.dataclass
class Piece:
    """A part of a recording that is heard at once.

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
    log_probabilities : torch.Tensor
        [classes], once heard.
    """

    file: str
    start: int
    stop: int
    rate: int
    whole: bool
    log_probabilities: torch.Tensor = None

    @property
    def seconds(self):
        """Duration."""
        return (self.stop - self.start) / self.rate

    def read(self):
        """Return the waveform at 16 kHz, [samples]."""
        if self.whole:
            return read_speech(self.file)
        return read_speech(self.file, self.start, self.stop)


def cut(samples, rate, segment=None, hop=None):
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
    """
    if segment is None:
        return split_evenly(samples, rate)
    length = min(round(segment * rate), samples)
    step = max(1, round(hop * rate))
    starts = list(range(0, samples - length + 1, step))
    if starts[-1] + length < samples:
        starts.append(samples - length)
    return [(start, start + length) for start in starts]


def cut_files(files, segment=None, hop=None):
    """Cut recordings, see `cut`.

    Returns
    -------
    pieces : list of Piece
        In the order of the files.
    problems : dict
        File that could not be read -> what is wrong with it, one sentence.
    """
    pieces, problems = [], {}
    for file in files:
        try:
            samples, rate = read_length(file)
        except BadInput as problem:
            problems[file] = str(problem)
            continue
        parts = cut(samples, rate, segment, hop)
        pieces += [
            Piece(file, start, stop, rate, whole=len(parts) == 1)
            for start, stop in parts
        ]
    return pieces, problems


def make_batches(pieces, batch_size, least=0.0, longest=LONGEST_SECONDS):
    """Put pieces of nearly equal length together, the longest first.

    A batch holds at most ``batch_size`` pieces and, padding included, at most
    ``longest`` seconds, so that memory is bounded and, should it not do,
    fails at once. ``least`` is what the encoder makes of a shorter piece.
    """
    batches = []
    for piece in sorted(pieces, key=lambda piece: -piece.seconds):
        if (
            batches
            and len(batches[-1]) < batch_size
            and max(batches[-1][0].seconds, least) * (len(batches[-1]) + 1)
            <= longest
        ):
            batches[-1].append(piece)
        else:
            batches.append([piece])
    return batches
