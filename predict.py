#!/usr/bin/env python3
"""Recordings in, emotions out.

    python predict.py MODEL FILE|FOLDER... [--output x.csv|x.jsonl]
                      [--segments 4 --hop 1] [--channel each] [--plot FOLDER]
                      [--engine onnx]

MODEL is a folder that export.py wrote, or the name of one on the HuggingFace
Hub. Nothing in it is executed: the plain values of its hyperparams.yaml are
read, and the modules of this repository take its weights. Recordings of more
than a minute are classified in windows of at most a minute, whose
probabilities are averaged, or in the segments you choose.

Exit status: 0; 1 if an input has no answer; 2 if nothing could be done.
"""

import argparse
import os
import pathlib
import sys
import warnings

from modules.errors import BadInput, one_sentence, printable
from modules.files import write_text
from modules.inference.formats import format_output, format_table

# What computes is imported where it is used: --help and a wrong option take
# a moment, not seconds.


def plot(path, model, rows, labels, device, channel):
    """Draw a recording, or its first minute; see `draw_recording`.

    Arguments
    ---------
    path : pathlib.Path
        Of the plot.
    model : modules.inference.emotion_model.EmotionModel
        Gives the attention.
    rows : list of modules.inference.predictor.Row
        Of one recording.
    labels : list of str
        Names of the classes.
    device : str
        Where the model is.
    channel : str or int
        See `modules.audio.read_speech`.
    """
    import torch

    from modules.audio import SAMPLE_RATE, read_length, read_speech
    from modules.inference.emotion_model import LONGEST_SECONDS
    from modules.plots import draw_recording, save_figure

    file = rows[0].file
    samples, rate = read_length(file)
    stop = min(samples, LONGEST_SECONDS * rate)
    waveform = read_speech(file, 0, stop, channel)
    with torch.inference_mode():
        attention = model.attention(waveform.to(device))
    title = os.path.basename(file)
    if rows[0].channel is not None:
        title += f", channel {rows[0].channel}"
    if samples > LONGEST_SECONDS * rate:
        title += f" (first {LONGEST_SECONDS} s)"
    figure = draw_recording(
        title,
        waveform.numpy(),
        SAMPLE_RATE,
        labels,
        times=[(row.start, row.end) for row in rows],
        probabilities=torch.stack([row.log_probabilities for row in rows])
        .exp()
        .numpy(),
        attention=None if attention is None else attention.cpu().numpy(),
    )
    save_figure(figure, path, dpi=120)


def plot_all(folder, model, rows, labels, device, channel):
    """Draw one plot per recording; see `plot`."""
    from modules.audio import CHANNELS

    recordings = {}
    for row in rows:
        recordings.setdefault((row.file, row.channel), []).append(row)
    taken = set()
    for (file, name), own in recordings.items():
        stem = os.path.basename(file)
        # A name has at most 255 bytes, the ending and a number included.
        while len(os.fsencode(stem)) > 200:
            stem = stem[:-1]
        stem += "" if name is None else f"_{name}"
        title, number = stem, 1
        while title in taken:  # a.wav of two folders
            number += 1
            title = f"{stem}_{number}"
        taken.add(title)
        if name is not None:
            channel = CHANNELS[name] if name in CHANNELS else int(name) - 1
        path = pathlib.Path(folder) / f"{title}.png"
        plot(path, model, own, labels, device, channel)


def _positive(kind):
    """Return a parser of positive numbers, for argparse."""

    def parse(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def check_places(output, folder):
    """Refuse places that cannot be written to, before anything is computed.

    Arguments
    ---------
    output : str
        File for the table, or None.
    folder : str
        Folder for plots, or None; it is made.

    Raises
    ------
    BadInput
        Naming the option.
    """
    if output is not None:
        path = pathlib.Path(output)
        if path.suffix not in (".csv", ".jsonl"):
            raise BadInput(f"--output {output} must end in .csv or .jsonl")
        try:
            if path.exists() and not path.is_file():
                raise BadInput(f"--output {output} is not a file: rename it")
            # As `whole_file` will do, whose name is a little longer.
            probe = path.with_name(f".{path.name}.{os.getpid()}")
            probe.touch()
            probe.unlink()
        except (OSError, ValueError) as problem:
            raise _unwritable("--output", output, problem) from problem
    if folder is not None:
        try:
            os.makedirs(folder, exist_ok=True)
        except (OSError, ValueError) as problem:
            raise _unwritable("--plot", folder, problem) from problem


def _unwritable(option, place, problem):
    """Return the sentence for a place that cannot be written to."""
    if isinstance(problem, BadInput):
        return problem
    reason = getattr(problem, "strerror", None) or problem
    return BadInput(
        f"{option} {place} cannot be written ({reason}): choose another place"
    )


def parse(arguments):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description="Recognise the emotion in recordings of speech.",
        epilog="Recordings of more than a minute are classified in windows of "
        "at most a minute, whose probabilities are averaged.",
    )
    parser.add_argument("model", help="folder of export.py, or name on the Hub")
    arguments = sys.argv[1:] if arguments is None else arguments
    is_scored = any(a.partition("=")[0] == "--csv_file" for a in arguments)
    # Not "*": argparse would take no file where an option stands before them.
    if is_scored:
        parser.set_defaults(paths=[])
    else:
        parser.add_argument(
            "paths", nargs="+", metavar="FILE|FOLDER", help="recordings"
        )
    parser.add_argument(
        "--csv_file",
        help="instead of files: a list with path, label and, if known, "
        "speaker; prints WA, UA, confusion and calibration",
    )
    parser.add_argument(
        "--labels_map",
        metavar="A=B,...",
        help="labels of the list as classes of the model: "
        "hap=happiness,exc=happiness",
    )
    parser.add_argument(
        "--output",
        help="x.csv or x.jsonl; in CSV an apostrophe stands before a cell "
        "that a spreadsheet would take for a formula",
    )
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
    parser.add_argument(
        "--channel",
        choices=["mean", "left", "right", "each"],
        help="of stereo: the mean, one channel, or a row for each, as in a "
        "call with a person on each (default: what the model was trained on, "
        "mostly the mean)",
    )
    parser.add_argument("--plot", metavar="FOLDER", help="one plot per file")
    parser.add_argument(
        "--batch_size",
        type=_positive(int),
        help="at most so many pieces, a minute together, padded to one "
        "length (default: 1 on a CPU, else 16)",
    )
    parser.add_argument(
        "--jobs",
        type=_positive(int),
        help="at most so many batches side by side "
        "(default: one per core on a CPU, else 1)",
    )
    parser.add_argument(
        "--engine",
        choices=["torch", "onnx"],
        default="torch",
        help="onnx: model.onnx of a folder that export.py --onnx wrote, on "
        "the CPU (default: torch)",
    )
    parser.add_argument(
        "--device",
        help="cpu, cuda, cuda:1 ... (default: cuda if there is one)",
    )
    options = parser.parse_args(arguments)
    if options.csv_file and (options.segments or options.channel == "each"):
        parser.error("--csv_file scores whole recordings of one channel each")
    if options.labels_map and not options.csv_file:
        parser.error("--labels_map needs --csv_file")
    return options


