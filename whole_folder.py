"""Folders that are made whole or not at all."""

import os
import pathlib
import tempfile

from bad_input import BadInput


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
