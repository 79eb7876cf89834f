"""The steps of one held-out fold; train.py puts them in order."""

import dataclasses
import pathlib
import time
from typing import Any

from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import infer_device, run_on_main
from speechbrain.utils.logger import get_logger

from modules.errors import BadInput
from modules.files import write_json, write_rows
from modules.manifest import read_manifest
from modules.models.graph import describe
from modules.plots import plot_confusion, plot_layer_weights
from modules.training.configuration import plain_values
from modules.training.metrics import Predictions, score
from modules.training.run import LABELS, LEFT_OUT, SPLITS, Run
from modules.training.run_record import write_run_record

logger = get_logger(__name__)

# What results.json repeats of the settings, for readers of that file alone.
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


@dataclasses.dataclass
class Trained:
    """What a trainer returns.

    Attributes
    ----------
    dev, test : modules.training.metrics.Predictions
        Of the checkpoint that was chosen on dev.
    chosen : dict
        What results.json reports of the choice: ``dev_WA`` and others.
    left_out : modules.training.metrics.Predictions
        Of training utterances, by classifiers that were trained without their
        speakers; None: there are none.
    """

    dev: Predictions
    test: Predictions
    chosen: dict[str, Any]
    left_out: Predictions | None = None


def _settings(hparams: dict, run_opts) -> dict:
    """Return the settings that distinguish one run from another."""
    options = {key: run_opts[key] for key in ("precision", "debug")}
    return plain_values(hparams) | options


def check(run: Run, hparams: dict, run_opts) -> None:
    """Compare the settings of a run with those that its folder records.

    Raises
    ------
    BadInput
        If the folder belongs to a run of other settings.
    """
    run.check_same("settings.json", _settings(hparams, run_opts))


def begin(run: Run, hparams: dict, run_opts) -> None:
    """Record the settings of a run; make its folders."""
    run.record("settings.json", _settings(hparams, run_opts))
    run.save_folder.mkdir(parents=True, exist_ok=True)
    logger.info(f"seed: {hparams['seed']}")


def read_manifests(hparams: dict) -> dict[str, dict]:
    """Prepare the corpus and return its manifests.

    Returns
    -------
    manifests : dict
        "train", "dev" and "test" -> entries by utterance.
    """
    run_on_main(hparams["prepare"])
    folder = pathlib.Path(hparams["manifest_folder"])
    manifests = {
        split: read_manifest(folder / f"{split}.json", hparams["data_folder"])
        for split in SPLITS
    }
    _check_soft_labels(hparams.get("soft_labels"), manifests)
    return manifests


def make_label_encoder(run: Run, manifests: dict) -> CategoricalEncoder:
    """Return the encoder of the labels, in alphabetical order; save it."""
    labels = sorted(
        {e["label"] for split in manifests.values() for e in split.values()}
    )
    label_encoder = CategoricalEncoder()
    label_encoder.expect_len(len(labels))
    label_encoder.update_from_iterable(labels)
    run_on_main(label_encoder.save, args=[str(run.save_folder / LABELS)])
    return label_encoder


def make_datasets(hparams: dict, run_opts, upstream, manifests, label_encoder):
    """Return the data sets of the upstream: "train", "dev" and "test"."""
    device = run_opts["device"] or infer_device()
    progress = not run_opts["noprogressbar"]
    return upstream.make_datasets(manifests, label_encoder, device, progress)


def encode(hparams: dict, run_opts, part: tuple[int, int]) -> None:
    """Compute one part of the hidden states that a run reads, for many runs.

    Arguments
    ---------
    hparams : dict
    run_opts : speechbrain.utils.run_opts.RunOptions
        SpeechBrain's run options.
    part : tuple of int
        Index from 0 and number of parts.
    """
    device = run_opts["device"] or infer_device()
    progress = not run_opts["noprogressbar"]
    manifests = read_manifests(hparams)
    hparams["upstream"]().encode(manifests, device, progress, part)


