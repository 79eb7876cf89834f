#!/usr/bin/env python3
"""Recordings in, emotions out.

    python predict.py MODEL FILE|FOLDER... [--output x.csv|x.jsonl]
                      [--segments 4 --hop 1] [--plot FOLDER]

MODEL is a folder that export.py wrote, or the name of one on the HuggingFace
Hub. Nothing in it is executed: the plain values of its hyperparams.yaml are
read, and the modules of this repository take its weights. Recordings of more
than a minute are heard in windows of at most a minute, whose probabilities
are averaged, or in the segments you choose.

Exit status: 0; 1 if a file could not be read; 2 if nothing could be done.
"""

import argparse
import csv
import dataclasses
import inspect
import io
import json
import pathlib
import sys

import soundfile
import torch
import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from matplotlib import pyplot as plt
from speechbrain.dataio.encoder import CategoricalEncoder
from tqdm import tqdm

from bad_input import BadInput, one_sentence
from custom_interface import (
    ENCODER_FOLDER,
    LABELS,
    LONGEST_SECONDS,
    WEIGHTS,
    EmotionModel,
    split_evenly,
)
from modules.audio import SAMPLE_RATE, read_length, read_speech
from modules.head import EmotionHead
from modules.results import save_figure, write_text

# libsndfile also reads formats without a header or a usual ending; give such
# a file by its name.
SUFFIXES = {f".{name.lower()}" for name in soundfile.available_formats()} | {
    ".aif",
    ".oga",
    ".opus",
    ".sph",
}

MODEL_KEYS = ("encoder_hub", "encoder_revision", "encoder_files", "members")
HEAD_KEYS = tuple(inspect.signature(EmotionHead).parameters)


class _PlainLoader(yaml.SafeLoader):
    """Reads the plain values of a HyperPyYAML file and runs nothing."""


_PlainLoader.add_multi_constructor("!", lambda loader, suffix, node: None)


def locate_model(source):
    """Return the local folder of a model, downloading it if need be."""
    folder = pathlib.Path(source).expanduser()
    if folder.is_dir():
        return folder
    try:
        return pathlib.Path(
            snapshot_download(
                source,
                allow_patterns=[
                    "hyperparams.yaml",
                    WEIGHTS,
                    LABELS,
                    f"{ENCODER_FOLDER}/*.json",
                    f"{ENCODER_FOLDER}/*.safetensors",
                ],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"model '{source}' is neither a folder here nor to be had from "
            "the HuggingFace Hub: check the name or the network "
            f"({type(problem).__name__})"
        ) from problem


def load_model(source, device="cpu"):
    """Load an exported model without executing anything of its folder.

    Arguments
    ---------
    source : str
        A folder that export.py wrote, or the name of one on the Hub.
    device : str
        Where it works.

    Returns
    -------
    model : custom_interface.EmotionModel
        In evaluation mode.
    labels : list of str
        Names of the classes.

    Raises
    ------
    BadInput
        If something is missing in the folder.
    """
    folder = locate_model(source)
    try:
        text = (folder / "hyperparams.yaml").read_text(encoding="utf-8")
        values = yaml.load(text, Loader=_PlainLoader)
        # What the file gives to EmotionModel, and nothing else.
        wanted = {*MODEL_KEYS, *HEAD_KEYS} & set(values)
        model = EmotionModel(**{key: values[key] for key in wanted})
        encoder = CategoricalEncoder()
        encoder.load(folder / LABELS)
        labels = [encoder.ind2lab[i] for i in range(len(encoder.ind2lab))]
    except BadInput:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        KeyError,
        TypeError,
        yaml.YAMLError,
    ) as problem:
        raise BadInput(
            f"{folder} is not a model that export.py wrote "
            f"({type(problem).__name__} in hyperparams.yaml or {LABELS}): "
            "give the folder it made"
        ) from problem
    for name in values["encoder_files"]:
        if pathlib.PurePath(name).name != name:
            raise BadInput(f"{folder} names a file outside of it: {name}")
    model.load(lambda name: folder / name)
    return model.to(device), labels


