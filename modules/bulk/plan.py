"""A list of recordings, divided into parts of like duration.

The folder of the answers has ``plan.json``: the digests of list, model and
settings. Beside it ``.plan.rows`` has a line of JSON per recording, in the order
of the list, and ``.plan.index`` a record of fixed size per part: neither is in
memory. The only thing that grows with the list are 8 bytes per recording while
it is planned, by which a row that is there twice is found.
"""

import array
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import stat
from collections.abc import Iterator

import numpy as np
import soundfile

from modules.bulk.lists import read_rows
from modules.bulk.remote import check_remote, is_remote
from modules.decoding import LONGEST_RECORDING
from modules.errors import BadInput
from modules.files import read_json, whole_file, write_json

PLAN, ROWS, INDEX = "plan.json", ".plan.rows", ".plan.index"
_ENTRY = np.dtype([("stop", "<i8"), ("rows", "<i8"), ("seconds", "<f8")])
# Of a part: its answers are in memory.
MOST_ROWS = 10_000
# What a recording counts whose duration nothing shows: 16 kHz, 16 bit; and one
# with an address.
_BYTES_PER_SECOND, _REMOTE_SECONDS = 32_000, 60.0
# Headers that are read side by side, and at a time.
_READERS, _AT_A_TIME = 4, 1024
_VERSION = 1


class Plan:
    """A plan that is on the disk.

    Arguments
    ---------
    folder : str or pathlib.Path
        Of the answers.

    Attributes
    ----------
    record : dict
        The content of plan.json.
    digest : str
        Of list, model, settings and division.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = pathlib.Path(folder)
        self.record = read_json(self.folder / PLAN)
        text = json.dumps(self.record, sort_keys=True)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._index = np.memmap(self.folder / INDEX, _ENTRY, "r")

    def __len__(self) -> int:
        return len(self._index)

    def path(self, number: int) -> pathlib.Path:
        """Return the file of a part's answers."""
        return self.folder / f"part-{number:05}.parquet"

    def lines(self, number: int) -> bytes:
        """Return a part's lines of `ROWS`."""
        start = int(self._index[number - 1]["stop"]) if number else 0
        with open(self.folder / ROWS, "rb") as file:
            file.seek(start)
            return file.read(int(self._index[number]["stop"]) - start)

    def files(self, number: int) -> list[str]:
        """Return the recordings of a part."""
        lines = self.lines(number).splitlines()
        return [json.loads(line)[0] for line in lines]


def open_plan(
    folder: str | os.PathLike,
    source: str,
    model: str,
    settings: dict,
    part_hours: float,
) -> Plan:
    """Return the plan of a folder; make it if there is none.

    Arguments
    ---------
    folder : str or pathlib.Path
        Of the answers.
    source : str
        A folder of recordings, or a list; see `read_rows`.
    model : str
        Its digest.
    settings : dict
        Of plain values: what else decides the answers.
    part_hours : float
        Of audio in a part.

    Raises
    ------
    BadInput
        If the folder has the plan of another list, model or settings, or
        something is wrong with the list.
    """
    folder = pathlib.Path(folder)
    settings = settings | {"part_hours": part_hours}
    wanted = {"version": _VERSION, "model": model, "settings": settings}
    if (folder / PLAN).exists():
        found = read_json(folder / PLAN)
        _check_same(folder, found, wanted)
        if found["list"] != _digest(source):
            raise _other(folder, "another list")
        return Plan(folder)
    wanted |= _write(folder, source, part_hours * 3600)
    write_json(folder / PLAN, wanted)
    return Plan(folder)


def _check_same(folder, found, wanted):
    """Refuse a plan of another model or other settings."""
    if found["model"] != wanted["model"]:
        raise _other(folder, "another model")
    ours, theirs = wanted["settings"], found["settings"]
    changed = [key for key in ours if ours[key] != theirs.get(key)]
    if changed or found["version"] != _VERSION:
        names = ", ".join(changed) or "version"
        raise _other(folder, f"other settings ({names})")


def _other(folder, what):
    """Return the sentence for a folder of another job."""
    return BadInput(
        f"{folder} has the answers of {what}: repeat the earlier command, or "
        "choose another --output"
    )


