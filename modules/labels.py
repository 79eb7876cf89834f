"""The names of the classes, as SpeechBrain's label encoder writes them."""

import ast
import os

from modules.errors import BadInput
from modules.files import read_text

_MOST_BYTES = 2**20
_MOST_NAME = 200
# What follows it belongs to SpeechBrain.
_END = "="


def read_labels(path: str | os.PathLike, count: int | None = None) -> list[str]:
    """Read label_encoder.txt: ``'label' => index`` per line.

    Arguments
    ---------
    path : str or pathlib.Path
        Written by `speechbrain.dataio.encoder.CategoricalEncoder`.
    count : int
        Number of classes that there must be; None: any.

    Returns
    -------
    labels : list of str
        In the order of their indices.

    Raises
    ------
    BadInput
        If it cannot be read, has gaps or names that cannot be printed.
    """
    labels = {}
    try:
        for line in read_text(path, _MOST_BYTES).splitlines():
            if line.startswith(_END):
                break
            literal, _, index = line.rpartition("=>")
            labels[int(index)] = ast.literal_eval(literal.strip())
    except (OSError, ValueError, SyntaxError) as problem:
        text = " ".join(str(problem).split())
        raise _unusable(path, f"{text:.100}") from problem
    except (RecursionError, MemoryError) as problem:
        raise _unusable(path, "it is nested too deeply") from problem
    count = len(labels) if count is None else count
    if not labels or sorted(labels) != list(range(count)):
        raise _unusable(path, f"its indices are not 0 to {count - 1}")
    names = [labels[index] for index in range(count)]
    for name in names:
        is_text = isinstance(name, str) and 0 < len(name) <= _MOST_NAME
        if not is_text or not name.isprintable():
            raise _unusable(path, f"{name!r:.60} is no name of a class")
    if len(set(names)) < count:
        raise _unusable(path, "two classes have the same name")
    return names


def _unusable(path, reason):
    """Return the sentence for labels that cannot be used."""
    return BadInput(
        f"{path} does not name the classes of the model ({reason}): copy it "
        "again, or train or export the model again"
    )