def find_files(paths):
    """Return the files to listen to, in the order given.

    Folders are searched for files with an audio format's ending.

    Raises
    ------
    BadInput
        If a folder holds none.
    """
    files = []
    for given in paths:
        path = pathlib.Path(given)
        if not path.is_dir():
            files.append(str(path))
            continue
        found = sorted(
            str(file)
            for file in path.rglob("*")
            if file.suffix.lower() in SUFFIXES
            and not file.name.startswith(".")
            and file.is_file()
        )
        if not found:
            raise BadInput(
                f"{path} holds no audio file (endings: "
                f"{', '.join(sorted(SUFFIXES))})"
            )
        files += found
    return list(dict.fromkeys(files))


@dataclasses.dataclass
class Piece:
    """A part of a recording that is heard at once.

    Attributes
    ----------
    file : str
        The recording.
    start, stop : int
        Samples at the file's own rate.
    rate : int
        Samples per second.
    whole : bool
        Whether it is the whole recording.
    log_probabilities : torch.Tensor
        [classes], once heard.
    """

    file: str
    start: int
    stop: int
    rate: int
    whole: bool
    log_probabilities: torch.Tensor = None

    @property
    def seconds(self):
        """Duration."""
        return (self.stop - self.start) / self.rate

    def read(self):
        """Return the waveform at 16 kHz, [samples]."""
        if self.whole:
            return read_speech(self.file)
        return read_speech(self.file, self.start, self.stop)


def cut(samples, rate, segment=None, hop=None):
    """Return where a recording is cut, as (start, stop) in samples.

    Arguments
    ---------
    samples, rate : int
        Of the recording.
    segment, hop : float
        Length of the segments and distance of their starts in seconds; all
        are of that length, and the last one ends where the recording ends.
        Without them the recording is one piece, or, if it is longer than
        `LONGEST_SECONDS`, several of equal length.
    """
    if segment is None:
        return split_evenly(samples, rate)
    length = min(round(segment * rate), samples)
    step = max(1, round(hop * rate))
    starts = list(range(0, samples - length + 1, step))
    if starts[-1] + length < samples:
        starts.append(samples - length)
    return [(start, start + length) for start in starts]


def make_batches(pieces, batch_size, least=0.0, longest=LONGEST_SECONDS):
    """Put pieces of nearly equal length together, the longest first.

    A batch holds at most ``batch_size`` pieces and, padding included, at most
    ``longest`` seconds, so that memory is bounded and, should it not do,
    fails at once. ``least`` is what the encoder makes of a shorter piece.
    """
    batches = []
    for piece in sorted(pieces, key=lambda piece: -piece.seconds):
        if (
            batches
            and len(batches[-1]) < batch_size
            and max(batches[-1][0].seconds, least) * (len(batches[-1]) + 1)
            <= longest
        ):
            batches[-1].append(piece)
        else:
            batches.append([piece])
    return batches


@torch.inference_mode()
def classify(model, waveforms, device):
    """Return log-probabilities [batch, classes] of waveforms."""
    batch = torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
    counts = torch.tensor([len(waveform) for waveform in waveforms])
    return model(batch.to(device), counts / batch.shape[1]).cpu()


