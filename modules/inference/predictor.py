"""Recordings become log-probabilities, several at a time."""

import concurrent.futures
import contextlib
import itertools

import torch
from tqdm import tqdm

from modules.errors import BadInput
from modules.inference.recordings import cut_files, make_batches
from modules.inference.speechbrain_interface import LONGEST_SECONDS

# Whisper's encoder makes 30 seconds of every utterance.
WHISPER_SECONDS = 30


def predict(
    model,
    files,
    segment=None,
    hop=None,
    jobs=None,
    batch_size=None,
    device="cpu",
    progress=False,
):
    """Classify recordings.

    Arguments
    ---------
    model : custom_interface.EmotionModel
        From `modules.inference.loading.load_model`.
    files : list of str
        Recordings.
    segment, hop : float
        See `modules.inference.recordings.cut`.
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

    Returns
    -------
    rows : list of tuple
        (file, start, end, log_probabilities [classes]), times in seconds; one
        per file in the order given, or one per segment.
    problems : dict
        File that could not be read -> what is wrong with it, one sentence.
    """
    on_cpu = torch.device(device).type == "cpu"
    jobs = jobs or (torch.get_num_threads() if on_cpu else 1)
    batch_size = batch_size or (1 if on_cpu else 16)
    least = WHISPER_SECONDS if model.encoder.is_whisper else 0
    pieces, problems = cut_files(files, segment, hop)
    batches = make_batches(pieces, batch_size, least)
    bar = tqdm(
        total=sum(piece.seconds for piece in pieces),
        bar_format="{l_bar}{bar}| {n:.0f} of {total:.0f} s of audio, "
        "{elapsed}<{remaining}",
        disable=not progress,
    )
    with bar:
        answers = hear(model, batches, jobs, least, device)
        for batch, heard in zip(batches, answers):
            for piece, answer in zip(batch, heard):
                if isinstance(answer, BadInput):
                    problems.setdefault(piece.file, str(answer))
                else:
                    piece.log_probabilities = answer
            bar.update(sum(piece.seconds for piece in batch))
    readable = [piece for piece in pieces if piece.file not in problems]
    if segment is not None:
        return [
            (p.file, p.start / p.rate, p.stop / p.rate, p.log_probabilities)
            for p in readable
        ], problems
    windows = {}
    for piece in readable:
        windows.setdefault(piece.file, []).append(piece)
    return [
        (file, 0.0, parts[-1].stop / parts[-1].rate, _average(parts))
        for file, parts in windows.items()
    ], problems


def hear(model, batches, jobs, least, device):
    """Classify batches side by side, the next ones while the first are used.

    Together they never hold more than `LONGEST_SECONDS` of audio, so that
    memory is bounded: long pieces are heard one at a time by all threads.

    Arguments
    ---------
    model : custom_interface.EmotionModel
        All threads use the same weights.
    batches : list of list of Piece
        From `make_batches`.
    jobs : int
        At most so many at a time.
    least : float
        See `make_batches`.
    device : str
        Where the model is.

    Yields
    ------
    heard : list
        Per piece log-probabilities [classes], or a `BadInput`.
    """

    def side_by_side(batch):
        seconds = max(batch[0].seconds, least) * len(batch)
        return max(1, min(jobs, int(LONGEST_SECONDS // seconds)))

    for count, group in itertools.groupby(batches, side_by_side):
        group = list(group)
        with _workers(min(count, len(group))) as pool:
            yield from pool.map(
                lambda batch: _hear_batch(model, batch, device), group
            )


@contextlib.contextmanager
def _workers(count):
    """Give so many threads, which share those that PyTorch had."""
    threads = torch.get_num_threads()
    try:
        with concurrent.futures.ThreadPoolExecutor(
            count,
            initializer=torch.set_num_threads,
            initargs=(max(1, threads // count),),
        ) as pool:
            yield pool
    finally:
        # MKL knows one number for the whole process.
        torch.set_num_threads(threads)


def _hear_batch(model, batch, device):
    """Read and classify pieces; see `hear`."""
    answers, waveforms = [], []
    for piece in batch:
        try:
            waveforms.append(piece.read())
            answers.append(None)
        except BadInput as problem:
            answers.append(problem)
    scores = iter(classify(model, waveforms, device) if waveforms else [])
    return [next(scores) if answer is None else answer for answer in answers]


@torch.inference_mode()
def classify(model, waveforms, device):
    """Return log-probabilities [batch, classes] of waveforms."""
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    counts = torch.tensor([len(waveform) for waveform in waveforms])
    return model(batch.to(device), counts / batch.shape[1]).cpu()


def _average(pieces):
    """Return the log of the mean probabilities of pieces."""
    scores = torch.stack([piece.log_probabilities for piece in pieces])
    if len(scores) == 1:
        return scores[0]
    return torch.log_softmax(scores.logsumexp(dim=0), dim=0)
