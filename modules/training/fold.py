"""One held-out fold: train, choose on dev, test once."""

import pathlib
import time

import torch
from speechbrain.utils.distributed import run_on_main

from modules.features.stored_utterances import as_is
from modules.plots import plot_layer_weights
from modules.training.brain import EmotionBrain, make_brain
from modules.training.experiment import (
    open_output_folder,
    prepare_run,
    report,
    system_name,
)
from modules.training.fine_tuning import make_fine_tuning_brain, save_encoder
from modules.training.metrics import accuracy
from modules.training.run_record import write_run_record
from modules.training.settings import is_fine_tuning, is_linear


def train_fold(hparams, run_opts):
    """Train and test one fold; return what is in results.json.

    Arguments
    ---------
    hparams : dict
        From `modules.training.experiment.load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.
    """
    started = time.monotonic()
    finished = open_output_folder(hparams, run_opts)
    if finished:
        return finished
    manifests, labels, cache, datasets = prepare_run(hparams, run_opts)
    folder = pathlib.Path(hparams["output_folder"])

    torch.manual_seed(hparams["seed"])
    upstream = hparams["encoder"]() if is_fine_tuning(hparams) else cache
    shape = {"layers": upstream.layers, "width": upstream.width}
    head = hparams["head"](**shape, classes=len(labels))
    if is_fine_tuning(hparams):
        brain = make_fine_tuning_brain(hparams, run_opts, upstream, head)
        brain.check_memory(datasets["train"])
        trained = train_updates(brain, datasets)
        run_on_main(save_encoder, args=[upstream, folder / "encoder"])
    elif is_linear(hparams):
        trained = train_linear(hparams, run_opts, head, datasets)
    else:
        brain = make_brain(
            EmotionBrain,
            {"head": head},
            hparams,
            run_opts,
            counter=hparams["epoch_counter"],
        )
        trained = train_updates(brain, datasets)
    predictions, dev_predictions, chosen = trained

    weights = head.layer_pooling.layer_weights()
    if weights is not None:
        chosen["layer_weights"] = weights.tolist()
        run_on_main(
            plot_layer_weights,
            args=[
                folder / "layer_weights.png",
                chosen["layer_weights"],
                f"{system_name(hparams)}, test fold {hparams['test_fold']}",
            ],
        )
    device = next(head.parameters()).device
    run_on_main(write_run_record, args=[hparams, device, started])
    return report(
        hparams,
        manifests,
        labels,
        predictions,
        dev_predictions,
        encoder_shape=list(shape.values()),
        **chosen,
    )


def train_updates(brain, datasets):
    """Train by gradient descent, test the epochs that were best on dev.

    Arguments
    ---------
    brain : modules.training.brain.EmotionBrain
    datasets : dict
        From `modules.training.experiment.prepare_run`.

    Returns
    -------
    predictions, dev_predictions : tuple
        From `modules.training.brain.EmotionBrain.predict`.
    chosen : dict
        What results.json says of the choice.
    """
    loader = {"batch_size": brain.hparams.batch_size, "collate_fn": as_is}
    brain.fit(
        brain.hparams.epoch_counter,
        datasets["train"],
        datasets["dev"],
        train_loader_kwargs=loader | {"shuffle": True},
        valid_loader_kwargs=loader,
    )
    dev_predictions = brain.predict(datasets["dev"], **loader)
    predictions = brain.predict(datasets["test"], **loader)
    chosen = {
        "best_epoch": brain.chosen["epoch"],
        "dev_WA": brain.chosen["dev_WA"],
    }
    if len(brain.averaged) > 1:
        chosen |= {
            "dev_WA": accuracy(dev_predictions),
            "averaged_epochs": brain.averaged,
        }
    return predictions, dev_predictions, chosen


def train_linear(hparams, run_opts, head, datasets):
    """Find the classifier's one minimum; see `modules.training.linear`.

    Returns
    -------
    predictions, dev_predictions, chosen
        As `train_updates` returns.
    """
    brain = make_brain(EmotionBrain, {"head": head}, hparams, run_opts)
    dev_predictions, chosen = hparams["linear_training"]().fit(
        head, datasets["train"], datasets["dev"]
    )
    brain.checkpointer.save_checkpoint(
        meta={"epoch": 0, "dev_WA": chosen["dev_WA"]}
    )
    # One by one: layers side by side are wide.
    predictions = brain.predict(
        datasets["test"], batch_size=1, collate_fn=as_is
    )
    return predictions, dev_predictions, chosen
