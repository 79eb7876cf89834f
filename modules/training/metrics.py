"""What a run leaves behind: results.json, predictions.csv and pictures."""

import json
import pathlib

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from modules.files import write_rows, write_text
from modules.plots import plot_confusion


def score(truth, prediction, labels):
    """Compute the metrics of the field.

    Arguments
    ---------
    truth, prediction : list of int
        Indices of labels, one per utterance.
    labels : list of str
        Names of the classes.

    Returns
    -------
    scores : dict
        ``WA`` (accuracy), ``UA`` (mean recall over the classes present in
        truth), ``macro_f1`` (over the same classes), ``recall`` per class
        (None where a class has no utterance), ``confusion`` (rows: truth).
    """
    classes = list(range(len(labels)))
    present = sorted(set(truth))
    recall = recall_score(
        truth, prediction, labels=present, average=None, zero_division=0
    )
    recalls = dict.fromkeys(labels)
    recalls.update({labels[i]: float(r) for i, r in zip(present, recall)})
    return {
        "WA": float(np.mean(np.equal(truth, prediction))),
        "UA": float(recall.mean()),
        "macro_f1": float(
            f1_score(
                truth,
                prediction,
                labels=present,
                average="macro",
                zero_division=0,
            )
        ),
        "recall": recalls,
        "confusion": confusion_matrix(
            truth, prediction, labels=classes
        ).tolist(),
        "labels": list(labels),
    }


def accuracy(predictions):
    """Return the share of right guesses among predictions.

    Arguments
    ---------
    predictions : tuple
        Utterances (list of str), targets [utterances] and log-probabilities
        [utterances, classes].
    """
    _, targets, log_probabilities = predictions
    right = log_probabilities.argmax(dim=1) == targets
    return right.double().mean().item()


def prediction_rows(predictions, manifest, labels):
    """Return one row per utterance of predictions.csv.

    Arguments
    ---------
    predictions : tuple
        Utterances (list of str), targets [utterances] and log-probabilities
        [utterances, classes].
    manifest : dict
        Entries by utterance.
    labels : list of str
        Names of the classes.

    Returns
    -------
    rows : list of dict
        utterance, speaker, truth, prediction and one probability per class.
    """
    utterances, targets, log_probabilities = predictions
    return [
        {
            "utterance": utterance,
            "speaker": manifest[utterance]["speaker"],
            "truth": labels[target],
            "prediction": labels[guess],
        }
        # Significant digits: the logarithm of a small one is asked for.
        | {label: f"{p:.6g}" for label, p in zip(labels, chances)}
        for utterance, target, guess, chances in zip(
            utterances,
            targets.tolist(),
            log_probabilities.argmax(dim=1).tolist(),
            log_probabilities.exp().tolist(),
        )
    ]


def write_results(output_folder, results, rows):
    """Write predictions.csv, confusion.png and, last, results.json.

    Arguments
    ---------
    output_folder : str
        Where to.
    results : dict
        From `score`, and what else describes the run.
    rows : list of dict
        One per utterance: utterance, speaker, truth, prediction and one
        probability per class.
    """
    folder = pathlib.Path(output_folder)
    write_rows(folder / "predictions.csv", rows)
    plot_confusion(folder / "confusion.png", results)
    write_text(folder / "results.json", json.dumps(results, indent=2) + "\n")


def format_results(results):
    """Return a table for the terminal."""
    return "\n".join(
        [
            format_confusion(
                results["labels"], results["confusion"], results["recall"]
            ),
            f"WA {results['WA']:.1%}   UA {results['UA']:.1%}   "
            f"macro-F1 {results['macro_f1']:.1%}   "
            f"({results['n_test']} test utterances, fold "
            f"{results['test_fold']}, seed {results['seed']})",
        ]
    )


def format_confusion(labels, confusion, recall):
    """Return a confusion matrix for the terminal.

    Arguments
    ---------
    labels : list of str
        Names of the classes.
    confusion : list of list of int
        Counts; rows: truth.
    recall : dict
        Label -> recall, or None.
    """
    width = max(8, *(len(label) + 2 for label in labels))
    lines = [
        "true \\ predicted".ljust(18)
        + "".join(label.rjust(width) for label in labels)
        + "recall".rjust(9)
    ]
    for label, row in zip(labels, confusion):
        share = recall[label]
        lines.append(
            label.ljust(18)
            + "".join(str(count).rjust(width) for count in row)
            + ("-" if share is None else f"{share:.1%}").rjust(9)
        )
    return "\n".join(lines)
