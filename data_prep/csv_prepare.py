"""Your own recordings, listed in a CSV file.

Content
    Whatever you have: one row per utterance, with the columns `path`, `label`
    and `speaker`, and `fold` or `split` if you want to decide that yourself.
    The column `corpus` names the corpus of each row, if there are several.
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
import pathlib
import re

from data_prep.corpus import CorpusCard, Utterance, existing_folder, read_text
from data_prep.folds import deal_speakers
from data_prep.identity import (
    is_missing,
    one_spelling,
    wrong_label,
    wrong_speaker,
)
from data_prep.manifest import RESERVED
from modules.errors import BadInput

COLUMNS = ("path", "label", "speaker")
PLACES = ("fold", "split")
CORPUS = "corpus"
OPTIONAL = (*PLACES, CORPUS)
DELIMITERS = ",;\t"
# Spellings of the column `split`, in lower case.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(
        ("dev", "development", "val", "valid", "validation"), "dev"
    ),
    **dict.fromkeys(("test", "testing"), "test"),
}
_CHECKS = {
    # The same characters are wrong in a path and in a corpus.
    "path": wrong_speaker,
    CORPUS: wrong_speaker,
    "label": wrong_label,
    "speaker": wrong_speaker,
}

CARD = CorpusCard(
    name="a list of recordings",
    identifier="own-recordings",
    language=None,
    nature="of an origin that this recipe does not know",
    restricted="the licence of these recordings and the consent of the people "
    "in them decide whether weights trained on them may be published",
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
        How many folds to deal the speakers into, if there is no column `fold`
        or `split`.

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
    _unify(rows)
    _place(csv_file, rows, number_of_folds)
    here = pathlib.Path(os.path.abspath(csv_file)).parent
    ids = _ids([row["path"] for _, row in rows], data_folder or here)
    utterances = [
        Utterance(
            id=ids[row["path"]],
            # Without a data folder there is nothing for {data_root} to mean.
            wav=row["path"] if data_folder else str(here / row["path"]),
            label=row["label"],
            speaker=row["speaker"],
            fold=row["fold"],
            extra=_extra(row),
            split=row.get("split"),
        )
        for _, row in rows
    ]
    return sorted(utterances, key=lambda utterance: utterance.id)


def _unify(rows):
    """Give each name one spelling; make speakers of two corpora differ."""
    rows = [row for _, row in rows]
    several = CORPUS in rows[0]
    for what in (CORPUS, "label") if several else ("label",):
        _spell(rows, what)
    corpora = sorted({row.get(CORPUS, "") for row in rows})
    for corpus in corpora:
        own = [row for row in rows if row.get(CORPUS, "") == corpus]
        _spell(own, "speaker")
        for row in own if len(corpora) > 1 else []:
            row["speaker"] = f"{corpus}/{row['speaker']}"


def _spell(rows, what):
    """Give all names of a column one spelling each."""
    spelling = one_spelling([row[what] for row in rows], what)
    for row in rows:
        row[what] = spelling[row[what]]


def _place(csv_file, rows, number_of_folds):
    """Set fold and, if the list has one, split of every row."""
    if "split" in rows[0][1]:
        _read_splits(csv_file, rows)
        return
    if "fold" in rows[0][1]:
        folds = _listed_folds(csv_file, rows)
    else:
        folds = deal_speakers(
            [row["speaker"] for _, row in rows],
            [f"{row['label']} {row.get(CORPUS, '')}" for _, row in rows],
            number_of_folds,
        )
    for _, row in rows:
        row["fold"] = folds[row["speaker"]]


def _read_rows(csv_file):
    """Read (line number, cells by column) of every row that is not blank."""
    lines, delimiter = read_cells(csv_file)
    names = _column_names(csv_file, lines[0][1])
    rows = []
    for number, cells in lines[1:]:
        if len(cells) > len(names) and any(cells[len(names) :]):
            raise BadInput(
                f"{csv_file}, line {number}, has {len(cells)} cells for "
                f"{len(names)} columns: put text with the delimiter "
                f"{delimiter!r} into quotes."
            )
        cells += [""] * (len(names) - len(cells))
        row = {name: cell for name, cell in zip(names, cells) if name}
        _check_row(csv_file, number, row)
        row["path"] = row["path"].replace("\\", "/")
        rows.append((number, row))
    return rows


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
            f"{', '.join(COLUMNS)} and a line for each utterance."
        )
    return lines, delimiter


def _column_names(csv_file, cells):
    """Check the first line; return the names of the columns."""
    names = [
        name.lower() if name.lower() in (*COLUMNS, *OPTIONAL) else name
        for name in cells
    ]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise BadInput(
            f"{csv_file} has no column {', '.join(missing)}: add it to the "
            f"first line, which reads {', '.join(cells)[:80]!r}."
        )
    keys = [_key(name) for name in names if name]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise BadInput(
            f"{csv_file} has two columns {twice[0]}: rename one of them."
        )
    if all(name in names for name in PLACES):
        raise BadInput(
            f"{csv_file} has a column fold and a column split: delete one of "
            "them."
        )
    return names


def _check_row(csv_file, number, row):
    """Refuse a row with an empty cell or a name that cannot be used."""
    for name in (*COLUMNS, *OPTIONAL):
        if name in row and is_missing(row[name]):
            cell = f" but {row[name]!r}" if row[name] else ""
            raise BadInput(
                f"{csv_file}, line {number}, has nothing{cell} in the column "
                f"{name}: fill it in or delete the line."
            )
    for name, wrong in _CHECKS.items():
        reason = wrong(row[name]) if name in row else None
        if reason:
            raise BadInput(
                f"{csv_file}, line {number}, has the {name} {row[name]!r:.80}, "
                f"which {reason}."
            )


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


def _read_splits(csv_file, rows):
    """Read the column `split`."""
    for number, row in rows:
        split = SPLITS.get(row["split"].lower())
        if split is None:
            raise BadInput(
                f"{csv_file}, line {number}, has the split {row['split']!r}: "
                "use train, dev or test, or rename the column."
            )
        row["split"] = split
        row["fold"] = 1 if split == "test" else 0


def _listed_folds(csv_file, rows):
    """Read the column `fold`: speaker -> fold."""
    folds, lines = {}, {}
    for number, row in rows:
        # Spreadsheets append ".0" to a whole number.
        match = re.fullmatch(r"0*([1-9]\d{0,5})([.,]0+)?", row["fold"])
        if not match:
            raise BadInput(
                f"{csv_file}, line {number}, has the fold {row['fold']!r:.80}: "
                "use a whole number from 1."
            )
        fold = int(match[1])
        speaker = row["speaker"]
        if folds.setdefault(speaker, fold) != fold:
            raise BadInput(
                f"{csv_file}, line {number}, puts the speaker {speaker} into "
                f"fold {fold}, who is in fold {folds[speaker]} in line "
                f"{lines[speaker]}: give all utterances of a speaker the same "
                "fold."
            )
        lines.setdefault(speaker, number)
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


def _key(name):
    """Return the key of a column in a manifest."""
    known = name in (*COLUMNS, *OPTIONAL)
    return f"csv_{name}" if name in RESERVED and not known else name


def _extra(row):
    """Keep the corpus and the other columns."""
    return {
        _key(name): cell
        for name, cell in row.items()
        if name not in (*COLUMNS, *PLACES)
    }
