"""A model's folder: what goes into it, and writing it."""

import io
import pathlib
import shutil

import soundfile
import torch
import yaml
from safetensors.torch import save, save_file

from modules.errors import BadInput
from modules.inference.emotion_model import ENCODER_FOLDER, LABELS, WEIGHTS
from modules.inference.interface_source import self_contained_source
from modules.inference.model_card import model_card
from modules.models.encoder_values import values_digest
from modules.models.graph import classes, is_own_class
from modules.models.upstream import UpstreamPair, open_upstream, upstream_names

HYPERPARAMS = """\
# What EncoderClassifier and foreign_class build. predict.py reads the plain
# values alone; lines with an exclamation mark execute code.

sample_rate: 16000
{values}
model: !new:custom_interface.EmotionModel
{arguments}
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder

modules:
    compute_features: !new:custom_interface.ComputeFeatures
    mean_var_norm: !new:custom_interface.MeanVarNorm
    embedding_model: !new:custom_interface.EmbeddingModel
        model: !ref <model>
    classifier: !new:custom_interface.Classifier
        model: !ref <model>

pretrainer: !new:custom_interface.ModelFolder
    model: !ref <model>
    label_encoder: !ref <label_encoder>
"""


def hyperparams(
    run, members, encoder_revision, encoder_files, encoder_values=None
):
    """Return the text of hyperparams.yaml."""
    encoder_hub = run.graph["encoder"]["hub"]
    values = {
        # A folder of the machine of the training means nothing elsewhere.
        "encoder_hub": _public_name(encoder_hub)
        if encoder_files
        else encoder_hub,
        "encoder_revision": encoder_revision,
        "encoder_files": encoder_files,
        "whisper_window": run.graph["encoder"]["whisper_window"],
        "members": members,
        "head": run.graph["head"],
        "sizes": run.graph["sizes"],
        "encoder_values": encoder_values,
    }
    return HYPERPARAMS.format(
        values=yaml.safe_dump(values, sort_keys=False),
        arguments="".join(f"    {key}: !ref <{key}>\n" for key in values),
    )


def _encoder_classes(encoder_hub):
    """Return the encoder's class, if it is a class of this recipe."""
    return [name for name in upstream_names(encoder_hub) if is_own_class(name)]


def _public_name(encoder_hub):
    """Return what to call an encoder: its name on the Hub, or its folder's."""
    folder = pathlib.Path(encoder_hub).expanduser()
    return folder.name if folder.is_dir() else encoder_hub


def pinned_revision(folder, encoder_hub, revision):
    """Return the commit of an encoder that came from the Hub.

    Arguments
    ---------
    folder : pathlib.Path
        Of an upstream; None if it has none.
    encoder_hub, revision : str
        As in training.
    """
    if folder is None:
        return revision
    if folder.parent.name == "snapshots":
        return folder.name
    return None if pathlib.Path(encoder_hub).expanduser().is_dir() else revision


def _check_encoder(run, upstream):
    """Refuse an encoder that is not the one that the head was trained on."""
    precision = run.graph["encoder"]["precision"]
    if upstream.digest(precision) != run.encoder_digest:
        raise BadInput(
            f"the encoder in {upstream.folder or run.graph['encoder']['hub']} "
            f"is not the one that {run.folder} was trained on: put that one "
            "back, or train again"
        )


def _values(upstream):
    """Return what identifies an encoder in any precision, if it has files."""
    folder = upstream.folder
    if folder is None or not any(folder.glob("*.safetensors")):
        return None
    return values_digest(folder)


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


def _convert(paths, target):
    """Write PyTorch weights as safetensors."""
    weights = {}
    for path in paths:
        weights |= torch.load(path, map_location="cpu", weights_only=True)
    # Each its own memory: safetensors refuses tensors that share theirs.
    weights = {k: v.clone().contiguous() for k, v in weights.items()}
    save_file(weights, target, metadata={"format": "pt"})


def example_recording():
    """Return a wav file of synthetic speech, or None without espeak-ng."""
    try:
        # The package is optional.
        from modules.speech_synthesis import Espeak

        with Espeak() as espeak:
            sentence = "The bus leaves at seven."
            samples = espeak.speak("en-us+f2", sentence, (60, 60, 170, 70))
            rate = espeak.sample_rate
    except (ImportError, OSError, RuntimeError):
        return None
    wav = io.BytesIO()
    soundfile.write(wav, samples, rate, format="WAV", subtype="PCM_16")
    return wav.getvalue()


