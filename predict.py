#!/usr/bin/env python3
"""Recordings in, emotions out.

    python predict.py MODEL FILE|FOLDER... [--output x.csv|x.jsonl|x.parquet]
                      [--segments 4 --hop 1 | --vad | --speakers x.rttm]
                      [--channel each] [--labels anger,neutral] [--plot FOLDER]
                      [--min_precision 0.9]
                      [--embeddings x.npz] [--engine onnx]
                      [--adapt | --adapt_to FOLDER]
    python predict.py MODEL --csv_file list.csv --output x.csv
    python predict.py MODEL LIST|FOLDER --output FOLDER --workers 8
                      --launcher local|slurm|ray
    python predict.py MODEL microphone --live

MODEL is a folder that export.py wrote, or the name of one on the HuggingFace
Hub. Nothing in it is executed: the plain values of its hyperparams.yaml are
read, and the modules of this repository take its weights. Recordings of more
than a minute are classified in windows of at most a minute, whose
probabilities are averaged, or in the segments you choose. The same command
with --output goes on where it was killed.

Exit status: 0; 1 if an input has no answer; 2 if nothing could be done.
"""

import os
import sys
import warnings

from modules.errors import BadInput, one_sentence, printable
from modules.inference.formats import format_table
from modules.inference.options import parse
from modules.inference.places import check_places
from modules.inference.records import check_column, emotion_of

# What computes is imported where it is used: --help and a wrong option take
# a moment, not seconds.


def show(lines, stream):
    """Print lines as they come, until the reader of a pipe is gone."""
    try:
        for line in lines:
            print(line, file=stream, flush=True)
    except BrokenPipeError:
        # Else Python fails when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def read_list(options):
    """Return the listed recordings by file, and the map of their labels.

    The map is None where there is nothing to score.
    """
    if not options.csv_file:
        return {}, None
    from data_prep.lists import read_listed
    from modules.experiments.scoring import parse_labels_map

    labels_map = parse_labels_map(options.labels_map)
    listed, is_labelled = read_listed(options.csv_file)
    is_whole = not (options.segments or options.vad or options.speakers)
    if is_labelled and is_whole and options.channel != "each":
        return listed, labels_map
    if labels_map:
        raise BadInput(
            "--labels_map is for scores: give a list with labels, and score "
            "whole recordings of one channel each"
        )
    return listed, None


def score_list(listed, labels_map, rows, labels, has_threshold):
    """Return the scores of a labelled list, for the terminal."""
    from modules.experiments.scoring import (
        describe_known,
        format_scores,
        score_recordings,
    )

    own = [listed[row.file].row for row in rows]
    scores = score_recordings(
        [row.log_probabilities.exp().tolist() for row in rows],
        [one.label for one in own],
        [one.speaker or row.file for one, row in zip(own, rows)],
        labels,
        labels_map,
    )
    lines = format_scores(scores).split("\n")
    if has_threshold:
        lines.append(
            describe_known(
                [emotion_of(row, labels) for row in rows],
                [one.label for one in own],
                labels,
                labels_map,
            )
        )
    return map(printable, lines)


def answer(options, warned):
    """Predict, save, then print; return the exit status.

    Arguments
    ---------
    options : argparse.Namespace
        From `parse`.
    warned : list of str
        Warnings about recordings, which grow meanwhile.
    """
    check_places(options)
    from modules.inference import job
    from modules.inference.allocator import keep_freed_memory
    from modules.inference.recordings import find_files

    listed, labels_map = read_list(options)
    columns = {file: one.columns for file, one in listed.items()}
    if options.summary_by is not None:
        check_column(columns, options.summary_by)
    files, problems = find_files(options.paths or list(listed))
    job.check_output(options, files)
    cutter, settings = job.make_cutter(options, files)
    keep_freed_memory()
    engine = job.Engine(options, len(files))
    job.check_output(options, files, engine.labels)
    speakers = {file: one.row.speaker for file, one in listed.items()}
    found, parts = job.classify(
        engine, files, options, cutter, settings, warned, speakers
    )
    rows = job.finish_rows(engine, found, options)
    problems += found.problems
    warned += job.warn_of_model(engine, found.rows, options)
    written = rows, problems, columns
    if options.summary_by is not None:
        written = job.group(engine, *written, options.summary_by)
    try:
        job.write_outputs(options, engine.labels, *written)
    finally:
        if rows:
            table = format_table(
                [row._replace(file=printable(row.file)) for row in written[0]],
                [printable(label) for label in engine.labels],
                options.summary_by and printable(options.summary_by),
            )
            show([table], sys.stdout)
        if labels_map is not None and rows:
            has_threshold = options.min_precision is not None
            own = listed, labels_map, rows, engine.labels, has_threshold
            scores = score_list(*own)
            show(scores, sys.stdout)
        lines = [f"warning: {text}" for text in warned]
        lines += [f"skipped: {problem.sentence}" for problem in problems]
        show(map(printable, lines), sys.stderr)
    if parts is not None:
        parts.remove()
    if options.plot:
        job.plot(engine, options, rows)
    return 1 if problems else 0


def answer_live(options):
    """Print the emotion of the last seconds until the sound ends."""
    from modules.inference.job import Engine
    from modules.inference.live import follow

    show(follow(Engine(options), options), sys.stdout)
    return 0


def main(arguments=None):
    """Predict from the command line; return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot print a name is no reason to print nothing.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warned = []
    with one_sentence(resumes=False), warnings.catch_warnings():
        options = parse(arguments)
        if options.launcher:
            from modules.bulk.driver import score

            with one_sentence():
                given = sys.argv[1:] if arguments is None else arguments
                return score(options, given)
        warnings.showwarning = _collector(warned, warnings.showwarning)
        return answer_live(options) if options.live else answer(options, warned)


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
