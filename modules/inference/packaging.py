"""A model's folder: what goes into it, and writing it."""

import collections
import io
import json
import pathlib
import shutil
import statistics

import soundfile
import yaml
from safetensors.torch import save

from modules.errors import BadInput
from modules.inference.confidence import CONFIDENCE, plain_curve
from modules.inference.confidence_fit import fit_curve
from modules.inference.emotion_model import ENCODER_FOLDER, LABELS, WEIGHTS
from modules.inference.interface_source import self_contained_source
from modules.inference.model_card import model_card
from modules.inference.packaged_weights import (
    convert,
    digest_values,
    encoder_contents,
    head_weights,
)
from modules.models.encoder_files import looks_like_path
from modules.models.graph import classes, find_class, is_own_class
from modules.models.upstream import (
    UpstreamPair,
    open_upstream,
    replace_encoder,
    upstream_names,
)

HYPERPARAMS = """\
# What EncoderClassifier and foreign_class build. predict.py reads the plain
# values alone; lines with an exclamation mark execute code.

sample_rate: 16000
{values}
model: !new:custom_interface.EmotionModel
{arguments}
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
{normalizer}
modules:
    compute_features: !new:custom_interface.ComputeFeatures
        channel: !ref <channel>
    mean_var_norm: !new:custom_interface.MeanVarNorm
    embedding_model: !new:custom_interface.EmbeddingModel
        model: !ref <model>
    classifier: !new:custom_interface.Classifier
        model: !ref <model>

pretrainer: !new:custom_interface.ModelFolder
    model: !ref <model>
    label_encoder: !ref <label_encoder>
"""

# Of models that read one channel: SpeechBrain takes the mean by default.
KEEP_CHANNELS = """\
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
    mix: keep
"""


def hyperparams(
    run, members, encoder_hub, encoder_revision, encoder_files, digests, more
):
    """Return the text of hyperparams.yaml."""
    values = {
        # A folder of the machine of the training means nothing elsewhere.
        "encoder_hub": _public_name(encoder_hub)
        if encoder_files
        else encoder_hub,
        "encoder_revision": encoder_revision,
        "encoder_files": encoder_files,
        "whisper_window": run.graph["encoder"]["whisper_window"],
        "channel": run.graph["encoder"].get("channel", "mean"),
        "members": members,
        "head": run.graph["head"],
        "sizes": run.graph["sizes"],
        "encoder_values": digests[0],
        "encoder_unrounded": digests[1],
    }
    return format_hyperparams(values, more)


def format_hyperparams(values: dict, more: dict | None = None) -> str:
    """Return the text of hyperparams.yaml.

    Arguments
    ---------
    values : dict
        What makes a model, see `modules.inference.loading.MODEL_KEYS`.
    more : dict
        What is known of it beside.
    """
    return HYPERPARAMS.format(
        normalizer="" if values["channel"] == "mean" else KEEP_CHANNELS,
        values=yaml.safe_dump(values | (more or {}), sort_keys=False),
        arguments="".join(f"    {key}: !ref <{key}>\n" for key in values),
    )


def interface(head, encoder_hub):
    """Return the text of custom_interface.py for the graph of a head."""
    return self_contained_source(
        [*classes(head), *_encoder_classes(encoder_hub)]
    )


def speaker_normalization(run):
    """Return whether embeddings were normalised by speaker, if they were."""
    used = run.results.get("speaker_normalization") is True
    return {"speaker_normalization": True} if used else {}


def class_shares(runs):
    """Return the shares of the classes in training; {} if not known."""
    shares = []
    for run in runs:
        try:
            entries = run.manifest("train").values()
        except BadInput:
            return {}
        counts = collections.Counter(entry["label"] for entry in entries)
        shares.append([counts[label] / len(entries) for label in run.labels])
    means = [statistics.fmean(own) for own in zip(*shares)]
    return {"class_shares": means}


def _encoder_classes(encoder_hub):
    """Return the encoder's class, if it is a class of this recipe."""
    return [name for name in upstream_names(encoder_hub) if is_own_class(name)]


def _public_name(encoder_hub):
    """Return what to call upstreams: a name on the Hub, or the folder's."""
    names = [str(name) for name in upstream_names(encoder_hub)]
    folders = [pathlib.Path(name).expanduser() for name in names]
    return ",".join(
        folder.name.replace(",", "_") if folder.is_dir() else name
        for name, folder in zip(names, folders)
    )


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
    names = upstream_names(encoder_hub)
    local = any(pathlib.Path(name).expanduser().is_dir() for name in names)
    return None if local else revision