def predict(
    model,
    files,
    segment=None,
    hop=None,
    batch_size=16,
    device="cpu",
    progress=False,
):
    """Classify recordings.

    Arguments
    ---------
    model : custom_interface.EmotionModel
        From `load_model`.
    files : list of str
        Recordings.
    segment, hop : float
        See `cut`.
    batch_size : int
        At most so many pieces at once.
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
    pieces, problems = [], {}
    for file in files:
        try:
            samples, rate = read_length(file)
        except BadInput as problem:
            problems[file] = str(problem)
            continue
        parts = cut(samples, rate, segment, hop)
        pieces += [
            Piece(file, start, stop, rate, whole=len(parts) == 1)
            for start, stop in parts
        ]
    bar = tqdm(
        total=round(sum(piece.seconds for piece in pieces)),
        unit="s",
        desc="audio",
        disable=not progress,
    )
    with bar:
        # Whisper's encoder turns every utterance into 30 seconds.
        least = 30.0 if model.encoder.is_whisper else 0.0
        for batch in make_batches(pieces, batch_size, least):
            heard, waveforms = [], []
            for piece in batch:
                try:
                    waveforms.append(piece.read())
                    heard.append(piece)
                except BadInput as problem:
                    problems.setdefault(piece.file, str(problem))
            if heard:
                scores = classify(model, waveforms, device)
                for piece, row in zip(heard, scores):
                    piece.log_probabilities = row
            bar.update(round(sum(piece.seconds for piece in batch)))
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


def _average(pieces):
    """Return the log of the mean probabilities of pieces."""
    scores = torch.stack([piece.log_probabilities for piece in pieces])
    if len(scores) == 1:
        return scores[0]
    return torch.log_softmax(scores.logsumexp(dim=0), dim=0)


def format_table(rows, labels):
    """Return a table for the terminal: all probabilities."""
    width = max([4, *(len(row[0]) for row in rows)])
    columns = [max(7, len(label) + 1) for label in labels]
    emotion = max(8, *(len(label) + 1 for label in labels))
    lines = [
        "file".ljust(width)
        + "from".rjust(9)
        + "to".rjust(9)
        + "emotion".rjust(emotion + 1)
        + "".join(label.rjust(w) for label, w in zip(labels, columns))
    ]
    for file, start, end, scores in rows:
        lines.append(
            file.ljust(width)
            + f"{start:9.2f}{end:9.2f}"
            + labels[int(scores.argmax())].rjust(emotion + 1)
            + "".join(
                f"{p:.3f}".rjust(w)
                for p, w in zip(scores.exp().tolist(), columns)
            )
        )
    return "\n".join(lines)


def format_output(rows, labels, suffix):
    """Return the text of a .csv or .jsonl file.

    The columns are file, start, end, emotion and one probability per class.
    """
    records = [
        {"file": file, "start": round(start, 3), "end": round(end, 3)}
        | {"emotion": labels[int(scores.argmax())]}
        | {f"p_{k}": round(p, 6) for k, p in zip(labels, scores.exp().tolist())}
        for file, start, end, scores in rows
    ]
    if suffix == ".jsonl":
        return "".join(
            json.dumps(record, ensure_ascii=False) + "\n" for record in records
        )
    text = io.StringIO()
    names = ["file", "start", "end", "emotion", *(f"p_{k}" for k in labels)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def plot(path, file, model, rows, labels, device):
    """Draw waveform, spectrogram, attention and probabilities over time.

    Of a long recording, its first minute.

    Arguments
    ---------
    path : pathlib.Path
        Of the picture.
    file : str
        The recording.
    model : custom_interface.EmotionModel
        Gives the attention.
    rows : list of tuple
        Of this file, from `predict`.
    labels : list of str
        Names of the classes.
    device : str
        Where the model is.
    """
    samples, rate = read_length(file)
    waveform = read_speech(file, 0, min(samples, LONGEST_SECONDS * rate))
    seconds = len(waveform) / SAMPLE_RATE
    with torch.inference_mode():
        attention = model.attention(waveform.to(device))
    names = ["waveform", "spectrogram", "attention", "probabilities"]
    if attention is None:
        names.remove("attention")
    figure, all_axes = plt.subplots(
        len(names), figsize=(9, 2 * len(names)), sharex=True
    )
    axes = dict(zip(names, all_axes))
    time = torch.arange(len(waveform)) / SAMPLE_RATE
    axes["waveform"].plot(time, waveform, linewidth=0.4)
    # A floor under the logarithm: digital silence is not minus infinity.
    axes["spectrogram"].specgram(
        waveform.numpy() + 1e-7, NFFT=400, Fs=SAMPLE_RATE, noverlap=240
    )
    axes["spectrogram"].set_ylabel("Hz")
    if attention is not None:
        frames = (torch.arange(len(attention)) + 0.5) * seconds / len(attention)
        axes["attention"].plot(frames, attention.cpu())
        axes["attention"].set_ylim(bottom=0)
    for i, label in enumerate(labels):
        chances = [row[3].exp()[i].item() for row in rows]
        middles = [(row[1] + row[2]) / 2 for row in rows]
        if len(rows) == 1:
            middles, chances = [0, seconds], chances * 2
        axes["probabilities"].plot(middles, chances, label=label)
    axes["probabilities"].set_ylim(0, 1)
    axes["probabilities"].legend(loc="upper right", fontsize=8)
    axes["probabilities"].set_xlabel("seconds")
    for name in names:
        axes[name].set_title(name, fontsize=9, loc="left")
    axes["waveform"].set_xlim(0, seconds)
    shortened = samples > LONGEST_SECONDS * rate
    figure.suptitle(
        pathlib.Path(file).name
        + (f" (first {LONGEST_SECONDS} s)" if shortened else "")
    )
    save_figure(figure, path, dpi=120)


def plot_all(folder, rows, model, labels, device):
    """Draw one picture per recording; see `plot`."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    of_file = {}
    for row in rows:
        of_file.setdefault(row[0], []).append(row)
    taken = set()
    for file, own in of_file.items():
        name = stem = pathlib.Path(file).name
        number = 1
        while name in taken:  # a.wav of two folders
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        plot(folder / f"{name}.png", file, model, own, labels, device)


