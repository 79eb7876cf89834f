"""A small corpus with a list, to be damaged by the attacks."""

import csv
import io
import itertools
import pathlib

import numpy as np
import soundfile

from data_prep import corpora
from modules.manifest import read_manifest

HEADING = ("path", "label", "speaker")
# Four speakers, two classes, two takes.
ROWS = tuple(
    (f"{speaker}_{label}_{take}.wav", label, speaker)
    for speaker, label, take in itertools.product(
        ("ann", "bob", "cid", "dan"), ("calm", "glad"), (1, 2)
    )
)


def change(number, column, value, rows=ROWS):
    """Return the rows with another value in one cell."""
    rows = [list(row) for row in rows]
    rows[number][HEADING.index(column)] = value
    return rows


def rename(column, old, new, rows=ROWS):
    """Return the rows with another name in one column."""
    place = HEADING.index(column)
    return [
        [
            new if n == place and cell == old else cell
            for n, cell in enumerate(r)
        ]
        for r in rows
    ]


def write_wav(path, seed, samples=480):
    """Write 30 ms of noise."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    soundfile.write(path, noise, 16000)


def write_recordings(folder, rows=ROWS):
    """Write the recording of every row, each with its own content."""
    for seed, row in enumerate(rows):
        write_wav(folder / row[0], seed)


def write_list(folder, rows=ROWS, heading=HEADING, text=None):
    """Write the list, or `text` (bytes) in its place."""
    path = folder / "my.csv"
    if text is None:
        out = io.StringIO()
        csv.writer(out).writerows([heading, *rows])
        text = out.getvalue().encode()
    path.write_bytes(text)
    return path


def prepare(folder, **options):
    """Prepare the corpus; return the manifests by split."""
    options = {"test_fold": 1, "number_of_folds": 4} | options
    paths = corpora.prepare(
        "csv", folder, folder / "my.csv", folder / "manifests", **options
    )
    return {name: read_manifest(path, folder) for name, path in paths.items()}


def entries(manifests):
    """Return the entries of all splits by utterance."""
    return {u: e for split in manifests.values() for u, e in split.items()}