def _check_encoder(run, upstream):
    """Refuse an encoder that is not the one that the head was trained on."""
    precision = run.graph["encoder"]["precision"]
    if upstream.digest(precision) != run.encoder_digest:
        raise BadInput(
            f"the encoder in {upstream.folder or run.graph['encoder']['hub']} "
            f"is not the one that {run.folder} was trained on: put that one "
            "back, or train again"
        )


def _renamed(upstream, encoder_hub, name):
    """Return the name of upstreams whose encoder has a name on the Hub.

    Raises
    ------
    BadInput
        If nothing would identify the encoder, or the name is none.
    """
    if not upstream.is_local or digest_values(upstream)[0] is None:
        raise BadInput(
            f"--encoder_name names one local encoder with safetensors, which "
            f"{encoder_hub} is not: leave it out"
        )
    if looks_like_path(name):
        raise BadInput(
            f"--encoder_name {name} is no name on the Hub: give one such as "
            "openai/whisper-tiny.en"
        )
    return replace_encoder(encoder_hub, name)


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


def build(
    runs,
    include_encoder,
    licence,
    language,
    name,
    encoder_name=None,
    half_precision=False,
    **of_card,
):
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
    encoder_name : str
        Name on the Hub under which others find an encoder that is a folder
        here; it is compared by its weights when the model is loaded.
    half_precision : bool
        Store the heads in float16; they compute in float32.
    of_card : dict
        Further arguments of `modules.inference.model_card.model_card`.

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
    two = isinstance(upstream, UpstreamPair) and upstream.has_two_folders
    if two and (include_encoder or upstream.is_local):
        raise BadInput(
            f"a model's folder cannot contain two encoders ({encoder_hub}): "
            "export without --include_encoder a run whose encoders have "
            "names on the Hub"
        )
    is_local = upstream.is_local and encoder_name is None
    if is_local and not include_encoder:
        raise BadInput(
            f"the encoder {encoder_hub} is a folder on this machine, which "
            "others cannot load: add --include_encoder, or --encoder_name with "
            "its name on the Hub"
        )
    revision = pinned_revision(upstream.folder, encoder_hub, revision)
    _check_encoder(first, upstream)
    if encoder_name is not None:
        encoder_hub = _renamed(upstream, encoder_hub, encoder_name)
    # Features such as vocal have no files: they are code.
    has_files = include_encoder and upstream.folder is not None
    encoder = encoder_contents(upstream.folder) if has_files else {}
    weights = head_weights(runs, half_precision)
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
        **of_card,
    )
    labels = (first.save_folder / LABELS).read_bytes()
    yaml_text = hyperparams(
        first,
        len(runs),
        encoder_hub,
        revision,
        list(encoder),
        digest_values(upstream),
        class_shares(runs) | speaker_normalization(first),
    )
    files = {
        "README.md": card.encode(),
        "hyperparams.yaml": yaml_text.encode(),
        WEIGHTS: save(weights),
        LABELS: labels,
        "custom_interface.py": interface(
            first.graph["head"], encoder_hub
        ).encode(),
    }
    curve = fit_curve(runs)
    if curve is not None:
        files[CONFIDENCE] = json.dumps(plain_curve(curve)).encode()
    if example is not None:
        files["example.wav"] = example
    return files | {
        f"{ENCODER_FOLDER}/{key}": value for key, value in encoder.items()
    }


def check_system(runs):
    """Refuse runs that are not folds of one system, or fine-tuned an encoder.

    A class of a head may have an attribute ``not_exported``: the reason why it
    cannot be used beyond its experiment.

    Raises
    ------
    BadInput
        Naming two runs that differ, the encoder to train a head on, or the
        reason.
    """
    first = runs[0]
    for path in classes(first.graph["head"]):
        reason = getattr(find_class(path), "not_exported", None)
        if reason:
            raise BadInput(
                f"{first.folder} cannot be exported, {reason}: export another "
                "system"
            )
    for run in runs:
        if run.graph["encoder"]["fine_tuned"]:
            encoder = run.folder / "encoder"
            raise BadInput(
                f"{run.folder} fine-tuned an encoder: train a head on it with "
                f"--encoder_hub {encoder} and export that"
            )
        if speaker_normalization(run) != speaker_normalization(first):
            raise BadInput(
                f"one of {run.folder} and {first.folder} normalises speakers: "
                "train both with speaker_normalization true or false"
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
            convert(content, target)
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
