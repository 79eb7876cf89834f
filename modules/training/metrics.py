"""Metrics of the field, and predictions as rows and tables."""

import dataclasses

import numpy as np
import torch
from sklearn.metrics import f1_score, recall_score


def score(truth: list[int], prediction: list[int], labels: list[str]) -> dict:
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
    # Not scikit-learn's, which warns where there is one label.
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (truth, prediction), 1)
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
        "confusion": confusion.tolist(),
        "labels": list(labels),
    }


@dataclasses.dataclass
class Predictions:
    """What a model predicts for the utterances of a split.

    Attributes
    ----------
    utterances : list of str
        In the order of the rows of the others.
    targets : torch.Tensor
        Index of the label, [utterances].
    log_probabilities : torch.Tensor
        [utterances, classes].
    """

    utterances: list[str]
    targets: torch.Tensor
    log_probabilities: torch.Tensor

    def pairs(self) -> tuple[list[int], list[int]]:
        """Return true and predicted labels, for `score`."""
        predicted = self.log_probabilities.argmax(dim=1)
        return self.targets.tolist(), predicted.tolist()

    def accuracy(self) -> float:
        """Return the share of utterances whose label is predicted."""
        predicted = self.log_probabilities.argmax(dim=1)
        return (predicted == self.targets).double().mean().item()

    def rows(self, manifest: dict, labels: list[str]) -> list[dict]:
        """Return the rows of predictions.csv.

        Arguments
        ---------
        manifest : dict
            Entries by utterance.
        labels : list of str
            Names of the classes.

        Returns
        -------
        rows : list of dict
            utterance, speaker, truth, prediction and one probability per
            class.
        """
        return [
            {
                "utterance": utterance,
                "speaker": manifest[utterance]["speaker"],
                "truth": labels[target],
                "prediction": labels[predicted],
            }
            # Significant digits, so that small probabilities keep theirs.
            | {k: f"{p:.6g}" for k, p in zip(labels, probabilities)}
            for utterance, target, predicted, probabilities in zip(
                self.utterances,
                *self.pairs(),
                self.log_probabilities.exp().tolist(),
            )
        ]


def format_results(results):
    """Return a table for the terminal, with a warning for a single class."""
    return "\n".join(
        [
            format_confusion(
                results["labels"], results["confusion"], results["recall"]
            ),
            f"WA {results['WA']:.1%}   UA {results['UA']:.1%}   "
            f"macro-F1 {results['macro_f1']:.1%}   "
            f"({results['n_test']} test utterances, fold "
            f"{results['test_fold']}, seed {results['seed']})",
            *_warnings(results),
        ]
    )


def _warnings(results):
    """Return what makes the metrics of a run meaningless, a line each."""
    tested = sum(1 for row in results["confusion"] if sum(row))
    if len(results["labels"]) == 1:
        return [
            f"warning: '{results['labels'][0]}' is the only class, which every "
            "model predicts: add utterances of another emotion"
        ]
    if tested == 1:
        return [
            "warning: the test fold has utterances of one class alone: WA and "
            "UA do not measure how well classes are distinguished"
        ]
    return []


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
