"""Your own recordings, listed in a CSV file.

Content
    Whatever you have: one row per utterance, with the columns `path`, `label`
    and `speaker`, and `fold` if you want to decide that yourself. Any number
    of classes. Other columns go into the manifests as they are.
Licence, source and citation
    Yours.
Splits
    The column `fold`, from 1; without it, whole speakers are dealt into folds
    of nearly equal size. A speaker is never in two folds.
"""

from __future__ import annotations

import collections
import csv
import io
import os
import pathlib

from data_prep.corpus import CorpusCard, Utterance, existing_folder, read_text
from data_prep.manifest import RESERVED
from modules.errors import BadInput

COLUMNS = ("path", "label", "speaker")
DELIMITERS = ",;\t"


CARD = CorpusCard(
    name="own recordings",
    identifier="own-recordings",
    language=None,
    nature="a private corpus",
    restricted="you need the consent of the people you recorded to publish "
    "weights trained on them",
)


def read(
    data_folder: str | os.PathLike | None,
    csv_file: str | os.PathLike | None,
    number_of_folds: int = 5,
) -> list[Utterance]:
    """Read the utterances of a CSV file.

    Arguments
    ---------
    data_folder : str or pathlib.Path or None
        The folder that the paths in the list are relative to; the folder of
        the list, if None or empty: then the manifests have absolute paths.
    csv_file : str or pathlib.Path
        The list of utterances, separated by commas, semicolons or tabs.
    number_of_folds : int
        How many folds to deal the speakers into, if there is no column `fold`.

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
            f"{', '.join(COLUMNS)}."
        )
    rows = _read_rows(csv_file)
    if data_folder:
        data_folder = existing_folder(data_folder, "your recordings")
    _check_paths(csv_file, rows)
    if "fold" in rows[0][1]:
        folds = _listed_folds(csv_file, rows)
    else:
        sizes = collections.Counter(row["speaker"] for _, row in rows)
        folds = deal_speakers(sizes, number_of_folds)
    here = pathlib.Path(os.path.abspath(csv_file)).parent
    ids = _ids([row["path"] for _, row in rows], data_folder or here)
    utterances = [
        Utterance(
            id=ids[row["path"]],
            # Without a data folder there is nothing for {data_root} to mean.
            wav=row["path"] if data_folder else str(here / row["path"]),
            label=row["label"],
            speaker=row["speaker"],
            fold=folds[row["speaker"]],
            extra=_extra(row),
        )
        for _, row in rows
    ]
    return sorted(utterances, key=lambda utterance: utterance.id)


def deal_speakers(sizes, number_of_folds):
    """Deal whole speakers into folds of nearly equal size.

    Arguments
    ---------
    sizes : dict
        Speaker -> number of utterances.
    number_of_folds : int
        How many folds.

    Returns
    -------
    dict
        Speaker -> fold, from 1.

    Raises
    ------
    BadInput
        If there are fewer speakers than folds, or fewer than two folds.

    Example
    -------
    >>> deal_speakers({"ann": 3, "bob": 2, "eve": 2}, 2)
    {'ann': 1, 'bob': 2, 'eve': 2}
    """
    if number_of_folds < 2:
        raise BadInput(
            f"number_of_folds is {number_of_folds}: at least 2 are needed, one "
            "to test on and one to train on."
        )
    if len(sizes) < number_of_folds:
        raise BadInput(
            f"{len(sizes)} speaker(s) cannot be dealt into {number_of_folds} "
            f"folds: set number_of_folds to {len(sizes)} or less, or record "
            "more speakers (at least 2 are needed)."
        )
    filled = dict.fromkeys(range(1, number_of_folds + 1), 0)
    folds = {}
    for speaker in sorted(sizes, key=lambda name: (-sizes[name], name)):
        fold = min(filled, key=filled.get)
        folds[speaker] = fold
        filled[fold] += sizes[speaker]
    return folds


def _read_rows(csv_file):
    """Read (line number, cells by column) of every row that is not blank."""
    text = read_text(csv_file)
    heading = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=heading.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise BadInput(
            f"{csv_file} is not a CSV file ({error}, line {reader.line_num}): "
            "save it as CSV."
        ) from error
    lines = [
        (number, [cell.strip() for cell in cells])
        for number, cells in lines
        if any(cell.strip() for cell in cells)
    ]
    if len(lines) < 2:
        raise BadInput(
            f"{csv_file} is empty: it needs a line with the column names "
            f"{', '.join(COLUMNS)} and a line for each utterance."
        )
    names = [
        name.lower() if name.lower() in (*COLUMNS, "fold") else name
        for name in lines[0][1]
    ]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise BadInput(
            f"{csv_file} has no column {', '.join(missing)}: add it to the "
            f"first line, which reads {heading[:80]!r}."
        )
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise BadInput(
            f"{csv_file} has two columns {twice[0]}: rename one of them."
        )
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(names) and any(cells[len(names) :]):
            raise BadInput(
                f"{csv_file}, line {number}, has {len(cells)} cells for "
                f"{len(names)} columns: put text that holds the delimiter "
                f"{delimiter!r} into quotes."
            )
        cells += [""] * (len(names) - len(cells))
        row = {name: cell for name, cell in zip(names, cells) if name}
        for name in (*COLUMNS, "fold"):
            if row.get(name) == "":
                raise BadInput(
                    f"{csv_file}, line {number}, has nothing in the column "
                    f"{name}: fill it in or delete the line."
                )
        row["path"] = row["path"].replace("\\", "/")
        rows.append((number, row))
    return rows


def _check_paths(csv_file, rows):
    """Refuse a path that is listed twice."""
    lines = {}
    for number, row in rows:
        path = os.path.normpath(row["path"])
        if path in lines:
            raise BadInput(
                f"{csv_file} lists {row['path']} twice, in lines "
                f"{lines[path]} and {number}: delete one of them."
            )
        lines[path] = number


def _listed_folds(csv_file, rows):
    """Read the column `fold`: speaker -> fold."""
    folds = {}
    for number, row in rows:
        if not row["fold"].isdecimal() or int(row["fold"]) < 1:
            raise BadInput(
                f"{csv_file}, line {number}, has the fold {row['fold']!r}: "
                "use a whole number from 1."
            )
        fold = int(row["fold"])
        if folds.setdefault(row["speaker"], fold) != fold:
            raise BadInput(
                f"{csv_file}, line {number}, puts the speaker "
                f"{row['speaker']} into fold {fold}, who is in fold "
                f"{folds[row['speaker']]} before: give all utterances of a "
                "speaker the same fold."
            )
    return folds


def _ids(paths, data_folder):
    """Make an id of every path, the same whatever the order of the rows."""
    ids, taken = {}, set()
    for path in sorted(paths):
        name = path
        if os.path.isabs(path):
            # The same corpus has the same ids wherever it lies.
            inside = os.path.relpath(path, os.path.abspath(data_folder))
            name = path if inside.startswith("..") else inside
        stem = os.path.splitext(os.path.normpath(name))[0]
        stem = stem.strip("/").replace("/", "_")
        new, count = stem, 1
        while new in taken:
            count += 1
            new = f"{stem}_{count}"
        taken.add(new)
        ids[path] = new
    return ids


def _extra(row):
    """Keep other columns, under a name that no manifest key has."""
    return {
        f"csv_{name}" if name in RESERVED else name: cell
        for name, cell in row.items()
        if name not in (*COLUMNS, "fold")
    }


def prepare_csv(**settings):
    """Prepare csv, for hparams files that do not name the corpus yet."""
    from data_prep.corpora import prepare

    return prepare("csv", **settings)
