"""A folder of recordings as HuggingFace's `datasets` reads it (audiofolder).

Content
    Recordings and metadata.csv, metadata.jsonl or metadata.parquet: beside
    them, or one in each folder above some of them. The column `file_name` is
    a path from the folder of the metadata; `speaker` is needed, and `label`
    where the folders of the recordings are not named by class. `columns` gives
    other names: label=emotion,speaker=client_id. The package `datasets` is not
    needed.
Licence, source and citation
    Those of the data set; see its card.
Splits
    Folders train and test, and optionally validation, at the top: then there
    is one fold, 1, as with the column `split` of a CSV file. Or a column
    `fold` or `split`. Without these, whole speakers are dealt into folds.
"""

from __future__ import annotations

import json
import os
import pathlib

import pandas as pd
from speechbrain.utils.logger import get_logger

from data_prep.corpus import (
    CorpusCard,
    Utterance,
    existing_folder,
    first_few,
    read_text,
    refuse_list,
)
from data_prep.csv_prepare import read_cells
from data_prep.table import (
    CORPUS,
    PLACES,
    SPLITS,
    check_row,
    column_names,
    make_utterances,
)
from modules.errors import BadInput

logger = get_logger(__name__)

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_PATH = "file_name"
_AUDIO = frozenset(".wav .flac .mp3 .ogg .opus .m4a .aac .aiff".split())

CARD = CorpusCard(
    name="a folder of recordings",
    identifier="own-recordings",
    language=None,
    nature="of an origin that this recipe does not know",
    restricted="the licence of these recordings and the consent of the people "
    "in them decide whether weights trained on them may be published",
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None = None,
    columns: dict[str, str] | None = None,
) -> list[Utterance]:
    """Read the utterances of a folder.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder of recordings and metadata.
    csv_file : None
        The metadata is the list.
    columns : dict
        Column, such as "label" -> its name in the metadata.

    Returns
    -------
    list of Utterance
        Sorted by id, which is made from the path.

    Raises
    ------
    BadInput
        If there is no metadata, or something in it is wrong; the message
        names the row.
    """
    refuse_list(csv_file, "an audiofolder")
    what = f"recordings and {METADATA[0]}"
    folder = existing_folder(data_folder, what)
    found = sorted(p for name in METADATA for p in folder.rglob(name))
    if not found:
        raise BadInput(
            f"The folder {folder} has no {', '.join(METADATA)}: write one with "
            f"the columns {_PATH}, speaker and, where the folders are not the "
            "classes, label."
        )
    rows = [
        row for path in found for row in _read_metadata(path, folder, columns)
    ]
    kinds = {frozenset(row) & {*PLACES, CORPUS} for _, row in rows}
    if len(kinds) > 1:
        raise BadInput(
            f"The metadata in {folder} have different columns among fold, "
            "split and corpus: give all of them the same."
        )
    _use_folders_as_splits(rows)
    _log_unlisted(folder, rows)
    return make_utterances(folder, rows, folder)


def _read_metadata(path, folder, columns):
    """Return (line, cells by column) of every row of a metadata file."""
    heading, lines = _read_table(path)
    columns = {"path": _PATH} | (columns or {})
    names = column_names(path, heading, columns, ("path", "speaker"))
    below = path.parent.relative_to(folder)
    rows = []
    for number, cells in lines:
        cells = cells + [""] * (len(names) - len(cells))
        row = {name: cell for name, cell in zip(names, cells) if name}
        where = f"{number} of {path.relative_to(folder).as_posix()}"
        if row["path"]:
            row["path"] = _inside(path, number, row["path"], below)
        if "label" not in names and row["path"]:
            row["label"] = _class_folder(path, row["path"])
        check_row(folder, where, row)
        rows.append((where, row))
    return rows


def _class_folder(metadata, path):
    """Return the class that a recording's folder is named by."""
    name = pathlib.PurePosixPath(path).parent.name
    if name.lower() in ("", *SPLITS):
        raise BadInput(
            f"{metadata} has no column label, and {path} is not in a folder "
            "named by its class: add the column, or set columns to label=NAME."
        )
    return name


def _read_table(path):
    """Return heading and (line, cells) of a metadata file of any format."""
    if path.suffix == ".csv":
        (_, heading), *lines = read_cells(path)[0]
        return heading, lines
    try:
        if path.suffix == ".jsonl":
            lines = read_text(path).split("\n")
            records = [json.loads(line) for line in lines if line.strip()]
        else:
            records = pd.read_parquet(path).to_dict("records")
        names = list(dict.fromkeys(name for r in records for name in r.keys()))
    except (
        ArithmeticError,
        AttributeError,
        ImportError,
        OSError,
        RecursionError,
        TypeError,
        ValueError,
    ) as problem:
        text = " ".join(str(problem).split())
        raise BadInput(
            f"{path} cannot be read ({text:.100}): write it again, or as "
            f"{METADATA[0]}."
        ) from problem
    if not names:
        raise BadInput(f"{path} is empty: it needs a row for each recording.")
    cells = [[_cell(record.get(name)) for name in names] for record in records]
    return names, list(enumerate(cells, start=1))


def _cell(value):
    """Return a value of a table as text; "" for no value and for no text."""
    if not isinstance(value, str | int | float) or value != value:
        return ""
    return str(value).strip()


def _inside(metadata, number, path, below):
    """Return a path from the data folder; refuse one that is not below it."""
    path = path.replace("\\", "/")
    whole = os.path.normpath(os.path.join(below, path))
    if os.path.isabs(path) or whole == ".." or whole.startswith("../"):
        raise BadInput(
            f"{metadata}, line {number}, has the {_PATH} {path!r:.80}, which is "
            "not below the folder: give a path from the metadata's folder to a "
            "recording below."
        )
    return pathlib.PurePath(whole).as_posix()


def _use_folders_as_splits(rows):
    """Set the split of every row where the top folders are splits."""
    if any(name in rows[0][1] for name in PLACES):
        return
    splits = [
        SPLITS.get(row["path"].partition("/")[0].lower()) for _, row in rows
    ]
    if None in splits or not {"train", "test"} <= set(splits):
        return
    for (_, row), split in zip(rows, splits):
        row["split"] = split


def _log_unlisted(folder, rows):
    """Log the recordings that no metadata lists."""
    listed = {row["path"] for _, row in rows}
    unlisted = [
        name
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in _AUDIO and not path.name.startswith(".")
        for name in [path.relative_to(folder).as_posix()]
        if name not in listed
    ]
    if unlisted:
        logger.warning(
            "%d recordings in %s are in no metadata and are left out: %s.",
            *(len(unlisted), folder, first_few(unlisted)),
        )
