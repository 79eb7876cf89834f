"""Sections of a model's card that need more than the results of its runs."""

import pathlib
import statistics
from typing import Any

from modules.errors import BadInput
from modules.files import read_json

# Beside a run, or in the folder of an experiment above it.
CROSS_CORPUS = "cross_corpus.json"
_LEVELS_ABOVE = 2
_MOST_ROWS = 1000
# Shares from 0 to 1, written in percent.
_SHARES = ("WA", "UA", "ECE")


def name_corpus(
    recorded: dict[str, Any],
    csv_file: str | None,
    name: str | None = None,
    licence: str | None = None,
) -> dict[str, Any]:
    """Return what a card states about the training corpus.

    Arguments
    ---------
    recorded : dict
        The corpus in the graph of a run.
    csv_file : str
        The list that the run was trained on, if it was one.
    name, licence : str
        From the user, who may know more than the recipe.

    Example
    -------
    >>> name_corpus({"name": "own", "nature": "x"}, "/data/ravdess.csv")["name"]
    'a list of recordings, ravdess.csv'
    """
    corpus = dict(recorded) | {"licence": licence}
    if name:
        corpus["name"] = name
    elif csv_file:
        file = pathlib.PureWindowsPath(csv_file).name
        corpus["name"] = f"a list of recordings, {file}"
    return corpus


def describe_distance(runs: list) -> str:
    """Return how far unseen speakers of the corpus lie from the training.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        One, or the folds of an ensemble.
    """
    shares = [run.results.get("share_beyond_training") for run in runs]
    if not all(isinstance(own, dict) for own in shares):
        return (
            "This model does not measure how far a recording lies from its "
            "training, and gives no warning."
        )
    found = []
    for split in ("dev", "test"):
        values = [own.get(split) for own in shares]
        if all(isinstance(value, int | float) for value in values):
            share = f"{statistics.fmean(values):.0%}"
            worst = f", {max(values):.0%} in the worst fold"
            found.append(
                f"{share} of {split}{worst if len(values) > 1 else ''}"
            )
    return (
        "The distance of a recording from the training is 1 at the 95th "
        "percentile of training speakers that were left out. Beyond 1 lie "
        f"{' and '.join(found)} of this corpus. Almost all recordings of "
        "another corpus lie there; the scores of these are divided, the more "
        "the further, so that their probabilities are lower. `predict.py` "
        "writes the distance of each recording, gives a warning where most "
        "are beyond 1, and `--adapt` estimates the standardisation again on "
        "recordings without labels."
    )


def describe_protocol(runs: list) -> str:
    """Return the sentence on speaker normalisation, or ""."""
    if not any(r.results.get("speaker_normalization") is True for r in runs):
        return ""
    return (
        "The embeddings are those minus the mean of their speaker, in the "
        "test too, which takes other recordings of a test speaker. Without "
        "them, as in `classify_file`, the model subtracts the mean of the "
        "training, and its answers are less often right."
    )


def cross_corpus_table(runs: list, path: str | None = None) -> str | None:
    """Return a Markdown table of results on other corpora, if there are any.

    Arguments
    ---------
    runs : list of modules.training.run.Run
        Their folders, and two levels above, are searched for `CROSS_CORPUS`.
    path : str
        A file in the place of that.

    Returns
    -------
    table : str
        The file is a list of rows, each a dict of plain values with the same
        keys, such as corpus, recordings, adapted, WA, UA and ECE; the last
        three are shares.

    Raises
    ------
    BadInput
        If a file is no such list.
    """
    file = pathlib.Path(path) if path else _find(runs)
    if file is None:
        return None
    try:
        rows = read_json(file)
    except (OSError, ValueError, RecursionError) as problem:
        raise _wrong(file) from problem
    fine = isinstance(rows, list) and 0 < len(rows) <= _MOST_ROWS
    if not fine or not all(isinstance(row, dict) and row for row in rows):
        raise _wrong(file)
    names = list(rows[0])
    if not all(list(row) == names and _is_plain(row) for row in rows):
        raise _wrong(file)
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(name, row[name]) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _find(runs):
    """Return the file beside the first run or above it, or None."""
    folder = pathlib.Path(runs[0].folder).resolve()
    for place in [folder, *list(folder.parents)[:_LEVELS_ABOVE]]:
        if (place / CROSS_CORPUS).is_file():
            return place / CROSS_CORPUS
    return None


def _is_plain(row):
    """Return whether all values of a row are texts, numbers or nothing."""
    kinds = str | int | float | bool | None
    return all(isinstance(value, kinds) for value in row.values())


def _cell(name, value):
    """Return a cell of the table."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in _SHARES and isinstance(value, int | float):
        return f"{value:.1%}"
    text = "" if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _wrong(file):
    """Return the sentence for a file that is no table."""
    return BadInput(
        f"{file} is not a list of rows with the same keys and plain values, "
        "such as corpus, adapted, WA, UA and ECE: write it again"
    )
