r"""How attention distributes its weight, in the finished runs of a system.

    python -m recipes.EMODB.head_study.attention_weights \
        results/head_study/refit_study/attention

For every test utterance: how many of its frames carry the weight, whether
another seed gives the same frames weight, and whether the weights follow the
energy.
"""

import argparse
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F
from tqdm import tqdm

from modules.errors import BadInput, one_sentence
from modules.features.extraction import read_recording
from modules.features.paired_cache import open_cache
from modules.training.run import Run


def main(arguments: list[str] | None = None) -> None:
    """Print one line of figures for each measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of a system; contains fold_*/seed_*")
    options = parser.parse_args(arguments)
    with one_sentence():
        figures = measure(find_runs_of(options.folder))
    for name, values in figures.items():
        low, middle, high = np.percentile(values, [10, 50, 90])
        print(f"{name:55s} {middle:5.2f} ({low:.2f} to {high:.2f})")
    print("median (10% to 90%) over utterances and seeds, or pairs of seeds")


def find_runs_of(folder: str) -> list[Run]:
    """Return the finished runs of a system.

    Raises
    ------
    BadInput
        If there is none.
    """
    found = sorted(pathlib.Path(folder).glob("fold_*/seed_*/results.json"))
    if not found:
        raise BadInput(
            f"{folder} contains no finished run (fold_*/seed_*/results.json): "
            "give the folder of one system of an experiment"
        )
    return [Run(path.parent) for path in found]


def measure(runs: list[Run]) -> dict[str, list[float]]:
    """Measure the attention of runs.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        All folds and seeds of a system.

    Returns
    -------
    figures : dict
        Name of a measure -> values.

    Raises
    ------
    BadInput
        If the head of a run has no attention.
    """
    of_seeds = {}  # utterance -> weights of each seed
    energies = {}
    for run in tqdm(runs, desc="runs", leave=False):
        for utterance, weights, decibels in attention_of(run):
            of_seeds.setdefault(utterance, []).append(weights)
            energies[utterance] = decibels
    single = [w for seeds in of_seeds.values() for w in seeds]
    return {
        "frames in effect, exp(entropy), share of all": [
            np.exp(-(w * np.log(w.clip(1e-12))).sum()) / len(w) for w in single
        ],
        "weight of the heaviest tenth of the frames": [
            np.sort(w)[-max(1, len(w) // 10) :].sum() for w in single
        ],
        "correlation with the weights of another seed": [
            np.corrcoef(*pair)[0, 1]
            for seeds in of_seeds.values()
            for pair in itertools.combinations(seeds, 2)
        ],
        "correlation with the energy in decibels": [
            np.corrcoef(w, energies[utterance])[0, 1]
            for utterance, seeds in of_seeds.items()
            for w in seeds
        ],
    }


def attention_of(run: Run) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each test utterance, its weights and its energy in decibels.

    Weights and energy are of frames, [frames].
    """
    for utterance, entry, weights in weights_of(run):
        power = read_recording(entry).square()[None]
        energy = F.adaptive_avg_pool1d(power, len(weights))[0]
        yield utterance, weights, (10 * (energy + 1e-10).log10()).numpy()


@torch.inference_mode()
def weights_of(run: Run) -> Iterator[tuple[str, dict, np.ndarray]]:
    """Yield each test utterance, its manifest entry and its weights.

    The weights are of frames, [frames], and the hidden states are those that
    the run was trained on.

    Raises
    ------
    BadInput
        If the head of the run has no attention.
    """
    encoder = run.graph["encoder"]
    cache = open_cache(
        run.settings["cache_folder"],
        encoder["hub"],
        encoder["revision"],
        precision=encoder["precision"],
        number_format=run.settings["cache_format"],
        whisper_window=encoder["whisper_window"],
    )
    embedding = run.make_head().embedding
    for utterance, entry in run.manifest("test").items():
        states = cache.read(entry["sha256"]).float().movedim(1, 0)
        weights = embedding.attention_weights(states[:, None], torch.ones(1))
        if weights is None:
            raise BadInput(
                f"{run.folder} has no attention: give a system with "
                "attentive_corr"
            )
        yield utterance, entry, weights[0].double().numpy()


if __name__ == "__main__":
    main()
