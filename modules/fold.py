"""One held-out fold: train, choose on dev, test once."""

import pathlib
import time

import torch
from speechbrain.utils.distributed import run_on_main

from modules.batch import as_is
from modules.brain import EmotionBrain, WholeCheckpointer
from modules.experiment import (
    open_output_folder,
    prepare_run,
    report,
    system_name,
)
from modules.fine_tuning import make_fine_tuning_brain, save_encoder
from modules.results import accuracy, plot_layer_weights
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
    if cache is None:
        brain = make_fine_tuning_brain(hparams, run_opts, len(labels))
        brain.check_memory(datasets["train"])
    else:
        brain = _make_head_brain(hparams, run_opts, cache, len(labels))
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
    if len(brain.averaged) > 1:
        chosen |= {
            "dev_WA": accuracy(dev_predictions),
            "averaged_epochs": brain.averaged,
        }

    folder = pathlib.Path(hparams["output_folder"])
    if cache is None:
        encoder = brain.checkpointer.recoverables["encoder"]
        run_on_main(save_encoder, args=[encoder, folder / "encoder"])
    head = brain.checkpointer.recoverables["head"]
    layer_weights = head.layer_pooling.layer_weights().tolist()
    run_on_main(
        plot_layer_weights,
        args=[
            folder / "layer_weights.png",
            layer_weights,
            f"{system_name(hparams)}, test fold {hparams['test_fold']}",
        ],
    )
    run_on_main(write_run_record, args=[hparams, brain.device, started])
    return report(
        hparams,
        manifests,
        labels,
        predictions,
        dev_predictions,
        **chosen,
        layer_weights=layer_weights,
    )


def _make_head_brain(hparams, run_opts, cache, classes):
    """Return a brain that trains the head alone."""
    head = hparams["head"](
        layers=cache.layers, width=cache.width, classes=classes
    )
    return EmotionBrain(
        modules={"head": head},
        opt_class=hparams["optimizer"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=WholeCheckpointer(
            hparams["save_folder"],
            recoverables={"head": head, "counter": hparams["epoch_counter"]},
        ),
    )