def _line(file, seconds):
    """Return a recording as a line of `ROWS`."""
    return json.dumps([file, seconds]).encode() + b"\n"


def _digest(source):
    """Return the digest of a list."""
    found = hashlib.sha256()
    for row in read_rows(source):
        found.update(_line(*row))
    return found.hexdigest()


def _write(folder, source, part_seconds):
    """Write rows and index; return what the plan records of them."""
    digest, hashes = hashlib.sha256(), array.array("q")
    index = hashlib.sha256()
    rows = parts = 0
    total = 0.0
    with (
        whole_file(folder / ROWS) as rows_path,
        whole_file(folder / INDEX) as index_path,
        open(rows_path, "wb") as rows_file,
        open(index_path, "wb") as index_file,
    ):
        for part, count, seconds in _divide(_measured(source), part_seconds):
            rows_file.write(part)
            digest.update(part)
            entry = np.array((rows_file.tell(), count, seconds), _ENTRY)
            index_file.write(entry.tobytes())
            index.update(entry.tobytes())
            lines = part.splitlines()
            hashes.extend(hash(line.rpartition(b",")[0]) for line in lines)
            rows, parts, total = rows + count, parts + 1, total + seconds
        if not rows:
            raise BadInput(f"{source} lists no recording: add one")
        rows_file.flush()
        _check_twice(source, hashes, rows_path)
    return {
        "list": digest.hexdigest(),
        "index": index.hexdigest(),
        "recordings": rows,
        "parts": parts,
        "hours": round(total / 3600, 3),
        "probe": _probe(source),
    }


def _check_twice(source, hashes, path):
    """Refuse a list that has a recording twice.

    Rows whose hashes are equal are compared themselves.
    """
    found = np.frombuffer(hashes, "i8")
    found.sort()
    twice = set(found[1:][found[1:] == found[:-1]].tolist())
    seen = set()
    with open(path, "rb") as file:
        for line in file if twice else ():
            own = line.rpartition(b",")[0]
            if hash(own) in twice:
                if own in seen:
                    name = json.loads(line)[0]
                    raise BadInput(
                        f"{source}: {name} is listed twice: keep one row"
                    )
                seen.add(own)


def _probe(source):
    """Return a recording that lies here, by which a node is tested."""
    first = next(iter(read_rows(source)))[0]
    return first if os.path.exists(first) else None


def _measured(source):
    """Give (line, seconds) of each recording, in order."""
    known = set()
    rows = iter(read_rows(source))
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        while some := list(itertools.islice(rows, _AT_A_TIME)):
            for file, _ in some:
                if is_remote(file):
                    protocol = file.partition("://")[0]
                    if protocol not in known:
                        check_remote(file)
                        known.add(protocol)
            is_known = all(seconds is not None for _, seconds in some)
            found = map(_measure, some)
            if not is_known:
                found = readers.map(_measure, some)
            for row, seconds in zip(some, found):
                yield _line(*row), seconds


def _measure(row) -> float:
    """Return seconds: as listed, by the header, or by the size of the file."""
    file, seconds = row
    if seconds is not None:
        return seconds
    if is_remote(file):
        return _REMOTE_SECONDS
    try:
        status = os.stat(file)
        if not stat.S_ISREG(status.st_mode):
            return 0.0
        seconds = soundfile.info(os.fsencode(file)).duration
    except (OSError, ValueError):
        return 0.0
    except (soundfile.SoundFileError, TypeError):
        seconds = status.st_size / _BYTES_PER_SECOND
    return min(seconds, float(LONGEST_RECORDING))


def _divide(rows, part_seconds) -> Iterator[tuple[bytes, int, float]]:
    """Give the parts: their lines, number of rows and seconds.

    A recording that is longer is a part of its own.
    """
    lines, total = [], 0.0
    for line, seconds in rows:
        is_full = total + seconds > part_seconds or len(lines) == MOST_ROWS
        if lines and is_full:
            yield b"".join(lines), len(lines), total
            lines, total = [], 0.0
        lines.append(line)
        total += seconds
    if lines:
        yield b"".join(lines), len(lines), total
