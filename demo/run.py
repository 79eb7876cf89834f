"""Train and test all folds on synthetic speech, with a random encoder.

    make demo

It runs the commands that a user of IEMOCAP runs. Its results show that they
work, not how well a method works.
"""

import pathlib
import shlex
import subprocess
import sys

from demo.random_encoder import make_random_encoder
from demo.synthetic_corpus import make_corpus
from modules.errors import one_sentence

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = pathlib.Path("results/demo")


def announce(text: str) -> None:
    """Print a line that stands out among logs."""
    print(f"\n=== {text}", flush=True)


def run(*command: str) -> None:
    """Print and run a command of this recipe."""
    announce("python " + shlex.join(command))
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def main() -> None:
    """Make the corpus and the encoder, train and test all folds."""
    corpus = FOLDER / "synthetic_iemocap"
    encoder = FOLDER / "wavlm-random-weights"
    announce(f"synthetic speech by espeak-ng in IEMOCAP's layout: {corpus}")
    make_corpus(ROOT / corpus)
    announce(f"a small WavLM with random weights: {encoder}")
    make_random_encoder(ROOT / encoder, family="wavlm", layer_norm=False)
    common = [
        "hparams/corr_wavlm.yaml",
        f"--data_folder={corpus}",
        f"--encoder_hub={encoder}",
        f"--cache_folder={FOLDER / 'cache'}",
        "--normalize_layers=true",
        "--number_of_epochs=15",
        "--lr=0.001",
    ]
    out = FOLDER / "five_folds"
    first = out / "fold_1" / "seed_1986"
    run("train.py", *common, "--test_fold=1", f"--output_folder={first}")
    # What train.py has finished is not run again.
    run("cross_validate.py", *common, f"--output_folder={out}")
    announce("synthetic speech, random encoder: the commands work, no more")
    print(f"one fold: {first}")
    print(f"report:   {out / 'report.html'}")


if __name__ == "__main__":
    with one_sentence():
        main()
