"""The recommended system on real speech, by one command.

    python -m recipes.EMODB.real [--data_folder emodb] [--encoder_hub FOLDER]
    make emodb [EMODB=emodb] [ENCODER=FOLDER]

It downloads EmoDB from its publisher and Whisper tiny.en from the HuggingFace
Hub, or takes the folders that are given, and checks that both are those of
the published results. Then it runs cross_validate.py on five folds.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys

from data_prep.archive import check_contents
from data_prep.download import download
from data_prep.emodb_prepare import ARCHIVE
from modules.errors import BadInput, one_sentence
from modules.files import read_json
from modules.models.encoder_files import locate_encoder
from modules.models.encoder_values import values_digests

ROOT = pathlib.Path(__file__).parents[2]
DATA = "data/emodb"
ENCODER = "openai/whisper-tiny.en"
# `values_digests` of the encoder that the results of this folder are of.
ENCODER_VALUES = (
    "8105ee39730d8217ba28d75b6ac6bdf9af82f82aa16becfe188e46b65cb689c8"
)


def find_corpus(folder: str | None) -> pathlib.Path:
    """Return the folder of EmoDB, downloaded if it is not there, and checked.

    Arguments
    ---------
    folder : str or None
        What the user gave; None: `DATA`, which is made.

    Raises
    ------
    BadInput
        If it is not the published corpus, or cannot be downloaded.
    """
    path = pathlib.Path(folder or DATA)
    if folder is None and not path.exists():
        print(f"EmoDB: {ARCHIVE.url} ({ARCHIVE.licence})", flush=True)
        return download(ARCHIVE, path)
    if not any(path.rglob("*.wav")):
        raise BadInput(
            f"{path} contains no recordings: give the folder of EmoDB with "
            "EMODB=folder, or none and it is downloaded"
        )
    check_contents(path, ARCHIVE)
    return path


def check_encoder(encoder_hub: str) -> None:
    """Refuse an encoder that is not Whisper tiny.en.

    Raises
    ------
    BadInput
        Naming the command that takes any encoder.
    """
    found, _ = values_digests(locate_encoder(encoder_hub))
    if found != ENCODER_VALUES:
        raise BadInput(
            f"the encoder {encoder_hub} is not {ENCODER} as it was published: "
            "give that one, or use cross_validate.py, which takes any"
        )


def describe(results: dict) -> str:
    """Return WA and UA of the only system, with their 95% intervals.

    Arguments
    ---------
    results : dict
        Contents of results.json.
    """
    (system,) = results["systems"]
    lines = []
    for metric in ("WA", "UA"):
        low, high = system["interval"][metric]
        lines.append(
            f"{metric} {system[metric]['mean']:.1%}, 95% interval over "
            f"speakers {low:.1%} to {high:.1%}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Train and test from the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.EMODB.real",
        description="Train and test the recommended system on EmoDB.",
        epilog="All other options go to cross_validate.py.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data_folder", help=f"EmoDB; without, it is downloaded to {DATA}")
    add("--encoder_hub", default=ENCODER, help=f"default: {ENCODER}")
    add("--output_folder", default="results/emodb")
    options, more = parser.parse_known_args(arguments)
    with one_sentence():
        corpus = find_corpus(options.data_folder)
        check_encoder(options.encoder_hub)
        out = pathlib.Path(options.output_folder)
        command = [
            "cross_validate.py",
            "hparams/recommended.yaml",
            "--corpus=emodb",
            f"--data_folder={corpus}",
            f"--encoder_hub={options.encoder_hub}",
            f"--output_folder={out}",
            *more,
        ]
        print("python " + shlex.join(command), flush=True)
        command[:2] = [str(ROOT / name) for name in command[:2]]
        status = subprocess.run([sys.executable, *command]).returncode
        if status == 0:
            print(describe(read_json(out / "results.json")))
            print(f"report: {out / 'report.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
