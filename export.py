#!/usr/bin/env python3
"""Turn a trained fold into a folder that SpeechBrain loads as a model.

    python export.py results/.../fold_1 exported/NAME [--include_encoder]
                     [--folds 1 2 3 4 5] [--onnx [--int8]] [--transformers]
                     [--space] [--push USER/NAME] [--dry_run]
    python export.py MODEL exported/NAME --adapt_to FOLDER

The folder works with `EncoderClassifier.from_hparams` where this repository
is importable, with `foreign_class` anywhere, and with `predict.py`.
"""

import argparse
import pathlib

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from modules.errors import BadInput, one_sentence, using
from modules.files import check_vacant, find_folder, write_whole
from modules.inference.emotion_model import LABELS, LONGEST_SECONDS
from modules.inference.packaging import build, describe_files, write_files
from modules.training.run import find_runs

_OF_CARD = ("corpus_name", "corpus_licence", "cross_corpus")


def push(folder, repository, is_space=False):
    """Upload a model's folder, or a Space; a new repository is private.

    Raises
    ------
    BadInput
        If the Hub does not take it.
    """
    try:
        api = HfApi()
        kind = {"repo_type": "space"} if is_space else {}
        sdk = {"space_sdk": "gradio"} if is_space else {}
        api.create_repo(repository, private=True, exist_ok=True, **kind, **sdk)
        return api.upload_folder(
            folder_path=folder,
            repo_id=repository,
            **kind,
            ignore_patterns=["__pycache__/*"],
        )
    except (HfHubHTTPError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"{folder} is written, but cannot be pushed to {repository} "
            f"({type(problem).__name__}): log in with `hf auth login`, check "
            "the name and the network"
        ) from problem


def _check_options(options):
    """Refuse options that need what is not there, before any work."""
    for name in ("onnx", "transformers", "adapt_to"):
        if options.space and getattr(options, name):
            raise BadInput(f"--space does not go with --{name}: leave one out")
    if options.encoder_name and options.include_encoder:
        raise BadInput(
            "--encoder_name is of a model without its encoder: leave "
            "--include_encoder out"
        )
    is_loaded = options.adapt_to or options.onnx or options.transformers
    if options.encoder_hub and not is_loaded:
        raise BadInput(
            "--encoder_hub is for --adapt_to, --onnx and --transformers, which "
            "load the model: leave it out, or give --encoder_name"
        )
    if options.int8 and not options.onnx:
        raise BadInput("--int8 needs --onnx: give both")
    if options.onnx:
        from modules.inference.onnx_export import check_installed

        check_installed()


def _as_space(files, runs, options):
    """Return the files of a Space that shows the model."""
    from modules.inference.space import space_files
    from modules.models.graph import classes

    title = (options.push or pathlib.Path(options.folder).name).split("/")[-1]
    return space_files(files, title, classes(runs[0].graph["head"]))


def _write(folder, files, options):
    """Write a model's folder, and what ONNX and transformers need into it."""
    write_files(folder, files)
    if options.adapt_to:
        from modules.inference.adapted_model import adapt_folder

        adapt_folder(
            folder, options.adapt_to, options.adapt_priors, options.encoder_hub
        )
    if not options.onnx and not options.transformers:
        return
    from modules.inference.loading import load_model

    model, labels = load_model(folder, encoder_hub=options.encoder_hub)
    if options.transformers:
        from modules.inference.transformers_export import (
            FOLDER,
            write_transformers,
        )

        write_transformers(pathlib.Path(folder, FOLDER), model, labels)
    if options.onnx:
        # Imported here: packages that most models do without.
        from modules.inference.onnx_export import write_onnx

        write_onnx(folder, model, labels, LONGEST_SECONDS, options.int8)


def _read_runs(options):
    """Return the runs that are exported; none if the source is a model.

    Raises
    ------
    BadInput
        If an option has no meaning for a model.
    """
    if options.adapt_priors and not options.adapt_to:
        raise BadInput("--adapt_priors needs --adapt_to: add it")
    source = find_folder(options.run)
    if not options.adapt_to or (source and not (source / LABELS).is_file()):
        return find_runs(options.run, options.folds)
    of_runs = (
        "folds",
        "corpus",
        "include_encoder",
        "encoder_name",
        "half_precision",
        "license",
        "language",
        *_OF_CARD,
    )
    for name in of_runs:
        if getattr(options, name):
            raise BadInput(
                f"{options.run} is a model, to which --{name} does not apply: "
                "leave it out, or export the run"
            )
    return []


