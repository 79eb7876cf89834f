"""Stub runs of milliseconds, in place of train.py.

A run makes `STEPS` steps with a checkpoint after each, then writes
results.json: what it contains depends on its fold, its seed and every step.
"""

import fcntl
import hashlib
import json
import os
import pathlib
import signal
import sys
import time

from modules.experiments import child
from modules.files import write_json

SECONDS = float(os.environ.get("STUB_SECONDS", "0.05"))
STEPS = 4


def _values(arguments):
    """Return the options of a command line."""
    pairs = [a[2:].split("=", 1) for a in arguments if "=" in a]
    return dict(pairs)


def run_one(arguments, log):
    """Stand for `modules.experiments.child.run_one`."""
    begun = time.monotonic()
    child._end_with_parent()
    values = _values(arguments)
    folder = pathlib.Path(values["output_folder"])
    checkpoint = folder / "checkpoint.json"
    with open(log, "a") as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        if (folder / "results.json").exists():
            return
        chosen = f"seed={values['seed']}"
        if os.environ.get("STUB_FAILS") == chosen:
            print("it fails", file=out)
            sys.exit(1)
        if os.environ.get("STUB_KILLED") == chosen:
            os.kill(os.getpid(), signal.SIGKILL)
        state = {"step": 0, "digest": values["seed"] + values["test_fold"]}
        if checkpoint.exists():
            state = json.loads(checkpoint.read_text())
        while state["step"] < STEPS:
            print(f"step {state['step']}", file=out, flush=True)
            time.sleep(SECONDS)
            text = f"{state['digest']} {state['step']}".encode()
            digest = hashlib.sha256(text).hexdigest()
            state = {"step": state["step"] + 1, "digest": digest}
            write_json(checkpoint, state)
        figure = int(state["digest"][:6], 16) / 16**6
        results = {"WA": figure, "UA": figure, "macro_f1": figure}
        write_json(folder / "run.json", {"seconds": time.monotonic() - begun})
        write_json(folder / "results.json", results | state)


def encode_one(arguments, part):
    """Stand for `modules.experiments.child.encode_one`: count the calls."""
    child._end_with_parent()
    folder = pathlib.Path(_values(arguments)["output_folder"]).parents[2]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "encoded.txt", "a") as out:
        print(part, file=out)
    time.sleep(SECONDS)
