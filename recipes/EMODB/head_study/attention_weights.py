r"""What attention attends to, in the finished runs of a system.

    python -m recipes.EMODB.head_study.attention_weights \
        results/head_study/refit_study/attention

Of every utterance that was held out: how many of its frames carry the weight,
whether another seed gives the same frames weight, and whether it is loudness.
"""

import argparse
import itertools

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from modules.errors import BadInput, one_sentence
from modules.experiments.late_fusion import find_runs
from modules.features.extraction import read_recording
from modules.training.experiment import load_experiment, read_manifests
from modules.training.run import Run


def main(arguments=None):
    """Print one line of figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of a system; holds fold_*/seed_*")
    options = parser.parse_args(arguments)
    with one_sentence():
        figures = measure(find_runs(options.folder))
    for name, values in figures.items():
        low, middle, high = np.percentile(values, [10, 50, 90])
        print(f"{name:55s} {middle:5.2f} ({low:.2f} to {high:.2f})")
    print("median (10% to 90%) over utterances and seeds, or pairs of seeds")


def measure(runs):
    """Measure the attention of runs.

    Arguments
    ---------
    runs : dict
        (fold, seed) -> folder, from `modules.experiments.late_fusion.find_runs`.

    Returns
    -------
    figures : dict
        What is measured -> list of values.

    Raises
    ------
    BadInput
        If a run has no attention.
    """
    heard = {}  # utterance -> weights of each seed
    loudness = {}
    for folder in tqdm(runs.values(), desc="runs", leave=False):
        for utterance, weights, loud in _listen(folder):
            heard.setdefault(utterance, []).append(weights)
            loudness[utterance] = loud
    single = [w for seeds in heard.values() for w in seeds]
    return {
        "frames in effect, exp(entropy), share of all": [
            np.exp(-(w * np.log(w.clip(1e-12))).sum()) / len(w) for w in single
        ],
        "weight of the heaviest tenth of the frames": [
            np.sort(w)[-max(1, len(w) // 10) :].sum() for w in single
        ],
        "correlation with the weights of another seed": [
            np.corrcoef(*pair)[0, 1]
            for seeds in heard.values()
            for pair in itertools.combinations(seeds, 2)
        ],
        "correlation with the energy in decibels": [
            np.corrcoef(w, loudness[utterance])[0, 1]
            for utterance, seeds in heard.items()
            for w in seeds
        ],
    }


@torch.inference_mode()
def _listen(folder):
    """Give utterance, weights and energy in decibels, both [frames]."""
    path = folder / "hyperparams.yaml"
    hparams, _ = load_experiment([str(path), f"--output_folder={folder}"])
    if hparams["pooling"] != "attentive_corr":
        raise BadInput(f"{folder} has no attention: give another system")
    cache = hparams["cache"](precision=hparams["encoder_precision"])
    run = Run(folder)
    head = hparams["head"](
        layers=cache.layers, width=cache.width, classes=len(run.labels)
    )
    head.load_state_dict(run.weights)
    head.eval()
    for utterance, entry in read_manifests(hparams)["test"].items():
        states = cache.read(entry["sha256"]).float().movedim(1, 0)
        features = head.project(states[:, None])
        weights = head.pooling.attention_weights(features, torch.ones(1))
        power = read_recording(entry).square()[None]
        energy = F.adaptive_avg_pool1d(power, weights.shape[1])[0]
        decibels = 10 * (energy + 1e-10).log10()
        yield utterance, weights[0].double().numpy(), decibels.numpy()


if __name__ == "__main__":
    main()
