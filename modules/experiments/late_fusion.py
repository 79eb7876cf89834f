"""Late fusion: the probabilities of finished runs, weighted on dev."""

import json
import pathlib
import re
import shutil

import numpy as np
import torch

from modules.errors import BadInput
from modules.experiments.finished_run import (
    FinishedRun,
    Predictions,
    read_finished_run,
)
from modules.experiments.plan import Plan, System
from modules.files import check_vacant, read_json, write_rows, write_text
from modules.training.metrics import prediction_rows, score, write_results

FUSION = "late fusion"
_STEPS = 10_000


def fit_weights(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the weights under which dev is most likely.

    They are those of a mixture of the systems, found by expectation
    maximisation: the likelihood has one maximum, and equal systems keep the
    equal weights that they start with.

    Arguments
    ---------
    probabilities : numpy.ndarray
        Of dev, [systems, utterances, classes].
    truth : numpy.ndarray
        [utterances].

    Returns
    -------
    weights : numpy.ndarray
        At least 0, sum to 1; [systems].
    """
    chosen = probabilities[:, np.arange(len(truth)), truth].clip(min=1e-12)
    weights = np.full(len(probabilities), 1 / len(probabilities))
    for _ in range(_STEPS):
        shares = weights[:, None] * chosen
        better = (shares / shares.sum(axis=0)).mean(axis=1)
        settled = np.abs(better - weights).max() < 1e-9
        weights = better
        if settled:
            break
    return weights / weights.sum()


def _splits(run: FinishedRun) -> dict[str, Predictions]:
    """Return the predictions of dev and test."""
    if run.dev is None:
        raise BadInput(
            f"{run.folder} is no finished run with predictions of dev: run it "
            "again in a new folder"
        )
    return {"dev": run.dev, "test": run.test}


def _in_order(own: Predictions, utterances: list[str]) -> np.ndarray:
    """Return probabilities in an order, [utterances, classes]."""
    places = {name: i for i, name in enumerate(own.utterances)}
    return own.probabilities[[places[name] for name in utterances]]


def _check_alike(first: FinishedRun, other: FinishedRun) -> None:
    """Refuse runs that were not given the same task.

    Raises
    ------
    BadInput
        Naming both folders and what differs.
    """

    def refuse(what):
        raise BadInput(
            f"{other.folder} and {first.folder} cannot be fused: they have "
            f"other {what}; give runs of the same fold, seed and corpus"
        )

    if other.labels != first.labels:
        refuse("labels")
    if other.results["test_fold"] != first.results["test_fold"]:
        refuse("test folds")
    for split, own in _splits(first).items():
        theirs = _splits(other)[split]
        if sorted(own.utterances) != sorted(theirs.utterances):
            refuse(f"utterances in {split}")
        truths = dict(zip(theirs.utterances, theirs.truth))
        if [truths[name] for name in own.utterances] != own.truth.tolist():
            refuse(f"labels of the same utterances in {split}")


def fuse_runs(folders: list[pathlib.Path], target: pathlib.Path) -> dict:
    """Fuse finished runs of one fold into a run of its own.

    Arguments
    ---------
    folders : list of pathlib.Path
        Output folders of the runs.
    target : pathlib.Path
        Gets results.json, predictions.csv and dev_predictions.csv.

    Returns
    -------
    results : dict
        Content of results.json, with ``fusion_weights`` by folder.

    Raises
    ------
    BadInput
        If the runs have other folds, labels or utterances.
    """
    runs = [read_finished_run(folder) for folder in folders]
    first = runs[0]
    for other in runs[1:]:
        _check_alike(first, other)
    both = {
        split: np.stack(
            [_in_order(_splits(r)[split], own.utterances) for r in runs]
        )
        for split, own in _splits(first).items()
    }
    weights = fit_weights(both["dev"], first.dev.truth)
    rows, scores = {}, {}
    for split, own in _splits(first).items():
        fused = np.tensordot(weights, both[split], axes=1)
        rows[split] = _fused_rows(own, fused, first.labels)
        guesses = [first.labels.index(row["prediction"]) for row in rows[split]]
        scores[split] = score(own.truth.tolist(), guesses, first.labels)
    same = ("test_fold", "seed", "n_train", "n_dev", "n_test")
    results = (
        {"system": FUSION}
        | scores["test"]
        | {key: first.results.get(key) for key in same}
        | {
            "dev_WA": scores["dev"]["WA"],
            "fused": [str(run.folder) for run in runs],
            "fusion_weights": weights.tolist(),
        }
    )
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    if (first.folder / "manifests").is_dir():
        shutil.copytree(
            first.folder / "manifests", target / "manifests", dirs_exist_ok=True
        )
    write_rows(target / "dev_predictions.csv", rows["dev"])
    write_results(target, results, rows["test"])
    return results


def _fused_rows(own: Predictions, fused: np.ndarray, labels: list) -> list:
    """Return rows of predictions.csv from probabilities [utterances, k]."""
    predictions = (
        own.utterances,
        torch.from_numpy(own.truth),
        torch.from_numpy(fused).log(),
    )
    entries = {
        name: {"speaker": speaker}
        for name, speaker in zip(own.utterances, own.speakers)
    }
    return prediction_rows(predictions, entries, labels)


def find_runs(folder: str | pathlib.Path) -> dict:
    """Return the finished runs of a system.

    Arguments
    ---------
    folder : str or pathlib.Path
        With ``fold_<k>/seed_<s>`` in it.

    Returns
    -------
    runs : dict
        (fold, seed) -> folder.

    Raises
    ------
    BadInput
        If there are none.
    """
    runs = {}
    for path in pathlib.Path(folder).glob("fold_*/seed_*/results.json"):
        numbers = re.fullmatch(
            r"fold_(\d+)/seed_(\d+)", path.parent.relative_to(folder).as_posix()
        )
        if numbers:
            runs[int(numbers[1]), int(numbers[2])] = path.parent
    if not runs:
        raise BadInput(
            f"{folder} has no finished runs (fold_*/seed_*/results.json): "
            "give the folder of a system that cross_validate.py has finished"
        )
    return dict(sorted(runs.items()))


def _check_record(target: pathlib.Path, folders: list[str]) -> None:
    """Refuse a folder that has another fusion or no fusion at all."""
    record = target / "fusion.json"
    names = [str(pathlib.Path(folder).resolve()) for folder in folders]
    if record.exists() and read_json(record) == names:
        return
    check_vacant(target)
    target.mkdir(parents=True, exist_ok=True)
    write_text(record, json.dumps(names) + "\n")


def fuse_systems(folders: list[str], output_folder: str) -> Plan:
    """Fuse all folds and seeds of finished systems.

    Arguments
    ---------
    folders : list of str
        See `find_runs`.
    output_folder : str
        Folder of the fused runs.

    Returns
    -------
    plan : modules.experiments.plan.Plan
        Of the fused runs, for the report.

    Raises
    ------
    BadInput
        If the systems have other folds or seeds, or their runs differ.
    """
    found = [find_runs(folder) for folder in folders]
    for folder, runs in zip(folders[1:], found[1:]):
        if set(runs) != set(found[0]):
            odd = sorted(set(runs) ^ set(found[0]))[0]
            raise BadInput(
                f"{folder} and {folders[0]} cannot be fused: only one of them "
                f"has fold {odd[0]}, seed {odd[1]}; finish it first"
            )
    target = pathlib.Path(output_folder)
    _check_record(target, folders)
    for (fold, seed), folder in found[0].items():
        place = target / f"fold_{fold}" / f"seed_{seed}"
        fuse_runs([runs[fold, seed] for runs in found], place)
    hparams_file = next(iter(found[0].values())) / "hyperparams.yaml"
    fuses = tuple(map(str, folders))
    system = System(FUSION, {}, hparams_file, FUSION, "", ".", fuses)
    return Plan(
        title=f"{FUSION} of {' and '.join(fuses)}",
        file=target,
        hparams_file=hparams_file,
        overrides=[],
        systems=[system],
        folds=sorted({fold for fold, _ in found[0]}),
        seeds=sorted({seed for _, seed in found[0]}),
        published={},
        published_source="",
        published_metric="WA",
        output_folder=target,
        resolved={FUSION: {"fused": list(fuses)}},
    )
