#!/usr/bin/env python3
"""Train on all folds but one, test on that one.

    python train.py hparams/corr_wavlm.yaml --data_folder IEMOCAP_full_release
                    --test_fold 1 [--key=value ...]

The hidden states of the frozen encoder are computed once and cached; the head
is trained on them; the checkpoint with the best dev accuracy is tested.
Started again after an interruption, it goes on where it stopped.
"""

import pathlib
import sys

import torch
from speechbrain.utils.distributed import (
    ddp_init_group,
    if_main_process,
    run_on_main,
)

from bad_input import one_sentence
from modules.batch import as_is
from modules.brain import EmotionBrain, WholeCheckpointer
from modules.experiment import (
    load_experiment,
    open_output_folder,
    prepare_run,
    report,
    system_name,
)
from modules.results import format_results, plot_layer_weights


def train_fold(hparams, run_opts):
    """Train and test one fold; return what is in results.json.

    Arguments
    ---------
    hparams : dict
        From `modules.experiment.load_experiment`.
    run_opts : speechbrain.utils.run_opts.RunOptions
        From the same.
    """
    finished = open_output_folder(hparams, run_opts)
    if finished:
        return finished
    manifests, labels, cache, datasets = prepare_run(hparams, run_opts)

    torch.manual_seed(hparams["seed"])
    head = hparams["head"](
        layers=cache.layers, width=cache.width, classes=len(labels)
    )
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
    predictions = brain.test(datasets["test"], **loader)

    run_on_main(
        plot_layer_weights,
        args=[
            pathlib.Path(hparams["output_folder"]) / "layer_weights.png",
            head.layer_pooling.layer_weights().tolist(),
            f"{system_name(hparams)}, test fold {hparams['test_fold']}",
        ],
    )
    return report(
        hparams,
        manifests,
        labels,
        predictions,
        best_epoch=brain.chosen["epoch"],
        dev_WA=brain.chosen["dev_WA"],
    )


def main(arguments):
    """Run from the command line."""
    with one_sentence():
        hparams, run_opts = load_experiment(arguments)
        ddp_init_group(run_opts)
        results = train_fold(hparams, run_opts)
        if if_main_process():
            print(format_results(results))
            print(f"results and pictures: {hparams['output_folder']}")


if __name__ == "__main__":
    main(sys.argv[1:])
