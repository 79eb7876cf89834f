#!/usr/bin/env python3
"""The floor under every table: logistic regression on the same features.

    python floor.py hparams/emodb.yaml --data_folder ... --test_fold 1

Same hyperparameter file, folds, dev and cache as ``train.py``. Mean and
standard deviation over time of one layer, standardised on the training
utterances, into scikit-learn's logistic regression; the layer (or all of them
together) and the regularisation are chosen on dev. Beside it, results.json has
the same on all layers with nothing chosen (``all_layers``), since a dev that
shares speakers with train may choose the layer that knows the speakers. What a
pooling is worth is what it gains over these.
"""

import pathlib
import sys
import time

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from speechbrain.utils.logger import get_logger

from modules.errors import BadInput, one_sentence
from modules.files import write_rows
from modules.models.pooling import MeanStdPooling
from modules.models.upstream import upstream_names
from modules.training.experiment import (
    load_experiment,
    open_output_folder,
    prepare_run,
    report,
)
from modules.training.metrics import format_results, prediction_rows, score
from modules.training.run_record import write_run_record
from modules.training.settings import is_fine_tuning

logger = get_logger("floor")

INVERSE_REGULARISATION = (0.001, 0.01, 0.1)
NOT_CHOSEN = 0.01


def pooled_features(dataset):
    """Return mean and deviation of each layer, and the labels.

    Arguments
    ---------
    dataset : modules.features.stored_utterances.StoredUtterances
        From `modules.training.experiment.make_datasets`.

    Returns
    -------
    features : numpy.ndarray
        [utterances, layers, 2 * width].
    targets : numpy.ndarray
        [utterances].
    """
    pooling = MeanStdPooling()
    one = torch.ones(1)
    features, targets = [], []
    for _, states, target in dataset:
        layers = states.float().movedim(1, 0)
        features.append(pooling(layers, one.expand(len(layers))).cpu())
        targets.append(target)
    return torch.stack(features).numpy(), torch.stack(targets).numpy()


def choose_on_dev(train, dev):
    """Fit one model per layer and strength; return the best on dev.

    Arguments
    ---------
    train, dev : tuple
        From `pooled_features`.

    Returns
    -------
    model : sklearn.pipeline.Pipeline
        Fitted on train.
    choice : dict
        ``layer`` (None: all layers), ``C`` and ``dev_WA``; of equals the
        lowest layer and the strongest regularisation.
    """
    best, choice = None, {"dev_WA": -1.0}
    for layer in [*range(train[0].shape[1]), None]:
        for strength in INVERSE_REGULARISATION:
            model = fit(train, layer, strength)
            accuracy = model.score(select_layer(dev[0], layer), dev[1])
            if accuracy > choice["dev_WA"]:
                best = model
                choice = {"layer": layer, "C": strength, "dev_WA": accuracy}
    return best, choice


def fit(train, layer, strength):
    """Fit one model to a layer, or to all for None."""
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=strength, max_iter=2000)
    )
    return model.fit(select_layer(train[0], layer), train[1])


def select_layer(features, layer):
    """Return [utterances, values] of one layer, or of all for None."""
    if layer is not None:
        features = features[:, layer]
    return features.reshape(len(features), -1)


def predict(model, dataset, pooled, choice, labels):
    """Return utterances, targets and log-probabilities, as the Brain does.

    Arguments
    ---------
    model : sklearn.pipeline.Pipeline
        From `fit`.
    dataset : modules.features.stored_utterances.StoredUtterances
        Gives the names of the utterances.
    pooled : tuple
        From `pooled_features` of the same.
    choice : dict
        ``layer``: what the model was fitted to.
    labels : list of str
        Names of the classes.
    """
    features, targets = pooled
    seen = model.predict_log_proba(select_layer(features, choice["layer"]))
    # A class that train lacks gets no probability.
    log_probabilities = torch.full((len(targets), len(labels)), -torch.inf)
    log_probabilities[:, model.classes_] = torch.from_numpy(seen).float()
    return dataset.ids, torch.from_numpy(targets), log_probabilities


def floor_fold(hparams, run_opts):
    """Fit and test one fold; return what is in results.json."""
    started = time.monotonic()
    finished = open_output_folder(hparams, run_opts)
    if finished:
        return finished
    if is_fine_tuning(hparams):
        raise BadInput(
            f"{hparams['hparams_file']} is for fine-tuning and keeps no "
            "features: give a file of a frozen encoder"
        )
    if len(upstream_names(hparams["encoder_hub"])) > 1:
        raise BadInput(
            f"logistic regression takes one upstream, not "
            f"{hparams['encoder_hub']}: give one with --encoder_hub"
        )
    manifests, labels, _, datasets = prepare_run(hparams, run_opts)
    train = pooled_features(datasets["train"])
    if len(set(train[1].tolist())) < 2:
        raise BadInput(
            "the training utterances are all of one class: choose another "
            "--seed or --dev_split, or give the corpus more of the others"
        )
    dev = pooled_features(datasets["dev"])
    model, choice = choose_on_dev(train, dev)
    logger.info(f"chosen on dev: {choice}")
    all_layers = fit(train, None, NOT_CHOSEN)

    dev_predictions = predict(model, datasets["dev"], dev, choice, labels)
    test = pooled_features(datasets["test"])
    predictions = predict(model, datasets["test"], test, choice, labels)
    nothing = predict(
        all_layers, datasets["test"], test, {"layer": None}, labels
    )
    guesses = nothing[2].argmax(dim=1)
    plain = score(nothing[1].tolist(), guesses.tolist(), labels)
    write_rows(
        pathlib.Path(hparams["output_folder"]) / "all_layers_predictions.csv",
        prediction_rows(nothing, manifests["test"], labels),
    )
    write_run_record(hparams, "cpu", started)
    # What belongs to a head alone is not said of the floor.
    absent = dict.fromkeys(
        (
            "best_epoch",
            "label_smoothing",
            "channel_dropout",
            "normalize_layers",
            "number_of_epochs",
        )
    )
    return report(
        hparams,
        manifests,
        labels,
        predictions,
        dev_predictions,
        **absent,
        pooling=hparams["system"],
        **choice,
        all_layers={key: plain[key] for key in ("WA", "UA", "macro_f1")},
    )


def main(arguments):
    """Run from the command line."""
    with one_sentence():
        hparams, run_opts = load_experiment(
            [*arguments, "--system=logistic_regression"]
        )
        results = floor_fold(hparams, run_opts)
        print(format_results(results))
        print(f"results and pictures: {hparams['output_folder']}")


if __name__ == "__main__":
    main(sys.argv[1:])
