"""Predictions for labelled recordings: how good is a model on them?"""

from collections import Counter

import numpy as np

from modules.errors import BadInput
from modules.experiments.calibration import expected_calibration_error
from modules.experiments.significance import bootstrap_interval
from modules.inference.records import UNKNOWN
from modules.labels import parse_classes
from modules.training.metrics import format_confusion, score


def parse_labels_map(text: str | None) -> dict[str, str]:
    """Return label of a list -> label of the model.

    Arguments
    ---------
    text : str
        See `modules.labels.parse_classes`; None or "": nothing is mapped.

    Raises
    ------
    BadInput
        If it cannot be read.

    Example
    -------
    >>> parse_labels_map("hap+exc=happiness")
    {'hap': 'happiness', 'exc': 'happiness'}
    """
    for part in text.split(",") if text else []:
        if "=" not in part and "+" not in part:
            raise BadInput(
                f"--labels_map: '{part}' is not LABEL=LABEL: write such as "
                "hap+exc=happiness"
            )
    try:
        return parse_classes(text) if text else {}
    except ValueError as problem:
        raise BadInput(
            f"--labels_map: {problem}: write such as hap+exc=happiness"
        ) from problem


def score_recordings(
    probabilities: np.ndarray,
    truth: list[str],
    speakers: list[str],
    labels: list[str],
    labels_map: dict[str, str] | None = None,
) -> dict:
    """Score predictions over label sets that overlap in part.

    Arguments
    ---------
    probabilities : numpy.ndarray
        [recordings, classes of the model].
    truth : list of str
        Label of each recording in the list.
    speakers : list of str
        Speaker of each recording, whom the intervals resample.
    labels : list of str
        Classes of the model.
    labels_map : dict
        Label of the list -> label of the model; others stay as they are.

    Returns
    -------
    result : dict
        ``labels`` (classes of both), ``n``, ``left_out`` (label -> count),
        ``answered_otherwise`` (recordings whose most probable class is not in
        the list), ``all`` (metrics of the answers as they are) and ``shared``
        (of the shared classes alone, probabilities renormalised): ``WA``,
        ``UA``, ``recall``, ``confusion``, ``interval`` (95%, over speakers),
        ``ECE`` and ``mean_confidence``.

    Raises
    ------
    BadInput
        If no label of the list is a class of the model.
    """
    names = [(labels_map or {}).get(label, label) for label in truth]
    shared = [label for label in labels if label in names]
    if not shared:
        raise BadInput(
            f"no label of the list ({', '.join(sorted(set(truth)))}) is a "
            f"class of the model ({', '.join(labels)}): give --labels_map "
            "such as hap=happiness"
        )
    kept = np.array([name in shared for name in names])
    own = np.asarray(probabilities)[kept]
    speakers = [s for s, keep in zip(speakers, kept) if keep]
    columns = [labels.index(label) for label in shared]
    restricted = own[:, columns]
    restricted = restricted / restricted.sum(axis=1, keepdims=True)
    targets = [name for name, keep in zip(names, kept) if keep]
    answers = own.argmax(axis=1)
    return {
        "labels": shared,
        "n": int(kept.sum()),
        "left_out": dict(Counter(t for t, k in zip(truth, kept) if not k)),
        "answered_otherwise": int((~np.isin(answers, columns)).sum()),
        "all": _metrics(own, targets, speakers, labels),
        "shared": _metrics(restricted, targets, speakers, shared),
    }


def _metrics(probabilities, targets, speakers, labels):
    """Return metrics, intervals over speakers and calibration error."""
    truth = np.array([labels.index(target) for target in targets])
    predicted = probabilities.argmax(axis=1)
    found = score(truth.tolist(), predicted.tolist(), labels)
    people = sorted(set(speakers))
    counts = np.zeros((len(people), len(labels), len(labels)), dtype=int)
    rows = [people.index(speaker) for speaker in speakers]
    np.add.at(counts, (rows, truth, predicted), 1)
    return found | {
        "interval": bootstrap_interval(counts) if len(people) > 1 else None,
        "ECE": expected_calibration_error(probabilities, truth),
        "mean_confidence": float(np.mean(probabilities.max(axis=1))),
    }


def format_scores(result: dict) -> str:
    """Return the scores for the terminal."""
    own, shared = result["all"], result["shared"]
    lines = [
        format_confusion(own["labels"], own["confusion"], own["recall"]),
        f"{result['n']} recordings of {len(result['labels'])} shared classes "
        f"({', '.join(result['labels'])})",
        _line("all classes of the model", own),
    ]
    if len(result["labels"]) > 1:
        lines.append(_line("shared classes alone", shared))
    else:
        lines.append(
            "one shared class alone cannot be scored: every answer is right"
        )
    if result["answered_otherwise"]:
        lines.append(
            f"{result['answered_otherwise']} recordings got a class that the "
            "list does not have"
        )
    if result["left_out"]:
        listed = ", ".join(f"{k} {n}" for k, n in result["left_out"].items())
        lines.append(f"left out, since the model has no such class: {listed}")
    return "\n".join(lines)


def describe_known(
    answers: list[str],
    truth: list[str],
    labels: list[str],
    labels_map: dict[str, str],
) -> str:
    """Return how many recordings have an answer, and how many are right.

    Arguments
    ---------
    answers : list of str
        Classes of the model, or unknown.
    truth : list of str
        Label of each recording in the list.
    labels : list of str
        Classes of the model; recordings with another label do not count.
    labels_map : dict
        Label of the list -> label of the model; others stay as they are.

    Example
    -------
    >>> truth, labels = ["anger", "fear", "envy"], ["anger", "fear"]
    >>> describe_known(["anger", "unknown", "fear"], truth, labels, {})
    '--min_precision: 1 of 2 recordings (50.0%) have an answer, 100.0% of these are right'
    """
    names = [labels_map.get(label, label) for label in truth]
    pairs = [(a, name) for a, name in zip(answers, names) if name in labels]
    known = [answer == name for answer, name in pairs if answer != UNKNOWN]
    text = (
        f"--min_precision: {len(known)} of {len(pairs)} recordings "
        f"({len(known) / len(pairs):.1%}) have an answer"
    )
    if not known:
        return text
    return f"{text}, {sum(known) / len(known):.1%} of these are right"


def _line(name, metrics):
    """Return WA, UA and ECE with their intervals."""

    def with_interval(key):
        text = f"{key} {metrics[key]:.1%}"
        if metrics["interval"]:
            low, high = metrics["interval"][key]
            text += f" ({low:.1%} to {high:.1%})"
        return text

    return (
        f"{name}: {with_interval('WA')}   {with_interval('UA')}   ECE "
        f"{metrics['ECE']:.1%}"
    )
