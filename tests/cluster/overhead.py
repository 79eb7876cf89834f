"""What the launchers cost: stub runs, each engine in turn, on two cores.

    python -m tests.cluster.overhead [--runs 40] [--seconds 2]

Two runs at a time, ten to a job. The overhead is the time from the first
submission to the last result, times two, beside the sum of the runs' own times;
the encoding's job is part of it.
"""

import argparse
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from tests.cluster import slurm_node, stub_run

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def _ray():
    """Start two raylets of one core each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"
    own = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    made = Cluster(True, head_node_args=own | {"include_dashboard": False})
    made.add_node(**own)
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield
    finally:
        made.shutdown()


def measure(engine, runs, folder):
    """Return the seconds that the runs took, and the sum of their own."""
    command = [sys.executable, "-m", "tests.cluster.stub", folder, engine]
    done = subprocess.run(
        [*command, "2", str(runs), "--runs_per_job=10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    took = float(re.search(r"launched in (\S+) s", done.stdout)[1])
    paths = list(pathlib.Path(folder).glob("stub/*/*/seconds.txt"))
    assert len(paths) == runs
    return took, sum(float(path.read_text()) for path in paths)


def main():
    """Print a row for each engine."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    # Before Ray starts: its jobs have the environment of their node.
    os.environ["STUB_SECONDS"] = str(options.seconds / stub_run.STEPS)
    with tempfile.TemporaryDirectory(prefix="over") as root:
        root = pathlib.Path(root)
        clusters = {
            "local": contextlib.nullcontext(),
            "slurm": slurm_node.SlurmNode(root / "a"),
            "ray": _ray(),
        }
        for engine, started in clusters.items():
            with started:
                folder = str(root / engine)
                took, own = measure(engine, options.runs, folder)
            load = os.getloadavg()[0]
            print(
                f"{engine}: {took:.1f} s for runs of {own:.1f} s, two at a "
                f"time: {2 * took / own - 1:.1%} more (load {load:.1f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
