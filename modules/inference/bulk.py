"""Many recordings in parts: a command that was killed goes on where it was.

The parts lie beside the output, in ``.NAME.parts``. Each is written whole: it
contains the answers for some recordings, or it is not there. The folder and
each part contain the digest of model, list and settings; the folder is removed
once the output is written.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import zipfile
from collections.abc import Callable

import filelock
import numpy as np
import torch
from tqdm import tqdm

from modules.errors import BadInput
from modules.files import whole_file, write_text
from modules.inference.predictor import Predictions, Row
from modules.inference.recordings import Problem

# What a kill costs at most: about half an hour of speech as WAV at 16 kHz.
MOST_FILES, MOST_BYTES = 256, 2**26
# Of the parts' contents.
_VERSION = 2
_DIGEST = "digest.txt"
# A tensor that is computed from the weights when they are loaded (weight norm
# of wav2vec 2.0 and its relatives): its last bits depend on the processor and
# the number of threads.
_COMPUTED = "pos_conv_embed.conv.weight"


def make_chunks(files: list[str]) -> list[list[str]]:
    """Return the recordings of each part, in order.

    A recording that alone has more than `MOST_BYTES` is a part of its own.

    Example
    -------
    >>> [len(chunk) for chunk in make_chunks(["missing.wav"] * 600)]
    [256, 256, 88]
    """
    chunks, size = [], 0
    for file in files:
        own = stamp(file)[1]
        is_full = size + own > MOST_BYTES or (
            chunks and len(chunks[-1]) == MOST_FILES
        )
        if not chunks or is_full:
            chunks.append([])
            size = 0
        chunks[-1].append(file)
        size += own
    return chunks


def stamp(file: str) -> list:
    """Return path, bytes and time of a recording; zeros if there is none."""
    try:
        status = os.stat(file)
        return [file, status.st_size, status.st_mtime_ns]
    except (OSError, ValueError):
        return [file, 0, 0]


def digest_job(model: str, files: list[str], settings: dict) -> str:
    """Return a digest of all that decides the answers.

    Arguments
    ---------
    model : str
        Its digest, see `digest_model`.
    files : list of str
        Recordings; their sizes and times count too.
    settings : dict
        Of plain values.

    Returns
    -------
    digest : str
        SHA-256.
    """
    job = [_VERSION, model, [stamp(file) for file in files], settings]
    text = json.dumps(job, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_model(model: torch.nn.Module, files: list[pathlib.Path]) -> str:
    """Return the SHA-256 of a model's weights and of files of its folder.

    Arguments
    ---------
    model : torch.nn.Module
        Its encoder may lie elsewhere than its folder.
    files : list of pathlib.Path
        Read whole: hyperparams.yaml, or the graph in ONNX.
    """
    found = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(2**20):
                found.update(block)
    state = getattr(model, "state_dict", dict)()
    for name, tensor in state.items():
        if name.endswith(_COMPUTED):
            continue
        tensor = tensor.detach().cpu().contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()


class Parts:
    """The parts of one output.

    Arguments
    ---------
    output : str or pathlib.Path
        The file that they become.
    digest : str
        See `digest_job`.
    """

    def __init__(self, output: str | os.PathLike, digest: str):
        self.output, self.digest = pathlib.Path(output), digest
        self.folder = self.output.with_name(f".{self.output.name}.parts")

    @contextlib.contextmanager
    def open(self):
        """Take the folder for this process.

        Raises
        ------
        BadInput
            If another process has it, or it belongs to another job.
        """
        self.folder.mkdir(exist_ok=True)
        lock = filelock.FileLock(self.folder / "lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as problem:
            raise BadInput(
                f"{self.output} is being written by another process: wait for "
                "it, or choose another --output"
            ) from problem
        with lock:
            path = self.folder / _DIGEST
            if not path.exists():
                write_text(path, self.digest)
            elif path.read_text(encoding="utf-8") != self.digest:
                raise BadInput(
                    f"{self.output} is half written, by another model, or for "
                    "other recordings or settings: repeat the earlier "
                    f"command, delete {self.folder}, or choose another --output"
                )
            yield self

    def classify(
        self,
        files: list[str],
        classify: Callable[[list[str]], Predictions],
        warned: list[str],
    ) -> Predictions:
        """Return the answers for all recordings; compute those not yet there.

        Arguments
        ---------
        files : list of str
            Recordings.
        classify : callable
            Returns the answers for some of them.
        warned : list of str
            Warnings about recordings: ``classify`` adds to it, and so do
            parts that were there.
        """
        rows, problems = [], []
        with tqdm(total=len(files), unit=" recordings") as bar:
            for number, chunk in enumerate(make_chunks(files)):
                path = self.folder / f"{number:06}.npz"
                part = _read(path, self.digest)
                if part is None:
                    before = len(warned)
                    found = classify(chunk)
                    _write(path, self.digest, found, warned[before:])
                else:
                    found, earlier = part
                    warned.extend(earlier)
                rows += found.rows
                problems += found.problems
                bar.update(len(chunk))
        return Predictions(rows, problems)

    def remove(self):
        """Remove the folder: the output is written.

        It is renamed first, so that all of its parts are there, or none.
        """
        old = self.folder.with_name(f"{self.folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.replace(self.folder, old)
        shutil.rmtree(old, ignore_errors=True)


def _write(path, digest, predictions, warned):
    """Write the answers of a part, exactly, whole."""
    rows = predictions.rows
    texts = [(row.file, row.channel, row.speaker) for row in rows]
    texts = json.dumps([digest, texts, predictions.problems, warned]).encode()
    arrays = {"texts": np.frombuffer(texts, "uint8")}
    arrays["times"] = np.array([(row.start, row.end) for row in rows])
    if rows:
        scores = [row.log_probabilities for row in rows]
        arrays["scores"] = torch.stack(scores).numpy()
        if rows[0].distance is not None:
            arrays["distances"] = np.array([row.distance for row in rows])
        if rows[0].embedding is not None:
            embeddings = [row.embedding for row in rows]
            arrays["embeddings"] = torch.stack(embeddings).numpy()
    with whole_file(path) as partial, open(partial, "wb") as file:
        np.savez(file, **arrays)


def _read(path, digest):
    """Return the answers and warnings of a part, or None if it is not there.

    One of another job is left where a folder was being removed.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            arrays = dict(arrays)
        found, texts, problems, warned = json.loads(arrays["texts"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if found != digest:
        return None
    scores = torch.from_numpy(arrays.get("scores", np.zeros((0, 0))))
    embeddings, distances = arrays.get("embeddings"), arrays.get("distances")
    rows = []
    for i, (file, channel, speaker) in enumerate(texts):
        start, end = arrays["times"][i].tolist()
        embedding = None if embeddings is None else embeddings[i]
        if embedding is not None:
            embedding = torch.from_numpy(embedding)
        distance = None if distances is None else distances[i].item()
        own = (scores[i], channel, speaker, embedding, distance)
        rows.append(Row(file, start, end, *own))
    problems = [Problem(*problem) for problem in problems]
    return Predictions(rows, problems), warned
