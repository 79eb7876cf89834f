"""One held-out fold: train the head, choose on dev, test once."""

import pathlib
import time

import torch
from speechbrain.utils.distributed import run_on_main

from modules.batch import as_is
from modules.brain import EmotionBrain, WholeCheckpointer
from modules.experiment import (
    is_linear,
    open_output_folder,
    prepare_run,
    report,
    system_name,
)
from modules.layer_pooling import LayerPooling
from modules.results import plot_layer_weights
from modules.run_record import write_run_record


def train_fold(hparams, run_opts):
    """Train and test one fold; return what is in results.json.

    Arguments
    ---------
    hparams : dict
        From `modules.experiment.load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.
    """
    started = time.monotonic()
    finished = open_output_folder(hparams, run_opts)
    if finished:
        return finished
    manifests, labels, cache, datasets = prepare_run(hparams, run_opts)

    torch.manual_seed(hparams["seed"])
    head = hparams["head"](
        layers=cache.layers, width=cache.width, classes=len(labels)
    )
    train = train_linear if is_linear(hparams) else train_updates
    predictions, dev_predictions, chosen = train(
        hparams, run_opts, head, datasets
    )
    if isinstance(head.layer_pooling, LayerPooling):
        chosen["layer_weights"] = head.layer_pooling.layer_weights().tolist()
        run_on_main(
            plot_layer_weights,
            args=[
                pathlib.Path(hparams["output_folder"]) / "layer_weights.png",
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
        encoder_shape=[cache.layers, cache.width],
        **chosen,
    )


def train_updates(hparams, run_opts, head, datasets):
    """Train by gradient descent, test the epoch that was best on dev.

    Returns
    -------
    predictions, dev_predictions : tuple
        From `modules.brain.EmotionBrain.predict`.
    chosen : dict
        What results.json says of the choice.
    """
    brain = EmotionBrain(
        modules={"head": head},
        opt_class=hparams["optimizer"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=WholeCheckpointer(
            hparams["save_folder"],
            recoverables={"head": head, "counter": hparams["epoch_counter"]},
        ),
    )
    loader = {
        "batch_size": hparams["batch_size"],
        "collate_fn": as_is,
    }
    brain.fit(
        hparams["epoch_counter"],
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
    return predictions, dev_predictions, chosen


def train_linear(hparams, run_opts, head, datasets):
    """Find the classifier's one minimum; see `modules.linear_training`.

    Returns
    -------
    predictions, dev_predictions, chosen
        As `train_updates` returns.
    """
    brain = EmotionBrain(
        modules={"head": head},
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=WholeCheckpointer(hparams["save_folder"], {"head": head}),
    )
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
