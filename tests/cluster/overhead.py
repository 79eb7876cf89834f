"""What the launchers cost: each engine in turn, two jobs at a time.

    python -m tests.cluster.overhead [--runs 200] [--seconds 7]
    python -m tests.cluster.overhead --data_folder EMODB --encoder_hub WHISPER
                                     --cache_folder CACHE [--runs 200]

The overhead is the time from the start of the command to the last result,
times two, beside the sum of the runs' own times (`seconds` in run.json, of a
stub the time of its process): the driver's imports, the start of the jobs,
the encoding's check and what the last job is alone for are parts of it.

Without a data folder the runs are stubs that sleep, in processes that have
imported what runs import: the load of the machine does not change their own
times. With one they are runs of the recommended system.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from tests.cluster import stub_run
from tests.cluster.ray_nodes import RayNodes
from tests.cluster.slurm_node import SlurmNode

ROOT = pathlib.Path(__file__).parents[2]
FOLDS = 5  # of EmoDB


def command(options, engine, folder):
    """Return the command that makes the runs."""
    if not options.data_folder:
        runs = str(options.runs)
        return ["-m", "tests.cluster.stub", folder, engine, "2", runs]
    seeds = ",".join(map(str, range(1, options.runs // FOLDS + 1)))
    return [
        *("cross_validate.py", "hparams/recommended.yaml", "--corpus=emodb"),
        *(f"--data_folder={options.data_folder}", "--dev_split=speaker"),
        f"--encoder_hub={options.encoder_hub}",
        f"--cache_folder={options.cache_folder}",
        *("--device=cpu", "--jobs=2", f"--launcher={engine}"),
        *(f"--seeds={seeds}", f"--output_folder={folder}"),
    ]


def measure(options, engine, folder):
    """Return seconds until the first run, then to the last result, and own."""
    begun = time.time()
    subprocess.run(
        [sys.executable, *command(options, engine, folder)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    results = list(pathlib.Path(folder).rglob("seed_*/results.json"))
    assert len(results) == options.runs
    ends = [path.stat().st_mtime for path in results]
    records = [path.with_name("run.json").read_text() for path in results]
    own = [json.loads(record)["seconds"] for record in records]
    first = min(end - seconds for end, seconds in zip(ends, own))
    return first - begun, max(ends) - first, own


def main():
    """Print a row for each engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=7)
    parser.add_argument("--engines", default="local,slurm,ray")
    for key in ("data_folder", "encoder_hub", "cache_folder"):
        parser.add_argument(f"--{key}")
    options = parser.parse_args()
    # Before Ray starts: its jobs have the environment of their node.
    os.environ["STUB_SECONDS"] = str(options.seconds / stub_run.STEPS)
    os.environ["STUB_IMPORTS"] = "1"
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="over") as root:
        started = {
            "local": contextlib.nullcontext,
            "slurm": lambda: SlurmNode(pathlib.Path(root, "a")),
            "ray": RayNodes,
        }
        for engine in options.engines.split(","):
            with started[engine]():
                start, took, own = measure(options, engine, f"{root}/{engine}")
            load = os.getloadavg()[0]
            print(
                f"{engine}: {start:.1f} s to the first run and {took:.1f} s "
                f"for {len(own)} runs of {sum(own):.1f} s together, two at a "
                f"time: {2 * (start + took) / sum(own) - 1:.1%} more, without "
                f"the start {2 * took / sum(own) - 1:.1%} (load {load:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
