"""Files and folders that are written whole or not at all; JSON and CSV."""

import contextlib
import csv
import json
import os
import pathlib
import tempfile

from modules.errors import BadInput


def make_whole(folder, marker, description, write):
    """Make a folder whole, or leave no trace of it.

    A folder that is already there with the same description is left as it is.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder to make.
    marker : str
        Name of the file in it that holds the description.
    description : str
        Tells what is in the folder, its settings included.
    write : callable
        Gets the path of an empty folder and fills it.

    Returns
    -------
    folder : pathlib.Path
        The finished folder.

    Raises
    ------
    BadInput
        If something else is there already.
    """
    folder = pathlib.Path(folder)
    if (folder / marker).is_file():
        if (folder / marker).read_text(encoding="utf-8") == description:
            return folder
        raise BadInput(
            f"{folder} was made with other settings (see {folder / marker}): "
            "remove it or choose another folder."
        )

    def write_all(partial):
        write(partial)
        (partial / marker).write_text(description, encoding="utf-8")

    return write_whole(folder, write_all)


def check_vacant(folder):
    """Refuse a folder that something is in already.

    Raises
    ------
    BadInput
        If it is neither missing nor empty.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadInput(
            f"{folder} exists and holds something else: choose a folder that "
            "does not exist yet."
        )


def write_whole(folder, write):
    """Write a new folder whole, or leave no trace of it.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder to make.
    write : callable
        Gets the path of an empty folder and fills it.

    Returns
    -------
    folder : pathlib.Path
        The finished folder.

    Raises
    ------
    BadInput
        If something is there already.
    """
    folder = pathlib.Path(folder)
    check_vacant(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, because only a rename within one file system is atomic.
    with tempfile.TemporaryDirectory(
        dir=folder.parent, prefix=f".{folder.name}."
    ) as unfinished:
        partial = pathlib.Path(unfinished) / folder.name
        partial.mkdir()
        write(partial)
        os.replace(partial, folder)
    return folder


@contextlib.contextmanager
def whole_file(path):
    """Give a path to write to; the file gets its name when it is finished.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the finished file.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    yield partial
    os.replace(partial, path)


def write_text(path, text):
    """Write a text file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_rows(path, rows):
    """Write rows (list of dict of the same keys) as CSV, whole."""
    with (
        whole_file(path) as partial,
        open(partial, "w", encoding="utf-8", newline="") as out,
    ):
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_json(path):
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path, values):
    """Write values as indented JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
