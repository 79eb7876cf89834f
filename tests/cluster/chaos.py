"""Random kills in an experiment of stubs, on Slurm or Ray.

    python -m tests.cluster.chaos slurm|ray [--runs 60] [--kills 20] [--seed 1]

It compares the results with those of the local launcher, byte by byte.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from tests.cluster import stub
from tests.cluster.ray_nodes import RayNodes
from tests.cluster.slurm_node import SlurmNode, slurm

ROOT = pathlib.Path(__file__).parents[2]
STEP_SECONDS = "0.3"  # of the four steps of a run


def start_driver(folder, engine, runs, **environment):
    """Start the driver of the stub experiment, two jobs at a time."""
    command = [sys.executable, "-m", "tests.cluster.stub"]
    with open(f"{folder}.log", "a") as log:
        return subprocess.Popen(
            [*command, str(folder), engine, "2", str(runs)],
            cwd=ROOT,
            env=os.environ | {"STUB_SECONDS": STEP_SECONDS} | environment,
            stdout=log,
            stderr=log,
        )


def processes_of(words):
    """Return the numbers of the processes whose command line has words."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if words in line:
            found.append(int(path.parent.name))
    return found


def kill_one_of(numbers, chosen):
    """Kill one process; return whether there was one."""
    for number in chosen.sample(numbers, len(numbers)):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
        return True
    return False


def disturb(folder, engine, kills, runs, count, seed, tend=lambda: None):
    """Run the experiment under kills; return their names in order.

    Arguments
    ---------
    folder : pathlib.Path
    engine : str
    kills : dict
        Name -> function without arguments that returns whether it killed;
        None: the driver, which is started again.
    runs : int
        Of the experiment.
    count : int
        Of the kills; the first are one of each.
    seed : int
    tend : callable
        What an administrator does meanwhile.
    """
    chosen = random.Random(seed)
    more = count - len(kills)
    order = list(kills) + [chosen.choice(list(kills)) for _ in range(more)]
    chosen.shuffle(order)
    done = []
    driver = start_driver(folder, engine, runs)
    try:
        patience = time.monotonic() + 200 + 20 * count
        while driver.poll() is None:
            assert time.monotonic() < patience, "it took too long"
            time.sleep(chosen.uniform(0.5, 1.5))
            tend()
            ready = len(stub.digests(folder)) >= len(done)
            if not (
                order and ready and processes_of(f"{folder}/jobs emotion-")
            ):
                continue
            if kills[order[0]] is not None:
                if not kills[order[0]]():
                    continue
            else:
                driver.kill()
                driver.wait()
                driver = start_driver(folder, engine, runs)
            done.append(order.pop(0))
        assert driver.returncode == 0, pathlib.Path(f"{folder}.log").read_text()
    finally:
        driver.kill()
        driver.wait()
    return done


def job_killer(folder, chosen):
    """Return a function that kills a job's own process on its node."""
    return lambda: kill_one_of(processes_of(f"{folder}/jobs emotion-"), chosen)


def slurm_kills(node, folder, chosen):
    """Return what can go wrong on Slurm."""

    def ids(state):
        return slurm("squeue", "-h", "-t", state, "-o", "%i").split()

    def cancel():
        running = ids("RUNNING")
        return bool(running) and slurm("scancel", chosen.choice(running)) == ""

    def preempt():
        running = len(ids("RUNNING"))
        command = ["-p", "high", "-n", "2", "--wrap", "sleep 1"]
        slurm("sbatch", "-o", "/dev/null", "-J", "urgent", *command)
        return running > 0

    return {
        "job": job_killer(folder, chosen),
        "driver": None,
        "scancel": cancel,
        "slurmctld": lambda: node.restart("slurmctld"),
        "slurmd": lambda: node.restart("slurmd"),
        "preemption": preempt,
    }


def ray_kills(nodes, folder, chosen):
    """Return what can go wrong on Ray."""
    return {
        "job": job_killer(folder, chosen),
        "driver": None,
        "raylet": nodes.replace_one,
    }


def run_locally(folder, runs):
    """Return the results of the local launcher."""
    driver = start_driver(folder, "local", runs, STUB_SECONDS="0")
    assert driver.wait() == 0
    found = stub.digests(folder)
    assert len(found) == runs
    return found


def main():
    """Print how many kills there were of each kind; fail at a difference."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", choices=["slurm", "ray"])
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs, chosen = options.runs, random.Random(options.seed)
    # Before Ray starts: its jobs have the environment of their node.
    os.environ["STUB_SECONDS"] = STEP_SECONDS
    with contextlib.ExitStack() as stack:
        prefix = f"chaos-{options.engine}-"
        root = stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix))
        folder = pathlib.Path(root, "out")
        tend = lambda: None  # noqa: E731
        if options.engine == "slurm":
            node = stack.enter_context(SlurmNode(pathlib.Path(root, "a")))
            kills, tend = slurm_kills(node, folder, chosen), node.resume
        else:
            nodes = stack.enter_context(RayNodes())
            kills = ray_kills(nodes, folder, chosen)
        begun = time.monotonic()
        done = disturb(
            folder,
            options.engine,
            kills,
            runs,
            options.kills,
            options.seed,
            tend,
        )
        took = time.monotonic() - begun
        local = run_locally(pathlib.Path(root, "local"), runs)
        assert stub.digests(folder) == local
    print(
        f"{options.engine}: {len(done)} kills ({dict(collections.Counter(done))}) "
        f"in {runs} runs, {took:.0f} s: the same bytes as the local launcher"
    )
    assert len(done) == options.kills, "too few runs for so many kills"


if __name__ == "__main__":
    main()
