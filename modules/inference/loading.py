"""Loading an exported model without executing anything of its folder."""

import pathlib

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from speechbrain.dataio.encoder import CategoricalEncoder

from modules.errors import BadInput
from modules.inference.speechbrain_interface import (
    ENCODER_FOLDER,
    LABELS,
    WEIGHTS,
    EmotionModel,
)

MODEL_KEYS = (
    "encoder_hub",
    "encoder_revision",
    "encoder_files",
    "whisper_window",
    "members",
    "head",
    "sizes",
)


class _PlainLoader(yaml.SafeLoader):
    """Reads the plain values of a HyperPyYAML file and runs nothing."""


_PlainLoader.add_multi_constructor("!", lambda loader, suffix, node: None)


def locate_model(source):
    """Return the local folder of a model, downloading it if need be."""
    folder = pathlib.Path(source).expanduser()
    if folder.is_dir():
        return folder
    try:
        return pathlib.Path(
            snapshot_download(
                source,
                allow_patterns=[
                    "hyperparams.yaml",
                    WEIGHTS,
                    LABELS,
                    f"{ENCODER_FOLDER}/*.json",
                    f"{ENCODER_FOLDER}/*.safetensors",
                ],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"model '{source}' is neither a folder here nor to be had from "
            "the HuggingFace Hub: check the name or the network "
            f"({type(problem).__name__})"
        ) from problem


def load_model(source, device="cpu"):
    """Load an exported model without executing anything of its folder.

    Arguments
    ---------
    source : str
        A folder that export.py wrote, or the name of one on the Hub.
    device : str
        Where it works.

    Returns
    -------
    model : custom_interface.EmotionModel
        In evaluation mode.
    labels : list of str
        Names of the classes.

    Raises
    ------
    BadInput
        If something is missing in the folder.
    """
    folder = locate_model(source)
    try:
        text = (folder / "hyperparams.yaml").read_text(encoding="utf-8")
        values = yaml.load(text, Loader=_PlainLoader)
        model = EmotionModel(**{key: values[key] for key in MODEL_KEYS})
        encoder = CategoricalEncoder()
        encoder.load(folder / LABELS)
        labels = [encoder.ind2lab[i] for i in range(len(encoder.ind2lab))]
    except BadInput:
        raise
    except (
        OSError,
        ValueError,
        SyntaxError,
        KeyError,
        TypeError,
        yaml.YAMLError,
    ) as problem:
        raise BadInput(
            f"{folder} is not a model that export.py wrote "
            f"({type(problem).__name__} in hyperparams.yaml or {LABELS}): "
            "give the folder it made"
        ) from problem
    for name in values["encoder_files"]:
        if pathlib.PurePath(name).name != name:
            raise BadInput(f"{folder} names a file outside of it: {name}")
    model.load(lambda name: folder / name)
    return model.to(device), labels
