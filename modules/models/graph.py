"""The object graph of a model as plain values, and back.

A hyperparameter file describes a model by ``!name:`` parts, which HyperPyYAML
turns into `functools.partial` objects. `describe` writes such a tree as plain
values, the form in which a run records the model that it trained; `build`
makes the parts again. A description names classes and can come from anyone,
so that only modules of this recipe and a few of PyTorch's are imported.
"""

import functools
import importlib
import re
from typing import Any

import torch

from modules.errors import BadInput

# Class path -> class. The code of an exported model fills it with the classes
# that lie in the same file, so that nothing of this recipe is imported there.
PACKAGED = {}

# Encoders are no part of a head: making one would fetch what it names.
_OWN = re.compile(
    r"(modules\.models\.(?!encoder|trainable_encoder|upstream)"
    r"|recipes\.)(\w+\.)*\w+"
)
_MOST_PATH = 200
_TORCH = ("torch.nn.Linear", "torch.nn.modules.linear.Linear")
_PARTS = (torch.nn.Module, torch.optim.Optimizer)
_PLAIN = str | int | float | bool | None


def describe(part: Any) -> Any:
    """Return a tree of parts as plain values.

    Arguments
    ---------
    part : functools.partial, type, list, dict or plain value
        From a hyperparameter file; or an object whose ``description()``
        returns what this function would.

    Returns
    -------
    description : dict, list or plain value
        A part is a dict with its ``class`` and its arguments.

    Raises
    ------
    BadInput
        If an argument is neither a part nor a plain value: such a model
        cannot be built again.

    Example
    -------
    >>> describe(functools.partial(torch.nn.Linear, out_features=3))
    {'class': 'torch.nn.modules.linear.Linear', 'out_features': 3}
    """
    if isinstance(part, functools.partial):
        if part.args:
            raise BadInput(
                f"{part.func.__qualname__} has arguments without names: name "
                "them in the hyperparameter file"
            )
        return describe(part.func) | {
            key: describe(value) for key, value in part.keywords.items()
        }
    if isinstance(part, type):
        return {"class": f"{part.__module__}.{part.__qualname__}"}
    if isinstance(part, list | tuple):
        return [describe(value) for value in part]
    if isinstance(part, dict):
        return {key: describe(value) for key, value in part.items()}
    if isinstance(part, _PLAIN):
        return part
    if hasattr(part, "description"):
        return part.description()
    raise BadInput(
        f"{type(part).__name__} is neither a part of a model nor a plain "
        "value: give it to the model by !name: and plain arguments"
    )


def build(description: Any) -> Any:
    """Return the parts of a description; the inverse of `describe`.

    Arguments
    ---------
    description : dict, list or plain value
        From `describe`.

    Raises
    ------
    BadInput
        If it names a class that is not a module of this recipe.

    Example
    -------
    >>> make = build({"class": "torch.nn.Linear", "out_features": 3})
    >>> make(in_features=2)
    Linear(in_features=2, out_features=3, bias=True)
    """
    if isinstance(description, list):
        return [build(value) for value in description]
    if not isinstance(description, dict):
        return description
    arguments = {
        key: build(value)
        for key, value in description.items()
        if key != "class"
    }
    if "class" not in description:
        return arguments
    return functools.partial(find_class(description["class"]), **arguments)


def is_own_class(path: Any) -> bool:
    """Return whether a text is the path of a class of this recipe.

    Example
    -------
    >>> is_own_class("modules.models.fbank.FbankEncoder")
    True
    """
    short = isinstance(path, str) and len(path) <= _MOST_PATH
    return short and _OWN.fullmatch(path) is not None


def find_class(path: str) -> Any:
    """Return the class of a path such as ``torch.nn.Linear``.

    Raises
    ------
    BadInput
        If it is not a module of this recipe or one of PyTorch's that it uses.
    """
    if isinstance(path, str) and path in PACKAGED:
        return PACKAGED[path]
    if not is_own_class(path) and path not in _TORCH:
        raise BadInput(
            f"{path!r:.80} is not a part of this recipe: a model names classes "
            "of modules.models or recipes"
        )
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as problem:
        raise BadInput(
            f"{path} does not exist here: the model was made by another "
            "version of this recipe"
        ) from problem
    if not (isinstance(found, type) and issubclass(found, _PARTS)):
        raise BadInput(
            f"{path} is not a torch.nn.Module: a model names classes of modules"
        )
    return found


def classes(description: Any) -> list[str]:
    """Return the class paths in a description, each once."""
    if isinstance(description, list):
        values, own = description, []
    elif isinstance(description, dict):
        values = list(description.values())
        own = [description["class"]] if "class" in description else []
    else:
        return []
    for value in values:
        own += classes(value)
    return list(dict.fromkeys(own))
