"""Late fusion: the probabilities of finished runs, weighted on dev."""

import pathlib
import re
import shutil

import numpy as np
import torch

from modules.errors import BadInput
from modules.experiments.finished_run import FinishedRun
from modules.experiments.plan import Plan, System
from modules.files import check_vacant, read_json, write_json, write_rows
from modules.training.metrics import Predictions, score

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
    runs = [FinishedRun(folder) for folder in folders]
    first = runs[0]
    both = {
        split: np.stack([_aligned(first, run, split) for run in runs])
        for split in ("dev", "test")
    }
    assert first.dev is not None, "see _aligned"
    weights = fit_weights(both["dev"], first.dev["truth"].to_numpy())
    target = pathlib.Path(target)
    target.mkdir(parents=True, exist_ok=True)
    if (first.folder / "manifests").is_dir():
        shutil.copytree(
            first.folder / "manifests", target / "manifests", dirs_exist_ok=True
        )
    scores = {}
    for split, name in (("dev", "dev_predictions"), ("test", "predictions")):
        fused = np.tensordot(weights, both[split], axes=1)
        path = target / f"{name}.csv"
        scores[split] = _write_predictions(path, first, split, fused)
    same = ("test_fold", "seed", "n_train", "n_dev", "n_test")
    results = {"system": FUSION} | scores["test"]
    results |= {key: first.results.get(key) for key in same}
    results |= {
        "dev_WA": scores["dev"]["WA"],
        "fused": [str(run.folder) for run in runs],
        "fusion_weights": weights.tolist(),
    }
    write_json(target / "results.json", results)
    return results


def _write_predictions(path, first, split, fused):
    """Write fused probabilities [utterances, k]; return their scores."""
    own = getattr(first, split)
    predictions = Predictions(
        list(own["utterance"]),
        torch.tensor(own["truth"].to_numpy()),
        torch.from_numpy(fused).log(),
    )
    entries = own.set_index("utterance")[["speaker"]].to_dict("index")
    write_rows(path, predictions.rows(entries, first.labels))
    return score(*predictions.pairs(), first.labels)


def _aligned(first: FinishedRun, run: FinishedRun, split: str) -> np.ndarray:
    """Return probabilities of a run in the order of the first run's.

    Raises
    ------
    BadInput
        If the two runs were not given the same task.
    """
    own, theirs = getattr(first, split), getattr(run, split)
    if own is None or theirs is None:
        folder = (first if own is None else run).folder
        raise BadInput(f"{folder} has no predictions of dev: run it again")
    theirs = theirs.set_index("utterance")
    if run.labels != first.labels:
        differing = "labels"
    elif run.results["test_fold"] != first.results["test_fold"]:
        differing = "test folds"
    elif sorted(own["utterance"]) != sorted(theirs.index):
        differing = f"utterances in {split}"
    else:
        theirs = theirs.loc[own["utterance"]]
        if list(theirs["truth"]) == list(own["truth"]):
            return theirs[run.labels].to_numpy()
        differing = f"labels of the same utterances in {split}"
    raise BadInput(
        f"{run.folder} and {first.folder} cannot be fused: they have other "
        f"{differing}; give runs of the same fold, seed and corpus"
    )


def find_runs(folder: str | pathlib.Path) -> dict:
    """Return (fold, seed) -> folder of the finished runs of a system.

    They are ``fold_<k>/seed_<s>`` in its folder; none is refused.
    """
    runs = {}
    for path in pathlib.Path(folder).glob("fold_*/seed_*/results.json"):
        place = path.parent.relative_to(folder).as_posix()
        numbers = re.fullmatch(r"fold_(\d+)/seed_(\d+)", place)
        if numbers:
            runs[int(numbers[1]), int(numbers[2])] = path.parent
    if not runs:
        raise BadInput(
            f"{folder} has no finished runs (fold_*/seed_*/results.json): "
            "give the folder of a system that cross_validate.py has finished"
        )
    return dict(sorted(runs.items()))


def fuse_systems(folders: list[str], output_folder: str) -> Plan:
    """Fuse all folds and seeds of finished systems; return their plan.

    Arguments
    ---------
    folders : list of str
        See `find_runs`.
    output_folder : str
        Folder of the fused runs.

    Raises
    ------
    BadInput
        If the systems have other folds or seeds, their runs differ, or the
        output folder has something else in it.
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
    _claim(target, folders)
    for (fold, seed), first in found[0].items():
        place = target / f"fold_{fold}" / f"seed_{seed}"
        fuse_runs([runs[fold, seed] for runs in found], place)
    file, fuses = first / "hyperparams.yaml", tuple(map(str, folders))
    return Plan(
        title=f"{FUSION} of {' and '.join(fuses)}",
        file=target,
        systems=[System(FUSION, {}, file, fuses=fuses, folder=".")],
        folds=sorted({fold for fold, _ in found[0]}),
        seeds=sorted({seed for _, seed in found[0]}),
        output_folder=target,
        resolved={FUSION: {"fused": list(fuses)}},
    )


def _claim(target, folders):
    """Refuse an output folder with another fusion or something else in it."""
    record = target / "fusion.json"
    names = [str(pathlib.Path(folder).resolve()) for folder in folders]
    if record.exists() and read_json(record) == names:
        return
    check_vacant(target)
    target.mkdir(parents=True, exist_ok=True)
    write_json(record, names)
