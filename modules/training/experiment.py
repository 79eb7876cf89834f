"""One run, from the command line to data sets: shared by all scripts."""

import difflib
import functools
import hashlib
import json
import pathlib
import re

import speechbrain as sb
import torch
import yaml
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataio import load_data_json
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import (
    if_main_process,
    infer_device,
    run_on_main,
)
from speechbrain.utils.logger import get_logger
from speechbrain.utils.run_opts import RunOptions

from modules.errors import BadInput
from modules.features.stored_utterances import StoredUtterances
from modules.features.waveform_utterances import SpokenUtterances
from modules.files import write_rows, write_text
from modules.models.upstream import open_upstream
from modules.training.metrics import prediction_rows, score, write_results
from modules.training.settings import (
    ADDED,
    check_settings,
    check_soft_labels,
    is_fine_tuning,
    settings,
)

logger = get_logger(__name__)

# A run may go on although its files have moved.
_PLACES = ("_folder", "_file", "_log")

_REPORTED = (
    "test_fold",
    "seed",
    "encoder_hub",
    "pooling",
    "label_smoothing",
    "channel_dropout",
    "normalize_layers",
    "number_of_epochs",
    "dev_split",
)


def read_hparams_file(path):
    """Return the text of a hyperparameter file, and its keys.

    Raises
    ------
    BadInput
        If it cannot be read.
    """
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
    except OSError as problem:
        raise BadInput(
            f"hyperparameter file {path} cannot be read: "
            f"{problem.strerror}; hparams/ holds the ones to choose from"
        ) from problem
    return text, re.findall(r"^(\w+):", text, flags=re.MULTILINE)


def load_experiment(arguments):
    """Read a hyperparameter file and the command line.

    Arguments
    ---------
    arguments : list of str
        ``[hparams file, --key=value, ...]`` with SpeechBrain's run options.

    Returns
    -------
    hparams : dict
        From HyperPyYAML, checked.
    run_opts : speechbrain.utils.run_opts.RunOptions
        SpeechBrain's run options.

    Raises
    ------
    BadInput
        If a key is unknown, missing or out of range.
    """
    try:
        path, run_opts, overrides = RunOptions.from_command_line_args(arguments)
    except ValueError as problem:
        raise BadInput(
            f"command line: {problem}; give --key=value after the "
            "hyperparameter file"
        ) from problem
    text, keys = read_hparams_file(path)
    given = yaml.safe_load(overrides) or {}
    for key in given:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean --{near[0]}? " if near else ""
            raise BadInput(
                f"unknown key --{key}: {hint}{path} has {', '.join(keys)}"
            )
    for key in re.findall(r"^(\w+): *!PLACEHOLDER", text, flags=re.MULTILINE):
        if key not in given:
            raise BadInput(f"{path} needs --{key}")
    hparams = ADDED | load_hyperpyyaml(text, overrides)
    # Of fine-tuning, --precision decides.
    hparams.setdefault("encoder_precision", "fp32")
    check_settings(hparams)
    if hparams["encoder_precision"] == "auto":
        device = torch.device(run_opts["device"] or infer_device())
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
        hparams["encoder_precision"] = "bf16" if fast else "fp32"
    hparams["hparams_file"] = path
    hparams["overrides"] = overrides
    return hparams, run_opts


def open_output_folder(hparams, run_opts):
    """Create the output folder, or go on in the one of the same settings.

    Returns
    -------
    finished : dict
        What results.json says if the run is finished, else None.

    Raises
    ------
    BadInput
        If the folder holds a run of other settings.
    """
    folder = pathlib.Path(hparams["output_folder"])
    now = settings(hparams)
    now |= {key: run_opts[key] for key in ("precision", "debug")}
    _same_as_before(folder / "settings.json", now)
    sb.create_experiment_directory(
        experiment_directory=str(folder),
        hyperparams_to_save=hparams["hparams_file"],
        overrides=hparams["overrides"],
    )
    pathlib.Path(hparams["save_folder"]).mkdir(exist_ok=True)
    _record(folder / "settings.json", now)
    logger.info(f"seed: {hparams['seed']}")
    finished = folder / "results.json"
    if not finished.exists():
        return None
    logger.info(f"already finished; delete {folder} to run anew")
    return json.loads(finished.read_text(encoding="utf-8"))


def _same_as_before(path, now):
    """Refuse to go on in a folder whose record says something else."""
    if not path.exists():
        return
    before = ADDED | json.loads(path.read_text(encoding="utf-8"))
    now = ADDED | now
    differing = [
        f"{key} {before.get(key)} instead of {now.get(key)}"
        for key in sorted(set(before) | set(now))
        if before.get(key) != now.get(key) and not key.endswith(_PLACES)
    ]
    if differing:
        raise BadInput(
            f"{path.parent} holds a run with {'; '.join(differing)}: choose "
            "another --output_folder, or delete this one"
        )


def _record(path, now):
    """Keep what a run began with, for `_same_as_before`."""
    if not path.exists() and if_main_process():
        write_text(path, json.dumps(now, indent=2) + "\n")


