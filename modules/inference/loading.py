"""Loading an exported model without executing anything of its folder."""

import os
import pathlib
import re
import stat

import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from modules.audio import CHANNEL_CHOICES
from modules.errors import BadInput
from modules.files import find_folder, read_text, read_weights_index
from modules.inference.confidence import CONFIDENCE
from modules.inference.emotion_model import (
    ENCODER_FOLDER,
    LABELS,
    WEIGHTS,
    EmotionModel,
)
from modules.labels import read_labels
from modules.models.encoder import FrozenEncoder, try_encoder
from modules.models.encoder_files import looks_like_path
from modules.models.head_check import check_shapes, check_values, try_head
from modules.models.upstream import replace_encoder
from modules.models.whisper_window import FIT

MODEL_KEYS = (
    "encoder_hub",
    "encoder_revision",
    "encoder_files",
    "whisper_window",
    "members",
    "head",
    "sizes",
)
HYPERPARAMS = "hyperparams.yaml"

# export.py writes 3 KB of hyperparameters and a line per label.
_MOST_HYPERPARAMS = 2**17
_MOST_NAME = 200
_ENCODER_FILE = re.compile(
    r"config\.json|preprocessor_config\.json"
    r"|model[\w.-]*\.(safetensors|safetensors\.index\.json)"
)


