"""Recordings become log-probabilities, several at a time."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from tqdm import tqdm

from modules.errors import BadInput
from modules.inference.adaptation import Adaptation
from modules.inference.emotion_model import LONGEST_SECONDS
from modules.inference.recordings import (
    Cutter,
    Piece,
    Problem,
    check_segments,
    cut_evenly,
    cut_files,
    make_batches,
)
from modules.inference.records import Row, average
from modules.threads import workers

# Threads of their own beyond this only wait for each other.
MOST_JOBS = 64


class Predictions(NamedTuple):
    """Every recording has rows or a problem.

    Attributes
    ----------
    rows : list of Row
        One per recording in the order given, or one per segment.
    problems : list of Problem
        Recordings without an answer.
    """

    rows: list[Row]
    problems: list[Problem]


def choose_device(name: str | None) -> str:
    """Return a device that computes on this machine.

    Arguments
    ---------
    name : str
        As PyTorch names it; by default cuda if there is one, else cpu.

    Raises
    ------
    BadInput
        If this machine has no such device.

    Example
    -------
    >>> choose_device("cpu")
    'cpu'
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name is None:
        return "cuda" if there["cuda"] else "cpu"
    try:
        torch.ones(1, device=name).cpu()  # "meta" exists but has no values
    except (RuntimeError, AssertionError, ImportError, ValueError) as problem:
        raise BadInput(
            f"--device {name} does not exist on this machine: choose "
            f"{' or '.join(kind for kind in there if there[kind])}"
        ) from problem
    return name


def predict(
    model: torch.nn.Module,
    files: Iterable[str],
    segment: float | None = None,
    hop: float | None = None,
    jobs: int | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    progress: bool = False,
    channel: str = "mean",
    cutter: Cutter | None = None,
    embed: bool = False,
    adaptation: Adaptation | None = None,
) -> Predictions:
    """Classify recordings.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        From `modules.inference.loading.load_model`.
    files : iterable of str
        Recordings, in any format.
    segment, hop : float
        Length of the segments and distance of their starts in seconds, see
        `modules.inference.recordings.cut`; ``hop`` is ``segment`` by default.
    jobs : int
        At most so many batches at a time, in threads that share PyTorch's.
        By default one per thread on a CPU, else one.
    batch_size : int
        At most so many pieces in a batch: by default 1 on a CPU, where
        padding costs more than a batch saves, else 16.
    device : str
        Where the model is.
    progress : bool
        Show a progress bar.
    channel : str
        "mean" of the channels, "left", "right", or "each": rows for every
        channel.
    cutter : callable
        Cuts a recording where `cut` does not, such as
        `modules.inference.turns.cut_into_speech`: a row per part.
    embed : bool
        Give embeddings too; that of a recording in several windows is their
        mean.
    adaptation : modules.inference.adaptation.Adaptation
        Adapts the model to these recordings before it answers.

    Returns
    -------
    predictions : Predictions
        Rows and problems: ``rows, problems = predict(model, files)``.

    Raises
    ------
    BadInput
        If segment or hop is out of range.
    """
    check_segments(segment, hop)
    on_cpu = torch.device(device).type == "cpu"
    jobs = jobs or (torch.get_num_threads() if on_cpu else 1)
    batch_size = batch_size or (1 if on_cpu else 16)
    cost = model.encoder.computed_seconds
    is_over_time = cutter is not None or segment is not None
    cutter = cutter or cut_evenly(segment, hop or segment)
    pieces, problems = cut_files(files, cutter, channel)
    batches = make_batches(pieces, batch_size, cost)
    bar = tqdm(
        total=sum(piece.seconds for piece in pieces),
        bar_format="{l_bar}{bar}| {n:.0f} of {total:.0f} s of audio, "
        "{elapsed}<{remaining}",
        disable=not progress,
    )
    failed = {}
    keep = adaptation and adaptation.open(pieces)
    with bar:
        answers = classify_batches(
            model, batches, jobs, cost, device, embed, keep
        )
        for batch, scores in zip(batches, answers):
            for piece, answer in zip(batch, scores):
                if isinstance(answer, BadInput):
                    failed.setdefault((piece.file, piece.name), str(answer))
                piece.log_probabilities = answer
            seconds = sum(piece.seconds for piece in batch)
            bar.update(min(seconds, bar.total - bar.n))  # it must not overflow
    if adaptation is not None:
        adaptation.finish(pieces)
        adaptation.answer(batches)
    rows = []
    for key, parts in _by_recording(pieces).items():
        if key not in failed and all(piece.is_silent for piece in parts):
            failed[key] = f"{key[0]} is silent: give a recording of speech"
        if key not in failed:
            rows += _rows(parts, is_over_time)
    problems += [Problem(*key, text) for key, text in failed.items()]
    return Predictions(rows, problems)


