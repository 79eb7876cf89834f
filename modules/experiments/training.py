"""What experiments need of the training code: the one place that calls it."""

from modules.training.experiment import (
    load_experiment,
    open_output_folder,
    prepare_run,
    read_hparams_file,
)
from modules.training.settings import ADDED, settings

__all__ = ["ADDED", "encode", "hparams_keys", "load_settings", "train"]


def hparams_keys(path):
    """Return the keys of a hyperparameter file."""
    return read_hparams_file(path)[1]


def load_settings(arguments):
    """Return the plain settings of a command line, and its precision."""
    hparams, run_opts = load_experiment(arguments)
    return settings(hparams), run_opts["precision"]


def encode(arguments):
    """Compute the features of the recordings that a run needs."""
    hparams, run_opts = load_experiment(arguments)
    open_output_folder(hparams, run_opts)
    prepare_run(hparams, run_opts)


def train(arguments):
    """Train and test one fold."""
    from modules.training.fold import train_fold

    train_fold(*load_experiment(arguments))
