#!/usr/bin/env python3
"""A page in the browser: record or upload speech, read the emotion.

    python app.py MODEL [--port 7860] [--host 127.0.0.1]
                  [--min_precision 0.9] [--encoder_hub FOLDER] [--device cuda]

MODEL is a folder that export.py wrote, or the name of one on the HuggingFace
Hub; by default the folder `model` beside this file, as in a HuggingFace Space.
Once it runs, it needs no network. Nothing of MODEL is executed.
"""

import argparse
import os
import pathlib
import sys

from modules.errors import one_sentence

BESIDE = pathlib.Path(__file__).with_name("model")


def parse(arguments):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        description="Show a page that recognises the emotion in speech."
    )
    add = parser.add_argument
    add(
        "model",
        nargs=None if not BESIDE.is_dir() else "?",
        default=str(BESIDE),
        help="folder of export.py, or name on the Hub",
    )
    # A Space sets these variables.
    add(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="0.0.0.0: reached from other machines too (default: from this "
        "one alone)",
    )
    add(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="default: 7860",
    )
    add("--encoder_hub", help="the model's encoder: another folder of it")
    add(
        "--min_precision",
        type=float,
        metavar="SHARE",
        help="wished share of right answers, such as 0.9: what is less "
        "probable than the threshold for it is unknown",
    )
    add("--device", help="cpu, cuda ... (default: cuda if there is one)")
    return parser.parse_args(arguments)


def main(arguments=None):
    """Serve the page from the command line; return the exit status."""
    options = parse(arguments)
    with one_sentence(resumes=False):
        # Imported here: --help takes a moment, not seconds.
        from modules.inference.confidence import read_threshold
        from modules.inference.loading import (
            check_speakers,
            load_model,
            locate_model,
        )
        from modules.inference.page import build, check_port, serve
        from modules.inference.page_facts import read_facts
        from modules.inference.predictor import choose_device

        check_port(options.host, options.port)
        device = choose_device(options.device)
        folder = locate_model(options.model, "README.md")
        model, labels = load_model(folder, device, options.encoder_hub)
        check_speakers(folder, model.is_adapted)
        threshold = read_threshold(folder, labels, options.min_precision)
        page = build(model, labels, read_facts(folder), device, threshold)
        serve(page, options.host, options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
