"""The whole path on synthetic speech, with an encoder of random weights.

    make demo

What it prints is what a user of IEMOCAP types and sees; what it measures is
that the path works, not how well a method works.
"""

import pathlib
import shlex
import subprocess
import sys

from bad_input import one_sentence
from demo.random_encoder import make_random_encoder
from demo.synthetic_corpus import make_corpus

ROOT = pathlib.Path(__file__).parents[1]
FOLDER = pathlib.Path("results/demo")


def say(text):
    """Print a line that stands out among logs."""
    print(f"\n=== {text}", flush=True)


def main():
    """Make the corpus and the encoder, train and test one fold."""
    corpus = FOLDER / "synthetic_iemocap"
    encoder = FOLDER / "wavlm-random-weights"
    say(f"synthetic speech by espeak-ng in IEMOCAP's layout: {corpus}")
    make_corpus(ROOT / corpus)
    say(f"a small WavLM with random weights: {encoder}")
    make_random_encoder(ROOT / encoder, family="wavlm", layer_norm=False)
    command = [
        "train.py",
        "hparams/corr_wavlm.yaml",
        f"--data_folder={corpus}",
        f"--encoder_hub={encoder}",
        f"--cache_folder={FOLDER / 'cache'}",
        f"--output_folder={FOLDER / 'fold_1'}",
        "--test_fold=1",
        "--normalize_layers=true",
        "--number_of_epochs=15",
        "--lr=0.001",
    ]
    say("python " + shlex.join(command))
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    say("synthetic speech, random encoder: the path works, no more is shown")
    print(f"table:    {FOLDER / 'fold_1' / 'results.json'}")
    print(f"pictures: {FOLDER / 'fold_1' / 'confusion.png'}")
    print(f"          {FOLDER / 'fold_1' / 'layer_weights.png'}")


if __name__ == "__main__":
    with one_sentence():
        main()
