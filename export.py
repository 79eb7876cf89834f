#!/usr/bin/env python3
"""Turn a trained fold into a folder that SpeechBrain loads as a model.

    python export.py results/.../fold_1 exported/NAME [--include_encoder]
                     [--folds 1 2 3 4 5] [--onnx [--int8]]
                     [--space] [--push USER/NAME] [--dry_run]

The folder works with `EncoderClassifier.from_hparams` where this repository
is importable, with `foreign_class` anywhere, and with `predict.py`.
"""

import argparse
import pathlib

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from modules.errors import BadInput, one_sentence, using
from modules.files import check_vacant, write_whole
from modules.inference.emotion_model import LONGEST_SECONDS
from modules.inference.packaging import build, describe_files, write_files
from modules.training.run import find_runs


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
    if options.space and options.onnx:
        raise BadInput("--space has no use for --onnx: export twice")
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
    """Write a model's folder, and what ONNX needs into it."""
    write_files(folder, files)
    if options.onnx:
        # Imported here: packages that most models do without.
        from modules.inference.loading import load_model
        from modules.inference.onnx_export import write_onnx

        model, labels = load_model(folder)
        write_onnx(folder, model, labels, LONGEST_SECONDS, options.int8)


def main(arguments=None):
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        description="Turn a trained fold into a model that SpeechBrain loads."
    )
    parser.add_argument("run", help="output folder of a run of train.py")
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
        "--space",
        action="store_true",
        help="write a HuggingFace Space instead: app.py, its code and the model",
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
        runs = find_runs(options.run, options.folds)
        files = build(
            runs,
            options.include_encoder,
            options.license,
            options.language,
            options.push or pathlib.Path(options.folder).name,
        )
        if options.space:
            files = _as_space(files, runs, options)
        if not any(name.endswith("example.wav") for name in files):
            print("no example.wav: espeak-ng is not installed")
        print(describe_files(files))
        if runs[0].graph["corpus"]["restricted"] and options.push:
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
