"""What a run leaves behind: results.json, predictions.csv and pictures."""

import contextlib
import csv
import json
import os
import pathlib

import matplotlib
import numpy as np
from sklearn.metrics import confusion_matrix, f1_score, recall_score

matplotlib.use("Agg")
from matplotlib import pyplot as plt


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


@contextlib.contextmanager
def whole_file(path):
    """Give a path to write to; the file gets its name when it is finished.

    Arguments
    ---------
    path : str or pathlib.Path
        Of the finished file.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    yield partial
    os.replace(partial, path)


def write_text(path, text):
    """Write a text file whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def save_figure(figure, path, dpi=150):
    """Write a picture as PNG, whole or not at all, and close it."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=dpi, bbox_inches="tight")
    plt.close(figure)


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


def write_rows(path, rows):
    """Write rows (list of dict of the same keys) as CSV, whole."""
    with (
        whole_file(path) as partial,
        open(partial, "w", encoding="utf-8", newline="") as out,
    ):
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


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


def plot_confusion(path, results):
    """Draw the confusion matrix: share of each true class, and counts."""
    counts = np.array(results["confusion"])
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    labels = results["labels"]
    side = 2.2 + 0.7 * len(labels)
    figure, axes = plt.subplots(figsize=(side, side))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        axes.text(
            column,
            row,
            f"{share:.0%}\n{counts[row, column]}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if share > 0.5 else "black",
        )
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(
        f"{results['system']}, test fold {results['test_fold']}\n"
        f"WA {results['WA']:.1%}   UA {results['UA']:.1%}",
        fontsize=10,
    )
    save_figure(figure, path)


def plot_layer_weights(path, weights, title):
    """Draw the learned weight of each layer beside the uniform one.

    Arguments
    ---------
    path : str
        Of the picture.
    weights : list of float
        Sum to one.
    title : str
        Names the system.
    """
    figure, axes = plt.subplots(figsize=(max(4, 0.3 * len(weights)), 3))
    axes.bar(range(len(weights)), weights, color="tab:blue")
    axes.axhline(
        1 / len(weights), color="tab:gray", linestyle="--", label="uniform"
    )
    axes.set_xlabel("layer (0: input of the transformer)")
    axes.set_ylabel("weight")
    axes.set_title(title, fontsize=10)
    axes.set_ylim(top=1.3 * max(weights))  # room for the legend
    axes.legend(loc="upper right")
    axes.xaxis.get_major_locator().set_params(integer=True)
    save_figure(figure, path)


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
