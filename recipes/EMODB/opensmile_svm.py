"""openSMILE with a support vector machine, on the utterances of finished runs.

python -m recipes.EMODB.opensmile_svm RESULTS/recommended [--folds 1 2 3 4 5]

The 88 functionals of eGeMAPS, standardised; scikit-learn's SVC with its radial
kernel. Left-out training speakers choose C by accuracy. Each fold is trained on
train and dev of the run and tested on its test utterances, so that both can be
compared: percent, mean and standard deviation over folds, and the difference
of the run with its 95% interval from resampling speakers.

The package opensmile is for research: requirements-opensmile.txt.
"""

import argparse
import sys

import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from modules.audio import read_speech
from modules.errors import BadInput, one_sentence
from modules.experiments.significance import mean_intervals
from modules.manifest import channel_of
from modules.models.egemaps import EgemapsEncoder
from modules.training.logistic_regression import leave_out
from modules.training.metrics import score
from modules.training.run import find_runs

C = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0]


class Functionals:
    """Functionals of utterances, each computed once."""

    def __init__(self):
        self._encoder = EgemapsEncoder()
        self._known = {}

    def __call__(self, entries: dict[str, dict]) -> np.ndarray:
        """Return the functionals, [utterances, 88]."""
        for name in tqdm(entries, desc="openSMILE", leave=False):
            if name not in self._known:
                entry = entries[name]
                wav = read_speech(entry["wav"], channel=channel_of(entry))
                self._known[name] = self._encoder.transform(wav)[0].numpy()
        return np.stack([self._known[name] for name in entries])


def train_and_answer(inputs, entries, test_inputs):
    """Train on utterances, C by left-out speakers; return labels of others.

    Arguments
    ---------
    inputs : numpy.ndarray
        [utterances, values].
    entries : list of dict
        Their manifest entries.
    test_inputs : numpy.ndarray
        [utterances, values].

    Raises
    ------
    BadInput
        If no speaker can be left out.
    """
    labels = np.array([entry["label"] for entry in entries])
    codes = np.unique(labels, return_inverse=True)[1]
    folds = leave_out(codes, [entry["speaker"] for entry in entries])
    if not folds:
        raise BadInput("a class has a single training utterance: C has none")
    machine = make_pipeline(StandardScaler(), SVC())
    search = GridSearchCV(machine, {"svc__C": C}, cv=folds)
    return search.fit(inputs, labels).predict(test_inputs)


def compare(runs) -> pd.DataFrame:
    """Return a row per test utterance: fold, speaker, truth, run, svm."""
    functionals, rows = Functionals(), []
    for fold, run in enumerate(runs):
        known = run.manifest("train") | run.manifest("dev")
        tested = run.manifest("test")
        entries = list(known.values())
        found = train_and_answer(
            functionals(known), entries, functionals(tested)
        )
        answers = {r["utterance"]: r["prediction"] for r in run.predictions()}
        rows += [
            {
                "fold": fold,
                "speaker": entry["speaker"],
                "truth": entry["label"],
                "run": answers[name],
                "svm": answer,
            }
            for (name, entry), answer in zip(tested.items(), found)
        ]
    return pd.DataFrame(rows)


def describe(frame: pd.DataFrame) -> str:
    """Return the figures of `compare` as text.

    Example
    -------
    >>> rows = [(0, "s", "a", "a", "a"), (0, "t", "b", "b", "a")]
    >>> columns = ["fold", "speaker", "truth", "run", "svm"]
    >>> print(describe(pd.DataFrame(rows, columns=columns)))
    run: WA 100.0 (0.0), UA 100.0 (0.0)
    svm: WA 50.0 (0.0), UA 50.0 (0.0)
    run minus svm: WA +50.0 (+0.0 to +100.0), 2 speakers
    """
    lines = []
    for system in ("run", "svm"):
        folds = []
        for _, own in frame.groupby("fold"):
            labels = sorted(set(own["truth"]) | set(own[system]))
            pairs = [
                [labels.index(label) for label in own[key]]
                for key in ("truth", system)
            ]
            folds.append(score(*pairs, labels))
        texts = []
        for key in ("WA", "UA"):
            values = np.array([100 * fold[key] for fold in folds])
            texts.append(f"{key} {values.mean():.1f} ({values.std():.1f})")
        lines.append(f"{system}: {', '.join(texts)}")
    right = frame[["run", "svm"]].eq(frame["truth"], axis=0)
    gains = (right["run"].astype(float) - right["svm"]).groupby(
        frame["speaker"]
    )
    by_speaker = 100 * gains.mean().to_numpy()[:, None]
    low, high = mean_intervals(by_speaker)[0]
    lines.append(
        f"run minus svm: WA {by_speaker.mean():+.1f} ({low:+.1f} to "
        f"{high:+.1f}), {len(by_speaker)} speakers"
    )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.EMODB.opensmile_svm", allow_abbrev=False
    )
    parser.add_argument("folder", help="a system of cross_validate.py")
    parser.add_argument("--folds", type=int, nargs="+", default=range(1, 6))
    options = parser.parse_args(arguments)
    with one_sentence(resumes=False), threadpool_limits(1):
        runs = find_runs(options.folder, list(options.folds))
        print(describe(compare(runs)))


if __name__ == "__main__":
    main(sys.argv[1:])