class _PlainLoader(yaml.SafeLoader):
    """Reads the plain values of a HyperPyYAML file and runs nothing."""

    def compose_node(self, parent, index):
        """Refuse references to other nodes: a few lines of them are a bomb."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it contains an alias")
        return super().compose_node(parent, index)


_PlainLoader.add_multi_constructor("!", lambda loader, suffix, node: None)


def locate_model(source, *more):
    """Return the local folder of a model, downloading it if need be.

    ``more`` are patterns of names that are needed beside the usual files.
    """
    folder = find_folder(source)
    if folder is not None:
        return folder
    if looks_like_path(str(source)):
        raise BadInput(
            f"model '{source}' is neither a folder here nor a name on the Hub: "
            "give a folder that export.py wrote, or a name such as user/model"
        )
    try:
        return pathlib.Path(
            snapshot_download(
                source,
                allow_patterns=[
                    HYPERPARAMS,
                    WEIGHTS,
                    LABELS,
                    CONFIDENCE,
                    f"{ENCODER_FOLDER}/*.json",
                    f"{ENCODER_FOLDER}/*.safetensors",
                    *more,
                ],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, OSError) as problem:
        raise BadInput(
            f"model '{source}' is neither a folder here nor to be had from "
            "the HuggingFace Hub: check the name or the network "
            f"({type(problem).__name__})"
        ) from problem


def load_model(source, device="cpu", encoder_hub=None):
    """Load an exported model without executing anything of its folder.

    Arguments
    ---------
    source : str
        A folder that export.py wrote, or the name of one on the Hub.
    device : str
        Where it works.
    encoder_hub : str
        Folder or name of the model's encoder, in place of the one that the
        model names; it must be the same encoder.

    Returns
    -------
    model : custom_interface.EmotionModel
        In evaluation mode.
    labels : list of str
        Names of the classes.

    Raises
    ------
    BadInput
        If something is missing in the folder, is damaged, or would run code
        or take more memory than the weights in it.
    """
    folder = locate_model(source)
    _check_folder(folder)
    values = read_values(folder)
    if encoder_hub is not None:
        values |= {
            "encoder_hub": replace_encoder(
                values["encoder_hub"], str(encoder_hub)
            ),
            "encoder_revision": None,
            "encoder_files": [],
        }
    source = folder / HYPERPARAMS
    head, sizes = values["head"], values["sizes"]
    check_values(source, head, sizes, values["members"])
    labels = read_labels(folder / LABELS, sizes["num_classes"])
    weights = folder / WEIGHTS
    try:
        shapes = read_weights_index(weights)
    except (OSError, ValueError) as problem:
        raise BadInput(
            f"{weights} is missing or damaged ({_first(problem)}): export the "
            "model again"
        ) from problem
    check_shapes(source, weights, head, sizes, shapes, values["members"])
    model = EmotionModel(**values)
    model.adapted_to = _read_adapted_to(folder)
    model.load(lambda name: folder / name)
    for part in model.encoder.modules():
        if isinstance(part, FrozenEncoder):
            try_encoder(part)
    for member in model.heads:
        try_head(source, member, sizes)
    return model.to(device), labels


def _check_folder(folder):
    """Refuse files of a model that lie outside of its folder or are none."""
    root = folder.resolve()
    # The Hub's cache links to ../../blobs.
    inside = [root, root.parent.parent / "blobs"]
    if root.parent.name != "snapshots":
        inside = [root]
    encoder = folder / ENCODER_FOLDER
    paths = [folder / name for name in (HYPERPARAMS, WEIGHTS, LABELS)]
    if (folder / CONFIDENCE).exists():
        paths.append(folder / CONFIDENCE)
    if encoder.is_dir():
        paths += [encoder, *encoder.iterdir()]
    for path in paths:
        try:
            place, mode = path.resolve(strict=True), path.stat().st_mode
        except (OSError, RuntimeError) as problem:
            raise BadInput(
                f"{folder} is not a model that export.py wrote ({path.name} "
                "is missing or cannot be read): give the folder it made"
            ) from problem
        if not any(place.is_relative_to(parent) for parent in inside):
            raise BadInput(
                f"{path} is a link out of the model's folder: copy the file "
                "itself there if you trust it"
            )
        if not stat.S_ISREG(mode) and path != encoder:
            raise BadInput(
                f"{path} is not a regular file: export the model again"
            )


def read_values(folder):
    """Return the plain values of hyperparams.yaml that make a model.

    Arguments
    ---------
    folder : pathlib.Path
        Of the model.

    Raises
    ------
    BadInput
        If they are missing or of other kinds.
    """
    path = folder / HYPERPARAMS
    try:
        values = yaml.load(
            read_text(path, _MOST_HYPERPARAMS), Loader=_PlainLoader
        )
        # Models of before have no channel and no digest.
        channel = values.get("channel", CHANNEL_CHOICES[0])
        digests = {
            key: values.get(key)
            for key in ("encoder_values", "encoder_unrounded")
        }
        values = {key: values[key] for key in MODEL_KEYS} | {"channel": channel}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        yaml.YAMLError,
    ) as problem:
        raise BadInput(
            f"{folder} is not a model that export.py wrote ({HYPERPARAMS}: "
            f"{_first(problem)}): give the folder it made"
        ) from problem
    hub, revision = values["encoder_hub"], values["encoder_revision"]
    if not _is_name(hub) or not (revision is None or _is_name(revision)):
        raise BadInput(
            f"{path} names no encoder (encoder_hub {hub!r:.60}): export the "
            "model again"
        )
    window = values["whisper_window"]
    if not (window is None or window == FIT or type(window) is int):
        raise BadInput(
            f"{path} has whisper_window {window!r:.60}: export the model again"
        )
    if channel not in CHANNEL_CHOICES:
        raise BadInput(
            f"{path} has channel {channel!r:.60}: export the model again"
        )
    _check_encoder_files(folder, values["encoder_files"])
    for key, digest in digests.items():
        if not (digest is None or isinstance(digest, str)):
            raise BadInput(
                f"{path} has {key} {digest!r:.60}: export the model again"
            )
    return values | digests


def _read_plain(folder, key):
    """Return a value beside those that make a model; None without."""
    path = folder / HYPERPARAMS
    values = yaml.load(read_text(path, _MOST_HYPERPARAMS), Loader=_PlainLoader)
    return values.get(key)


def _read_adapted_to(folder):
    """Return the number of recordings that a model is adapted to, or 0."""
    found = _read_plain(folder, "adapted_to")
    if found is not None and (type(found) is not int or found < 1):
        raise BadInput(
            f"{folder / HYPERPARAMS} has adapted_to {found!r:.60}: export the "
            "model again"
        )
    return found or 0


def check_speakers(folder, is_adapted):
    """Refuse a model of normalised speakers that is not adapted to one.

    Arguments
    ---------
    folder : pathlib.Path
        Of the model.
    is_adapted : bool
        Whether it is, or will be before it answers.

    Raises
    ------
    BadInput
        Naming the options of predict.py.
    """
    if not is_adapted and _read_plain(folder, "speaker_normalization"):
        raise BadInput(
            f"{folder} was trained on embeddings minus the mean of their "
            "speaker: give --adapt for recordings of one speaker, or --adapt "
            "--adapt_speakers and a list with speakers"
        )


def read_class_shares(folder, count):
    """Return the shares of the classes in the training of a model.

    Arguments
    ---------
    folder : pathlib.Path
        Of the model.
    count : int
        Number of classes.

    Raises
    ------
    BadInput
        If its hyperparams.yaml does not have them.
    """
    shares = _read_plain(folder, "class_shares")
    if (
        not isinstance(shares, list)
        or len(shares) != count
        or not all(type(share) is float and 0 <= share <= 1 for share in shares)
        or not sum(shares)
    ):
        raise BadInput(
            f"{folder / HYPERPARAMS} does not have the class_shares of the training, which "
            "--adapt_priors needs: export the model again, or leave it out"
        )
    return shares


def _is_name(value):
    return isinstance(value, str) and 0 < len(value) <= _MOST_NAME


def _check_encoder_files(folder, names):
    """Refuse names that are no files of an encoder in the model's folder."""
    if not isinstance(names, list) or len(names) > 1000:
        raise BadInput(
            f"{folder / HYPERPARAMS} has no list of encoder_files: export the "
            "model again"
        )
    for name in names:
        if not isinstance(name, str) or pathlib.PurePath(name).name != name:
            raise BadInput(
                f"{folder} names a file outside of it ({name!r:.60}): do not "
                "use this model"
            )
        if not _ENCODER_FILE.fullmatch(name):
            raise BadInput(
                f"{folder} names a file that is no part of an encoder "
                f"({name!r:.60}): do not use this model"
            )
        if not (folder / ENCODER_FOLDER / name).is_file():
            raise BadInput(
                f"{folder} has no {ENCODER_FOLDER}/{name}: copy the whole "
                "folder"
            )
    if not names:
        return
    for entry in sorted(os.listdir(folder / ENCODER_FOLDER)):
        if entry.endswith(".bin"):
            raise BadInput(
                f"{folder / ENCODER_FOLDER / entry} is a pickle, which "
                "export.py never writes: delete it"
            )


def _first(problem):
    """Return the class and the first line of an error."""
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text:.120}" if text else repr(problem)
