"""The names of the classes: choosing them, and SpeechBrain's file of them."""

import ast
import os

from modules.errors import BadInput
from modules.files import read_text

_MOST_BYTES = 2**20
_MOST_NAME = 200
# What follows it belongs to SpeechBrain.
_END = "="


def parse_classes(text: str) -> dict[str, str]:
    """Read which labels make which classes.

    Arguments
    ---------
    text : str
        Classes, with commas between them. A class is a label; or several with
        ``+`` between them, of which the first names the class; or either with
        ``=`` and another name for the class.

    Returns
    -------
    dict
        Label -> name of its class.

    Raises
    ------
    ValueError
        If a class is empty or a label is named twice.

    Example
    -------
    >>> parse_classes("ang,hap+exc,sad+fru=low")
    {'ang': 'ang', 'hap': 'hap', 'exc': 'hap', 'sad': 'low', 'fru': 'low'}
    """
    classes = {}
    for part in text.split(","):
        left, equals, name = part.partition("=")
        labels = [label.strip() for label in left.split("+")]
        name = name.strip() if equals else labels[0]
        if not name or not all(labels):
            raise ValueError(f"the class {part.strip()!r:.80} lacks a name")
        for label in labels:
            if label in classes:
                raise ValueError(f"the label {label!r:.80} is named twice")
            classes[label] = name
    return classes


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
