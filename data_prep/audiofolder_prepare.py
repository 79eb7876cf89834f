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

from speechbrain.utils.logger import get_logger

from data_prep.corpus import (
    Utterance,
    existing_folder,
    first_few,
    own_recordings,
    read_text,
    refuse_list,
)
from data_prep.csv_prepare import read_lines
from data_prep.table import (
    COLUMNS,
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
# Of metadata in Parquet, which are unpacked in memory.
_MOST_CELLS = 10**7
_MOST_CHARACTERS = 2**29
_AUDIO = frozenset(".wav .flac .mp3 .ogg .opus .m4a .aac .aiff".split())

CARD = own_recordings("a folder of recordings")


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
    given = column_names(path, heading, columns, ("path", "speaker"))
    names = dict(zip(heading, given))
    empty = dict.fromkeys((name for name in given if name in COLUMNS), "")
    below = path.parent.relative_to(folder)
    rows = []
    for number, cells in lines:
        row = empty | {names[n]: cell for n, cell in cells.items() if names[n]}
        where = f"{number} of {path.relative_to(folder).as_posix()}"
        if row["path"]:
            row["path"] = _inside(path, number, row["path"], below)
        if "label" not in empty and row["path"]:
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
    """Return heading, and line and cells by column, of metadata."""
    if path.suffix == ".csv":
        heading, lines = read_lines(path)
        return heading, [(n, dict(zip(heading, own))) for n, own in lines]
    read_records = _read_json if path.suffix == ".jsonl" else _read_parquet
    try:
        heading, records = read_records(path)
    except BadInput:
        raise
    except Exception as problem:  # of any class, for a file of any content
        text = " ".join(str(problem).split()) or type(problem).__name__
        raise BadInput(
            f"{path} cannot be read ({text:.100}): write it again, or as "
            f"{METADATA[0]}."
        ) from problem
    if not records:
        raise BadInput(f"{path} is empty: it needs a row for each recording.")
    return heading, [
        (number, {name: _cell(value) for name, value in record.items()})
        for number, record in records
    ]


def _read_json(path):
    """Return names, and line and record of every line that is not blank."""
    lines = enumerate(read_text(path).split("\n"), start=1)
    records = [(n, json.loads(line)) for n, line in lines if line.strip()]
    for number, record in records:
        if not isinstance(record, dict):
            raise ValueError(f"line {number} is no object with names")
    return list(dict.fromkeys(n for _, own in records for n in own)), records


def _read_parquet(path):
    """Return names, and number and record of every row, of plain columns.

    Other columns, such as recordings, are not read. A small file can have
    billions of cells: what it would take is counted before it is made.
    """
    from pyarrow import parquet

    if not path.is_file():
        raise ValueError("it is not a file")
    with parquet.ParquetFile(path) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    names = [field.name for field in schema if _is_plain(field.type)]
    if rows * len(names) > _MOST_CELLS:
        raise ValueError(f"it has {rows} rows of {len(names)} columns")
    texts = [field.name for field in schema if _is_text(field.type)]
    with parquet.ParquetFile(path, read_dictionary=texts) as file:
        table = file.read(columns=names)
    characters = sum(map(_count_characters, table.columns))
    if characters > _MOST_CHARACTERS:
        raise ValueError(f"it has {characters} characters")
    columns = [column.to_pylist() for column in table.columns]
    records = [dict(zip(table.column_names, row)) for row in zip(*columns)]
    return table.column_names, list(enumerate(records, start=1))


def _is_text(kind):
    """Return whether a column of Parquet is text."""
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind)


def _is_plain(kind):
    """Return whether a column of Parquet has texts, numbers or truth values."""
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    tests = types.is_integer, types.is_floating, types.is_boolean, _is_text
    return any(test(kind) for test in tests)


def _count_characters(column):
    """Return the bytes of the texts in a column of Parquet."""
    from pyarrow import compute, types

    count = 0
    for chunk in column.chunks:
        if types.is_dictionary(chunk.type) and _is_text(chunk.type.value_type):
            lengths = compute.binary_length(chunk.dictionary)
            own = compute.sum(lengths.take(chunk.indices).cast("int64"))
            count += own.as_py() or 0
    return count


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
        if set(splits) != {None}:
            logger.warning(
                "Some folders are named as splits (%s), but not every recording "
                "is in one, or train or test is missing: whole speakers are "
                "dealt into folds.",
                first_few(sorted(set(splits) - {None})),
            )
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
