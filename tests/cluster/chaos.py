"""Random kills of workers and drivers in an experiment of stubs."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

from tests.cluster import stub

ROOT = pathlib.Path(__file__).parents[2]
RUNS = 20


def start_driver(folder, engine, **environment):
    """Start the driver of the stub experiment, two jobs at a time."""
    command = [sys.executable, "-m", "tests.cluster.stub"]
    with open(f"{folder}.log", "a") as log:
        return subprocess.Popen(
            [*command, str(folder), engine, "2", str(RUNS)],
            cwd=ROOT,
            env=os.environ | {"STUB_SECONDS": "0.1"} | environment,
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


def disturb(folder, engine, kills, seed, tend=lambda: None):
    """Run the experiment under kills; return how many there were of each.

    Arguments
    ---------
    folder : pathlib.Path
    engine : str
    kills : dict
        Name -> function without arguments that returns whether it killed;
        None: the driver, which is started again.
    seed : int
    tend : callable
        What an administrator does meanwhile.
    """
    chosen = random.Random(seed)
    order = list(kills) + [chosen.choice(list(kills)) for _ in range(3)]
    chosen.shuffle(order)
    done = []
    driver = start_driver(folder, engine)
    try:
        patience = time.monotonic() + 400
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
                driver = start_driver(folder, engine)
            done.append(order.pop(0))
        assert driver.returncode == 0, pathlib.Path(f"{folder}.log").read_text()
    finally:
        driver.kill()
        driver.wait()
    return done


def job_killer(folder, chosen):
    """Return a function that kills a job's own process on its node."""
    return lambda: kill_one_of(processes_of(f"{folder}/jobs emotion-"), chosen)
