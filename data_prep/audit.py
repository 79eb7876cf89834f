"""Which speakers, recordings and texts two lists share.

python -m data_prep.audit TRAIN TEST
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import pathlib
import re
import sys
import unicodedata
from collections.abc import Callable

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize
from tqdm import tqdm

from data_prep.audio_checks import UnusableAudio, inspect_audio
from data_prep.corpus import first_few
from data_prep.identity import loose_form
from data_prep.lists import Row, find_file, read_list
from modules.errors import BadInput, one_sentence

# Cosine between counts of three characters: one word of ten may differ.
SIMILAR = 0.85


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two lists share of one kind.

    Arguments
    ---------
    kind : str
        "speakers", "recordings" or "texts".
    sizes : tuple of int
        How many different ones the two lists have.
    shared : list of tuple of str
        Pairs: the name in the first list, the name in the second.
    """

    kind: str
    sizes: tuple[int, int]
    shared: list[tuple[str, str]]


def audit(
    train: str | os.PathLike,
    test: str | os.PathLike,
    data_folder: str | os.PathLike | None = None,
) -> list[Overlap]:
    """Compare two lists.

    Speakers are compared in `data_prep.identity.loose_form`, so that 3, 3.0
    and 03 are one. Recordings are compared by their samples and bytes if the
    files of both exist, or else by their names. Texts are compared without
    punctuation and capitals; nearly equal ones count.

    Arguments
    ---------
    train, test : str or pathlib.Path
        Two lists, see `data_prep.lists.read_list`.
    data_folder : str or pathlib.Path, optional
        The folder of relative paths; the folder of each list, by default.

    Returns
    -------
    list of Overlap
        Speakers, recordings and texts, of those that both lists have.

    Raises
    ------
    BadInput
        If a list cannot be read, or nothing of both can be compared.
    """
    paths = [pathlib.Path(train), pathlib.Path(test)]
    rows = [read_list(path) for path in paths]
    folders = [data_folder or path.parent for path in paths]
    compared = [
        _compare("speakers", rows, lambda row: row.speaker, loose_form),
        _compare_recordings(rows, folders),
        _compare_texts(rows),
    ]
    compared = [overlap for overlap in compared if all(overlap.sizes)]
    if not compared:
        raise BadInput(
            f"{train} and {test} have nothing in common that can be compared: "
            "both need recordings, speakers or texts."
        )
    return compared


def _compare(
    kind: str,
    rows: list[list[Row]],
    name: Callable[[Row], str],
    form: Callable[[str], str],
) -> Overlap:
    """Compare names in a form in which spellings of one are equal."""
    first, second = (
        {form(name(row)): name(row) for row in part if name(row)}
        for part in rows
    )
    shared = [(first[key], second[key]) for key in first if key in second]
    return Overlap(kind, (len(first), len(second)), sorted(shared))


def _compare_recordings(rows, folders):
    """Compare recordings by content, or by name where a file is missing."""
    files = [
        [find_file(row, folder) for row in part]
        for part, folder in zip(rows, folders)
    ]
    digests = [
        [_digests(row, file) for row, file in zip(*pair)]
        for pair in zip(
            rows, [tqdm(f, "reading", disable=len(f) < 1000) for f in files]
        )
    ]
    paths = {row.path for part in rows for row in part if row.path}
    parts = _parts_of_name([os.path.normpath(path) for path in paths])
    known, names = {}, {}
    for row, keys in zip(rows[0], digests[0]):
        known |= dict.fromkeys(keys, row.path)
        if row.path:
            names[_tail(row.path, parts)] = (row.path, bool(keys))
    shared = set()
    for row, keys in zip(rows[1], digests[1]):
        same = next((known[key] for key in keys if key in known), None)
        other, has_content = names.get(_tail(row.path, parts), (None, False))
        if same is None and not (keys and has_content):
            same = other
        if same is not None:
            shared.add((same, row.path))
    sizes = [len({r.path or r.sha256 for r in part} - {""}) for part in rows]
    return Overlap("recordings", tuple(sizes), sorted(shared))


def _digests(row, file):
    """Return the digests of a recording: of its bytes and of its samples."""
    digests = {f"bytes {row.sha256}"} if row.sha256 else set()
    if file is not None:
        try:
            audio = inspect_audio(str(file))
            digests |= {f"bytes {audio.sha256}", f"samples {audio.content}"}
        except UnusableAudio:
            content = hashlib.sha256(file.read_bytes())
            digests.add(f"bytes {content.hexdigest()}")
    return digests


