"""What the plain values of a hyperparameter file may be."""

import math
from collections.abc import Callable
from typing import Any

import torch

from modules.audio import CHANNEL_CHOICES
from modules.errors import BadInput
from modules.models.encoder import PRECISIONS
from modules.models.upstream import is_code, upstream_names
from modules.models.whisper_window import FIT
from modules.training.targets import BALANCED
from modules.training.train_loggers import LOGGERS

# No setting of this recipe needs more; memory and time would.
_MOST = 10**6


def whole(low: int, high: int = _MOST) -> tuple[Callable, str]:
    """Return the check of a whole number and its description."""

    def check(value):
        return type(value) is int and low <= value <= high

    return check, f"a whole number from {low} to {high}"


def number(low: float, high: float = 1e9) -> tuple[Callable, str]:
    """Return the check of a number in (low, high]."""

    def check(value):
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        return fine and math.isfinite(value) and low < value <= high

    return check, f"a number above {low:g}, at most {high:g}"


def share() -> tuple[Callable, str]:
    """Return the check of a number in [0, 1)."""

    def check(value):
        fine = isinstance(value, int | float) and not isinstance(value, bool)
        return fine and 0 <= value < 1

    return check, "a number from 0 to below 1"


def one_of(*names: str) -> tuple[Callable, str]:
    """Return the check of a choice."""
    return lambda value: value in names, f"one of {', '.join(names)}"


def text() -> tuple[Callable, str]:
    """Return the check of a text that is not empty."""
    return lambda value: isinstance(value, str) and value != "", "a text"


def boolean() -> tuple[Callable, str]:
    """Return the check of true or false."""
    return lambda value: isinstance(value, bool), "true or false"


def device() -> tuple[Callable, str]:
    """Return the check of a device that exists on this machine."""

    def check(value):
        try:
            found = torch.device(value)
            torch.empty(0, device=found)
        except (RuntimeError, AssertionError, TypeError):
            return False
        return found.type in ("cpu", "cuda", "mps", "xpu")

    return check, "a device of this machine, such as cpu or cuda:0"


def or_null(kind: tuple[Callable, str]) -> tuple[Callable, str]:
    """Return the check of a kind that may be null."""
    check, words = kind
    return lambda value: value is None or check(value), f"{words}, or null"


CHECKS = {
    "seed": whole(0, 2**31 - 1),
    "number_of_folds": whole(1, 1000),
    "test_fold": whole(1, 1000),
    "columns": or_null(text()),
    "classes": or_null(text()),
    "part": or_null(text()),
    "dev_split": one_of("random", "speaker"),
    "channel": one_of(*CHANNEL_CHOICES),
    "encoder_hub": text(),
    "acoustics": or_null(text()),
    "encoder_revision": or_null(text()),
    "encoder_precision": one_of("auto", *PRECISIONS),
    "encode_seconds": or_null(number(0, 1e5)),
    "cache_format": one_of("float16", "bfloat16", "float32", "int8"),
    "cache_device": or_null(device()),
    "normalize_layers": boolean(),
    "projection_size": whole(1, 10**5),
    "attention_heads": whole(1, 10**4),
    "ecapa_channels": (
        lambda value: type(value) is int
        and 8 <= value <= 10**4
        and not value % 8,
        "a multiple of 8, at most 10000",
    ),
    "channel_dropout": share(),
    "correlated_layer": or_null(whole(0, 1000)),
    "number_of_epochs": whole(1),
    "batch_size": whole(1),
    "lr": number(0),
    "encoder_lr": number(0),
    "layer_lr": number(0),
    "warm_up": share(),
    "weight_decay": share(),
    "attention_temperature": number(0),
    "max_grad_norm": number(0),
    "average_checkpoints": whole(1),
    "train_logger": or_null(one_of(*LOGGERS)),
    "label_smoothing": share(),
    "soft_labels": or_null(text()),
    "class_weights": or_null(one_of(BALANCED)),
    "train_on_dev": boolean(),
    "speaker_normalization": (
        lambda value: isinstance(value, bool) or value == "auto",
        "true, false or auto",
    ),
    "C": or_null(number(0, 1e12)),
    "layers_used": one_of("last", "all"),
    "layerdrop": share(),
    "mask_time": share(),
    "mask_channels": share(),
    "gradient_checkpointing": boolean(),
    "whisper_window": (
        lambda value: value in (None, FIT)
        or (type(value) is int and 1 <= value <= 30),
        "fit, or seconds from 1 to 30, or null",
    ),
}


def check_settings(values: dict[str, Any]) -> None:
    """Refuse settings out of range, before any work starts.

    Arguments
    ---------
    values : dict
        Plain values of a hyperparameter file; other keys are left alone.

    Raises
    ------
    BadInput
        Naming the key and what it may be.
    """
    for key, (check, words) in CHECKS.items():
        if key in values and not check(values[key]):
            raise BadInput(f"{key} must be {words}, not {values[key]}")
    folds, fold = values.get("number_of_folds"), values.get("test_fold", 1)
    if folds is not None and fold > folds:
        raise BadInput(
            f"test_fold {fold} does not exist: choose one of 1 to {folds}"
        )
    epochs = values.get("number_of_epochs")
    averaged = values.get("average_checkpoints", 1)
    if epochs is not None and averaged > epochs:
        raise BadInput(
            f"average_checkpoints {averaged} needs as many epochs and "
            f"number_of_epochs is {epochs}: train longer or average fewer"
        )
    if "encoder_hub" in values:
        names = upstream_names(values["encoder_hub"])
        code = is_code(names[0])
        if "encoder_lr" in values and (len(names) > 1 or code):
            raise BadInput(
                f"encoder_hub {values['encoder_hub']} cannot be fine-tuned: "
                "give one pretrained encoder"
            )