def _positive(kind):
    """Return a parser of positive numbers, for argparse."""

    def parse(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def check_options(options):
    """Refuse what cannot be done before anything is loaded.

    Raises
    ------
    BadInput
        Naming the option.
    """
    if options.hop is not None and options.segments is None:
        raise BadInput("--hop needs --segments, the length of a segment")
    if options.segments is not None:
        if not 0.1 <= options.segments <= LONGEST_SECONDS:
            raise BadInput(
                f"--segments must be 0.1 to {LONGEST_SECONDS} seconds, not "
                f"{options.segments:g}"
            )
    if options.output:
        output = pathlib.Path(options.output)
        if output.suffix not in (".csv", ".jsonl"):
            raise BadInput(f"--output {output} must end in .csv or .jsonl")
        if not output.parent.is_dir():
            raise BadInput(
                f"--output {output}: there is no folder {output.parent}"
            )
    try:
        torch.empty(0, device=options.device)
    except (RuntimeError, AssertionError) as problem:
        raise BadInput(
            f"--device {options.device} is not to be had here: try cpu"
        ) from problem


def main(arguments=None):
    """Predict from the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Tell the emotion in recordings of speech.",
        epilog="Recordings of more than a minute are heard in windows of at "
        "most a minute, whose probabilities are averaged.",
    )
    parser.add_argument("model", help="folder of export.py, or name on the Hub")
    parser.add_argument(
        "paths", nargs="+", metavar="FILE|FOLDER", help="recordings"
    )
    parser.add_argument("--output", help="x.csv or x.jsonl")
    parser.add_argument(
        "--segments",
        type=_positive(float),
        metavar="SECONDS",
        help="emotion over time: length of a segment",
    )
    parser.add_argument(
        "--hop",
        type=_positive(float),
        metavar="SECONDS",
        help="from segment to segment (default: the length of one)",
    )
    parser.add_argument("--plot", metavar="FOLDER", help="one picture per file")
    parser.add_argument(
        "--batch_size",
        type=_positive(int),
        default=16,
        help=f"at most; and at most {LONGEST_SECONDS} s together",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1 ... (default: cuda if there is one)",
    )
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        check_options(options)
        files = find_files(options.paths)
        model, labels = load_model(options.model, options.device)
        rows, problems = predict(
            model,
            files,
            options.segments,
            options.hop or options.segments,
            options.batch_size,
            options.device,
            progress=True,
        )
        if rows:
            print(format_table(rows, labels))
        if options.output:
            suffix = pathlib.Path(options.output).suffix
            write_text(options.output, format_output(rows, labels, suffix))
        if options.plot:
            plot_all(options.plot, rows, model, labels, options.device)
        for sentence in problems.values():
            print(f"skipped: {sentence}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