def show(lines, stream):
    """Print lines, and nothing once the reader of a pipe is gone."""
    try:
        for line in lines:
            print(line, file=stream)
        if stream is not None:
            stream.flush()
    except BrokenPipeError:
        # Else Python fails when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def read_list(options):
    """Return the labelled recordings by file, and the map of their labels.

    Both are empty without --csv_file.
    """
    if not options.csv_file:
        return {}, {}
    from data_prep.lists import read_labelled
    from modules.experiments.scoring import parse_labels_map

    labels_map = parse_labels_map(options.labels_map)
    return read_labelled(options.csv_file), labels_map


def score_list(listed, labels_map, rows, labels):
    """Return the scores of a labelled list, for the terminal."""
    from modules.experiments.scoring import format_scores, score_recordings

    scores = score_recordings(
        [row.log_probabilities.exp().tolist() for row in rows],
        [listed[row.file].label for row in rows],
        [listed[row.file].speaker or row.file for row in rows],
        labels,
        labels_map,
    )
    return map(printable, format_scores(scores).split("\n"))


def answer(options, warned):
    """Predict, save, then print; return the exit status.

    Arguments
    ---------
    options : argparse.Namespace
        From `parse`.
    warned : list of str
        Warnings about recordings, which grow meanwhile.
    """
    check_places(options.output, options.plot)
    from modules.inference.allocator import keep_freed_memory
    from modules.inference.recordings import check_segments, find_files

    check_segments(options.segments, options.hop)
    from modules.inference.predictor import choose_device, predict

    is_onnx = options.engine == "onnx"
    device = choose_device(options.device or ("cpu" if is_onnx else None))
    keep_freed_memory()
    listed, labels_map = read_list(options)
    files, problems = find_files(options.paths or list(listed))
    if is_onnx:
        from modules.inference.onnx_engine import load_onnx

        # Several recordings are computed side by side, a core each.
        threads = 1 if len(files) > 1 else None
        model, labels = load_onnx(options.model, device, threads)
    else:
        from modules.inference.loading import load_model

        model, labels = load_model(options.model, device)
    channel = options.channel or model.channel
    if channel not in (model.channel, "each"):
        warned.append(
            f"the model was trained on --channel {model.channel} of stereo, "
            f"not on {channel}"
        )
    rows, unread = predict(
        model,
        files,
        options.segments,
        options.hop,
        options.jobs,
        options.batch_size,
        device,
        progress=True,
        channel=channel,
    )
    problems += unread
    try:
        if options.output:
            suffix = pathlib.Path(options.output).suffix
            text = format_output(rows, problems, labels, suffix)
            write_text(options.output, text)
    finally:
        if rows:
            table = format_table(
                [row._replace(file=printable(row.file)) for row in rows],
                [printable(label) for label in labels],
            )
            show([table], sys.stdout)
        if listed and rows:
            show(score_list(listed, labels_map, rows, labels), sys.stdout)
        lines = [f"warning: {text}" for text in warned]
        lines += [f"skipped: {problem.sentence}" for problem in problems]
        show(map(printable, lines), sys.stderr)
    if options.plot:
        plot_all(options.plot, model, rows, labels, device, channel)
    return 1 if problems else 0


def main(arguments=None):
    """Predict from the command line; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot print a name is no reason to print nothing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    options = parse(arguments)
    warned = []
    with one_sentence(resumes=False), warnings.catch_warnings():
        warnings.showwarning = _collector(warned, warnings.showwarning)
        return answer(options, warned)


def _collector(warned, show_other):
    """Return a function that keeps warnings about recordings for the end."""

    def show_warning(message, category, *place, **more):
        if category.__name__ == "AudioWarning":
            warned.append(str(message))
        else:
            show_other(message, category, *place, **more)

    return show_warning


if __name__ == "__main__":
    sys.exit(main())
