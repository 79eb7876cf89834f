#!/usr/bin/env python3
"""All folds of one system, or of several systems, and their report.

    python cross_validate.py hparams/corr_wavlm.yaml --data_folder ...
    python cross_validate.py recipes/IEMOCAP/pooling_table.yaml
                             --data_folder ... [--jobs 2] [--key=value ...]
                             [--launcher slurm|ray]
    python cross_validate.py --late_fusion results/A results/B
                             --output_folder results/fused

Every run is one of train.py, in a folder and a process of its own. The same
command, started again, continues with what is not finished. Exit status: 0; 1
if a run has no results; 2 if nothing could be done; 130 if interrupted.
"""

import argparse
import sys

from modules.errors import one_sentence
from modules.experiments.analysis import analyse, write_results
from modules.experiments.cluster import ClusterLauncher
from modules.experiments.cluster_jobs import check_jobs
from modules.experiments.engines import make_engine
from modules.experiments.late_fusion import fuse_systems
from modules.experiments.launcher import LocalLauncher, launch
from modules.experiments.read_plan import read_plan
from modules.experiments.record import record_plan
from modules.experiments.results_table import collect
from modules.experiments.text import format_only_system, format_table
from modules.report.page import write_report


def _seeds(text: str) -> list[int]:
    """Read "1,2,3"."""
    parts = text.split(",")
    fine = all(p.isdecimal() and int(p) < 2**31 for p in parts)
    if not fine or len(set(parts)) < len(parts):
        raise argparse.ArgumentTypeError(
            f"'{text}' is no list of different whole numbers, such as 1,2,3"
        )
    return [int(part) for part in parts]


def _positive(text: str) -> int:
    """Read a number of jobs."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Run all folds of one system or of an experiment.",
        epilog="All other options go to every run, as train.py takes them: "
        "--data_folder ... --encoder_hub ... --device cuda:0",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("file", nargs="?", help="a hyperparameter or experiment file")
    add(
        "--late_fusion",
        nargs="+",
        metavar="FOLDER",
        help="instead of a file: fuse the probabilities of these finished "
        "systems, weighted on dev; needs --output_folder",
    )
    add("--jobs", type=_positive, default=1, help="runs side by side")
    add(
        "--launcher",
        choices=["local", "slurm", "ray"],
        default="local",
        help="where the runs are: on this machine, or jobs of a cluster",
    )
    add(
        "--encode_jobs",
        type=_positive,
        help="parts in which the recordings are encoded side by side; "
        "default: 1, on a cluster --jobs",
    )
    cluster = parser.add_argument_group("with --launcher slurm or ray")
    cluster.add_argument(
        "--runs_per_job",
        type=_positive,
        help="a job ends after so many; default: when no run is left",
    )
    cluster.add_argument(
        "--cpus_per_job", type=_positive, help="cores; default: 1"
    )
    cluster.add_argument(
        "--launcher_options",
        metavar="KEY=VALUE,...",
        help="the engine's own: partition=gpu,timeout_min=60,gpus_per_node=1 "
        "(Slurm) or num_gpus=1 (Ray)",
    )
    add("--seeds", type=_seeds, help="such as 1,2,3, instead of the file's")
    add("--output_folder", help="default: under results/")
    add(
        "--report_only",
        action="store_true",
        help="run nothing; write the report of what is finished",
    )
    return parser


def _launch(plan, options):
    """Run what is not finished, where the options choose."""
    folder = plan.output_folder
    check_jobs(folder, options.launcher)
    if options.launcher == "local":
        threads = record_plan(plan, options.jobs)
        parts = options.encode_jobs or 1
        launch(plan, LocalLauncher(options.jobs, threads, parts))
        return
    cpus = options.cpus_per_job or 1
    engine_options = options.launcher_options or ""
    engine = make_engine(options.launcher, folder, cpus, engine_options)
    threads = record_plan(plan, options.jobs, cpus)
    launcher = ClusterLauncher(
        engine,
        folder,
        options.jobs,
        threads,
        options.runs_per_job,
        options.encode_jobs,
    )
    launch(plan, launcher)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = _parser()
    options, overrides = parser.parse_known_args(arguments)
    if bool(options.file) == bool(options.late_fusion):
        parser.error("give a file, or --late_fusion FOLDER FOLDER")
    if options.late_fusion and (overrides or not options.output_folder):
        parser.error("--late_fusion takes --output_folder and no other key")
    for key in ("runs_per_job", "cpus_per_job", "launcher_options"):
        if options.launcher == "local" and getattr(options, key) is not None:
            parser.error(f"--{key} needs --launcher slurm or ray")
    with one_sentence():
        if options.late_fusion:
            plan = fuse_systems(options.late_fusion, options.output_folder)
        else:
            plan = read_plan(
                options.file, overrides, options.seeds, options.output_folder
            )
            if not options.report_only:
                _launch(plan, options)
        table = collect(plan)
        results = analyse(table)
        write_results(table, results)
        path = write_report(plan, results)
        if len(plan.systems) == 1:
            print(format_only_system(results))
        print(format_table(results))
        print(f"report: {path}")
    missing = any(system["missing"] for system in results["systems"])
    return 1 if missing and not options.report_only else 0


if __name__ == "__main__":
    sys.exit(main())
