"""Your own recordings, listed in a CSV file.

Content
    Whatever you have: one row per utterance, with the columns `path`, `label`
    and `speaker`, and `fold` or `split` if you want to decide that yourself.
    The column `corpus` names the corpus of each row, if there are several.
    `columns` gives other names of these columns: label=emotion,speaker=who.
    Any number of classes. Other columns go into the manifests as they are.
Licence, source and citation
    Yours.
Splits
    The column `split`, with train, dev (optional) and test: then there is one
    fold, 1, and `number_of_folds` has no effect. Or the column `fold`, from 1.
    Without either, whole speakers are dealt into folds with nearly equal
    shares of each class of each corpus. A speaker is never in two folds.
    Speakers of different corpora are different people, whatever their names.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping

from data_prep.corpus import (
    Utterance,
    existing_folder,
    own_recordings,
    read_text,
)
from data_prep.table import (
    COLUMNS,
    NEEDED,
    check_row,
    column_names,
    make_utterances,
)
from modules.errors import BadInput

DELIMITERS = ",;\t"

CARD = own_recordings("a list of recordings")


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None,
    columns: Mapping[str, str] | None = None,
) -> list[Utterance]:
    """Read the utterances of a CSV file.

    Arguments
    ---------
    data_folder : str or pathlib.Path
        The folder that the paths in the list are relative to; the folder of
        the list, if None or empty: then the manifests have absolute paths.
    csv_file : str or pathlib.Path
        The list of utterances, separated by commas, semicolons or tabs.
    columns : dict
        Column of this module -> its name in the list, if that is another.

    Returns
    -------
    list of Utterance
        Sorted by id, which is made from the path.

    Raises
    ------
    BadInput
        If something is wrong with the list; the message names the line.
    """
    if not csv_file:
        raise BadInput(
            "csv_file is not set: set it to a CSV file with the columns "
            f"{', '.join(NEEDED)}."
        )
    rows = _read_rows(csv_file, columns or {})
    if data_folder:
        data_folder = existing_folder(data_folder, "your recordings")
    return make_utterances(csv_file, rows, data_folder)


def _read_rows(csv_file, columns):
    """Read (line number, cells by column) of every row that is not blank."""
    heading, lines = read_lines(csv_file)
    names = column_names(csv_file, heading, columns)
    empty = dict.fromkeys((n for n in names if n in COLUMNS), "")
    rows = []
    for number, cells in lines:
        row = empty | {name: cell for name, cell in zip(names, cells) if name}
        check_row(csv_file, number, row)
        row["path"] = row["path"].replace("\\", "/")
        rows.append((number, row))
    return rows


def read_lines(
    csv_file: str | os.PathLike,
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a CSV file whose rows have no more cells than its heading.

    Arguments
    ---------
    csv_file : str or pathlib.Path
        See `read_cells`.

    Returns
    -------
    heading : list of str
    lines : list of tuple
        Line number and cells of every row; fewer than the heading where the
        row is shorter.

    Raises
    ------
    BadInput
        See `read_cells`; or if a row has more cells than the heading.
    """
    ((_, heading), *lines), delimiter = read_cells(csv_file)
    for number, cells in lines:
        if any(cells[len(heading) :]):
            raise BadInput(
                f"{csv_file}, line {number}, has {len(cells)} cells for "
                f"{len(heading)} columns: put text with the delimiter "
                f"{delimiter!r} into quotes."
            )
    return heading, lines


def read_cells(
    csv_file: str | os.PathLike,
) -> tuple[list[tuple[int, list[str]]], str]:
    """Read the cells of a CSV file.

    Arguments
    ---------
    csv_file : str or pathlib.Path
        Separated by commas, semicolons or tabs.

    Returns
    -------
    lines : list of tuple
        Line number and cells of every row that is not blank, the heading
        first; at least two rows.
    delimiter : str
        Separates the cells.

    Raises
    ------
    BadInput
        If it is not a CSV file or has no rows.
    """
    text = read_text(csv_file)
    heading = text.lstrip("\n").partition("\n")[0]
    delimiter = max(DELIMITERS, key=heading.count)
    # Strict: a quote that is never closed would swallow all rows below it.
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise BadInput(
            f"{csv_file} is not a CSV file ({error}, line {reader.line_num}): "
            "close every quote, or save it as CSV again."
        ) from error
    lines = [
        (number, [cell.strip() for cell in cells])
        for number, cells in lines
        if any(cell.strip() for cell in cells)
    ]
    if len(lines) < 2:
        raise BadInput(
            f"{csv_file} is empty: it needs a line with the column names "
            f"{', '.join(NEEDED)} and a line for each utterance."
        )
    return lines, delimiter
