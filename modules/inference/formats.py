"""Predictions as tables: for the terminal, CSV, JSON lines, Parquet, NumPy."""

import csv
import io
import json
import pathlib
import zipfile

from modules.errors import BadInput
from modules.files import whole_file, write_text
from modules.inference.records import DISTANCE, RECORDINGS, emotion_of

TABLES = (".csv", ".jsonl", ".parquet")
EMBEDDINGS = (".npz", ".parquet")

# What makes a spreadsheet take a cell for a formula, and the mark itself.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_NUMBERS = ("start", "end", "seconds", DISTANCE, RECORDINGS)


def format_table(rows, labels: list[str], by: str | None = None) -> str:
    """Return a table for the terminal: all probabilities.

    Arguments
    ---------
    rows : list of modules.inference.predictor.Row
        At least one.
    labels : list of str
        Names of the classes.
    by : str
        See `modules.inference.records.Columns`.
    """
    more = [
        name
        for name in ("channel", "speaker")
        if any(getattr(row, name) is not None for row in rows)
    ]
    times = ["from", "to"] if by is None else ["seconds"]
    lines = [[by or "file", *more, *times, "emotion", *labels]]
    for row in rows:
        times = [row.start, row.end] if by is None else [row.end]
        lines.append(
            [
                row.file,
                *(getattr(row, name) or "" for name in more),
                *(f"{time:.2f}" for time in times),
                emotion_of(row, labels),
                *(f"{p:.3f}" for p in row.log_probabilities.exp().tolist()),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths))
        )
        for line in lines
    )


def write_table(path, suffix, columns, rows, problems, metadata=None) -> None:
    r"""Write a .csv, .jsonl or .parquet file, whole or not at all.

    The columns are file, channel and speaker where there are any, start, end,
    emotion, one probability per class, distance, problem for an input without an
    answer, and those of the list.

    In CSV a cell that begins with = + - @ ' or a control character has an
    apostrophe in front, since a spreadsheet would execute it as a formula:
    remove one apostrophe to read the value back. Bytes of a name that are not
    UTF-8 are written as \udcxx, which JSON reads back exactly.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the file.
    suffix : str
        Its format, one of `TABLES`.
    columns : modules.inference.records.Columns
        Makes records.
    rows : list of modules.inference.predictor.Row
        Answers.
    problems : list of modules.inference.recordings.Problem
        Inputs without an answer.
    metadata : dict
        Texts by name, for Parquet, which then has checksums too.
    """
    records = [columns.record(row) for row in rows]
    records += [columns.failure(problem) for problem in problems]
    if suffix == ".parquet":
        _write_parquet(path, columns, records, metadata)
        return
    write = _as_json_lines if suffix == ".jsonl" else _as_csv
    write_text(path, plain(write(records, columns)))


def plain(text: str) -> str:
    r"""Return a text with \udcxx for bytes that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _as_json_lines(records, columns):
    """Return a line per record, exact."""
    return "".join(
        json.dumps(record, ensure_ascii=False) + "\n" for record in records
    )


def _as_csv(records, columns):
    """Return a table, safe in spreadsheets."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns.names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({k: _safe_cell(v) for k, v in record.items()})
    return text.getvalue()


def _safe_cell(value):
    """Return a cell that no spreadsheet executes."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value


def check_pyarrow(option: str) -> None:
    """Refuse Parquet where pyarrow is not installed.

    Raises
    ------
    BadInput
        Naming the option of predict.py.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as problem:
        raise BadInput(
            f"{option} needs pyarrow for Parquet: pip install pyarrow, or "
            "choose another format"
        ) from problem


def _write_parquet(path, columns, records, metadata):
    """Write numbers as numbers and all else as text."""
    import pyarrow
    import pyarrow.parquet

    arrays = {}
    for name in columns.names:
        values = [record.get(name) for record in records]
        own = name not in columns.of_list
        if own and (name in _NUMBERS or name.startswith("p_")):
            arrays[name] = pyarrow.array(values, pyarrow.float64())
        else:
            arrays[name] = _texts(pyarrow, values)
    _save(pyarrow, path, arrays, metadata)


def _texts(pyarrow, values):
    """Return values as texts; None stays."""
    texts = [
        value
        if value is None or isinstance(value, str)
        else json.dumps(value, ensure_ascii=False)
        for value in values
    ]
    texts = [None if text is None else plain(text) for text in texts]
    return pyarrow.array(texts, pyarrow.string())


def _save(pyarrow, path, arrays, metadata=None):
    """Write columns as Parquet, whole or not at all."""
    table = pyarrow.table(arrays, metadata=metadata)
    checks = metadata is not None
    with whole_file(path) as partial:
        pyarrow.parquet.write_table(table, partial, write_page_checksum=checks)


def write_embeddings(path, columns, rows) -> None:
    """Write embeddings as .npz or .parquet, whole or not at all.

    Arguments
    ---------
    path : str or pathlib.Path
        Its ending is the format. Both have file, channel and speaker where
        there are any, start, end, emotion, and ``embedding``: in .npz an array
        fp32 [rows, values], in Parquet a list per row.
    columns : modules.inference.records.Columns
        Makes records.
    rows : list of modules.inference.predictor.Row
        With embeddings.
    """
    import numpy as np

    records = [columns.record(row) for row in rows]
    names = columns.names[: columns.names.index("emotion") + 1]
    found = {name: [record[name] for record in records] for name in names}
    embeddings = np.stack([row.embedding.numpy() for row in rows])
    if pathlib.Path(path).suffix == ".npz":
        named = {"embedding": embeddings}
        for name, values in found.items():
            kind = "float64" if name in _NUMBERS else str
            values = ["" if value is None else value for value in values]
            named[name] = np.array(values, kind)
        _write_npz(path, named)
        return
    import pyarrow
    import pyarrow.parquet

    for name, values in found.items():
        if name not in _NUMBERS:
            found[name] = _texts(pyarrow, values)
    flat = pyarrow.array(embeddings.ravel(), pyarrow.float32())
    size = embeddings.shape[1]
    lists = pyarrow.FixedSizeListArray.from_arrays(flat, size)
    _save(pyarrow, path, found | {"embedding": lists})


def _write_npz(path, arrays):
    """Write arrays by name; `numpy.savez` takes none that is called file."""
    import numpy as np

    with whole_file(path) as partial, zipfile.ZipFile(partial, "w") as out:
        for name, array in arrays.items():
            with out.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
