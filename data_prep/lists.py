"""Lists of recordings of any origin: CSV, JSON manifests and JSON lines."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib

from data_prep.corpus import read_text
from data_prep.csv_prepare import read_cells
from data_prep.identity import is_missing
from modules.errors import BadInput
from modules.manifest import DATA_ROOT

# Names of a column or key in SpeechBrain, NeMo, Common Voice and other lists,
# in lower case.
NAMES = {
    "path": (
        *("path", "wav", "audio_filepath", "audio_path", "audio", "file"),
        *("filename", "file_name", "filepath", "sig"),
    ),
    "speaker": (
        *("speaker", "spk_id", "spkid", "speaker_id", "spk", "client_id"),
    ),
    "text": (
        *("text", "transcript", "transcription", "sentence", "words", "wrd"),
    ),
    "label": ("label", "emotion", "emo", "class"),
    "sha256": ("sha256",),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One recording of a list; what the list does not give is "".

    Arguments
    ---------
    path : str
        As in the list, without "{data_root}/".
    speaker, text, label : str
        Name of the speaker, the words, the emotion.
    sha256 : str
        Of the bytes of the file.
    """

    path: str = ""
    speaker: str = ""
    text: str = ""
    label: str = ""
    sha256: str = ""


def read_list(path: str | os.PathLike) -> list[Row]:
    """Read a list of recordings.

    Arguments
    ---------
    path : str or pathlib.Path
        A CSV file, a JSON manifest (utterances by id, or a list of them) or
        JSON lines.

    Returns
    -------
    list of Row
        In the order of the list.

    Raises
    ------
    BadInput
        If it is none of these or names neither recordings, speakers nor
        texts.
    """
    records = _read_records(path)
    rows = [_row(record) for record in records]
    compared = ("path", "speaker", "text", "sha256")
    if not any(getattr(row, field) for row in rows for field in compared):
        known = ", ".join(NAMES[field][0] for field in compared)
        raise BadInput(
            f"{path} has no recordings, speakers or texts to compare: name its "
            f"columns {known}."
        )
    return rows


def _read_records(path):
    """Return the recordings of a list as column or key -> value."""
    if read_text(path).lstrip().startswith(("{", "[")):
        records = _read_json(path)
    else:
        (_, heading), *lines = read_cells(path)[0]
        records = [dict(zip(heading, cells)) for _, cells in lines]
    return records


def _read_json(path):
    """Read the records of a JSON manifest or of JSON lines."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = [_read_line(path, n, t) for n, t in _lines(text)]
    if isinstance(content, dict):
        nested = any(isinstance(value, dict) for value in content.values())
        content = list(content.values()) if nested else [content]
    for number, record in enumerate(content, start=1):
        if not isinstance(record, dict):
            raise BadInput(
                f"{path} is not a manifest, its utterance {number} is "
                f"{str(record)[:40]!r}: give a table of utterances."
            )
    return content


def _lines(text):
    """Return (number, text) of every line that is not blank."""
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line) for number, line in lines if line.strip()]


def _read_line(path, number, line):
    """Read one of JSON lines."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"{path} is neither JSON nor JSON lines (see its line {number}): "
            "write it again."
        ) from error


def _row(record):
    """Find what is known in a record, whatever the names of its keys."""
    record = {str(key).strip().lower(): value for key, value in record.items()}
    found = {}
    for field, names in NAMES.items():
        values = [record[name] for name in names if name in record]
        values = [
            str(value).strip()
            for value in values
            if isinstance(value, str | int | float)
        ]
        found[field] = next((v for v in values if not is_missing(v)), "")
    path = found["path"].replace("\\", "/").removeprefix(f"{DATA_ROOT}/")
    return Row(**found | {"path": path})


def find_file(row: Row, folder: str | os.PathLike) -> pathlib.Path | None:
    """Return the file of a recording, or None if there is none.

    Arguments
    ---------
    row : Row
        The recording.
    folder : str or pathlib.Path
        The folder of relative paths.
    """
    if not row.path or "\0" in row.path:
        return None
    file = pathlib.Path(folder, row.path)
    return file if os.path.isfile(file) else None


@dataclasses.dataclass(frozen=True)
class Listed:
    """A recording of a list and all of its columns.

    Arguments
    ---------
    row : Row
        What is known of it.
    columns : dict
        Name as in the list -> value; text if the list is CSV.
    """

    row: Row
    columns: dict


def read_listed(
    path: str | os.PathLike, data_folder: str | os.PathLike | None = None
) -> tuple[dict[str, Listed], bool]:
    """Return the recordings of a list by their file.

    Arguments
    ---------
    path : str or pathlib.Path
        See `read_list`; the speaker may be missing.
    data_folder : str or pathlib.Path
        Folder of relative paths; None: that of the list.

    Returns
    -------
    recordings : dict
        File -> `Listed`, in the order of the list.
    is_labelled : bool
        Whether the list has a column of labels: then every recording has one.

    Raises
    ------
    BadInput
        If a recording has no path, or no label though there is a column of
        them, or is listed twice, or there is none.
    """
    folder = data_folder or pathlib.Path(path).parent
    records = _read_records(path)
    names = {str(name).strip().lower() for r in records for name in r}
    is_labelled = not names.isdisjoint(NAMES["label"])
    found = {}
    for number, record in enumerate(records, start=1):
        row = _row(record)
        if not row.path or (is_labelled and not row.label):
            missing = "path" if not row.path else "label"
            raise BadInput(
                f"{path}: recording {number} has no {missing}: fill in the "
                f"column {missing}"
            )
        file = str(pathlib.Path(folder, row.path))
        if file in found:
            raise BadInput(f"{path}: {row.path} is listed twice: keep one row")
        if os.path.isdir(file):
            raise BadInput(
                f"{path}: {row.path} is a folder: list its recordings, a row "
                "for each"
            )
        found[file] = Listed(row, {str(k): v for k, v in record.items()})
    if not found:
        raise BadInput(f"{path} lists no recording: add one")
    return found, is_labelled
