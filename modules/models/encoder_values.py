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


def values_digest(folder: str | os.PathLike) -> str:
    """Identify the weights of an encoder, rounded to float16.

    Arguments
    ---------
    folder : str or pathlib.Path
        In HuggingFace format, with safetensors; a decoder is left out.

    Returns
    -------
    str
        SHA-256 over name, shape and rounded values of every tensor.

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
    digest = hashlib.sha256()
    for name, path, key in sorted(_tensors(paths)):
        with safe_open(path, framework="pt") as file:
            # Where float16 has no such value it is infinite, also in a copy.
            values = file.get_tensor(key).to(torch.float16).contiguous()
        digest.update(f"{name} {tuple(values.shape)}\n".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


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
