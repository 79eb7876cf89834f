"""What all benchmarks share: the machine, and times beside each other."""

import concurrent.futures
import importlib.metadata
import multiprocessing
import os
import pathlib
import platform
import statistics
import subprocess
import time
from typing import NamedTuple

import torch

_PACKAGES = ("torch", "speechbrain", "transformers", "safetensors")


class Figure(NamedTuple):
    """A row of the page of all figures."""

    what: str
    goal: str
    limit: str
    reached: str


class Skipped(Exception):
    """Why something cannot be measured here."""


def describe_machine():
    """Return one line: processor or GPU, threads, versions."""
    processor = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    parts = [
        f"{processor}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads"
    ]
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    parts.append(f"Python {platform.python_version()}")
    parts += [f"{p} {importlib.metadata.version(p)}" for p in _PACKAGES]
    return "; ".join(parts)


def core_seconds_of_session(command, pause=0.2):
    """Run a command; return its seconds of a core, all descendants included.

    Those that a process has not waited for are not counted by the system's
    own figure; here all processes of the command's session are looked at,
    several times a second. What the last moment cost is not seen.

    Arguments
    ---------
    command : list
        Program and arguments.
    pause : float
        Seconds between two looks.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    most = 0.0
    while process.poll() is None:
        most = max(most, _session_seconds(process.pid))
        time.sleep(pause)
    if process.returncode:
        raise RuntimeError(f"{command[1]} ended with {process.returncode}")
    return most


def _session_seconds(session):
    """Return seconds of a core of the living processes of a session.

    Those of their children that have ended are counted with them.
    """
    ticks = 0
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            # Field 2, the name, may have blanks; the session is field 6.
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[3]) == session:
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def fresh_process():
    """Give a process of its own that takes work."""
    return concurrent.futures.ProcessPoolExecutor(
        1, multiprocessing.get_context("spawn")
    )


def time_beside(functions, repeats, device="cpu"):
    """Time functions in turn, so that all meet the same noise.

    Arguments
    ---------
    functions : dict
        Name -> callable without arguments; each runs once before it counts.
    repeats : int
        How often.
    device : str
        A GPU is waited for.

    Returns
    -------
    seconds : dict
        Name -> list of float, one per round.
    """
    seconds = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def spread(values, unit="ms", factor=1000):
    """Return median and range of values."""
    scaled = [factor * value for value in values]
    return (
        f"{statistics.median(scaled):.1f} "
        f"({min(scaled):.1f} to {max(scaled):.1f}) {unit}"
    )


def ratio(ours, others):
    """Return median and range of others / ours, round by round."""
    ratios = [other / our for our, other in zip(ours, others, strict=True)]
    return (
        f"{statistics.median(ratios):.2f} "
        f"({min(ratios):.2f} to {max(ratios):.2f})"
    )


def print_table(title, rows):
    """Print rows (list of list of str, the first the header) as Markdown."""
    print(f"\n### {title}\n")
    for number, row in enumerate(rows):
        print(f"| {' | '.join(row)} |")
        if number == 0:
            print("|" + "---|" * len(row))
    print(flush=True)
