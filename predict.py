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
import pathlib
import sys

import torch

from modules.audio import SAMPLE_RATE, read_length, read_speech
from modules.errors import BadInput, one_sentence
from modules.files import write_text
from modules.inference.allocator import keep_freed_memory
from modules.inference.formats import format_output, format_table
from modules.inference.loading import load_model
from modules.inference.predictor import predict
from modules.inference.recordings import find_files
from modules.inference.speechbrain_interface import LONGEST_SECONDS
from modules.plots import draw_recording, save_figure


def plot(path, model, rows, labels, device):
    """Draw a recording, or its first minute; see `draw_recording`.

    Arguments
    ---------
    path : pathlib.Path
        Of the picture.
    model : custom_interface.EmotionModel
        Gives the attention.
    rows : list of tuple
        Of one file, from `modules.inference.predictor.predict`.
    labels : list of str
        Names of the classes.
    device : str
        Where the model is.
    """
    file = rows[0][0]
    samples, rate = read_length(file)
    waveform = read_speech(file, 0, min(samples, LONGEST_SECONDS * rate))
    with torch.inference_mode():
        attention = model.attention(waveform.to(device))
    title = pathlib.Path(file).name
    if samples > LONGEST_SECONDS * rate:
        title += f" (first {LONGEST_SECONDS} s)"
    figure = draw_recording(
        title,
        waveform.numpy(),
        SAMPLE_RATE,
        labels,
        times=[(start, end) for _, start, end, _ in rows],
        probabilities=torch.stack([row[3] for row in rows]).exp().numpy(),
        attention=None if attention is None else attention.cpu().numpy(),
    )
    save_figure(figure, path, dpi=120)


def plot_all(folder, model, rows, labels, device):
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
        plot(folder / f"{name}.png", model, own, labels, device)


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
        help=f"at most so many pieces, of {LONGEST_SECONDS} s together, padded "
        "to one length (default: 1 on a CPU, else 16)",
    )
    parser.add_argument(
        "--jobs",
        type=_positive(int),
        help="at most so many batches side by side "
        "(default: one per core on a CPU, else 1)",
    )
    parser.add_argument(
        "--device",
        default="cuda" if torch.cuda.is_available() else "cpu",
        help="cpu, cuda, cuda:1 ... (default: cuda if there is one)",
    )
    options = parser.parse_args(arguments)
    keep_freed_memory()
    with one_sentence(resumes=False):
        check_options(options)
        files = find_files(options.paths)
        model, labels = load_model(options.model, options.device)
        rows, problems = predict(
            model,
            files,
            options.segments,
            options.hop or options.segments,
            options.jobs,
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
            plot_all(options.plot, model, rows, labels, options.device)
        for sentence in problems.values():
            print(f"skipped: {sentence}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
