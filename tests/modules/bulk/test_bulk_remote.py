"""Recordings with an address, through fsspec's own file systems."""

import zipfile

import fsspec
import pytest

from modules.bulk import remote
from modules.bulk.remote import fetched


def test_addresses_become_files_of_the_same_bytes(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"aa")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as out:
        out.writestr("b.flac", b"bb")
    with fsspec.open("memory://c", "wb") as out:
        out.write(b"cc")
    files = [
        f"{tmp_path}/a.wav",
        f"file://{tmp_path}/a.wav",
        f"zip://b.flac::{tmp_path}/x.zip",
        "memory://c",
        f"file://{tmp_path}/missing.wav",
        f"zip://b.flac::{tmp_path}/a.wav",
    ]
    with fetched(files) as (names, problems):
        assert list(names.values()) == files[:4]
        contents = [open(name, "rb").read() for name in names]
        assert contents == [b"aa", b"aa", b"bb", b"cc"]
        assert [name[-5:] for name in names][2] == ".flac"
        copied = [name for name in names if name not in files]
    assert list(problems) == files[4:]
    assert problems[files[4]].startswith(f"no such file: {files[4]}")
    assert "cannot be read" in problems[files[5]]
    assert not any(map(remote.os.path.exists, copied))


def test_what_has_too_many_bytes_is_not_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "MOST_BYTES", 10)
    monkeypatch.setattr(remote, "_BLOCK", 4)
    (tmp_path / "a.wav").write_bytes(bytes(11))
    address = f"file://{tmp_path}/a.wav"
    with fetched([address]) as (names, problems):
        assert not names and "more than 10 bytes" in problems[address]


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Do not wait between tries."""
    monkeypatch.setattr(remote.time, "sleep", lambda seconds: None)


def test_a_store_that_does_not_answer_is_asked_again(monkeypatch, tmp_path):
    copy, calls = remote._copy, []

    def fail_once(address, target):
        calls.append(address)
        if len(calls) == 1:
            raise ConnectionError("reset")
        copy(address, target)

    monkeypatch.setattr(remote, "_copy", fail_once)
    (tmp_path / "a.wav").write_bytes(b"1")
    with fetched([f"file://{tmp_path}/a.wav"]) as (names, problems):
        assert len(names) == 1 and not problems
    assert len(calls) == 2
