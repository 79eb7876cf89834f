"""A head that someone describes: bounded before anything is allocated.

Its parts are made on PyTorch's meta device, where tensors have shapes and no
memory, and compared with the header of the weights.
"""

import math
from typing import Any

import torch

from modules.errors import BadInput
from modules.models.fusion import PaddedPair, pair_of_sizes
from modules.models.graph import build
from modules.models.head import EmotionHead

SIZES = ("num_hidden_states", "hidden_size", "num_classes")

_MOST_MEMBERS = 100
_MOST_DEPTH = 20
_MOST_VALUES = 1000
_MOST_TEXT = 1000
_MOST_INTEGER = 10**5
_MOST_SIZE = {"num_hidden_states": 300, "hidden_size": 2**14}
_MOST_CLASSES = 10**4
# Values of an embedding; the recommended one has 57,000.
_MOST_EMBEDDING = 2 * 10**6
_MOST_BUFFERS = 2**26
_FRAMES = 7


def check_values(source, head: Any, sizes: Any, members: Any = 1) -> None:
    """Refuse a description with values of other kinds, or out of bounds.

    Arguments
    ---------
    source : str or pathlib.Path
        Names the file in the message.
    head : dict
        See `modules.models.graph.build`.
    sizes : dict
        ``num_hidden_states``, ``hidden_size`` and ``num_classes``.
    members : int
        Number of heads.

    Raises
    ------
    BadInput
        Naming what is wrong.
    """
    if type(members) is not int or not 1 <= members <= _MOST_MEMBERS:
        raise _wrong(source, f"members is {members!r:.40}")
    if not isinstance(sizes, dict) or set(sizes) != set(SIZES):
        raise _wrong(source, f"sizes does not have {', '.join(SIZES)}")
    for key, most in _MOST_SIZE.items():
        values = sizes[key] if isinstance(sizes[key], list) else [sizes[key]]
        if len(values) not in (1, 2) or not all(
            type(value) is int and 1 <= value <= most for value in values
        ):
            raise _wrong(source, f"{key} is {sizes[key]!r:.40}")
    if len({isinstance(sizes[key], list) for key in _MOST_SIZE}) > 1:
        raise _wrong(source, "only one of its sizes is a pair")
    classes = sizes["num_classes"]
    if type(classes) is not int or not 1 <= classes <= _MOST_CLASSES:
        raise _wrong(source, f"num_classes is {classes!r:.40}")
    if not isinstance(head, dict) or "class" not in head:
        raise _wrong(source, "head names no class")
    _count(source, head)


def _count(source, value, depth=0):
    """Return how many values a description has; refuse too many."""
    if depth > _MOST_DEPTH:
        raise _wrong(source, "head is nested too deeply")
    count = 1
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        if isinstance(value, dict) and not all(
            isinstance(key, str) and len(key) <= _MOST_TEXT for key in value
        ):
            raise _wrong(source, "head has keys that are no text")
        count += sum(_count(source, part, depth + 1) for part in parts)
    elif isinstance(value, str):
        fine = len(value) <= _MOST_TEXT
    else:
        fine = value is None or isinstance(value, bool)
        if isinstance(value, int | float):
            fine = math.isfinite(value) and abs(value) <= _MOST_INTEGER
    if not isinstance(value, dict | list) and not fine:
        raise _wrong(source, f"head contains {value!r:.40}")
    if count > _MOST_VALUES:
        raise _wrong(source, "head has too many values")
    return count


def check_shapes(
    source, weights, head: dict, sizes: dict, shapes: dict, members: int = 1
) -> None:
    """Compare a description with the tensors in a file of weights.

    Arguments
    ---------
    source, weights : str or pathlib.Path
        Names the files of the description and of the weights in messages.
    head, sizes, members
        See `check_values`.
    shapes : dict
        Name -> shape, from `modules.files.read_weights_index`.

    Raises
    ------
    BadInput
        If the parts cannot be made, or need other tensors.
    """
    made = _make(source, head, sizes, torch.device("meta"))
    expected = {k: tuple(v.shape) for k, v in made.state_dict().items()}
    if members > 1 or any(name.startswith("0.") for name in shapes):
        expected = {
            f"{i}.{name}": shape
            for i in range(members)
            for name, shape in expected.items()
        }
    for name in sorted(set(expected) | set(shapes)):
        if expected.get(name) != shapes.get(name):
            raise BadInput(
                f"{weights} does not contain the head that {source} describes "
                f"(its {name:.80} has shape {shapes.get(name)} instead of "
                f"{expected.get(name)}): make it again"
            )
    buffers = sum(buffer.numel() for buffer in made.buffers())
    values = sum(made.embedding.sizes.values())
    if buffers > _MOST_BUFFERS or values > _MOST_EMBEDDING:
        raise _wrong(source, f"an embedding would have {values} values")


def _make(source, head, sizes, device):
    """Return a head on a device, whatever its description raises."""
    try:
        with torch.device(device):
            made = build(head)(**sizes)
    except BadInput as problem:
        raise BadInput(f"{source}: {problem}") from problem
    except Exception as problem:  # of any class, for arguments of any kind
        raise _wrong(
            source, f"{type(problem).__name__}: {str(problem):.120}"
        ) from problem
    if not isinstance(made, EmotionHead):
        raise _wrong(source, f"{type(made).__name__} is not an EmotionHead")
    return made


@torch.no_grad()
def try_head(source, head, sizes: dict) -> None:
    """Classify hidden states of chance; refuse a head that cannot.

    Raises
    ------
    BadInput
        If a part fails or the answer is not finite.
    """
    pair = pair_of_sizes(sizes["num_hidden_states"])
    generator = torch.Generator().manual_seed(0)
    shapes = [(sizes["num_hidden_states"], sizes["hidden_size"])]
    if pair:
        shapes = list(zip(sizes["num_hidden_states"], sizes["hidden_size"]))
    states = [
        torch.randn(layers, 1, _FRAMES, size, generator=generator)
        for layers, size in shapes
    ]
    given: Any = states[0]
    if pair:
        frames = torch.tensor([_FRAMES])
        given = PaddedPair(states[0], states[1], (frames, frames))
    try:
        scores = head(given, torch.ones(1))
        shape = tuple(scores.shape)
        finite = bool(torch.isfinite(scores).all())
    except Exception as problem:  # of any class, for parts of any kind
        raise _wrong(
            source, f"its parts do not fit: {str(problem):.120}"
        ) from problem
    if shape != (1, sizes["num_classes"]):
        raise _wrong(source, f"its answer has the shape {shape}")
    if not finite:
        raise _wrong(source, "its weights give answers that are not finite")


def _wrong(source, reason):
    """Return the sentence for a description that no head can be made of."""
    reason = " ".join(reason.split())
    return BadInput(
        f"{source} does not describe a model of this recipe ({reason}): make "
        "it again with this version, or do not use it"
    )
