"""Weights that go into a model's folder: those of heads and of an encoder."""

import torch
from safetensors.torch import save_file

from modules.models.encoder_values import values_digests


def digest_values(upstream):
    """Return what identifies an encoder, if it has files; else (None, None).

    See `modules.models.encoder_values.values_digests`.
    """
    folder = upstream.folder
    if folder is None or not any(folder.glob("*.safetensors")):
        return None, None
    return values_digests(folder)


def head_weights(runs, half_precision):
    """Return the weights of all heads.

    Arguments
    ---------
    runs : list of Run
        One for each head.
    half_precision : bool
        In float16; a tensor with values that float16 does not have stays as
        it is.

    Returns
    -------
    dict
        Name -> tensor.
    """
    weights = {
        f"{i}.{key}": value.contiguous()
        for i, run in enumerate(runs)
        for key, value in run.weights().items()
    }
    if not half_precision:
        return weights
    return {key: _in_half(value) for key, value in weights.items()}


def _in_half(value):
    """Return values in float16; as they are if it has no such numbers."""
    if not value.is_floating_point():
        return value
    half = value.half()
    lost = ~half.isfinite() | ((half == 0) != (value == 0))
    return value if lost.any() else half


def encoder_contents(folder):
    """Return what of an encoder goes into the model's folder.

    Weights in another format are converted to safetensors.

    Returns
    -------
    files : dict
        Name -> path to copy, or list of paths to convert.
    """
    names = ["config.json", "preprocessor_config.json"]
    files = {name: folder / name for name in names}
    safe = sorted(folder.glob("model*.safetensors"))
    if safe:
        index = folder.glob("model.safetensors.index.json")
        return files | {path.name: path for path in [*safe, *index]}
    return files | {"model.safetensors": sorted(folder.glob("*.bin"))}


def convert(paths, target):
    """Write PyTorch weights as safetensors."""
    weights = {}
    for path in paths:
        weights |= torch.load(path, map_location="cpu", weights_only=True)
    # Each its own memory: safetensors refuses tensors that share theirs.
    weights = {k: v.clone().contiguous() for k, v in weights.items()}
    save_file(weights, target, metadata={"format": "pt"})
