"""Public corpora from their publishers.

    python -m data_prep.download emodb|ravdess|cremad FOLDER

An interrupted download goes on where it stopped. Size and digest are checked
where the publisher states them, and the archive is unpacked safely.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib
import os
import pathlib
import shutil
import sys
import urllib.error
import urllib.request

from tqdm import tqdm

from data_prep import corpora
from data_prep.archive import Archive, check_contents, file_digest, unpack
from modules.errors import BadInput, one_sentence, using
from modules.files import check_vacant, write_whole

_BLOCK = 2**18
_TIMEOUT = 60  # seconds without a byte
_HINT = "the same command goes on where it stopped"


def fetch(
    url: str,
    path: str | os.PathLike,
    most: int,
    size: int | None = None,
    md5: str | None = None,
) -> pathlib.Path:
    """Download a file; what is already there of it is kept.

    Arguments
    ---------
    url : str
        Of http or https.
    path : str or pathlib.Path
        Of the finished file; while it is incomplete, ``.part`` follows.
    most : int
        Bytes that it may have.
    size : int, optional
        Bytes that it must have.
    md5 : str, optional
        Digest that it must have.

    Returns
    -------
    pathlib.Path
        The finished file.

    Raises
    ------
    BadInput
        If the server cannot be reached or has no such file, the connection is
        cut, the disk is full, or the file is another than expected.
    """
    path = pathlib.Path(path)
    partial = path.with_name(path.name + ".part")
    if not path.exists():
        with using(partial):
            path.parent.mkdir(parents=True, exist_ok=True)
            while not _receive(url, partial, most, size):
                pass
    else:
        partial = path
    found = partial.stat().st_size
    wrong = size is not None and found != size
    if wrong or (md5 is not None and file_digest(partial, "md5") != md5):
        partial.unlink()
        _validator(partial).unlink(missing_ok=True)
        raise BadInput(
            f"{url} is not the file that this recipe was written for ({found} "
            "bytes, another digest or size): it has changed, so download the "
            "corpus by hand and compare it with the release"
        )
    os.replace(partial, path)
    _validator(partial).unlink(missing_ok=True)
    return path


def _validator(partial):
    """Return the file with what identifies the version on the server."""
    return partial.with_name(partial.name + ".version")


def _receive(url, partial, most, size):
    """Receive bytes until the file is whole or the connection is cut.

    Returns
    -------
    is_whole : bool
        False if bytes came and more are to come.
    """
    before = partial.stat().st_size if partial.exists() else 0
    try:
        with _open(url, partial, before) as response:
            if response is None:
                return True
            total = _save(url, response, partial, before, most, size)
    except urllib.error.HTTPError as problem:
        if problem.code == 416 and before:
            partial.unlink()  # of another version, longer than this one
            return False
        raise BadInput(
            f"{url} cannot be downloaded ({problem.code} {problem.reason}): "
            "look at the publisher's page, or download it by hand"
        ) from problem
    except (urllib.error.URLError, http.client.HTTPException) as problem:
        raise _unreachable(url, problem, partial) from problem
    after = partial.stat().st_size
    if total is None or after == total:
        return True
    if after > before:
        return False
    raise BadInput(
        f"{url} is cut after {after} of {total} bytes: {_HINT}, or download it "
        "by hand"
    )


def _unreachable(url, problem, partial):
    """Return the sentence for a server that does not answer."""
    reason = getattr(problem, "reason", None) or problem
    done = partial.stat().st_size if partial.exists() else 0
    hint = f"check the network; {_HINT}" if done else "check the network"
    return BadInput(
        f"{url} cannot be reached ({type(reason).__name__}: {reason}): {hint}"
    )


@contextlib.contextmanager
def _open(url, partial, done):
    """Open what is missing of a file; None if nothing is."""
    request = urllib.request.Request(url, headers={"User-Agent": "felt"})
    version = _validator(partial)
    if done:
        request.add_header("Range", f"bytes={done}-")
        if version.exists():
            request.add_header("If-Range", version.read_text("utf-8"))
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as problem:
        if problem.code == 416 and _total(problem.headers) == done:
            yield None
            return
        raise
    except OSError as problem:
        if isinstance(problem, urllib.error.URLError):
            raise
        # Before the first byte all of these are of the network.
        raise urllib.error.URLError(problem) from problem
    with response:
        yield response


def _total(headers):
    """Return the size of the whole file in Content-Range, or None."""
    text = headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isdecimal() else None


def _save(url, response, partial, done, most, size):
    """Append to the file, or begin it again; return the whole size if known."""
    span = response.headers.get("Content-Range", "")
    resumed = response.status == 206 and span.startswith(f"bytes {done}-")
    if not resumed:
        done = 0
        headers = response.headers
        version = headers.get("ETag") or headers.get("Last-Modified")
        _validator(partial).unlink(missing_ok=True)
        # A weak one does not promise the same bytes.
        if version and not version.startswith("W/"):
            _validator(partial).write_text(version, encoding="utf-8")
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else None
    if total is not None and (total > most or total != (size or total)):
        raise BadInput(
            f"{url} has {total} bytes where {size or f'at most {most}'} are "
            "expected: it has changed, so download the corpus by hand and "
            "compare it with the release"
        )
    bar = tqdm(
        desc=partial.name.removesuffix(".part"),
        initial=done,
        total=total,
        unit="B",
        unit_scale=True,
    )
    with bar, open(partial, "ab" if resumed else "wb") as out:
        for block in _blocks(response):
            done += len(block)
            if done > most:
                raise BadInput(
                    f"{url} sends more than {most} bytes: do not use it"
                )
            out.write(block)
            bar.update(len(block))
    return total


def _blocks(response):
    """Give the bytes of a response until they end or the connection is cut."""
    while True:
        try:
            block = response.read(_BLOCK)
        except http.client.IncompleteRead as problem:
            block = problem.partial
            yield block
            if response.headers.get("Content-Length") is None:
                raise
            return
        except OSError as problem:  # of the network: nothing is written here
            if response.headers.get("Content-Length") is None:
                raise urllib.error.URLError(problem) from problem
            return
        if not block:
            return
        yield block


def download(archive: Archive, folder: str | os.PathLike) -> pathlib.Path:
    """Download and unpack a corpus.

    Arguments
    ---------
    archive : Archive
        Where it is and what it must contain.
    folder : str or pathlib.Path
        For the recordings; it must not exist yet. The archive is beside it
        until it is unpacked.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    BadInput
        Of `fetch`, or if the archive is not the corpus.
    """
    folder = pathlib.Path(folder)
    check_vacant(folder)
    path = folder.with_name(folder.name + ".zip")
    with using(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _check_room(folder, archive)
        fetch(archive.url, path, archive.most, archive.size, archive.md5)

        def write(partial):
            unpack(path, archive, partial)
            check_contents(partial, archive)

        write_whole(folder, write)
        path.unlink()
    return folder


def _check_room(folder, archive):
    """Refuse a disk without room for the archive and what is in it."""
    needed = archive.most
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise BadInput(
            f"{folder} needs {needed / 1e9:.1f} GB and its disk has "
            f"{free / 1e9:.1f} GB left: make room or choose another folder"
        )


def archives() -> dict[str, Archive]:
    """Return corpus -> archive of all corpora that can be downloaded.

    Example
    -------
    >>> archives()["ravdess"].recordings
    1440
    """
    found = {}
    for name in corpora.names():
        module = importlib.import_module(f"data_prep.{name}_prepare")
        if hasattr(module, "ARCHIVE"):
            found[name] = module.ARCHIVE
    return found


def main(arguments: list[str] | None = None) -> int:
    """Download from the command line; return the exit status."""
    known = archives()
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.download",
        description="Download a public corpus from its publisher.",
    )
    parser.add_argument("corpus", choices=sorted(known))
    parser.add_argument("folder", help="for the recordings: a new folder")
    options = parser.parse_args(arguments)
    archive = known[options.corpus]
    with one_sentence():
        print(f"source:  {archive.url}\nlicence: {archive.licence}")
        if not archive.is_checked:
            print("note:    no digest is known of it, so none is checked")
        folder = download(archive, options.folder)
        print(f"folder:  {folder}, {archive.recordings} recordings")
        print(
            "next:    python cross_validate.py hparams/recommended.yaml "
            f"--corpus {options.corpus} --data_folder {folder}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