def read_manifests(hparams):
    """Prepare the corpus and return its manifests.

    Returns
    -------
    manifests : dict
        "train", "dev" and "test": entries by utterance, paths filled in.
    """
    run_on_main(hparams["prepare"])
    root = str(hparams["data_folder"] or ".")
    manifests = {}
    for split in ("train", "dev", "test"):
        path = pathlib.Path(hparams["manifest_folder"]) / f"{split}.json"
        manifests[split] = load_data_json(path, {"data_root": root})
    return manifests


def make_label_encoder(hparams, manifests):
    """Return the encoder of the labels, in alphabetical order.

    It is written to label_encoder.txt.
    """
    labels = sorted(
        {e["label"] for split in manifests.values() for e in split.values()}
    )
    label_encoder = CategoricalEncoder()
    label_encoder.expect_len(len(labels))
    label_encoder.update_from_iterable(labels)
    run_on_main(
        label_encoder.save,
        args=[str(pathlib.Path(hparams["save_folder"]) / "label_encoder.txt")],
    )
    return label_encoder


def make_datasets(manifests, cache, label_encoder):
    """Return data sets that read hidden states from the cache.

    Arguments
    ---------
    manifests : dict
        From `read_manifests`.
    cache : modules.features.cache.FeatureCache
        Holds every recording.
    label_encoder : speechbrain.dataio.encoder.CategoricalEncoder
        From `make_label_encoder`.

    Returns
    -------
    datasets : dict
        "train", "dev" and "test": `modules.features.stored_utterances.StoredUtterances`.
    """
    return {
        split: StoredUtterances(entries, cache, label_encoder)
        for split, entries in manifests.items()
    }


def prepare_run(hparams, run_opts):
    """Do all that comes before training.

    Arguments
    ---------
    hparams : dict
        From `load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.

    Returns
    -------
    manifests : dict
        From `read_manifests`.
    labels : list of str
        Names of the classes, in the order of their indices.
    cache : modules.features.cache.FeatureCache
        Holds the features of every recording; None in fine-tuning.
    datasets : dict
        From `make_datasets`; in fine-tuning `modules.features.waveform_utterances.SpokenUtterances`.
    """
    manifests = read_manifests(hparams)
    check_soft_labels(hparams.get("soft_labels"), manifests)
    label_encoder = make_label_encoder(hparams, manifests)
    labels = [label_encoder.ind2lab[i] for i in range(len(label_encoder))]
    precision = hparams["encoder_precision"]
    if is_fine_tuning(hparams):
        upstream = open_upstream(
            hparams["encoder_hub"], hparams["encoder_revision"]
        )
        digest = upstream.digest(precision)
    else:
        cache = hparams["cache"](precision=precision)
        digest = cache.identity["encoder_digest"]
    # A checkpoint must not go on with other recordings or another encoder.
    inputs = {
        "recordings": hashlib.sha256(
            json.dumps(
                [
                    [split, utterance, entry["sha256"], entry["label"]]
                    for split, entries in manifests.items()
                    for utterance, entry in entries.items()
                ]
            ).encode()
        ).hexdigest(),
        "encoder": digest,
    }
    record = pathlib.Path(hparams["output_folder"]) / "inputs.json"
    _same_as_before(record, inputs)
    _record(record, inputs)
    if is_fine_tuning(hparams):
        datasets = {
            split: SpokenUtterances(entries, label_encoder)
            for split, entries in manifests.items()
        }
        return manifests, labels, None, datasets

    make_encoder = functools.partial(hparams["encoder"], precision=precision)
    recordings = {u: e for s in manifests.values() for u, e in s.items()}
    device = run_opts["device"] or infer_device()
    cache.fill(recordings, make_encoder, device, not run_opts["noprogressbar"])
    if hparams["cache_device"]:
        cache.load(recordings, hparams["cache_device"])
    datasets = make_datasets(manifests, cache, label_encoder)
    return manifests, labels, cache, datasets


def system_name(hparams):
    """Return what to call a system in tables and pictures."""
    return f"{pathlib.Path(hparams['encoder_hub']).name} {hparams['system']}"


def report(hparams, manifests, labels, predictions, dev_predictions, **more):
    """Score the test predictions and write what a run leaves behind.

    Arguments
    ---------
    hparams : dict
        From `load_experiment`.
    manifests : dict
        From `read_manifests`.
    labels : list of str
        Names of the classes.
    predictions, dev_predictions : tuple
        Utterances (list of str), targets [utterances] and log-probabilities
        [utterances, classes] of the test set and of dev.
    **more
        What else results.json says; takes precedence.

    Returns
    -------
    results : dict
        What is in results.json.
    """
    _, targets, log_probabilities = predictions
    guesses = log_probabilities.argmax(dim=1)
    results = (
        {"system": system_name(hparams)}
        | score(targets.tolist(), guesses.tolist(), labels)
        | {f"n_{split}": len(manifests[split]) for split in manifests}
        | {key: hparams.get(key) for key in _REPORTED}
        | more
    )
    folder = pathlib.Path(hparams["output_folder"])
    run_on_main(
        write_rows,
        args=[
            folder / "dev_predictions.csv",
            prediction_rows(dev_predictions, manifests["dev"], labels),
        ],
    )
    run_on_main(
        write_results,
        args=[
            folder,
            results,
            prediction_rows(predictions, manifests["test"], labels),
        ],
    )
    return results
