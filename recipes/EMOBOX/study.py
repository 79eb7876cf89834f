"""What shared speakers are worth: EmoBox's folds beside unseen speakers.

python -m recipes.EMOBOX.study --data_folder EMODB --encoder_hub ENCODER

All options are those of cross_validate.py. The same command continues.
"""

import argparse
import pathlib
import sys

import numpy as np

import cross_validate
from modules.errors import one_sentence, using
from modules.files import write_json
from modules.training.metrics import score
from modules.training.run import find_runs

EXPERIMENT = "recipes/EMOBOX/emodb_study.yaml"
SYSTEMS = ("recommended", "baseline")
_FOLDS = range(1, 6)
_DRAWS = 10_000


def compare(folder: pathlib.Path, system: str) -> dict:
    """Compare a system on folds that share speakers and that do not.

    Arguments
    ---------
    folder : pathlib.Path
        Output folder of the experiment, finished.
    system : str
        One of `SYSTEMS`.

    Returns
    -------
    dict
        ``shared`` and ``unseen``, each {"WA", "UA"} of all utterances
        together; ``difference`` in WA and its ``interval`` (95%, by drawing
        speakers with replacement).
    """
    found = {
        protocol: _predictions(folder / f"{system}_{protocol}")
        for protocol in ("shared", "unseen")
    }
    # EmoBox's list does not have the speakers; the corpus has.
    speakers = {row["utterance"]: row["speaker"] for row in found["unseen"]}
    right = {
        protocol: {
            row["utterance"]: row["truth"] == row["prediction"] for row in rows
        }
        for protocol, rows in found.items()
    }
    gains = [
        [
            right["shared"][utterance] - right["unseen"][utterance]
            for utterance, speaker in speakers.items()
            if speaker == name
        ]
        for name in sorted(set(speakers.values()))
    ]
    return {protocol: _score(rows) for protocol, rows in found.items()} | {
        "difference": float(np.mean(np.concatenate(gains))),
        "interval": _interval(gains),
    }


def _predictions(folder):
    """Return the rows of predictions.csv of all folds."""
    rows = []
    for run in find_runs(folder, list(_FOLDS)):
        rows += run.predictions()
    return rows


def _score(rows):
    """Return WA and UA of all folds together."""
    labels = sorted({row["truth"] for row in rows})
    pairs = [
        [labels.index(row[key]) for row in rows]
        for key in ("truth", "prediction")
    ]
    found = score(*pairs, labels)
    return {"WA": found["WA"], "UA": found["UA"]}


def _interval(gains):
    """Return the 95% interval of the mean gain, by drawing speakers."""
    sums = np.array([np.sum(own) for own in gains], dtype=float)
    counts = np.array([len(own) for own in gains])
    drawn = np.random.default_rng(0).integers(
        len(gains), size=(_DRAWS, len(gains))
    )
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return np.quantile(means, [0.025, 0.975]).tolist()


def format_comparison(found: dict) -> str:
    """Return a Markdown table.

    Example
    -------
    >>> own = {
    ...     "shared": {"WA": 0.9, "UA": 0.9},
    ...     "unseen": {"WA": 0.8, "UA": 0.7},
    ... }
    >>> own |= {"difference": 0.1, "interval": [0.05, 0.15]}
    >>> print(format_comparison({"s": own}).split("\\n")[-1])
    | s | 90.0 / 90.0 | 80.0 / 70.0 | +10.0 (+5.0 to +15.0) |
    """
    lines = [
        "| system | EmoBox's folds, WA / UA | unseen speakers, WA / UA "
        "| difference in WA |",
        "|---|---|---|---|",
    ]
    for system, own in found.items():
        scores = [
            f"{100 * own[protocol]['WA']:.1f} / {100 * own[protocol]['UA']:.1f}"
            for protocol in ("shared", "unseen")
        ]
        low, high = (100 * value for value in own["interval"])
        lines.append(
            f"| {system} | {scores[0]} | {scores[1]} "
            f"| {100 * own['difference']:+.1f} ({low:+.1f} to {high:+.1f}) |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.EMOBOX.study", allow_abbrev=False
    )
    parser.add_argument("--output_folder", default="results/emobox/emodb")
    parser.add_argument("--data_folder", required=True, help="EmoDB")
    options, others = parser.parse_known_args(arguments)
    folder = pathlib.Path(options.data_folder)
    # EmoBox's list names the files, the corpus the folder above them too.
    inside = folder / "wav" if (folder / "wav").is_dir() else folder
    own = [
        f"--output_folder={options.output_folder}",
        f"--data_folder={inside}",
    ]
    status = cross_validate.main([EXPERIMENT, *others, *own])
    if status:
        return status
    folder = pathlib.Path(options.output_folder)
    with one_sentence(), using(folder):
        found = {system: compare(folder, system) for system in SYSTEMS}
        write_json(folder / "overlap.json", found)
        print(format_comparison(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
