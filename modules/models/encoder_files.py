"""The files of an encoder: finding them, and what may stand in them.

Anyone can publish a folder in HuggingFace format. Before transformers reads
one, everything in it that would run code, fetch something else or take more
memory than its weights is refused.
"""

import hashlib
import json
import os
import pathlib
import re
import stat

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from modules.errors import BadInput
from modules.files import MOST_WEIGHTS, find_folder, read_weights_index
from modules.models.encoder_config import check_values, read_values

# Goes into the digest of an encoder: raise it when the code that computes
# hidden states changes what comes out for the same weights.
FEATURES_VERSION = 2

_WEIGHTS = ("*.safetensors", "*.bin")
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json")

# The largest speech encoders stay far below.
_MOST_ENTRIES = 10_000


def locate_encoder(encoder_hub, revision=None):
    """Return the local folder of an encoder, downloading it if need be.

    Arguments
    ---------
    encoder_hub : str
        A local folder in HuggingFace format, or a name on the Hub.
    revision : str
        Branch, tag or commit on the Hub; its main branch by default.

    Returns
    -------
    folder : pathlib.Path
        Contains config.json, preprocessor_config.json and the weights.

    Raises
    ------
    BadInput
        If there is no such folder and the Hub cannot deliver it, if a file
        is missing in it, or if a file in it could run code.
    """
    folder = find_folder(encoder_hub)
    if folder is None:
        folder = _download(str(encoder_hub), revision)
    for needed in (("config.json",), ("preprocessor_config.json",), _WEIGHTS):
        if not any(any(folder.glob(pattern)) for pattern in needed):
            raise BadInput(
                f"encoder folder {folder} contains no {' or '.join(needed)}: "
                "encoder_hub must name a complete model in HuggingFace format"
            )
    check_files(folder)
    return folder


def _download(encoder_hub, revision):
    """Fetch config and weights; safetensors where the Hub has them."""
    small = ["config.json", "preprocessor_config.json"]
    # Not "*.safetensors": some repositories keep other precisions beside.
    safe = ["model.safetensors", "model-*.safetensors", "*.index.json"]
    if looks_like_path(encoder_hub):
        raise BadInput(
            f"encoder '{encoder_hub}' is neither a folder here nor a name on "
            "the Hub: give a folder in HuggingFace format, or a name such as "
            "microsoft/wavlm-large"
        )
    try:
        folder = pathlib.Path(
            snapshot_download(
                encoder_hub, revision=revision, allow_patterns=small + safe
            )
        )
        if not any(folder.glob("*.safetensors")):
            snapshot_download(
                encoder_hub,
                revision=revision,
                allow_patterns=["pytorch_model*.bin", "*.index.json"],
            )
        return folder
    except (LocalEntryNotFoundError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"encoder '{encoder_hub}' is neither a folder here nor to be had "
            "from the HuggingFace Hub: check the name, or the network, or "
            f"give a local folder with --encoder_hub ({type(problem).__name__})"
        ) from problem


def looks_like_path(name):
    """Return whether a text cannot be a name on the Hub.

    Example
    -------
    >>> looks_like_path("./wavlm"), looks_like_path("microsoft/wavlm-large")
    (True, False)
    """
    return not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name, re.ASCII)


def check_files(folder):
    """Refuse what could run code or hang among the files of an encoder.

    Raises
    ------
    BadInput
        Naming the file.
    """
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= _MOST_ENTRIES:
                raise BadInput(
                    f"encoder folder {folder} has more than {_MOST_ENTRIES} "
                    "files: give a folder that contains the encoder alone"
                )
            _check_entry(folder, entry)
    for pattern in ("*.index.json",):
        for path in folder.glob(pattern):
            _check_index(path)
    for name in _CONFIGS:
        if os.path.lexists(folder / name):
            check_values(folder / name, read_values(folder / name))


def _check_entry(folder, entry):
    """Refuse a file that is code, names another model or is no file."""
    if entry.name.endswith((".py", ".pyc", ".so")):
        raise BadInput(
            f"encoder folder {folder} contains code ({entry.name}), which is "
            "never run: delete it if the encoder works without"
        )
    if entry.name == "adapter_config.json":
        raise BadInput(
            f"encoder folder {folder} contains an adapter to another model "
            "(adapter_config.json): merge the two and give the result"
        )
    expected = entry.name.endswith((".json", ".safetensors", ".bin"))
    try:
        status = entry.stat()
    except OSError as problem:
        if not expected:
            return
        raise BadInput(
            f"{folder / entry.name} cannot be read ({problem.strerror}): copy "
            "the encoder again"
        ) from problem
    regular = stat.S_ISREG(status.st_mode)
    if not regular and (expected or not stat.S_ISDIR(status.st_mode)):
        raise BadInput(
            f"{folder / entry.name} is not a regular file: copy the encoder "
            "again"
        )
    if expected and status.st_size > MOST_WEIGHTS:
        raise BadInput(
            f"{folder / entry.name} has {status.st_size / 1e9:.0f} GB, more "
            f"than {MOST_WEIGHTS / 1e9:.0f}: give a smaller encoder"
        )
    if entry.name.endswith(".safetensors"):
        try:
            read_weights_index(folder / entry.name)
        except (OSError, ValueError) as problem:
            raise BadInput(
                f"{folder / entry.name} is damaged ({problem}): download the "
                "encoder again"
            ) from problem


def _check_index(path):
    """Refuse an index of weights that names files elsewhere."""
    places = read_values(path).get("weight_map")
    if not isinstance(places, dict):
        raise BadInput(f"{path} has no weight_map: download the model again")
    for name in places.values():
        if not isinstance(name, str) or os.path.basename(name) != name:
            raise BadInput(
                f"{path} names a file outside of its folder ({name!r:.60}): "
                "do not use this encoder"
            )


def weights_bytes(folder):
    """Return the size of all weights in a folder."""
    return sum(
        path.stat().st_size
        for pattern in _WEIGHTS
        for path in pathlib.Path(folder).glob(pattern)
    )


def encoder_digest(folder, precision="fp32", window=None):
    """Identify everything that decides what an encoder returns.

    Arguments
    ---------
    folder : pathlib.Path
        See `locate_encoder`.
    precision : str
        A key of `modules.models.encoder.PRECISIONS`.
    window : int or str
        Of Whisper, see `modules.models.whisper_window`; None for others.

    Returns
    -------
    digest : str
        SHA-256 over configuration, input normalisation, weights, precision,
        window and the version of the arithmetic.
    """
    what = f"{FEATURES_VERSION} {precision}"
    if window is not None:
        what += f" window {window}"
    digest = hashlib.sha256(what.encode())
    for name in ("config.json", "preprocessor_config.json"):
        content = read_values(folder / name)
        digest.update(json.dumps(content, sort_keys=True).encode())
    for pattern in _WEIGHTS:
        for path in sorted(folder.glob(pattern)):
            digest.update(_file_digest(path))
    return digest.hexdigest()


def _file_digest(path):
    """Return the SHA-256 of a file; hashlib.file_digest needs Python 3.11."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.digest()
