"""Lists of recordings with columns: what all of them have in common."""

from __future__ import annotations

import collections
import os
import pathlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from data_prep.corpus import Utterance
from data_prep.identity import (
    is_missing,
    one_spelling,
    wrong_label,
    wrong_speaker,
)
from data_prep.manifest import RESERVED
from modules.errors import BadInput

NEEDED = ("path", "label", "speaker")
PLACES = ("fold", "split")
CORPUS = "corpus"
COLUMNS = (*NEEDED, *PLACES, CORPUS)
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


def column_names(
    csv_file: str | os.PathLike,
    cells: list[str],
    columns: Mapping[str, str],
    needed: Collection[str] = NEEDED,
) -> list[str]:
    """Check the heading of a list; return the names of its columns.

    Arguments
    ---------
    csv_file : str or pathlib.Path
        The list, for messages.
    cells : list of str
        The heading.
    columns : dict
        Column of `COLUMNS` -> its name in the list.
    needed : collection of str
        Columns that must be there.

    Raises
    ------
    BadInput
        If a column is missing or there twice.
    """
    names = [
        name.lower() if name.lower() in COLUMNS else name for name in cells
    ]
    for name, given in columns.items():
        if given not in cells:
            raise BadInput(
                f"{csv_file} has no column {given}, in the place of {name}: "
                f"choose one of {', '.join(cells):.200}."
            )
        # A column that has the name itself is one of the others.
        names = [f"csv_{name}" if own == name else own for own in names]
        names[cells.index(given)] = name
    missing = [name for name in needed if name not in names]
    if missing:
        raise BadInput(
            f"{csv_file} has no column {', '.join(missing)}: add it to the "
            f"heading, which reads {', '.join(cells)[:80]!r}, or set columns "
            f"to {missing[0]}=NAME."
        )
    keys = collections.Counter(_key(name) for name in names if name)
    twice = [key for key, count in keys.items() if count > 1]
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


def check_row(
    csv_file: str | os.PathLike, number: int | str, row: dict[str, str]
) -> None:
    """Refuse a row with an empty cell or a name that cannot be used."""
    for name in COLUMNS:
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


def make_utterances(
    source: str | os.PathLike,
    rows: list[tuple[int | str, dict[str, Any]]],
    data_folder: str | os.PathLike | None,
) -> list[Utterance]:
    """Make utterances of the rows of a list.

    Arguments
    ---------
    source : str or pathlib.Path
        The list, for messages; where relative paths begin without a folder.
    rows : list of tuple
        Number of the line, and `COLUMNS` and others -> cell; see `check_row`.
    data_folder : str or pathlib.Path
        The folder that the paths are relative to; that of the list, if None
        or empty: then the manifests have absolute paths.

    Returns
    -------
    list of Utterance
        Sorted by id.

    Raises
    ------
    BadInput
        If a path is there twice, or a fold or split is wrong.
    """
    _check_paths(source, rows)
    _unify(rows)
    _place(source, rows)
    here = pathlib.Path(os.path.abspath(source)).parent
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


def _place(source, rows):
    """Set fold and, if the list has one, split of every row."""
    if "split" in rows[0][1]:
        _read_splits(source, rows)
        return
    folds = {}
    if "fold" in rows[0][1]:
        folds = _listed_folds(source, rows)
    for _, row in rows:
        row["fold"] = folds.get(row["speaker"])


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
    known = name in COLUMNS
    return f"csv_{name}" if name in RESERVED and not known else name


def _extra(row):
    """Keep the corpus and the other columns."""
    return {
        _key(name): cell
        for name, cell in row.items()
        if name not in (*NEEDED, *PLACES)
    }
