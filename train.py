#!/usr/bin/env python3
"""Train on all folds but one, test on that one.

    python train.py hparams/corr_wavlm.yaml --data_folder IEMOCAP_full_release
                    --test_fold 1 [--corpus iemocap|emodb|csv] [--key=value ...]

A frozen encoder computes the hidden states of the corpus once and stores
them; the trainer of the hyperparameter file trains on them and chooses on
dev; the test fold is classified once. Started again after an interruption,
the same command continues where it stopped.
"""

import sys
import time

from modules.errors import one_sentence, using
from modules.training.command_line import check_command_line

if __name__ == "__main__":
    # A misspelt key is refused before the imports below, which take seconds.
    with one_sentence():
        check_command_line(sys.argv[1:])

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process

from modules.training import fold
from modules.training.configuration import load_configuration
from modules.training.metrics import format_results
from modules.training.run import Run


def train_fold(hparams, run_opts):
    """Train and test one fold; return the contents of results.json."""
    started = time.monotonic()
    run = Run(hparams["output_folder"])
    fold.check(run, hparams, run_opts)
    if run.is_finished:
        print(f"already finished; delete {run.folder} to train anew")
        return run.results

    # Before anything is written: an encoder that cannot be had leaves no trace.
    upstream = hparams["upstream"]()
    # Called here, so that the run keeps a copy of this script.
    sb.create_experiment_directory(
        experiment_directory=str(run.folder),
        hyperparams_to_save=hparams["hparams_file"],
        overrides=hparams["overrides"],
    )

    # Who is in train, dev and test; a corpus that is refused binds no folder.
    manifests = fold.read_manifests(hparams)
    fold.begin(run, hparams, run_opts)
    label_encoder = fold.make_label_encoder(run, manifests)
    labels = [label_encoder.ind2lab[i] for i in range(len(label_encoder))]
    run.record_inputs(manifests, upstream.digest)

    # The model, before hours of encoding: its parts may not fit together.
    torch.manual_seed(hparams["seed"])
    upstream.load_encoder()
    head = fold.make_head(run, hparams, upstream, len(labels))

    # What training reads of the encoder, the training and the test.
    datasets = fold.make_datasets(
        hparams, run_opts, upstream, manifests, label_encoder
    )
    trained = hparams["trainer"].train(run, run_opts, upstream, head, datasets)
    return fold.finish(run, hparams, manifests, labels, head, trained, started)


def main(arguments):
    """Run from the command line."""
    with one_sentence():
        hparams, run_opts = load_configuration(arguments)
        ddp_init_group(run_opts)
        with using(hparams["output_folder"]):
            results = train_fold(hparams, run_opts)
        if if_main_process():
            print(format_results(results))
            print(f"results and plots: {hparams['output_folder']}")


if __name__ == "__main__":
    main(sys.argv[1:])
