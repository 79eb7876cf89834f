"""A corpus as its publisher offers it: one ZIP archive, unpacked safely.

An archive from the network can name files outside of the folder, contain
links, or unpack to more than a disk has. Only files whose names match the
corpus are unpacked, and everything is counted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import re
import stat
import zipfile
import zlib
from typing import IO

from data_prep.corpus import first_few
from modules.errors import BadInput

_BLOCK = 2**20


@dataclasses.dataclass(frozen=True)
class Archive:
    """Where a corpus is published, and what it must contain.

    Arguments
    ---------
    url : str
        Of a ZIP archive.
    members : str
        Regular expression of the names to unpack; its first group is the path
        in the folder of the corpus.
    recordings : int
        How many WAV files the corpus has.
    most : int
        Bytes; neither the archive nor what is unpacked may have more.
    licence : str
        What the publisher permits.
    size : int, optional
        Bytes of the archive, if its publisher states it.
    md5 : str, optional
        Of the archive, if its publisher states it.
    contents : str, optional
        `contents_digest` of the unpacked recordings, if it is known.
    """

    url: str
    members: str
    recordings: int
    most: int
    licence: str
    size: int | None = None
    md5: str | None = None
    contents: str | None = None

    @property
    def is_checked(self) -> bool:
        """Whether a digest of the archive or of its contents is known."""
        return self.md5 is not None or self.contents is not None


def file_digest(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """Return the digest of a file; hashlib.file_digest needs Python 3.11."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def contents_digest(folder: str | os.PathLike) -> str:
    """Identify the recordings of a folder.

    Arguments
    ---------
    folder : str or pathlib.Path
        With WAV files, in it or in folders of it.

    Returns
    -------
    str
        SHA-256 over a line for each WAV file, sorted by name: the file's
        name without its folder, and the SHA-256 of the file.
    """
    paths = sorted(
        pathlib.Path(folder).rglob("*.wav"), key=lambda path: path.name
    )
    lines = [f"{path.name} {file_digest(path)}\n" for path in paths]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_contents(folder: str | os.PathLike, archive: Archive) -> None:
    """Refuse recordings that are not those that the archive is known for.

    Raises
    ------
    BadInput
        If the digest is known and another.
    """
    if archive.contents and contents_digest(folder) != archive.contents:
        raise BadInput(
            f"the recordings in {folder} are not those of {archive.url} (their "
            "digest is another): compare them with the release"
        )


def unpack(
    path: str | os.PathLike, archive: Archive, folder: pathlib.Path
) -> None:
    """Unpack the recordings of a corpus.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the ZIP archive.
    archive : Archive
        What it must contain.
    folder : pathlib.Path
        An empty folder.

    Raises
    ------
    BadInput
        If it is damaged, contains something else, or would write outside of
        the folder.
    """
    try:
        with zipfile.ZipFile(path) as opened:
            for info, target in _choose(path, archive, opened.infolist()):
                _write(path, opened, info, folder / target)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,  # encrypted
        ValueError,
    ) as problem:
        if isinstance(problem, BadInput):
            raise
        raise BadInput(
            f"{path} is no ZIP archive or is damaged ({problem}): delete it "
            "and download it again"
        ) from problem


def _choose(path, archive, infos):
    """Return (member, path in the folder) of what is to be unpacked."""
    chosen = {}
    for info in infos:
        _check_name(path, info)
        match = re.fullmatch(archive.members, info.filename)
        if not match or info.is_dir():
            continue
        if match[1] in chosen:
            raise BadInput(
                f"{path} contains {match[1]} twice: delete it and download it "
                "again"
            )
        chosen[match[1]] = info
    found = sum(name.endswith(".wav") for name in chosen)
    if found != archive.recordings:
        raise BadInput(
            f"{path} contains {found} recordings where the corpus has "
            f"{archive.recordings}: compare it with {archive.url}"
        )
    size = sum(info.file_size for info in chosen.values())
    if size > archive.most:
        raise BadInput(
            f"{path} unpacks to {size} bytes, more than {archive.most}: do not "
            "use this archive"
        )
    return [(info, name) for name, info in chosen.items()]


def _check_name(path, info):
    """Refuse an archive with a link or a name outside of its folder."""
    name = pathlib.PurePosixPath(info.filename.replace("\\", "/"))
    # The first part may be a drive of Windows.
    if name.is_absolute() or ".." in name.parts or ":" in str(name):
        raise BadInput(
            f"{path} names a file outside of it ({first_few([name])}): do not "
            "use this archive"
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise BadInput(
            f"{path} contains a link ({first_few([name])}): do not use this "
            "archive"
        )


def _write(path, opened, info, target):
    """Write one member; its size is that of the archive's directory."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with opened.open(info) as source, open(target, "xb") as out:
        first = source.read(_BLOCK)
        if target.suffix == ".wav" and not first.startswith(b"RIFF"):
            raise BadInput(
                f"{path} has no WAV file at {info.filename}, perhaps a pointer "
                "of Git LFS: download the corpus by hand"
            )
        out.write(first)
        _copy(source, out)


def _copy(source: IO[bytes], out: IO[bytes]) -> None:
    """Copy the rest of a member."""
    while block := source.read(_BLOCK):
        out.write(block)
