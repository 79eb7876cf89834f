"""A hyperparameter file and the command line become objects.

The file is HyperPyYAML. Its plain values and those of the command line are
checked before anything that the file names is executed.
"""

import contextlib
import io
import math
import pathlib
import re
from typing import Any

import torch
import yaml
from hyperpyyaml import load_hyperpyyaml, resolve_references
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from speechbrain.utils.distributed import infer_device
from speechbrain.utils.run_opts import RunOptions

from modules.errors import BadInput
from modules.models.graph import build
from modules.training.command_line import (
    OBJECT,
    Loader,
    TagLoader,
    check_keys,
    read_defaults,
)
from modules.training.settings import CHECKS, check_settings, device

_PLACES = ("_folder", "_file")


def load_configuration(arguments: list[str]) -> tuple[dict, RunOptions]:
    """Read a hyperparameter file and the command line.

    Arguments
    ---------
    arguments : list of str
        ``[file, --key=value, ...]`` with SpeechBrain's run options among them.

    Returns
    -------
    hparams : dict
        From HyperPyYAML, checked; with ``hparams_file`` and ``overrides``.
    run_opts : speechbrain.utils.run_opts.RunOptions
        SpeechBrain's run options.

    Raises
    ------
    BadInput
        If the file cannot be read, or a key is unknown, missing, given twice
        or out of range.
    """
    check_keys(arguments)
    path, *rest = arguments
    defaults = read_defaults(path)
    overrides, others = _split_options(rest, defaults, path)
    run_opts = _read_run_options(path, others)
    for key, value in defaults.items():
        if value == "PLACEHOLDER" and key not in overrides:
            raise BadInput(f"{path} needs --{key}")
    text = pathlib.Path(path).read_text(encoding="utf-8")
    resolved = resolve_references(text, overrides, overrides_must_match=True)
    values = yaml.load(resolved, Loader=TagLoader)
    check_settings(values)
    used = _check_device(run_opts["device"] or infer_device())
    if values.get("encoder_precision") == "auto":
        fast = used.type == "cuda" and torch.cuda.is_bf16_supported()
        overrides["encoder_precision"] = "bf16" if fast else "fp32"
    hparams = load_hyperpyyaml(text, overrides)
    hparams["hparams_file"] = path
    hparams["overrides"] = overrides
    return hparams, run_opts


def choose(key: str, choice: str | dict, choices: dict) -> Any:
    """Return one of the parts that a hyperparameter file offers.

    Arguments
    ---------
    key : str
        Key of the hyperparameter file, for the message.
    choice : str or dict
        Name of one of ``choices``; or a part of one's own, its ``class`` and
        its arguments, as `modules.models.graph.describe` writes them; also as
        text, ``"{class: path.of.Class, argument: value}"``.
    choices : dict
        Name -> part.

    Raises
    ------
    BadInput
        If there is no such choice.

    Example
    -------
    >>> choose("pooling", "mean", {"mean": 1, "corr": 2})
    1
    """
    if isinstance(choice, str) and choice.lstrip().startswith("{"):
        choice = _read_part(key, choice)
    if isinstance(choice, dict) and "class" in choice:
        return build(dict(choice))
    if not isinstance(choice, str) or choice not in choices:
        raise BadInput(
            f"{key} '{choice}' is unknown: choose one of {', '.join(choices)}"
        )
    return choices[choice]


def plain_values(hparams: dict) -> dict[str, Any]:
    """Return the settings among hyperparameters: their plain values."""
    left_out = ("hparams_file", "overrides")
    return {
        key: value
        for key, value in hparams.items()
        if key not in left_out and _is_plain(value)
    }


def _is_plain(value):
    if isinstance(value, dict):
        return all(_is_plain(part) for part in value.values())
    if isinstance(value, list):
        return all(_is_plain(part) for part in value)
    return isinstance(value, str | int | float | None)


def _split_options(arguments, defaults, path):
    """Return overrides of the file's keys, and all other arguments."""
    overrides, others = {}, []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        key, equals, value = argument[2:].partition("=")
        own = key in defaults and not key.startswith("__")
        if not argument.startswith("--") or not own:
            others.append(argument)
            continue
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise BadInput(f"--{key} has no value: give --{key}=value")
            value = waiting.pop(0)
        if key in overrides:
            raise BadInput(f"--{key} is given twice: give it once")
        overrides[key] = _read_value(key, value, defaults, path)
    return overrides, others


def _read_value(key, text, defaults, path):
    """Read a value of the command line as the kind that the file has."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as problem:
        raise BadInput(
            f"--{key} is not UTF-8 text: rename what it names"
        ) from problem
    if "\0" in text:
        raise BadInput(f"--{key} contains a null character: rename it")
    if not text.strip():
        raise BadInput(f"--{key} is empty: give a value or leave it out")
    default = defaults[key]
    if default is OBJECT or isinstance(default, dict | list):
        raise BadInput(f"--{key} is an object of {path}: change it in a copy")
    if default is None or isinstance(default, str) or key.endswith(_PLACES):
        return _read_text(key, text, default)
    name, read = {
        bool: ("true or false", {"true": True, "false": False}.get),
        int: ("a whole number", _integer),
        float: ("a number", _number),
    }[type(default)]
    value = read(text)
    check, words = CHECKS.get(key, (lambda value: False, name))
    if value is None and check(text):  # such as "auto" beside true and false
        return DoubleQuotedScalarString(text)
    if value is None:
        name = words if isinstance(default, bool) else name
        raise BadInput(f"--{key} must be {name}, not {text}")
    return value


def _integer(text):
    return int(text) if re.fullmatch(r"[+-]?\d{1,18}", text.strip()) else None


def _number(text):
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_text(key, text, default):
    """Read a text; null or a number where the key's check accepts it."""
    # Quoted, or HyperPyYAML would read "(a)" as a tuple.
    quoted = DoubleQuotedScalarString(text)
    if key.endswith(_PLACES):
        return quoted
    check, _ = CHECKS.get(key, (lambda value: False, ""))
    if text == "null" and (default is None or check(None)):
        return None
    for value in (_integer(text), _number(text)):
        if value is not None and check(value):
            return value
    return quoted


def _read_part(key, text):
    """Read ``{class: ..., argument: value}``."""
    try:
        part = yaml.load(text, Loader=Loader)
    except yaml.YAMLError as problem:
        raise BadInput(
            f"--{key} is not a mapping in YAML: give a name, or "
            "'{class: path.of.Class, argument: value}'"
        ) from problem
    if not isinstance(part, dict) or "class" not in part:
        raise BadInput(
            f"--{key} names no class: give a name, or "
            "'{class: path.of.Class, argument: value}'"
        )
    return part


def _read_run_options(path, others):
    """Return SpeechBrain's run options."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            _, run_opts, left = RunOptions.from_command_line_args(
                [path, *others]
            )
    except (ValueError, SystemExit) as problem:
        if getattr(problem, "code", 2) == 0:
            raise  # --help
        # Of argparse the last line alone, which follows the usage.
        words = errors.getvalue().rpartition("error: ")[2].strip()
        raise BadInput(
            f"command line: {words or problem}; give --key=value after the "
            "hyperparameter file"
        ) from problem
    if left:
        raise BadInput(
            f"command line: {' '.join(others)} is not understood; give "
            "--key=value after the hyperparameter file"
        )
    return run_opts


def _check_device(name):
    """Return a device that exists here."""
    check, words = device()
    if not check(name):
        raise BadInput(f"--device must be {words}, not {name}")
    return torch.device(name)
