#!/usr/bin/env python3
"""One page: every figure with its goal, its limit and what is reached.

    make bench
    python -m benchmarks.page [--data_folder EMODB --encoder_hub WHISPER]
                              [--only update ...] [--output page.md]

The limit is what the hardware or an alternative does in the same run. Sizes
are small, so that the page takes less than ten minutes on two cores; the
commands of benchmarks/README.md measure the same at full size. EmoDB and a
Whisper (by default openai/whisper-tiny.en, if it is in HuggingFace's cache)
are needed for what depends on the speech; without them these rows are skipped.
"""

import argparse
import pathlib
import sys
import tempfile
import time

import torch

from benchmarks import page_model, page_training
from benchmarks.measure import Skipped, describe_machine

PARTS = page_training.PARTS | page_model.PARTS
HEADER = "| figure | goal | limit | reached |\n|---|---|---|---|"


def measure(names, options, folder, show):
    """Measure parts; each figure is shown at once.

    Arguments
    ---------
    names : list of str
        Of `PARTS`.
    options : argparse.Namespace
        ``data_folder``, ``encoder_hub`` and ``repeats``.
    folder : pathlib.Path
        Scratch, shared by the parts.
    show : callable
        Gets each line.

    Returns
    -------
    failed : int
        Number of parts that failed; a part that is skipped has not.
    """
    failed = 0
    for name in names:
        try:
            for figure in PARTS[name](options, folder):
                show(f"| {' | '.join(figure)} |")
        except Skipped as reason:
            show(f"| {name} | | | skipped: {reason} |")
        except Exception as problem:  # of any class: the rest goes on
            failed += 1
            reason = f"{type(problem).__name__}: {problem}".split("\n")[0]
            show(f"| {name} | | | **failed**: {reason:.200} |")
    return failed


def main(arguments=None):
    """Measure from the command line; return 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_folder", help="EmoDB, the folder of wav/")
    parser.add_argument("--encoder_hub", default="openai/whisper-tiny.en")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--output", help="a Markdown file")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    lines, started = [], time.monotonic()

    def show(line):
        print(line, flush=True)
        lines.append(line)

    show(describe_machine() + "\n")
    show(HEADER)
    with tempfile.TemporaryDirectory() as scratch:
        names = [name for name in PARTS if name in options.only]
        failed = measure(names, options, pathlib.Path(scratch), show)
    show(f"\nThe page took {(time.monotonic() - started) / 60:.1f} minutes.")
    if options.output:
        pathlib.Path(options.output).write_text("\n".join(lines) + "\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
