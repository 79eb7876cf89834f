"""The values of an encoder's weights, whatever precision they are stored in.

`modules.models.encoder_files.encoder_digest` identifies files; here a file in
float32 and its copy in float16 are one encoder.
"""

import hashlib
import os
import pathlib

import torch
from safetensors import safe_open

from modules.errors import BadInput

# Of Whisper: a formula, which some files have in another rounding.
_COMPUTED = "embed_positions.weight"


def values_digests(folder: str | os.PathLike) -> tuple[str, str]:
    """Identify the weights of an encoder, with and without rounding.

    Arguments
    ---------
    folder : str or pathlib.Path
        In HuggingFace format, with safetensors; a decoder is left out.

    Returns
    -------
    rounded : str
        SHA-256 over name, shape and values of every tensor, rounded to
        float16: the same for a file and its copy in float16.
    unrounded : str
        The same of the values as they are, in whatever precision they are
        stored.

    Raises
    ------
    BadInput
        If there are no safetensors.
    """
    paths = sorted(pathlib.Path(folder).glob("*.safetensors"))
    if not paths:
        raise BadInput(
            f"{folder} has no *.safetensors, by whose values an encoder is "
            "recognised: give the encoder in that format"
        )
    rounded, unrounded = hashlib.sha256(), hashlib.sha256()
    for name, path, key in sorted(_tensors(paths)):
        with safe_open(path, framework="pt") as file:
            values = file.get_tensor(key).contiguous()
        # Where float16 has no such value it is infinite, also in a copy.
        for digest, precision in (
            (rounded, torch.float16),
            (unrounded, torch.float32),
        ):
            digest.update(f"{name} {tuple(values.shape)}\n".encode())
            digest.update(values.to(precision).numpy().tobytes())
    return rounded.hexdigest(), unrounded.hexdigest()


def _tensors(paths):
    """Give (name without prefix, path, key) of an encoder's tensors."""
    for path in paths:
        with safe_open(path, framework="pt") as file:
            keys = list(file.keys())
        for key in keys:
            name = key.removeprefix("model.")
            is_decoder = name.startswith(("decoder.", "proj_out."))
            if not is_decoder and not name.endswith(_COMPUTED):
                yield name, str(path), key