def make_head(run: Run, hparams: dict, upstream, num_classes: int):
    """Return the untrained head; record its graph.

    Arguments
    ---------
    run : Run
        Gets graph.json: what the trained model is built from later.
    hparams : dict
        ``head`` returns it for the sizes of the encoder.
    upstream : object
        Such as `modules.features.frozen_upstream.FrozenUpstream`.
    num_classes : int
        Number of emotions.

    Raises
    ------
    BadInput
        If the parts do not fit together, or not the trainer.
    """
    sizes = {
        "num_hidden_states": upstream.num_hidden_states,
        "hidden_size": upstream.hidden_size,
        "num_classes": num_classes,
    }
    description = describe(hparams["head"])
    try:
        head = hparams["head"](**sizes)
    except BadInput:
        raise
    except (AttributeError, RuntimeError, TypeError, ValueError) as problem:
        raise BadInput(
            f"the head of {hparams['hparams_file']} cannot be built "
            f"({problem}): correct its parts and their arguments"
        ) from problem
    hparams["trainer"].check(head)
    run.record(
        "graph.json",
        {
            "head": description,
            "sizes": sizes,
            "encoder": {
                "hub": upstream.encoder_hub,
                "revision": hparams["encoder_revision"],
                "precision": hparams.get("encoder_precision", "fp32"),
                "whisper_window": hparams["whisper_window"],
                "fine_tuned": upstream.encoder is not None,
                "channel": hparams.get("channel", "mean"),
            },
            "corpus": dataclasses.asdict(hparams["corpus_card"]()),
        },
    )
    return head


def finish(run: Run, hparams: dict, manifests, labels, head, trained, started):
    """Score the test predictions and write what a run leaves behind.

    Returns
    -------
    results : dict
        The contents of results.json.
    """
    name = f"{pathlib.Path(hparams['encoder_hub']).name} {hparams['system']}"
    if trained.chosen.get("speaker_normalization"):
        # A protocol of its own, which needs more than one recording.
        name += " (speakers normalised)"
    weights = head.embedding.layer_weights()
    truth, predicted = trained.test.pairs()
    results = (
        {"system": name}
        | score(truth, predicted, labels)
        | {f"n_{split}": len(manifests[split]) for split in manifests}
        | {key: hparams.get(key) for key in _REPORTED}
        | trained.chosen
    )
    if weights is not None:
        results["layer_weights"] = weights.tolist()
    device = next(head.parameters()).device
    seconds = time.monotonic() - started
    args = [run, results, manifests, labels, head, trained, device, seconds]
    run_on_main(_write, args=args)
    return results


def _write(run, results, manifests, labels, head, trained, device, seconds):
    """Write the files of a finished run, results.json last."""
    folder = run.folder
    run.save_head(head)
    for name, split in (("dev_predictions", "dev"), ("predictions", "test")):
        rows = getattr(trained, split).rows(manifests[split], labels)
        write_rows(folder / f"{name}.csv", rows)
    if trained.left_out is not None:
        rows = trained.left_out.rows(manifests["train"], labels)
        write_rows(folder / LEFT_OUT, rows)
    title = f"{results['system']}, test fold {results['test_fold']}"
    plot_confusion(
        folder / "confusion.png",
        results["confusion"],
        labels,
        f"{title}\nWA {results['WA']:.1%}   UA {results['UA']:.1%}",
    )
    if "layer_weights" in results:
        path = folder / "layer_weights.png"
        plot_layer_weights(path, results["layer_weights"], title)
    write_run_record(run, device, seconds)
    write_json(folder / "results.json", results)


def _check_soft_labels(field, manifests):
    """Refuse soft labels that the corpus does not have, before encoding."""
    for entries in manifests.values() if field else []:
        for entry in entries.values():
            share = entry.get(field)
            if not isinstance(share, int | float) or not 0 <= share <= 1:
                raise BadInput(
                    f"soft_labels: {entry['wav']} has no {field} from 0 to 1 "
                    "in its manifest: leave soft_labels empty for this corpus"
                )
