"""Recordings with an address, such as s3://bucket/a.wav, through fsspec."""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator

from modules.errors import BadInput

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
# A day of stereo at 48 kHz and 16 bit.
MOST_BYTES = 2**34
_BLOCK = 2**20
# Of reading, where a store does not answer.
_TRIES = 3


def is_remote(file: str) -> bool:
    """Return whether a recording has an address.

    Example
    -------
    >>> is_remote("s3://bucket/a.wav"), is_remote("/a/b:c.wav")
    (True, False)
    """
    return _ADDRESS.match(file) is not None


def check_remote(file: str) -> None:
    """Refuse an address that nothing here can read.

    Raises
    ------
    BadInput
        If fsspec does not know it, or needs a package that is missing.
    """
    try:
        import fsspec
    except ImportError as problem:
        raise BadInput(
            f"{file} is read through fsspec, which is not installed: pip "
            "install fsspec"
        ) from problem
    for part in file.split("::"):
        protocol, mark, _ = part.partition("://")
        if not mark and "/" in part:
            continue  # the path of an archive, as in zip://a.wav::/x.zip
        try:
            fsspec.get_filesystem_class(protocol)
        except (ImportError, ValueError) as problem:
            raise BadInput(
                f"fsspec does not read {file} ({problem}): install what it "
                "names, or correct the address"
            ) from problem


@contextlib.contextmanager
def fetched(files: list[str]) -> Iterator[tuple[dict[str, str], dict]]:
    """Copy what has an address to a temporary folder.

    Arguments
    ---------
    files : list of str
        Paths and addresses.

    Yields
    ------
    names : dict
        Path on this machine -> path or address, in order.
    problems : dict
        Address -> sentence, of what cannot be read.
    """
    names, problems = {}, {}
    with tempfile.TemporaryDirectory(prefix="recordings") as folder:
        for number, file in enumerate(files):
            if not is_remote(file):
                names[file] = file
                continue
            ending = re.search(r"\.\w{1,8}(?=$|::)", file)
            target = f"{folder}/{number:06}{ending[0] if ending else ''}"
            try:
                _fetch(file, target)
                names[target] = file
            except BadInput as problem:
                problems[file] = str(problem)
        yield names, problems


def _fetch(address, target):
    """Copy a recording, again if its store does not answer."""
    check_remote(address)
    for left in reversed(range(_TRIES)):
        try:
            return _copy(address, target)
        except FileNotFoundError as problem:
            raise BadInput(
                f"no such file: {address} (check its name)"
            ) from problem
        except BadInput:
            raise
        # Each store has exceptions of its own.
        except Exception as problem:
            if os.path.exists(target):
                os.unlink(target)
            if not left:
                reason = " ".join(str(problem).split()) or type(problem)
                raise BadInput(
                    f"{address} cannot be read ({reason:.200}): check it"
                ) from problem
            time.sleep(2 ** (_TRIES - left))


def _copy(address, target):
    """Copy a recording of bounded size, whatever its store promises."""
    import fsspec

    size = 0
    with fsspec.open(address, "rb") as source, open(target, "wb") as out:
        while block := source.read(_BLOCK):
            size += len(block)
            if size > MOST_BYTES:
                raise BadInput(
                    f"{address} has more than {MOST_BYTES} bytes: cut it "
                    "into parts"
                )
            out.write(block)