def build(runs, include_encoder, licence, language, name):
    """Return the files of a model's folder.

    Arguments
    ---------
    runs : list of Run
        One, or the folds of an ensemble.
    include_encoder : bool
        Put the encoder into the folder.
    licence, language : str
        For the card; None: what is known of the corpus.
    name : str
        What the card calls the model.

    Returns
    -------
    files : dict
        Name -> bytes, path to copy, or list of paths to convert.

    Raises
    ------
    BadInput
        If the encoder is a local folder and is to be referred to by name.
    """
    check_system(runs)
    first = runs[0]
    encoder_hub = first.graph["encoder"]["hub"]
    revision = first.graph["encoder"]["revision"]
    window = first.graph["encoder"]["whisper_window"]
    upstream = open_upstream(encoder_hub, revision, window)
    is_pair = isinstance(upstream, UpstreamPair)
    if is_pair and (include_encoder or upstream.is_local):
        raise BadInput(
            f"a model's folder cannot contain two encoders ({encoder_hub}): "
            "export without --include_encoder a run whose encoders have "
            "names on the Hub"
        )
    is_local = upstream.is_local
    if is_local and not include_encoder:
        raise BadInput(
            f"the encoder {encoder_hub} is a folder on this machine, which "
            "others cannot load: add --include_encoder"
        )
    revision = pinned_revision(upstream.folder, encoder_hub, revision)
    _check_encoder(first, upstream)
    # Fbank has no files: it is code.
    has_files = include_encoder and upstream.folder is not None
    encoder = encoder_contents(upstream.folder) if has_files else {}
    weights = {
        f"{i}.{key}": value.contiguous()
        for i, run in enumerate(runs)
        for key, value in run.weights().items()
    }
    example = example_recording()
    card = model_card(
        runs,
        name=name,
        encoder=_public_name(encoder_hub),
        encoder_is_public=upstream.folder is not None and not is_local,
        revision=revision,
        include_encoder=has_files,
        has_example=example is not None,
        licence=licence,
        language=language,
    )
    labels = (first.save_folder / LABELS).read_bytes()
    yaml_text = hyperparams(
        first, len(runs), revision, list(encoder), _values(upstream)
    )
    files = {
        "README.md": card.encode(),
        "hyperparams.yaml": yaml_text.encode(),
        WEIGHTS: save(weights),
        LABELS: labels,
        "custom_interface.py": self_contained_source(
            [*classes(first.graph["head"]), *_encoder_classes(encoder_hub)]
        ).encode(),
    }
    if example is not None:
        files["example.wav"] = example
    return files | {
        f"{ENCODER_FOLDER}/{key}": value for key, value in encoder.items()
    }


def check_system(runs):
    """Refuse runs that are not folds of one system, or fine-tuned an encoder.

    Raises
    ------
    BadInput
        Naming two runs that differ, or the encoder to train a head on.
    """
    first = runs[0]
    for run in runs:
        if run.graph["encoder"]["fine_tuned"]:
            encoder = run.folder / "encoder"
            raise BadInput(
                f"{run.folder} fine-tuned an encoder: train a head on it with "
                f"--encoder_hub {encoder} and export that"
            )
        for what in ("labels", "graph", "encoder_digest"):
            if getattr(run, what) != getattr(first, what):
                raise BadInput(
                    f"{run.folder} and {first.folder} differ in their {what}: "
                    "only folds of one system make an ensemble"
                )


def write_files(folder, files):
    """Write what `build` returned into an empty folder."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        elif isinstance(content, list):
            _convert(content, target)
        else:
            shutil.copyfile(content, target)


def describe_files(files):
    """Return one line per file: size and name."""
    lines = []
    for name, content in files.items():
        if isinstance(content, bytes):
            size = len(content)
        else:
            paths = content if isinstance(content, list) else [content]
            size = sum(path.stat().st_size for path in paths)
        lines.append(f"{size / 1e6:10.3f} MB  {name}")
    return "\n".join(lines)
