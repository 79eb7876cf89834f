#!/usr/bin/env python3
"""Train on all folds but one, test on that one.

    python train.py hparams/corr_wavlm.yaml --data_folder IEMOCAP_full_release
                    --test_fold 1 [--key=value ...]

The hidden states of the frozen encoder are computed once and cached; the head
is trained on them; the checkpoint with the best dev accuracy is tested.
Started again after an interruption, it goes on where it stopped.
"""

import sys

from speechbrain.utils.distributed import ddp_init_group, if_main_process

from modules.errors import one_sentence
from modules.training.experiment import load_experiment
from modules.training.fold import train_fold
from modules.training.metrics import format_results


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