def _collect(runs, options):
    """Return the files of the new model before it is adapted."""
    if not runs:
        from modules.inference.adapted_model import model_files

        return model_files(options.run, options.encoder_hub)
    return build(
        runs,
        options.include_encoder,
        options.license,
        options.language,
        options.push or pathlib.Path(options.folder).name,
        options.encoder_name,
        options.half_precision,
        **{name: getattr(options, name) for name in _OF_CARD},
    )


def main(arguments=None):
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        description="Turn a trained fold into a model that SpeechBrain loads."
    )
    parser.add_argument(
        "run",
        help="output folder of a run of train.py; with --adapt_to also a "
        "model's folder or name on the Hub",
    )
    parser.add_argument("folder", help="where the model goes: a new folder")
    parser.add_argument(
        "--include_encoder",
        action="store_true",
        help="put the encoder into the folder: it then needs no network",
    )
    parser.add_argument(
        "--folds",
        type=int,
        nargs="+",
        metavar="N",
        help="export these folds as one ensemble (mean of probabilities)",
    )
    parser.add_argument(
        "--corpus",
        metavar="NAME",
        help="of a run on several corpora: a model for further recordings of "
        "this one",
    )
    parser.add_argument(
        "--onnx",
        action="store_true",
        help="add model.onnx, encoder and head in one graph, and "
        "emotion_onnx.py, which needs no PyTorch",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="with --onnx: weights of the graph in eight bits",
    )
    parser.add_argument(
        "--encoder_name",
        metavar="USER/NAME",
        help="name on the Hub of an encoder that is a folder here; it is "
        "compared by its weights when the model is loaded",
    )
    parser.add_argument(
        "--encoder_hub",
        metavar="FOLDER",
        help="with --adapt_to, --onnx or --transformers: where the model's "
        "encoder is, if not where the model states",
    )
    parser.add_argument(
        "--half_precision",
        action="store_true",
        help="store the heads in float16: half the size",
    )
    parser.add_argument(
        "--space",
        action="store_true",
        help="write a HuggingFace Space instead: app.py, its code and the model",
    )
    parser.add_argument(
        "--adapt_to",
        metavar="FOLDER",
        help="estimate the standardisation again on these recordings, without "
        "labels",
    )
    parser.add_argument(
        "--adapt_priors",
        action="store_true",
        help="with --adapt_to: estimate how frequent each class is, too",
    )
    parser.add_argument(
        "--transformers",
        action="store_true",
        help="add a folder transformers/ for its pipeline "
        "audio-classification: mean pooling over WavLM, HuBERT or wav2vec 2.0",
    )
    parser.add_argument(
        "--license",
        help="of the weights, as the Hub writes it (default: 'other', see "
        "the terms of the corpus)",
    )
    parser.add_argument(
        "--language",
        help="of the recordings, such as en (default: the corpus's, if known)",
    )
    parser.add_argument(
        "--corpus_name",
        metavar="NAME",
        help="of the training corpus, for the card of a model that was trained "
        "on a list",
    )
    parser.add_argument(
        "--corpus_licence",
        metavar="NAME",
        help="of the training corpus, for the card",
    )
    parser.add_argument(
        "--cross_corpus",
        metavar="x.json",
        help="results on other corpora, for the card: a list of rows (default: "
        "cross_corpus.json beside the run or above it)",
    )
    parser.add_argument(
        "--push", metavar="USER/NAME", help="upload to the HuggingFace Hub"
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="show what would be written and uploaded, do neither",
    )
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False):
        check_vacant(options.folder)
        _check_options(options)
        runs = _read_runs(options)
        for run in runs if options.corpus else []:
            run.choose_corpus(options.corpus)
        files = _collect(runs, options)
        if options.space:
            files = _as_space(files, runs, options)
        if not any(name.endswith("example.wav") for name in files):
            print("no example.wav: espeak-ng is not installed")
        print(describe_files(files))
        if options.push and runs and runs[0].graph["corpus"]["restricted"]:
            print(f"note: {runs[0].graph['corpus']['restricted']}")
        if options.dry_run:
            print(f"dry run: nothing written to {options.folder}")
            if options.push:
                place = f"{'spaces/' if options.space else ''}{options.push}"
                print(f"would go to https://huggingface.co/{place}")
            return
        with using(options.folder):
            write_whole(options.folder, lambda new: _write(new, files, options))
        print(f"{'space' if options.space else 'model'}: {options.folder}")
        if options.push:
            pushed = push(options.folder, options.push, options.space)
            print(f"pushed: {pushed}")


if __name__ == "__main__":
    main()
