"""Recordings cut into speech, or into the turns of their speakers."""

import functools
import pathlib
import threading
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from modules.audio import SAMPLE_RATE, read_waveform
from modules.decoding import AudioWarning
from modules.errors import BadInput, printable
from modules.files import read_text
from modules.inference.emotion_model import LONGEST_SECONDS, split_evenly
from modules.inference.recordings import SHORTEST_SEGMENT, Cutter, Part, cut

# Seconds by which a turn may end after its recording: tools round.
_ROUNDED = 0.1


class Turn(NamedTuple):
    """When a person speaks.

    Attributes
    ----------
    start, end : float
        Seconds.
    channel : str
        Number of the channel from 1, as the RTTM has it.
    speaker : str
        Name of the person.
    """

    start: float
    end: float
    channel: str
    speaker: str


def read_rttm(path: str) -> dict[str, list[Turn]]:
    """Read the turns of an RTTM file (NIST, RT-09 evaluation plan).

    Arguments
    ---------
    path : str
        Lines ``SPEAKER recording channel start duration <NA> <NA> name ...``;
        other lines are left out.

    Returns
    -------
    turns : dict
        Name of a recording -> its turns in the order of time.

    Raises
    ------
    BadInput
        If it cannot be read or has no turn.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise BadInput(
            f"--speakers {path} cannot be read ({reason}): give an RTTM file"
        ) from problem
    turns = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, seconds = map(float, fields[3:5])
            turn = Turn(start, start + seconds, fields[2], fields[7])
            if not 0 <= start < turn.end < float("inf"):
                raise ValueError
        except (ValueError, IndexError) as problem:
            raise BadInput(
                f"{path}, line {number}, is no turn ('{line:.60}'): write "
                "SPEAKER recording channel start duration <NA> <NA> name"
            ) from problem
        turn = turn._replace(speaker=printable(turn.speaker))
        turns.setdefault(fields[1], []).append(turn)
    if not turns:
        raise BadInput(f"{path} has no line SPEAKER: give an RTTM file")
    return {name: sorted(own) for name, own in turns.items()}


def check_turns(path: str, turns: dict, files: Iterable[str]) -> None:
    """Refuse an RTTM file of other recordings, before any work.

    Raises
    ------
    BadInput
        If it names none of the recordings.
    """
    files = list(files)
    if not any(_name(turns, file) for file in files):
        given = pathlib.PurePath(files[0]).stem if files else "none"
        raise BadInput(
            f"{path} has turns of {', '.join(list(turns)[:3])}, and the first "
            f"recording is '{given}': give the RTTM file of these recordings"
        )


def _name(turns, file):
    """Return the name of a recording in an RTTM file, or None."""
    place = pathlib.PurePath(file)
    return next((n for n in (place.stem, place.name) if n in turns), None)


def cut_into_turns(
    path: str,
    turns: dict[str, list[Turn]],
    segment: float | None = None,
    hop: float | None = None,
) -> Cutter:
    """Return a cutter that cuts a recording into its speakers' turns.

    Arguments
    ---------
    path : str
        Of the RTTM file.
    turns : dict
        From `read_rttm`.
    segment, hop : float
        Cut the turns further; see `modules.inference.recordings.cut`.

    Returns
    -------
    cutter : callable
        Leaves out turns of less than `SHORTEST_SEGMENT`, with a warning.
    """

    def cutter(file, header, channel):
        name, rate = _name(turns, file), header.rate
        if name is None:
            raise BadInput(f"{path} has no turn of {file}: add its turns")
        parts, short = [], 0
        for turn in turns[name]:
            if isinstance(channel, int) and turn.channel != str(channel + 1):
                continue
            start, stop = round(turn.start * rate), round(turn.end * rate)
            if stop > header.samples + _ROUNDED * rate:
                raise BadInput(
                    f"{path} has a turn of {file} that ends at "
                    f"{turn.end:.2f} s, after the recording "
                    f"({header.samples / rate:.2f} s): give its own RTTM file"
                )
            length = min(stop, header.samples) - start
            if length < SHORTEST_SEGMENT * rate:
                short += 1
                continue
            for first, last in cut(length, rate, segment, hop):
                parts.append(Part(start + first, start + last, turn.speaker))
        _report(file, parts, short)
        return parts

    return cutter


def _report(file, parts, short):
    """Warn of turns that are left out; refuse a recording without others."""
    least = f"{1000 * SHORTEST_SEGMENT:.0f} ms"
    if not parts:
        raise BadInput(
            f"{file} has no turn of {least} or more: give longer turns"
        )
    if short:
        warnings.warn(
            f"{short} turns of {file} are left out, since they are shorter "
            f"than {least}",
            AudioWarning,
            stacklevel=3,
        )


def check_vad() -> None:
    """Refuse --vad where its packages are not installed.

    Raises
    ------
    BadInput
        Naming them.
    """
    try:
        import onnxruntime  # noqa: F401
        import silero_vad  # noqa: F401
    except ImportError as problem:
        raise BadInput(
            "--vad needs silero-vad and onnxruntime: pip install -r "
            "requirements-vad.txt"
        ) from problem


@functools.lru_cache(maxsize=1)
def _detector():
    """Return the voice activity detector of silero-vad and its lock."""
    import silero_vad

    return silero_vad.load_silero_vad(onnx=True), threading.Lock()


def cut_into_speech(longest: float | None = None) -> Cutter:
    """Return a cutter that cuts a recording into its stretches of speech.

    They are found by silero-vad with its default settings.

    Arguments
    ---------
    longest : float
        Seconds of a part; longer stretches are cut, in a pause if there is
        one. By default `LONGEST_SECONDS`.
    """
    longest = longest or LONGEST_SECONDS

    def cutter(file, header, channel):
        import silero_vad

        waveform = read_waveform(file, channel=channel)
        detector, lock = _detector()
        with lock:  # it has a state
            found = silero_vad.get_speech_timestamps(
                waveform,
                detector,
                sampling_rate=SAMPLE_RATE,
                max_speech_duration_s=longest,
            )
        if not found:
            raise BadInput(
                f"{file} has no speech that the detector finds: leave out --vad"
            )
        parts, scale = [], header.rate / SAMPLE_RATE
        for stretch in found:
            start = round(stretch["start"] * scale)
            stop = min(round(stretch["end"] * scale), header.samples)
            for first, last in split_evenly(stop - start, header.rate, longest):
                parts.append(Part(start + first, start + last))
        return parts

    return cutter
