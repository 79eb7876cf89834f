"""Files and folders that are written whole or not at all; JSON and CSV."""

import contextlib
import csv
import errno
import json
import os
import pathlib
import stat
import tempfile

from safetensors import SafetensorError, safe_open

from modules.errors import BadInput

# No file of settings, results or indices that this recipe writes or reads
# comes near: manifests of a million utterances have 300 MB.
MOST_TEXT = 2**30
# Of a safetensors file; the largest models have 100 KB.
MOST_HEADER = 2**24
# The largest speech encoders have 9 GB.
MOST_WEIGHTS = 2**36


def find_folder(path):
    """Return a folder, or None if there is none of this name.

    A name that is too long, or ``~`` of an unknown user, is none.

    Example
    -------
    >>> find_folder("x" * 1000)
    """
    try:
        folder = pathlib.Path(path).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None


def make_whole(folder, marker, description, write):
    """Make a folder whole, or leave no trace of it.

    A folder that is already there with the same description is left as it is.

    Arguments
    ---------
    folder : str or pathlib.Path
        The folder to make.
    marker : str
        Name of the file with the description.
    description : str
        Describes the folder's contents and their settings.
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
            f"{folder} exists and contains something else: choose a folder that "
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
    hidden = f".{folder.name}."
    try:
        # A sibling, because only a rename within one file system is atomic.
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=hidden
        ) as unfinished:
            partial = pathlib.Path(unfinished) / folder.name
            partial.mkdir()
            write(partial)
            sync_tree(partial)
            os.replace(partial, folder)
    except OSError as problem:
        # The user gave no such name.
        named = os.fsdecode(problem.filename or "")
        if named.startswith(str(folder.parent / hidden)):
            problem.filename = str(folder)
        raise
    sync(folder.parent)
    return folder


@contextlib.contextmanager
def whole_file(path):
    """Give a path to write to; the file gets its name when it is finished.

    The content is on the disk before the name is: a machine that loses its
    power leaves the file as it was, or the new one, never an empty one.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the finished file.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        sync(partial)
        os.replace(partial, path)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            partial.unlink()
        # What write() raises names no file.
        if isinstance(problem, OSError):
            if problem.filename in (None, str(partial), partial):
                problem.filename = str(path)
        raise
    sync(path.parent)


def sync(path):
    """Wait until a file, or the names in a folder, are on the disk.

    A file system that cannot do so is left alone.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            problem.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def sync_tree(folder):
    """Wait until all files of a folder, and their names, are on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            sync(os.path.join(parent, name))
        sync(parent)


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


def check_file(path, most=MOST_TEXT):
    """Refuse what is no regular file or is too large, before it is opened.

    Opening a named pipe would wait for ever.

    Arguments
    ---------
    path : str or pathlib.Path
        Links are followed.
    most : int
        Bytes.

    Raises
    ------
    ValueError
        Saying which of the two.
    OSError
        If there is nothing.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(
            errno.EISDIR, os.strerror(errno.EISDIR), str(path)
        )
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    if status.st_size > most:
        raise ValueError(f"it has {status.st_size} bytes, more than {most}")


def read_text(path, most=MOST_TEXT):
    """Read a UTF-8 text of bounded size; see `check_file` for the errors."""
    check_file(path, most)
    return pathlib.Path(path).read_text(encoding="utf-8")


def read_json(path, most=MOST_TEXT):
    """Read a JSON file of bounded size.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, or is no JSON or nested too deeply.
    """
    try:
        return json.loads(read_text(path, most))
    except RecursionError as problem:
        raise ValueError("it is nested too deeply") from problem


def read_weights_index(path, most=MOST_HEADER):
    """Return name -> shape of the tensors in a safetensors file.

    The header alone is read.

    Raises
    ------
    OSError, ValueError
        If it cannot be read.
    """
    check_file(path, MOST_WEIGHTS)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > most:
        raise ValueError(f"its header has {length} bytes, more than {most}")
    try:
        with safe_open(path, framework="pt") as file:
            return {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()
            }
    except SafetensorError as problem:
        raise ValueError(str(problem)) from problem


def write_json(path, values):
    """Write values as indented JSON, whole or not at all."""
    write_text(path, json.dumps(values, indent=2) + "\n")
