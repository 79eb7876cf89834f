r"""Whether attention finds the emotional part of a recording.

    python -m recipes.PIECEWISE.attention \
        results/PIECEWISE/attention_study/attentive_corr [--save weights.npz]

The folder is that of one system with attention, or the file that ``--save``
wrote: the weights of every test recording of every run, and begin and end of
the emotional part.
"""

import argparse

import numpy as np
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from modules.errors import BadInput, one_sentence
from modules.training.run import Run
from recipes.EMODB.head_study.attention_weights import find_runs_of, weights_of
from recipes.PIECEWISE.oracle import frames_between
from recipes.PIECEWISE.prepare import NEUTRAL

# Keys of a saved file.
KEYS = "recording label fold seed begin end weights lengths".split()


def main(arguments: list[str] | None = None) -> None:
    """Print a line of figures for each measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="of a system, or a saved file")
    parser.add_argument("--save", help="file .npz that gets the weights")
    options = parser.parse_args(arguments)
    with one_sentence():
        if options.folder.endswith(".npz"):
            found = load(options.folder)
        else:
            found = collect(find_runs_of(options.folder))
    if options.save:
        np.savez_compressed(options.save, **found)
    figures = measure(found)
    emotional = found["label"] != NEUTRAL
    # In the others the middle is neutral too, and nothing is to be found.
    print_figures("with an emotional part", figures, emotional)
    print_figures("neutral throughout", figures, ~emotional)
    print("percentiles 10 to 90 over test recordings and seeds")


def print_figures(
    title: str, figures: dict[str, list[float]], chosen: np.ndarray
) -> None:
    """Print mean, median and percentiles of some recordings.

    Arguments
    ---------
    title : str
        What they have in common.
    figures : dict
        See `measure`.
    chosen : numpy.ndarray
        Which recordings; bool.
    """
    print(f"recordings {title}: {chosen.sum()}")
    if not chosen.any():
        return
    for name, values in figures.items():
        values = np.array(values)[chosen]
        low, middle, high = np.percentile(values, [10, 50, 90])
        print(
            f"  {name:44s} mean {values.mean():.3f}  median {middle:.3f} "
            f"({low:.3f} to {high:.3f})"
        )


def collect(runs: list[Run]) -> dict[str, np.ndarray]:
    """Return the weights of all test recordings of runs.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        All folds and seeds of a system.

    Returns
    -------
    found : dict
        The keys are `KEYS`: of each recording of each run its id, label,
        fold, seed, first frame of the emotional part and the one behind its
        last (begin, end) and number of frames (lengths); the weights of all
        lie one after the other, as float16 and times the number of frames, so
        that 1 is the uniform weight.

    Raises
    ------
    BadInput
        If a system has no attention or the corpus no emotional parts.
    """
    rows, parts = [], []
    for run in tqdm(runs, desc="runs", leave=False):
        seed, fold = run.settings["seed"], run.settings["test_fold"]
        for recording, entry, weights in weights_of(run):
            if "begin" not in entry:
                raise BadInput(
                    f"{run.folder} was not trained on the corpus of "
                    "recipes.PIECEWISE.prepare: give a system that was"
                )
            times = float(entry["begin"]), float(entry["end"])
            part = frames_between(len(weights), entry["duration"], *times)
            own = [recording, entry["label"], fold, seed, part.start, part.stop]
            rows.append([*own, len(weights)])
            parts.append((weights * len(weights)).astype(np.float16))
    columns = [np.array(column) for column in zip(*rows)]
    names = [key for key in KEYS if key != "weights"]
    return dict(zip(names, columns)) | {"weights": np.concatenate(parts)}


def load(path: str) -> dict[str, np.ndarray]:
    """Return what `collect` returned and ``--save`` wrote.

    Raises
    ------
    BadInput
        If it is another file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in KEYS}
    except (OSError, ValueError, KeyError) as problem:
        raise BadInput(
            f"{path} cannot be read ({problem}): give a file that --save wrote"
        ) from problem


def each(found: dict[str, np.ndarray]):
    """Yield the weights of each recording, and where its part lies (mask)."""
    ends = np.cumsum(found["lengths"])
    for i, weights in enumerate(np.split(found["weights"], ends[:-1])):
        inside = np.zeros(len(weights), dtype=bool)
        inside[found["begin"][i] : found["end"][i]] = True
        yield weights.astype(float), inside


def measure(found: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Return how well the weights find the emotional part.

    Arguments
    ---------
    found : dict
        See `collect`.

    Returns
    -------
    figures : dict
        Name of a measure -> a value for each recording of each run.
    """
    rows = []
    for weights, inside in each(found):
        share = weights[inside].sum() / weights.sum()
        even = inside.mean()
        row = {
            "share of the attention on the part": share,
            "share of the frames in the part": even,
            "attention on the part, over even attention": share / even,
            "AUC: a frame inside weighs more than outside": roc_auc_score(
                inside, weights
            ),
            "frame F1 of weights above the uniform": frame_f1(
                weights > weights.mean(), inside
            ),
            "no attention: frame F1 of all frames": frame_f1(
                np.ones_like(inside), inside
            ),
        }
        # What the place in the recording gives away, without any sound.
        place = (np.arange(len(inside)) + 0.5) / len(inside)
        for name, where in (("begin", 0), ("centre", 0.5), ("end", 1)):
            near = -np.abs(place - where)
            nearest = near >= np.quantile(near, 2 / 3)
            title = f"no attention, near the {name}"
            row[f"{title}: AUC"] = roc_auc_score(inside, near)
            row[f"{title}: frame F1 of a third"] = frame_f1(nearest, inside)
        rows.append(row)
    return {name: [row[name] for row in rows] for name in rows[0]}


def frame_f1(found: np.ndarray, inside: np.ndarray) -> float:
    """Return the F1 score of frames that were found.

    Arguments
    ---------
    found, inside : numpy.ndarray
        Which frames were found, and which are in the part; bool, [frames].

    Example
    -------
    >>> frame_f1(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    both = (found & inside).sum()
    return float(2 * both / max(1, found.sum() + inside.sum()))


if __name__ == "__main__":
    main()
