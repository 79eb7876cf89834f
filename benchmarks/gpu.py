#!/usr/bin/env python3
"""Everything of benchmarks/README.md that needs a GPU, in three minutes.

    python -m benchmarks.gpu --output gpu.json [--only limits update ...]

All weights and all audio are **random**: a WavLM of the large configuration
(24 layers, hidden size 1024), an encoder of Whisper large-v3's size (32
layers, hidden size 1280, 128 bands), and IEMOCAP's 5531 durations (mean 4.5 s,
drawn). Prints a row of Markdown as soon as it is measured. What fails is a row
too, and the rest goes on. ``--smoke --device cpu`` tries it in seconds.
"""

import argparse
import functools
import json
import pathlib
import sys
import tempfile
import time

import torch

from benchmarks.card import Card
from benchmarks.gpu_encoders import Encoders
from benchmarks.gpu_updates import Updates
from benchmarks.measure import describe_machine


def measurements(card, folder):
    """Return name -> function that yields rows, in their order.

    Arguments
    ---------
    card : benchmarks.card.Card
    folder : pathlib.Path
        Scratch.
    """
    encoders, updates = Encoders(card, folder), Updates(card, folder)
    encode = functools.partial(functools.partial, encoders.encoding)
    return {
        "limits": card.measure_limits,
        "padding": encoders.padding,
        "update": updates.measure,
        "training": updates.measure_training,
        "wavlm_bf16": encode("wavlm", "bf16", 10),
        "wavlm_fp32": encode("wavlm", "fp32", 20),
        "extraction": encoders.extraction,
        "tuning": functools.partial(encoders.tuning, False),
        "tuning_checkpointing": functools.partial(encoders.tuning, True),
        "whisper_bf16": encode("whisper", "bf16", 20, "fit"),
        "whisper_30_s": encode("whisper", "bf16", 20),
        "whisper_fp32": encode("whisper", "fp32", 40, "fit"),
        "compile": updates.measure_compiled,
    }


def run(card, functions, write):
    """Measure; print each row at once and write all of them."""
    print("| what | reached | share |\n|---|---|---|", flush=True)
    rows = []
    for name, function in functions.items():
        start = time.perf_counter()
        card.forget()
        try:
            for measured in function():
                rows.append({"name": name} | measured)
                _print_row(rows[-1])
        except Exception as problem:  # of any class: the rest goes on
            reason = f"{type(problem).__name__}: {problem}".split("\n")[0]
            failed = {"what": name, "value": "failed", "share": reason[:300]}
            rows.append({"name": name} | failed)
            _print_row(rows[-1])
        rows[-1]["seconds_of_measurement"] = time.perf_counter() - start
        write(rows)
    return rows


def _print_row(measured):
    """Print a row of Markdown."""
    cells = (measured[key] for key in ("what", "value", "share"))
    print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments=None):
    """Measure from the command line; return 1 if something failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", required=True, help="a JSON file")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--folder", help="scratch; default: a temporary one")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    print(describe_machine(), flush=True)

    def write(rows):
        record = {"machine": describe_machine(), "rows": rows}
        pathlib.Path(options.output).write_text(json.dumps(record, indent=1))

    if options.folder:
        pathlib.Path(options.folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        card = Card(options.device, options.smoke)
        functions = measurements(card, pathlib.Path(scratch))
        chosen = {"limits", *(options.only or functions)}
        if chosen - set(functions):
            parser.error(f"--only: choose of {', '.join(functions)}")
        rows = run(
            card, {n: f for n, f in functions.items() if n in chosen}, write
        )
    return int(any(measured["value"] == "failed" for measured in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