def _parts_of_name(paths):
    """Return how many last parts of a path distinguish all paths."""
    longest = max((path.count("/") + 1 for path in paths), default=1)
    for parts in range(1, longest):
        if len({_tail(path, parts) for path in paths}) == len(paths):
            return parts
    return longest


def _tail(path, parts):
    """Return the last parts of a path."""
    return "/".join(os.path.normpath(path).split("/")[-parts:])


def _compare_texts(rows):
    """Compare texts; nearly equal ones are shared."""
    exact = _compare("texts", rows, lambda row: row.text, _plain)
    if not all(exact.sizes):
        return exact
    first, second = (
        sorted({row.text for row in part if row.text}) for part in rows
    )
    # Blanks at the ends, so that short texts have three characters too.
    plain = [[f" {_plain(text)} " for text in part] for part in (first, second)]
    counter = CountVectorizer(analyzer="char", ngram_range=(3, 3))
    counter.fit([*plain[0], *plain[1], "   "])
    vectors = [normalize(counter.transform(part)) for part in plain]
    shared = set()
    # In blocks: a matrix of all pairs may not fit into the memory.
    step = max(1, 10**7 // len(first))
    for start in range(0, len(second), step):
        block = (vectors[1][start : start + step] @ vectors[0].T).tocoo()
        near = np.flatnonzero(block.data >= SIMILAR)
        shared |= {
            (first[block.col[i]], second[start + block.row[i]]) for i in near
        }
    return dataclasses.replace(exact, shared=sorted(shared))


def _plain(text):
    """Return a text without punctuation, capitals and further blanks."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub(r"[^\w\s]|_", "", text).split())


def format_overlaps(
    overlaps: list[Overlap], names: tuple[str, str], limit: int = 10
) -> str:
    """Return a table for the terminal.

    Arguments
    ---------
    overlaps : list of Overlap
        From `audit`.
    names : tuple of str
        Of the two lists.
    limit : int
        How many of what is shared to name.

    Example
    -------
    >>> overlaps = [Overlap("speakers", (3, 2), [("3", "3.0")])]
    >>> print(format_overlaps(overlaps, ("a.csv", "b.csv")))
                        in a.csv   in b.csv     shared
    speakers                   3          2          1
    <BLANKLINE>
    Shared speakers: 3 = 3.0.
    Not compared, because a list has none: recordings, texts.
    """
    heads = [f"in {first_few([pathlib.Path(name).name])}" for name in names]
    widths = [max(10, len(head)) for head in heads]
    columns = [head.rjust(width) for head, width in zip(heads, widths)]
    lines = [" ".join([" " * 17, *columns, "shared".rjust(10)])]
    details = []
    for overlap in overlaps:
        counts = [
            str(size).rjust(width) for size, width in zip(overlap.sizes, widths)
        ]
        number = str(len(overlap.shared)).rjust(10)
        lines.append(" ".join([overlap.kind.ljust(17), *counts, number]))
        if overlap.shared:
            pairs = [a if a == b else f"{a} = {b}" for a, b in overlap.shared]
            details.append(f"Shared {overlap.kind}: {first_few(pairs, limit)}.")
    missing = [
        kind
        for kind in ("speakers", "recordings", "texts")
        if kind not in {overlap.kind for overlap in overlaps}
    ]
    if missing:
        details.append(
            f"Not compared, because a list has none: {', '.join(missing)}."
        )
    return "\n".join([*lines, "", *(details or ["Nothing is shared."])])


def main(arguments: list[str] | None = None) -> int:
    """Compare two lists; return 1 if they share something."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.audit",
        description="Print which speakers, recordings and texts two lists "
        "share. The exit status is 1 if they share something.",
    )
    parser.add_argument("train", help="CSV file, JSON manifest or JSON lines")
    parser.add_argument("test", help="another one")
    parser.add_argument(
        "--data_folder",
        help="folder of relative paths (default: the folder of each list)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=10,
        metavar="N",
        help="how many of what is shared to name (default: 10)",
    )
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        overlaps = audit(options.train, options.test, options.data_folder)
        names = (options.train, options.test)
        table = format_overlaps(overlaps, names, options.limit)
        # A terminal may lack the letters of a name.
        encoding = sys.stdout.encoding or "utf-8"
        print(table.encode(encoding, "backslashreplace").decode(encoding))
        return int(any(overlap.shared for overlap in overlaps))


if __name__ == "__main__":
    sys.exit(main())
