"""Reading the JSON manifests that `data_prep` writes."""

import math
import os
import pathlib

from modules.audio import CHANNEL_CHOICES
from modules.errors import BadInput
from modules.files import read_json

# Stands for the data folder in a manifest, as in SpeechBrain's recipes.
DATA_ROOT = "{data_root}"
# Keys of an entry that the recipe reads, and their types.
_TYPES = {
    "wav": str,
    "duration": (int, float),
    "label": str,
    "speaker": str,
    "sha256": str,
}


def read_manifest(
    path: str | os.PathLike, data_folder: str | os.PathLike | None
) -> dict[str, dict]:
    """Read a manifest and fill in the data folder.

    Only the prefix "{data_root}" of the key ``wav`` is replaced; other braces
    are left as they are. (SpeechBrain's `load_data_json` formats every text of
    a manifest, so that a file ``x{1}.wav`` cannot be read with it.)

    Arguments
    ---------
    path : str or pathlib.Path
        The manifest.
    data_folder : str or pathlib.Path or None
        The folder of relative paths; the working directory, if None or empty.

    Returns
    -------
    dict
        Utterance id -> entry, with the keys wav (path), duration (seconds),
        label, speaker, fold, sha256 (of the file) and those of the corpus;
        channel, where one of several channels is read.

    Raises
    ------
    BadInput
        If it cannot be read or is damaged.
    """
    path = pathlib.Path(path)
    try:
        entries = read_json(path)
    except OSError as error:
        raise BadInput(
            f"The manifest {path} cannot be read ({error.strerror}): prepare "
            "the corpus again."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not JSON") from error
    if not isinstance(entries, dict) or not entries:
        raise _damaged(path, "it is not a table of utterances")
    root = str(data_folder or ".")
    for name, entry in entries.items():
        problem = _wrong_key(entry)
        if problem:
            raise _damaged(path, f"its utterance {name!r} {problem}")
        if entry["wav"].startswith(f"{DATA_ROOT}/"):
            entry["wav"] = root + entry["wav"].removeprefix(DATA_ROOT)
    return entries


def channel_of(entry: dict) -> str:
    """Return which channel of an entry's recording is read.

    Example
    -------
    >>> channel_of({"wav": "a.wav"})
    'mean'
    """
    return entry.get("channel", CHANNEL_CHOICES[0])


def recording_of(entry: dict) -> str:
    """Return what identifies the samples of an entry, in the store.

    The digest of the file, with the channel if one of several is read.

    Example
    -------
    >>> recording_of({"sha256": "ab12", "channel": "left"})
    'ab12-left'
    """
    channel = entry.get("channel")
    return (
        entry["sha256"] if channel is None else f"{entry['sha256']}-{channel}"
    )


def _wrong_key(entry):
    """Return what is wrong with an entry of a manifest, or None."""
    if not isinstance(entry, dict):
        return "is not a table"
    for key, kind in _TYPES.items():
        if key not in entry:
            return f"has no {key}"
        value = entry[key]
        if not isinstance(value, kind) or isinstance(value, bool) or not value:
            return f"has a wrong {key} ({value!r:.40})"
    if not 0 < entry["duration"] < math.inf:
        return f"has a wrong duration ({entry['duration']})"
    if channel_of(entry) not in CHANNEL_CHOICES:
        return f"has a wrong channel ({entry['channel']!r:.40})"
    return None


def _damaged(path, reason):
    """Return the error of a damaged manifest."""
    return BadInput(
        f"The manifest {path} is damaged, {reason}: delete it and prepare the "
        "corpus again."
    )
