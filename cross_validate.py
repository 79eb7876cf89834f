#!/usr/bin/env python3
"""All folds of one system, or a whole table of systems, and their report.

    python cross_validate.py hparams/corr_wavlm.yaml --data_folder ...
    python cross_validate.py recipes/IEMOCAP/pooling_table.yaml
                             --data_folder ... [--jobs 2] [--key=value ...]
    python cross_validate.py --late_fusion results/A results/B
                             --output_folder results/fused

Every run is train.py's (or floor.py's) own, in a folder and a process of its
own. Started again, the same command goes on where it stopped; what is
finished is not run again. Exit status: 0; 1 if a run has failed; 2 if nothing
could be done.
"""

import argparse
import sys

from modules.errors import one_sentence
from modules.experiments.late_fusion import fuse_systems
from modules.experiments.launcher import run_cells
from modules.experiments.read_plan import read_plan
from modules.experiments.record import record_plan
from modules.experiments.results_table import collect
from modules.experiments.write import (
    format_folds,
    format_pooled_confusion,
    format_table,
    write_results_json,
    write_table,
)
from modules.report.page import write_report


def _seeds(text):
    """Read "1,2,3"."""
    seeds = [int(part) for part in text.split(",")]
    if len(set(seeds)) < len(seeds):
        raise ValueError
    return seeds


def _positive(text):
    """Read a number of jobs."""
    if int(text) < 1:
        raise ValueError
    return int(text)


def main(arguments=None):
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        description="Run all folds, of one system or of a table of systems.",
        epilog="All other options go to every run, as train.py takes them: "
        "--data_folder ... --encoder_hub ... --device cuda:0",
        allow_abbrev=False,
    )
    parser.add_argument(
        "file", nargs="?", help="a hyperparameter or experiment file"
    )
    parser.add_argument(
        "--late_fusion",
        nargs="+",
        metavar="FOLDER",
        help="instead of a file: fuse the probabilities of these finished "
        "systems, weighted on dev; needs --output_folder",
    )
    parser.add_argument(
        "--jobs", type=_positive, default=1, help="runs side by side"
    )
    parser.add_argument(
        "--seeds", type=_seeds, help="such as 1,2,3, instead of the file's"
    )
    parser.add_argument("--output_folder", help="default: under results/")
    parser.add_argument(
        "--report_only",
        action="store_true",
        help="run nothing; write the report of what is finished",
    )
    options, overrides = parser.parse_known_args(arguments)
    if bool(options.file) == bool(options.late_fusion):
        parser.error("give a file, or --late_fusion FOLDER FOLDER")
    if options.late_fusion and (overrides or not options.output_folder):
        parser.error("--late_fusion takes --output_folder and no other key")
    with one_sentence():
        if options.late_fusion:
            plan = fuse_systems(options.late_fusion, options.output_folder)
        else:
            plan = read_plan(
                options.file, overrides, options.seeds, options.output_folder
            )
            if not options.report_only:
                record_plan(plan)
                run_cells(plan, options.jobs)
        table = collect(plan)
        results = write_table(table)
        path = write_report(table, results)
        write_results_json(plan, results)
        if len(plan.systems) == 1:
            print(format_folds(table))
            print(format_pooled_confusion(table, table.rows[0]))
        print(format_table(table))
        print(f"report: {path}")
    missing = [cell for cell in plan.cells if not cell.finished]
    return 1 if missing and not options.report_only else 0


if __name__ == "__main__":
    sys.exit(main())