def _by_recording(pieces):
    """Return (file, name of the channel) -> pieces, in order."""
    recordings = {}
    for piece in pieces:
        recordings.setdefault((piece.file, piece.name), []).append(piece)
    return recordings


def _rows(pieces, over_time):
    """Return a row per piece of a recording, or one for all of them."""
    rows = [
        Row(
            p.file,
            p.start / p.rate,
            p.stop / p.rate,
            p.log_probabilities,
            p.name,
            p.speaker,
            p.embedding,
            p.distance,
        )
        for p in pieces
    ]
    return rows if over_time else [average(rows)]


def classify_batches(
    model: torch.nn.Module,
    batches: list[list[Piece]],
    jobs: int,
    cost: Callable[[float], float],
    device: str,
    embed: bool = False,
    keep: Callable[[Piece, torch.Tensor], None] | None = None,
) -> Iterator[list[torch.Tensor | BadInput]]:
    """Classify batches side by side, the next ones while the first are used.

    Together they never have more than `LONGEST_SECONDS` of audio, so that
    memory is bounded: long pieces are classified one at a time by all threads.

    Arguments
    ---------
    model : modules.inference.emotion_model.EmotionModel
        All threads use the same weights.
    batches : list of list of Piece
        From `make_batches`.
    jobs : int
        At most so many at a time.
    cost : callable
        See `make_batches`.
    device : str
        Where the model is.
    embed : bool
        Give each piece its embedding.
    keep : callable
        Gets each piece and its embedding.

    Yields
    ------
    answers : list
        Per piece log-probabilities [classes], or a `BadInput`.
    """
    jobs = min(jobs, MOST_JOBS)

    def side_by_side(batch):
        seconds = cost(batch[0].seconds) * len(batch)
        return max(1, min(jobs, int(LONGEST_SECONDS // seconds)))

    for count, group in itertools.groupby(batches, side_by_side):
        group = list(group)
        with workers(min(count, len(group))) as pool:
            yield from pool.map(
                lambda batch: _classify_batch(
                    model, batch, device, embed, keep
                ),
                group,
            )


def _classify_batch(model, batch, device, embed, keep):
    """Read and classify pieces; see `classify_batches`."""
    answers, waveforms, read = [], [], []
    for piece in batch:
        try:
            waveforms.append(piece.read())
            read.append(piece)
            answers.append(None)
        except BadInput as problem:
            answers.append(problem)
    scores = iter([])
    if waveforms and not hasattr(model, "embed"):
        scores = iter(classify(model, waveforms, device))
    elif waveforms:
        embeddings, found, distances = embed_and_classify(
            model, waveforms, device
        )
        scores = iter(found)
        for i, piece in enumerate(read):
            piece.distance = None if distances is None else distances[i]
            if embed:
                piece.embedding = embeddings[i]
            if keep is not None:
                keep(piece, embeddings[i])
    answers = [next(scores) if a is None else a for a in answers]
    return [_check_finite(p.file, a) for p, a in zip(batch, answers)]


def _check_finite(file, answer):
    """Return an answer, or a `BadInput` if it is not one."""
    if isinstance(answer, BadInput) or answer.exp().isfinite().all():
        return answer
    return BadInput(
        f"{file}: the model gives no finite probabilities, so its weights are "
        "damaged or the recording has absurd values: try another recording"
    )


@torch.inference_mode()
def classify(
    model: torch.nn.Module, waveforms: list[torch.Tensor], device: str
) -> torch.Tensor:
    """Return log-probabilities [batch, classes] of waveforms [samples]."""
    return model(*_pad(waveforms, device)).cpu()


@torch.inference_mode()
def embed_and_classify(
    model: torch.nn.Module, waveforms: list[torch.Tensor], device: str
) -> tuple[torch.Tensor, torch.Tensor, list[float] | None]:
    """Return embeddings [batch, values], log-probabilities and distances."""
    embeddings = model.embed(*_pad(waveforms, device))
    distances = model.distances(embeddings)
    if distances is not None:
        distances = distances.tolist()
    return embeddings.cpu(), model.classify(embeddings).cpu(), distances


def _pad(waveforms, device):
    """Return a batch [batch, samples] and its relative lengths."""
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    counts = torch.tensor([len(waveform) for waveform in waveforms])
    return batch.to(device), counts / batch.shape[1]
