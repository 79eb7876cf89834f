"""What is exported: finished runs of train.py, as they lie on disk."""

import inspect
import json
import pathlib
import re

from speechbrain.dataio.encoder import CategoricalEncoder

from modules.errors import BadInput
from modules.inference.speechbrain_interface import LABELS
from modules.models.head import EmotionHead
from modules.training.brain import (
    WholeCheckpointer,
    best_checkpoints,
    mean_weights,
)


class Run:
    """A finished run of train.py, as it lies on disk.

    Arguments
    ---------
    folder : pathlib.Path
        Its output folder, or a folder that holds one run and no other.

    Attributes
    ----------
    settings, results : dict
        From settings.json and results.json.
    encoder_digest : str
        Of the encoder it was trained on.
    corpus : str
        A key of `modules.inference.model_card.CORPORA`.
    labels : list of str
        In the order of the classes.
    weights : dict
        Of the head, from the checkpoint that was tested.

    Raises
    ------
    BadInput
        If it is no finished run of train.py.
    """

    def __init__(self, folder):
        self.folder = _find_run(folder)
        self.settings = _read_json(self.folder / "settings.json")
        self.results = _read_json(self.folder / "results.json")
        if (self.folder / "encoder").is_dir():
            raise BadInput(
                f"{self.folder} is a fine-tuning: train a head on its encoder "
                f"with --encoder_hub {self.folder / 'encoder'} and export that"
            )
        inputs = _read_json(self.folder / "inputs.json")
        self.encoder_digest = inputs["encoder"]
        self.corpus = _find_corpus(self.folder, self.settings)
        save_folder = self.folder / "save"
        self.weights = _read_weights(
            save_folder, self.settings.get("average_checkpoints", 1)
        )
        encoder = CategoricalEncoder()
        encoder.load(save_folder / LABELS)
        self.labels = [encoder.ind2lab[i] for i in range(len(encoder.ind2lab))]

    def head_arguments(self):
        """Return the arguments that make this run's head."""
        known = inspect.signature(EmotionHead).parameters
        layers, width = self.results["encoder_shape"]
        return {
            "layers": layers,
            "width": width,
            "classes": len(self.labels),
        } | {key: self.settings[key] for key in known if key in self.settings}

    def kind(self):
        """Return what the folds of one system have in common."""
        return self.labels, self.head_arguments(), self.encoder_digest


def _find_run(folder):
    """Return the only run in a folder."""
    folder = pathlib.Path(folder)
    if (folder / "results.json").is_file():
        return folder
    runs = sorted(path.parent for path in folder.glob("*/results.json"))
    if not runs:
        raise BadInput(
            f"{folder} holds no finished run (no results.json): train it with "
            "train.py first"
        )
    if len(runs) > 1:
        raise BadInput(
            f"{folder} holds {len(runs)} runs: choose one of "
            f"{', '.join(map(str, runs))}"
        )
    return runs[0]


def _find_corpus(folder, settings):
    """Return what a run was trained on, a key of `modules.inference.model_card.CORPORA`."""
    data_folder = pathlib.Path(settings.get("data_folder") or ".")
    if (data_folder / "SYNTHETIC.txt").is_file():
        # The demo's lies in IEMOCAP's layout, and is not IEMOCAP.
        return "synthetic"
    hparams = (folder / "hyperparams.yaml").read_text(encoding="utf-8")
    prepared = re.search(r"data_prep\.(\w+)_prepare", hparams)
    return prepared[1] if prepared else "csv"


def _read_weights(save_folder, average):
    """Return the head's weights that were tested, a mean of checkpoints."""
    best = []
    if save_folder.is_dir():
        best = best_checkpoints(WholeCheckpointer(save_folder), average)
    if not best or any("head" not in found.paramfiles for found in best):
        raise BadInput(
            f"{save_folder} holds no checkpoint of a head: give the output "
            "folder of a run of train.py"
        )
    return mean_weights(best, "head")


def _read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"{path} cannot be read: give the output folder of a finished run "
            "of train.py"
        ) from problem


def read_runs(folder, folds=None):
    """Return the runs to export: one, or the same system on several folds.

    Arguments
    ---------
    folder : str or pathlib.Path
        Output folder of one of them.
    folds : list of int
        Test folds; the other folders are found by their name, fold_N.

    Raises
    ------
    BadInput
        If one is missing, or if they differ in more than the fold.
    """
    if not folds:
        return [Run(folder)]
    folder = pathlib.Path(folder)
    # The last part that names a fold: fold_1 in results/fold_1/seed_1.
    place = [
        i for i, p in enumerate(folder.parts) if re.fullmatch(r"fold_\d+", p)
    ]
    if not place:
        raise BadInput(
            f"--folds needs a folder that is named after its fold, such as "
            f"results/.../fold_1: {folder} is not"
        )
    runs = []
    for fold in dict.fromkeys(folds):
        parts = list(folder.parts)
        parts[place[-1]] = f"fold_{fold}"
        runs.append(Run(pathlib.Path(*parts)))
    first = runs[0]
    for run in runs[1:]:
        for key in ("encoder_hub", "encoder_revision"):
            if run.settings.get(key) != first.settings.get(key):
                raise BadInput(
                    f"{run.folder} has {key} {run.settings.get(key)} and "
                    f"{first.folder} {first.settings.get(key)}: only folds of "
                    "one system go together"
                )
        if run.kind() != first.kind():
            raise BadInput(
                f"{run.folder} and {first.folder} differ in their classes, "
                "heads or encoders: only folds of one system go together"
            )
    return runs
