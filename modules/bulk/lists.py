"""Reading the recordings of a folder or a list, one after the other."""

import csv
import math
import os
import pathlib
from collections.abc import Iterator

from modules.bulk.remote import is_remote
from modules.errors import BadInput
from modules.inference.recordings import walk

_PATH, _DURATION = "path", "duration"
_DELIMITERS = ",;\t"
# Characters of a line, and bytes that show whether a file is text.
_LONGEST_LINE, _HEAD = 2**16, 2**12


def read_rows(source: str) -> Iterator[tuple[str, float | None]]:
    """Give recordings and, if the list has a column duration, seconds.

    Arguments
    ---------
    source : str
        A folder; a CSV file with a column path; or a text file with a path or
        address on each line. Relative paths are those of the list's folder.

    Yields
    ------
    file : str
        An absolute path, or an address.
    seconds : float
        None: unknown.

    Raises
    ------
    BadInput
        If it is none of these, or a folder in it cannot be read.
    """
    if is_remote(source):
        raise BadInput(
            f"{source} is an address: write a list of the recordings there"
        )
    source = os.path.abspath(source)
    if os.path.isdir(source):
        problems = []
        for file in walk(source, problems):
            yield file, None
        if problems:
            raise BadInput(
                f"{problems[0].sentence}: change its permissions, or give a "
                "list"
            )
        return
    _check_list(source)
    with open(
        source, encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as opened:
        lines = _lines(source, opened)
        first = next(lines, "")
        columns = _columns(first)
        rows = (
            ((line.strip(), "") for line in _again(first, lines))
            if columns is None
            else _cells(source, lines, *columns)
        )
        folder = os.path.dirname(source)
        for number, (path, duration) in enumerate(rows, 1):
            if path:
                yield _place(folder, path), _seconds(source, number, duration)
            elif duration:
                raise BadInput(
                    f"{source}: recording {number} has no path: fill it in"
                )


def _check_list(source):
    """Refuse what is no file with text."""
    if not os.path.exists(source):
        raise BadInput(f"no such list or folder: {source} (check its name)")
    head = b"\0"
    if os.path.isfile(source):
        with open(source, "rb") as opened:
            head = opened.read(_HEAD)
    if b"\0" in head:
        raise _none_of(source)


def _none_of(source):
    """Return the sentence for what is no list."""
    return BadInput(
        f"{source} is no list: give a folder, a CSV file with a column "
        f"{_PATH}, or a text file (UTF-8) with a path on each line"
    )


def _lines(source, file):
    """Give lines of bounded length."""
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise _none_of(source)
        yield line


def _again(first, lines):
    """Give the first line and the others."""
    yield first
    yield from lines


def _columns(heading):
    """Return (delimiter, place of path, place of duration or None), or None."""
    for delimiter in _DELIMITERS:
        cells = next(csv.reader([heading], delimiter=delimiter), [])
        names = [cell.strip().lower() for cell in cells]
        if _PATH in names:
            duration = None
            if _DURATION in names:
                duration = names.index(_DURATION)
            return delimiter, names.index(_PATH), duration
    return None


def _cells(source, lines, delimiter, path, duration):
    """Give path and duration of the rows of a CSV file."""
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for cells in filter(None, reader):
            if len(cells) <= max(path, duration or 0):
                raise BadInput(
                    f"{source}: line {reader.line_num + 1} has fewer cells "
                    "than the first: complete it"
                )
            seconds = "" if duration is None else cells[duration].strip()
            yield cells[path].strip(), seconds
    except csv.Error as problem:
        raise BadInput(
            f"{source}: line {reader.line_num + 1} is no CSV ({problem}): "
            "write it again"
        ) from problem


def _place(folder, path):
    """Return an absolute path without detours, or an address."""
    if is_remote(path):
        return path
    place = os.path.join(folder, path)
    if "/." in place or "//" in place:
        return str(pathlib.PurePath(place))
    return place


def _seconds(source, number, text):
    """Return a duration in seconds; None: unknown."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise BadInput(
            f"{source}: the duration of recording {number} is {text!r}: give "
            "seconds"
        )
    return seconds
